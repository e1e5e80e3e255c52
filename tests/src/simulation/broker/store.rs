//! The messages of one stream.

use std::collections::{BTreeMap, BTreeSet};

use super::{Message, Stream, Time};

/// How long the id of a message is remembered.
pub(super) const WINDOW: Time = 120_000;

#[derive(Debug)]
pub(super) struct Store {
    /// Whether a subject keeps its last message only.
    keeps_one: bool,
    pub(super) messages: BTreeMap<u64, Message>,
    pub(super) by_subject: BTreeMap<String, BTreeSet<u64>>,
    ids: BTreeMap<String, (Time, u64)>,
    scheduled: BTreeSet<(Time, u64)>,
    pub(super) last: u64,
}

impl Store {
    pub(super) fn of(stream: Stream) -> Self {
        Self {
            keeps_one: matches!(stream, Stream::Records | Stream::Lease),
            messages: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            ids: BTreeMap::new(),
            scheduled: BTreeSet::new(),
            last: 0,
        }
    }

    pub(super) const fn keeps_one(&self) -> bool {
        self.keeps_one
    }

    /// The message that was stored with this id a short time ago.
    pub(super) fn known(&self, id: &str, now: Time) -> Option<u64> {
        let (at, sequence) = self.ids.get(id)?;
        (now < at + WINDOW).then_some(*sequence)
    }

    /// The sequence of the first message, or that of the next one if there is none.
    pub(super) fn first(&self) -> u64 {
        self.messages.keys().next().copied().unwrap_or(self.last + 1)
    }

    /// The last sequence on a subject; 0 = none.
    pub(super) fn last_on(&self, subject: &str) -> u64 {
        self.by_subject.get(subject).and_then(BTreeSet::last).copied().unwrap_or(0)
    }

    /// Stores a message with the next sequence.
    pub(super) fn add(&mut self, message: Message, now: Time) -> Message {
        self.last += 1;
        let message = Message { sequence: self.last, ..message };
        if let Some(id) = &message.headers.id {
            self.ids.insert(id.clone(), (now, self.last));
        }
        self.put_back(message.clone());
        message
    }

    pub(super) fn put_back(&mut self, message: Message) {
        self.by_subject.entry(message.subject.clone()).or_default().insert(message.sequence);
        if let Some((at, _)) = &message.headers.schedule {
            self.scheduled.insert((*at, message.sequence));
        }
        self.messages.insert(message.sequence, message);
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Message> {
        let message = self.messages.remove(&sequence)?;
        if let Some(sequences) = self.by_subject.get_mut(&message.subject) {
            sequences.remove(&sequence);
            if sequences.is_empty() {
                self.by_subject.remove(&message.subject);
            }
        }
        if let Some((at, _)) = &message.headers.schedule {
            self.scheduled.remove(&(*at, sequence));
        }
        Some(message)
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.scheduled.first().map(|(at, _)| *at)
    }

    /// Takes out a message whose time has come.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Message> {
        let (_, sequence) = *self.scheduled.first().filter(|(at, _)| *at <= now)?;
        self.remove(sequence)
    }
}
