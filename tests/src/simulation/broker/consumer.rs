//! Consumers: what is lent, until when, and how often.

use std::collections::{BTreeMap, VecDeque};

use super::{Answer, Broker, Gone, Happening, Message, Stream, Time};

/// A delivery that is held.
#[derive(Debug)]
struct Pending {
    /// Number of its first delivery in the consumer.
    first: u64,
    due: Time,
}

#[derive(Debug)]
pub(in crate::simulation) struct Consumer {
    pub(super) stream: Stream,
    /// How the subjects begin that it delivers.
    beginning: String,
    lease: Time,
    max_deliver: Option<u32>,
    pending: BTreeMap<u64, Pending>,
    again: VecDeque<u64>,
    delivered: BTreeMap<u64, u32>,
    /// The sequence that has not been looked at.
    next: u64,
    deliveries: u64,
    /// Number of the last delivery, and sequence, up to which all is done.
    floor: (u64, u64),
}

/// Where a delivery is to be answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::simulation) struct Reply {
    pub(in crate::simulation) consumer: String,
    pub(in crate::simulation) sequence: u64,
    number: u64,
}

#[derive(Clone, Debug)]
pub(in crate::simulation) struct Delivery {
    pub(in crate::simulation) reply: Reply,
    pub(in crate::simulation) delivered: u32,
    pub(in crate::simulation) message: Message,
}

/// What a consumer says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct Info {
    pub(in crate::simulation) held: usize,
    /// Sequence of the last delivery.
    pub(in crate::simulation) delivered: u64,
    /// Sequence up to which all is done.
    pub(in crate::simulation) floor: u64,
}

impl Consumer {
    pub(super) fn wants(&self, subject: &str) -> bool {
        subject.starts_with(&self.beginning)
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        let waits = |sequence: &u64| !self.again.contains(sequence);
        let held = self.pending.iter().filter(|(sequence, _)| waits(sequence));
        held.map(|(_, pending)| pending.due).min()
    }

    /// Takes back what was lent for long enough; says whether there is any.
    ///
    /// What may be delivered only once is given up on at once; anything else is found to be
    /// exhausted when somebody pulls.
    pub(super) fn expire(&mut self, now: Time, exhausted: &mut Vec<u64>) -> bool {
        let due = self.pending.iter().filter(|(_, pending)| pending.due <= now);
        let due: Vec<u64> = due.map(|(sequence, _)| *sequence).collect();
        let mut expired = false;
        for sequence in due {
            if self.again.contains(&sequence) {
                continue;
            }
            if self.max_deliver == Some(1) {
                self.pending.remove(&sequence);
                exhausted.push(sequence);
            } else {
                self.again.push_back(sequence);
                expired = true;
            }
        }
        expired
    }

    /// A message that is held has gone: that is as good as an answer.
    pub(super) fn drop_held(&mut self, sequence: u64) {
        if self.pending.contains_key(&sequence) {
            self.done(sequence);
        }
    }

    /// All that it could deliver was taken out; `last` is the last sequence of the stream.
    pub(super) fn purged(&mut self, beginning: &str, last: u64) {
        if self.beginning.starts_with(beginning) {
            self.next = last + 1;
            self.pending.clear();
            self.again.clear();
            self.delivered.clear();
            self.floor = (self.deliveries, last);
        }
    }

    fn done(&mut self, sequence: u64) {
        self.delivered.remove(&sequence);
        self.again.retain(|again| *again != sequence);
        // Of what is not held any more, the floor knows nothing.
        let Some(Pending { first: number, .. }) = self.pending.remove(&sequence) else { return };
        if self.pending.is_empty() {
            self.floor = (self.deliveries, self.next - 1);
        } else if number == self.floor.0 + 1 {
            self.floor = (number, sequence);
            if let Some((held, pending)) = self.pending.range(sequence + 1..).next() {
                self.floor = (pending.first - 1, held - 1);
            }
        }
    }
}

impl Broker {
    /// Makes a consumer, if there is none of that name.
    pub(in crate::simulation) fn consume(
        &mut self,
        name: &str,
        (stream, beginning): (Stream, String),
        lease: Time,
        max_deliver: Option<u32>,
    ) {
        let next = self.store(stream).first();
        self.consumers.entry(name.to_owned()).or_insert_with(|| Consumer {
            stream,
            beginning,
            lease,
            max_deliver,
            pending: BTreeMap::new(),
            again: VecDeque::new(),
            delivered: BTreeMap::new(),
            next,
            deliveries: 0,
            floor: (0, next - 1),
        });
        self.changed.push(name.to_owned());
    }

