//! The requests to one queue's consumer: what was sent, what may still be answered.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Client, Message, SubscribeError, Subscriber};
use broker_config::Queue;
use bytes::Bytes;
use tokio::time::Instant;

use crate::share::{Ask, Wait};

/// How long a request waits, by kind: a permit that is promised to one queue cannot serve the other.
const LONG: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(500);
/// How long a request waits when nothing has come for a while.
const QUIET: Duration = Duration::from_secs(5);
/// How often the server says that a quiet request still waits; two in a row must not be missed.
const HEARTBEAT: Duration = Duration::from_millis(1_500);
/// After this much more than its time a request is over, answered or not.
const MARGIN: Duration = Duration::from_secs(2);
/// Pause before an empty queue is looked at again; doubles up to the second.
const LOOK: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// Pause after the server refused a request; doubles up to the second.
const REFUSED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// One queue: its requests and what came of them.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) queue: Queue,
    /// Where requests go.
    next: String,
    inbox: String,
    pub(super) answers: Subscriber,
    asks: VecDeque<Sent>,
    pub(super) heard: Instant,
    /// When a task came last.
    pub(super) last: Instant,
    pub(super) refused: Option<Duration>,
    pub(super) not_before: Instant,
    look: Duration,
    pub(super) next_look: Instant,
}

/// A request that may still be answered.
#[derive(Debug)]
pub(super) struct Sent {
    token: u64,
    batch: usize,
    over: Instant,
    heartbeat: bool,
    pub(super) look: bool,
}

impl Line {
    pub(super) async fn open(
        client: &Client,
        queue: Queue,
        next: String,
    ) -> Result<Self, SubscribeError> {
        let now = Instant::now();
        let (inbox, answers) = subscribe(client).await?;
        Ok(Self {
            queue,
            next,
            inbox,
            answers,
            asks: VecDeque::new(),
            heard: now,
            last: now,
            refused: None,
            not_before: now,
            look: LOOK[0],
            next_look: now,
        })
    }

    pub(super) async fn renew_inbox(&mut self, client: &Client) -> Result<(), SubscribeError> {
        (self.inbox, self.answers) = subscribe(client).await?;
        self.asks.clear();
        self.heard = Instant::now();
        Ok(())
    }

    pub(super) async fn send(
        &mut self,
        client: &Client,
        ask: Ask,
        token: u64,
        quiet: bool,
    ) -> bool {
        let now = Instant::now();
        let batch = ask.batch;
        let lasts = match ask.wait {
            Wait::No => Duration::ZERO,
            Wait::Turn => SHORT,
            Wait::Short | Wait::Long if quiet => QUIET,
            Wait::Short => SHORT,
            Wait::Long => LONG,
        };
        let heartbeat = lasts == QUIET;
        let body = match (lasts.as_nanos(), HEARTBEAT.as_nanos()) {
            (0, _) => format!(r#"{{"batch":{batch},"no_wait":true}}"#),
            (expires, every) if heartbeat => {
                format!(r#"{{"batch":{batch},"expires":{expires},"idle_heartbeat":{every}}}"#)
            }
            (expires, _) => format!(r#"{{"batch":{batch},"expires":{expires}}}"#),
        };
        let reply = format!("{}.{token}", self.inbox);
        let sent = client.publish_with_reply(self.next.clone(), reply, Bytes::from(body)).await;
        if sent.is_err() {
            return false;
        }
        if heartbeat {
            self.heard = now;
        }
        let look = ask.wait == Wait::No;
        let over = now + lasts + MARGIN;
        self.asks.push_back(Sent { token, batch, over, heartbeat, look });
        true
    }

    /// Tasks that requests which are not over may still bring; strikes off those that are.
    pub(super) fn still_asked(&mut self, now: Instant) -> usize {
        self.asks.retain(|sent| sent.over > now);
        self.asks.iter().map(|sent| sent.batch).sum()
    }

    /// Whether the server has missed two heartbeats.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let listening = self.asks.iter().any(|sent| sent.heartbeat);
        listening && now > self.heard + HEARTBEAT * 2 + HEARTBEAT / 3
    }

    /// Every request is answered in full.
    pub(super) fn all_answered(&mut self) {
        self.asks.clear();
    }

    /// Strikes off the request that `answer` ends.
    pub(super) fn over(&mut self, answer: &Message) -> Option<Sent> {
        let token: u64 = answer.subject.rsplit('.').next()?.parse().ok()?;
        let at = self.asks.iter().position(|sent| sent.token == token)?;
        self.asks.remove(at)
    }

    pub(super) fn found_something(&mut self) {
        self.refused = None;
        self.look = LOOK[0];
        self.last = Instant::now();
        self.next_look = self.last;
    }

    pub(super) fn found_nothing(&mut self) {
        self.next_look = Instant::now() + self.look;
        self.look = (self.look * 2).min(LOOK[1]);
    }

    pub(super) fn refuse(&mut self) {
        let pause = self.refused.map_or(REFUSED[0], |pause| (pause * 2).min(REFUSED[1]));
        self.refused = Some(pause);
        self.not_before = Instant::now() + pause;
    }
}

async fn subscribe(client: &Client) -> Result<(String, Subscriber), SubscribeError> {
    let inbox = client.new_inbox();
    let answers = client.subscribe(format!("{inbox}.*")).await?;
    Ok((inbox, answers))
}

impl Sent {
    /// How many tasks it did not get, when `answer` ends it.
    pub(super) fn left_over(&self, answer: &Message) -> usize {
        answer
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Pending-Messages"))
            .and_then(|value| value.as_str().parse().ok())
            .unwrap_or(self.batch)
    }
}
