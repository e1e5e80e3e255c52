//! A simulated JetStream: streams with fences and a window of remembered ids, scheduled messages, and
//! consumers that lend deliveries.
//!
//! It does what nats-server 2.15.1 does, as far as the coordinator and the workers can see it; a test
//! compares the two. What happens is kept as [`Happening`]s for whoever checks the world.

mod consumer;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_config::wire::event::Outcome;
use broker_config::wire::lease::Lease;
use broker_config::{PluginId, Record, RunId, Signal, Submission, Task};

pub(super) use self::consumer::{Consumer, Delivery, Reply};
use self::store::Store;
use super::runtime::Time;

/// The streams that the core works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Submit,
    Tasks,
    Records,
    Signals,
    Events,
    Dead,
    Advisories,
    Lease,
}

/// What a message says.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Nothing that can be read.
    Junk,
    Submission(Arc<Submission>),
    Task(Arc<Task>),
    Record(Arc<Record>),
    Signal(Arc<Signal>),
    Settled {
        run: RunId,
        plugins: Arc<BTreeMap<PluginId, Outcome>>,
    },
    Rejected(RunId),
    /// Something that subscribers are told and nothing follows from.
    Told,
    Letter(Arc<Task>),
    /// The message with this sequence is delivered no more.
    Advisory(u64),
    Lease(Lease),
}

/// What the broker goes by.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    /// Sequence that the last message on the subject must have.
    pub(super) expected: Option<u64>,
    /// The subjects that is about, if it is not the message's own.
    pub(super) expected_on: Vec<String>,
    /// By what a second publish of the same is recognised.
    pub(super) id: Option<String>,
    /// When, and where to, the message is to be published.
    pub(super) schedule: Option<(Time, String)>,
    pub(super) attempts_used: u32,
    /// The dead letter that belongs to a record.
    pub(super) letter: Option<u64>,
    /// The broker published it itself, because its time had come.
    pub(super) scheduled: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// Nanoseconds; no two messages have the same.
    pub(super) stored_at: i64,
    pub(super) headers: Headers,
    pub(super) body: Body,
}

/// Why a message was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The last one on its subject is not the expected one.
    WrongLastSequence,
    /// There is no room.
    Full,
}

/// Why a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It was acknowledged or ended.
    Answered,
    Deleted,
    /// Somebody from outside took it out.
    Purged,
    /// Another one took its place, or its time came.
    Replaced,
}

/// What can be answered to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ack,
    Progress,
    Nak(Time),
    Term,
}

/// What happened in the broker.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Stored {
        stream: Stream,
        message: Message,
        scheduled: bool,
    },
    Removed {
        stream: Stream,
        message: Message,
        why: Gone,
    },
    Delivered {
        stream: Stream,
        message: Message,
        delivered: u32,
        most: Option<u32>,
    },
    /// An ack of a message that stays in its stream.
    Acknowledged {
        stream: Stream,
        message: Message,
    },
    /// A message is back although it was acknowledged.
    CameBack {
        stream: Stream,
        message: Message,
    },
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) now: Time,
    stamps: i64,
    streams: BTreeMap<Stream, Store>,
    consumers: BTreeMap<String, Consumer>,
    pub(super) is_full: bool,
    /// What happened since it was looked at last.
    pub(super) happenings: Vec<Happening>,
    /// Consumers that may have something.
    pub(super) changed: Vec<String>,
    /// Messages that are delivered no more, to be told of.
    pub(super) exhausted: Vec<u64>,
    /// What was taken out of the tasks last.
    last_answered: Option<Message>,
}

impl Broker {
    fn stamp(&mut self) -> i64 {
        self.stamps += 1;
        i64::try_from(self.now).unwrap_or(i64::MAX) * 1_000_000 + self.stamps
    }

    fn store(&mut self, stream: Stream) -> &mut Store {
        self.streams.entry(stream).or_insert_with(|| Store::of(stream))
    }

    /// Stores a message; returns its sequence.
    pub(super) fn publish(
        &mut self,
        stream: Stream,
        subject: &str,
        headers: Headers,
        body: Body,
    ) -> Result<u64, Refused> {
        if self.is_full {
            return Err(Refused::Full);
        }
        self.put(stream, subject, headers, body)
    }

    fn put(
        &mut self,
        stream: Stream,
        subject: &str,
        headers: Headers,
        body: Body,
    ) -> Result<u64, Refused> {
        let (now, stored_at) = (self.now, self.stamp());
        let scheduled = headers.scheduled;
        let store = self.store(stream);
        if let Some(sequence) = headers.id.as_ref().and_then(|id| store.known(id, now)) {
            return Ok(sequence);
        }
        let last = store.last_on(subject);
        let fenced = headers.expected_on.iter().map(|subject| store.last_on(subject)).max();
        if headers.expected.is_some_and(|expected| expected != fenced.unwrap_or(last)) {
            return Err(Refused::WrongLastSequence);
        }
        let rolls_up = headers.schedule.is_some() || store.keeps_one();
        let before = if rolls_up && last > 0 { store.remove(last) } else { None };
        let subject = subject.to_owned();
        let message = Message { subject, sequence: 0, stored_at, headers, body };
        let message = store.add(message, now);
        let sequence = message.sequence;
        if let Some(message) = before {
            self.happenings.push(Happening::Removed { stream, message, why: Gone::Replaced });
        }
        for (name, consumer) in &self.consumers {
            if consumer.stream == stream && consumer.wants(&message.subject) {
                self.changed.push(name.clone());
            }
        }
        self.happenings.push(Happening::Stored { stream, message, scheduled });
        Ok(sequence)
    }