    pub(in crate::simulation) fn forget(&mut self, name: &str) {
        self.consumers.remove(name);
        self.changed.push(name.to_owned());
    }

    /// The names of all consumers.
    pub(in crate::simulation) fn consumers(&self) -> Vec<String> {
        self.consumers.keys().cloned().collect()
    }

    /// `None` = there is no such consumer.
    pub(in crate::simulation) fn info(&self, name: &str) -> Option<Info> {
        let consumer = self.consumers.get(name)?;
        let (held, delivered) = (consumer.pending.len(), consumer.next - 1);
        Some(Info { held, delivered, floor: consumer.floor.1 })
    }

    /// Delivers what is next; the outer `None` = there is no such consumer.
    pub(in crate::simulation) fn pull(&mut self, name: &str) -> Option<Option<Delivery>> {
        let now = self.now;
        let consumer = self.consumers.get_mut(name)?;
        let stream = consumer.stream;
        let store = self.streams.entry(stream).or_insert_with(|| super::Store::of(stream));
        while let Some(sequence) = consumer.again.pop_front() {
            let Some(message) = store.messages.get(&sequence) else {
                consumer.pending.remove(&sequence);
                consumer.delivered.remove(&sequence);
                continue;
            };
            let count = consumer.delivered.entry(sequence).or_insert(1);
            *count += 1;
            if consumer.max_deliver.is_some_and(|most| *count > most) {
                if Some(*count - 1) == consumer.max_deliver {
                    self.exhausted.push(sequence);
                }
                consumer.pending.remove(&sequence);
                continue;
            }
            let delivered = *count;
            let message = message.clone();
            return Some(Some(self.lend(name, message, delivered, now)));
        }
        let mut after = store.messages.range(consumer.next..).map(|(_, message)| message);
        let Some(message) = after.find(|message| consumer.wants(&message.subject)).cloned() else {
            return Some(None);
        };
        consumer.next = message.sequence + 1;
        Some(Some(self.lend(name, message, 1, now)))
    }

    fn lend(&mut self, name: &str, message: Message, delivered: u32, now: Time) -> Delivery {
        let mut reply = Reply { consumer: name.to_owned(), sequence: message.sequence, number: 0 };
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.deliveries += 1;
            reply.number = consumer.deliveries;
            let due = now + consumer.lease;
            let pending = consumer.pending.entry(message.sequence);
            pending.or_insert(Pending { first: consumer.deliveries, due }).due = due;
            let (stream, most) = (consumer.stream, consumer.max_deliver);
            let message = message.clone();
            self.happenings.push(Happening::Delivered { stream, message, delivered, most });
        }
        Delivery { reply, delivered, message }
    }

    /// Takes an answer. One that comes late counts, whoever has the message by now.
    pub(in crate::simulation) fn answer(&mut self, reply: &Reply, answer: Answer) {
        let now = self.now;
        let Some(consumer) = self.consumers.get_mut(&reply.consumer) else { return };
        let stream = consumer.stream;
        let sequence = reply.sequence;
        // Of a consumer of the same name that was there before.
        if sequence >= consumer.next {
            return;
        }
        match answer {
            Answer::Ack | Answer::Term => {
                consumer.done(sequence);
                if matches!(stream, Stream::Submit | Stream::Tasks) {
                    self.remove(stream, sequence, Gone::Answered);
                } else if let Some(message) = self.at(stream, sequence) {
                    self.happenings.push(Happening::Acknowledged { stream, message });
                }
            }
            Answer::Progress => {
                let lease = consumer.lease;
                if let Some(pending) = consumer.pending.get_mut(&sequence) {
                    pending.due = now + lease;
                }
            }
            Answer::Nak(delay) => {
                // Of a delivery behind the floor, or of another consumer, nothing is heard.
                if reply.number <= consumer.floor.0 || reply.number > consumer.deliveries {
                    return;
                }
                if let Some(pending) = consumer.pending.get_mut(&sequence) {
                    pending.due = now + delay;
                }
            }
        }
    }
}
