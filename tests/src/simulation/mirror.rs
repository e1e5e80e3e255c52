//! Lists of operations with what the simulated broker makes of them, to be compared with a real one.

use fastrand::Rng;

use super::broker::{Answer, Body, Broker, Delivery, Headers, Stream};
use super::runtime::Time;

/// The lease of the consumers, in milliseconds.
pub const LEASE: u64 = 2_000;
/// After which a nak brings a message back, and a scheduled one is published.
pub const DELAY: u64 = 1_400;
/// How long a pause is; all that waits for its time is due after it.
pub const PAUSE: u64 = 3_000;
/// The two consumers: name, how the subjects begin that it delivers, deliveries.
pub const CONSUMERS: [(&str, &str, u32); 2] = [("one", "t.a.", 1), ("three", "t.b.", 3)];

/// A stream of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A work queue; its subjects begin with `t.`, those of what is scheduled with `l.`.
    Tasks,
    /// One message for each subject; `k.`
    Keys,
    /// Remembers ids; `e.`
    Events,
}

/// What can be answered to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Ack,
    /// It goes on.
    Progress,
    /// Again after [`DELAY`].
    Nak,
    /// Never again.
    Term,
}

/// What is done to a broker.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Publish something.
    Publish {
        /// Where.
        place: Place,
        /// Its subject.
        subject: String,
        /// What the last sequence on the subject must be.
        expected: Option<u64>,
        /// By what it is recognised.
        id: Option<String>,
        /// Whether the expected sequence is that of either subject `t.*.<number>`.
        either: bool,
        /// The subject on which it is to be published after [`DELAY`].
        target: Option<String>,
    },
    /// Take so many messages at most, without waiting.
    Pull {
        /// One of [`CONSUMERS`].
        consumer: usize,
        /// How many.
        most: usize,
    },
    /// Answer a delivery, counted from the first one of all.
    Answer {
        /// Its number.
        delivery: usize,
        /// With what.
        reply: Reply,
    },
    /// Delete a task by its sequence.
    Delete(u64),
    /// Take out all tasks whose subject begins so.
    Purge(&'static str),
    /// Delete a consumer and make it anew.
    Remake(usize),
    /// Let time pass, until nothing is due any more.
    Pause,
    /// Count the messages.
    Count(Place),
    /// See what a consumer holds, has delivered, and is done with.
    Look(usize),
    /// List what was told to be exhausted since the last time.
    Exhausted,
}

/// A broker with the three streams and the two consumers.
struct Mirror {
    broker: Broker,
    deliveries: Vec<Delivery>,
    told: Vec<u64>,
}

/// Makes up a list of operations, each with what is seen of it: what is stored, refused, delivered.
#[must_use]
pub fn operations(seed: u64, phases: usize, most: usize) -> Vec<(Operation, String)> {
    let mut rng = Rng::with_seed(seed);
    let mut mirror = Mirror { broker: Broker::default(), deliveries: Vec::new(), told: Vec::new() };
    for (at, _) in CONSUMERS.iter().enumerate() {
        mirror.make(at);
    }
    let mut list = Vec::new();
    let mut act = |mirror: &mut Mirror, operation: Operation| {
        let seen = mirror.see(&operation);
        list.push((operation, seen));
    };
    for _ in 0..phases {
        for _ in 0..most {
            let operation = mirror.make_up(&mut rng);
            act(&mut mirror, operation);
        }
        for operation in [
            Operation::Pause,
            Operation::Pull { consumer: 0, most: 50 },
            Operation::Pull { consumer: 1, most: 50 },
            Operation::Exhausted,
            Operation::Look(0),
            Operation::Look(1),
            Operation::Count(Place::Tasks),
            Operation::Count(Place::Keys),
            Operation::Count(Place::Events),
        ] {
            act(&mut mirror, operation);
        }
    }
    list
}

impl Mirror {
    fn make(&mut self, at: usize) {
        if let Some((name, beginning, most)) = CONSUMERS.get(at) {
            let filter = (Stream::Tasks, (*beginning).to_owned());
            self.broker.consume(name, filter, LEASE, Some(*most));
        }
    }

    fn make_up(&mut self, rng: &mut Rng) -> Operation {
        let number = rng.u32(0..3);
        let task = format!("t.{}.{number}", if rng.bool() { "a" } else { "b" });
        match rng.u32(0..20) {
            0..=5 => self.publish(rng, Place::Tasks, task),
            6 | 7 => self.publish(rng, Place::Keys, format!("k.{number}")),
            8 => {
                let (place, subject) = (Place::Events, "e.x".to_owned());
                let id = Some(format!("id-{number}"));
                Operation::Publish {
                    place,
                    subject,
                    expected: None,
                    id,
                    either: false,
                    target: None,
                }
            }
            9 => {
                let (place, subject) = (Place::Tasks, format!("l.{number}"));
                let target = Some(task);
                Operation::Publish {
                    place,
                    subject,
                    expected: None,
                    id: None,
                    either: false,
                    target,
                }
            }
            10..=12 => Operation::Pull { consumer: rng.usize(0..2), most: rng.usize(1..3) },
            13..=17 if !self.deliveries.is_empty() => Operation::Answer {
                delivery: rng.usize(0..self.deliveries.len()),
                reply: match rng.u32(0..8) {
                    0..=2 => Reply::Ack,
                    3 | 4 => Reply::Nak,
                    5 | 6 => Reply::Progress,
                    _ => Reply::Term,
                },
            },
            18 => match rng.u32(0..3) {
                0 => Operation::Purge("t.a."),
                1 => Operation::Delete(rng.u64(1..=self.broker.last_sequence(Stream::Tasks) + 1)),
                _ => Operation::Remake(rng.usize(0..2)),
            },
            _ => Operation::Pull { consumer: rng.usize(0..2), most: 1 },
        }
    }