    pub(super) fn last_on(&mut self, stream: Stream, subject: &str) -> Option<Message> {
        let store = self.store(stream);
        let last = store.last_on(subject);
        store.messages.get(&last).cloned()
    }

    pub(super) fn at(&mut self, stream: Stream, sequence: u64) -> Option<Message> {
        self.store(stream).messages.get(&sequence).cloned()
    }

    /// The first message from a sequence on whose subject begins so.
    pub(super) fn first_from(
        &mut self,
        stream: Stream,
        from: u64,
        beginning: &str,
    ) -> Option<Message> {
        let store = self.store(stream);
        let mut all = store.messages.range(from..).map(|(_, message)| message);
        all.find(|message| message.subject.starts_with(beginning)).cloned()
    }

    /// The subjects that begin so.
    pub(super) fn subjects(&mut self, stream: Stream, beginning: &str) -> Vec<String> {
        let store = self.store(stream);
        store.by_subject.keys().filter(|subject| subject.starts_with(beginning)).cloned().collect()
    }

    pub(super) fn last_sequence(&mut self, stream: Stream) -> u64 {
        self.store(stream).last
    }

    pub(super) fn count(&self, stream: Stream) -> usize {
        self.streams.get(&stream).map_or(0, |store| store.messages.len())
    }

    /// Deletes a message; one that is gone is no error.
    pub(super) fn delete(&mut self, stream: Stream, sequence: u64) {
        self.remove(stream, sequence, Gone::Deleted);
    }

    /// Takes out everything whose subject begins so.
    pub(super) fn purge(&mut self, stream: Stream, beginning: &str) -> usize {
        let store = self.store(stream);
        let all = store.messages.values().filter(|message| message.subject.starts_with(beginning));
        let sequences: Vec<u64> = all.map(|message| message.sequence).collect();
        for sequence in &sequences {
            self.remove(stream, *sequence, Gone::Purged);
        }
        let last = self.store(stream).last;
        for consumer in self.consumers.values_mut().filter(|it| it.stream == stream) {
            consumer.purged(beginning, last);
        }
        sequences.len()
    }

    fn remove(&mut self, stream: Stream, sequence: u64, why: Gone) -> bool {
        let Some(message) = self.store(stream).remove(sequence) else { return false };
        if stream == Stream::Tasks && why == Gone::Answered {
            self.last_answered = Some(message.clone());
        } else if why == Gone::Deleted {
            for consumer in self.consumers.values_mut().filter(|it| it.stream == stream) {
                consumer.drop_held(sequence);
            }
        }
        self.happenings.push(Happening::Removed { stream, message, why });
        true
    }

    /// What a broker that is killed may do: it has kept an acknowledgement and lost the removal that
    /// follows from it.
    pub(super) fn bring_back(&mut self) {
        let Some(message) = self.last_answered.take() else { return };
        let stream = Stream::Tasks;
        // Somebody else's place it does not take: the removal was before that, and so it was kept.
        let store = self.store(stream);
        if store.last_on(&message.subject) == 0 && store.last == message.sequence {
            store.put_back(message.clone());
            self.happenings.push(Happening::CameBack { stream, message });
        }
    }

    /// When the broker has something to do by itself.
    pub(super) fn next_due(&self) -> Option<Time> {
        let leases = self.consumers.values().filter_map(Consumer::next_due);
        let tasks = self.streams.get(&Stream::Tasks);
        leases.chain(tasks.and_then(Store::next_due)).min()
    }

    /// Does what time asks for: takes back leases, publishes what was scheduled.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        for (name, consumer) in &mut self.consumers {
            if consumer.expire(now, &mut self.exhausted) {
                self.changed.push(name.clone());
            }
        }
        while let Some(message) = self.store(Stream::Tasks).take_due(now) {
            let target = message.headers.schedule.clone().map(|(_, target)| target);
            let attempts_used = message.headers.attempts_used;
            let headers = Headers { attempts_used, scheduled: true, ..Headers::default() };
            let (stream, body) = (Stream::Tasks, message.body.clone());
            self.happenings.push(Happening::Removed { stream, message, why: Gone::Replaced });
            // Nothing is expected of the subject, so that it is stored whatever is there.
            if let Some(target) = target {
                self.put(stream, &target, headers, body).ok();
            }
        }
    }
}