    fn publish(&mut self, rng: &mut Rng, place: Place, subject: String) -> Operation {
        let last = self.broker.last_on(stream(place), &subject);
        let last = last.map_or(0, |last| last.sequence);
        let expected = match rng.u32(0..5) {
            0 | 1 => Some(0),
            2 => Some(last),
            3 => Some(last + 1),
            _ => None,
        };
        let either = place == Place::Tasks && expected.is_some() && rng.bool();
        Operation::Publish { place, subject, expected, id: None, either, target: None }
    }

    fn see(&mut self, operation: &Operation) -> String {
        let seen = match operation {
            Operation::Publish { place, subject, expected, id, either, target } => {
                let at = self.broker.now + DELAY;
                let number = subject.rsplit('.').next().unwrap_or_default();
                let both = ["a", "b"].map(|queue| format!("t.{queue}.{number}"));
                let headers = Headers {
                    expected: *expected,
                    expected_on: if *either { both.to_vec() } else { Vec::new() },
                    id: id.clone(),
                    schedule: target.clone().map(|target| (at, target)),
                    ..Headers::default()
                };
                match self.broker.publish(stream(*place), subject, headers, Body::Junk) {
                    Ok(sequence) => format!("stored {sequence}"),
                    Err(_) => "refused".to_owned(),
                }
            }
            Operation::Pull { consumer, most } => self.pull(*consumer, *most),
            Operation::Answer { delivery, reply } => {
                let answer = match reply {
                    Reply::Ack => Answer::Ack,
                    Reply::Progress => Answer::Progress,
                    Reply::Nak => Answer::Nak(DELAY),
                    Reply::Term => Answer::Term,
                };
                if let Some(delivery) = self.deliveries.get(*delivery) {
                    self.broker.answer(&delivery.reply, answer);
                }
                String::new()
            }
            Operation::Delete(sequence) => {
                self.broker.delete(Stream::Tasks, *sequence);
                String::new()
            }
            Operation::Purge(beginning) => {
                format!("{} gone", self.broker.purge(Stream::Tasks, beginning))
            }
            Operation::Remake(at) => {
                if let Some((name, _, _)) = CONSUMERS.get(*at) {
                    self.broker.forget(name);
                }
                self.make(*at);
                String::new()
            }
            Operation::Pause => {
                self.pass(PAUSE);
                String::new()
            }
            Operation::Count(place) => format!("{} messages", self.broker.count(stream(*place))),
            Operation::Look(at) => {
                let info = CONSUMERS.get(*at).and_then(|(name, _, _)| self.broker.info(name));
                info.map_or_else(String::new, |info| {
                    format!(
                        "holds {}, delivered {}, done {}",
                        info.held, info.delivered, info.floor
                    )
                })
            }
            Operation::Exhausted => {
                self.told.append(&mut self.broker.exhausted);
                self.told.sort_unstable();
                let told = format!("{:?}", self.told);
                self.told.clear();
                told
            }
        };
        self.broker.happenings.clear();
        self.broker.changed.clear();
        seen
    }

    /// Lets time pass, and the broker do what falls due, in the order in which it does.
    fn pass(&mut self, duration: Time) {
        let until = self.broker.now + duration;
        while let Some(due) = self.broker.next_due().filter(|due| *due <= until) {
            self.broker.now = self.broker.now.max(due);
            self.broker.tick();
        }
        self.broker.now = until;
    }

    fn pull(&mut self, consumer: usize, most: usize) -> String {
        let Some((name, _, _)) = CONSUMERS.get(consumer) else { return String::new() };
        let mut pulled = Vec::new();
        while pulled.len() < most {
            let Some(Some(delivery)) = self.broker.pull(name) else { break };
            pulled.push(delivery);
        }
        // Which lease a server notices first when several have run out, it does not promise.
        pulled.sort_by_key(|delivery| delivery.message.sequence);
        let seen = pulled.iter().map(|Delivery { message, delivered, .. }| {
            format!("{} #{} x{delivered}", message.subject, message.sequence)
        });
        let seen = seen.collect::<Vec<_>>().join(", ");
        self.deliveries.append(&mut pulled);
        seen
    }
}

const fn stream(place: Place) -> Stream {
    match place {
        Place::Tasks => Stream::Tasks,
        Place::Keys => Stream::Records,
        Place::Events => Stream::Events,
    }
}
