//! The requests to one queue's consumer: what was sent, what may still be answered.
//!
//! Time alone does not end a request: a broker that stood still reads it later and answers it then.
//! So one that is late is over only when an echo that was sent behind it has come back, and its time
//! has passed since.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Client, Message, SubscribeError, Subscriber};
use broker_config::Queue;
use broker_config::planted::{Bug, planted};
use bytes::Bytes;
use futures_util::stream::SelectAll;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tracing::debug;

use crate::echo::Echo;
use crate::share::{Ask, Wait};

/// How long a request waits, by kind: a permit that is promised to one queue cannot serve the other.
const LONG: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(500);
/// How long a request waits when nothing has come for a while.
const QUIET: Duration = Duration::from_secs(5);
/// How often the server says that a quiet request still waits; two in a row must not be missed.
const HEARTBEAT: Duration = Duration::from_millis(1_500);
/// After this without one, something is wrong.
const SILENCE: Duration = Duration::from_millis(1_750);
/// How much more than its time a request may take to be answered, once it was read.
const MARGIN: Duration = Duration::from_secs(1);
/// The same for one that no echo says was read. So long a connection does not hang.
const FORGOTTEN: Duration = Duration::from_secs(40);
/// Last token of the subject of echoes.
const ECHO: &str = "echo";
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
    answers: Subscriber,
    /// Inboxes that were given up, until an echo says that nothing is on its way there any more. (The
    /// client's own way to drain a subscription forgets it before the broker has heard of that.)
    given_up: SelectAll<Subscriber>,
    asks: VecDeque<Sent>,
    pub(super) heard: Instant,
    echo: Echo,
    /// When the last echo came back.
    echoed: Option<Instant>,
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
    at: Instant,
    lasts: Duration,
    /// When the broker had surely read it.
    read: Option<Instant>,
    heartbeat: bool,
    pub(super) look: bool,
}

/// What came.
pub(super) enum Heard {
    /// On the inbox.
    Answer(Message),
    /// On one that was given up.
    Late(Message),
    /// An echo.
    Echo,
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
            given_up: SelectAll::new(),
            asks: VecDeque::new(),
            heard: now,
            echo: Echo::default(),
            echoed: None,
            last: now,
            refused: None,
            not_before: now,
            look: LOOK[0],
            next_look: now,
        })
    }

    pub(super) async fn renew_inbox(&mut self, client: &Client) -> Result<(), SubscribeError> {
        let (inbox, answers) = subscribe(client).await?;
        self.inbox = inbox;
        self.given_up.push(std::mem::replace(&mut self.answers, answers));
        self.asks.clear();
        self.heard = Instant::now();
        self.call(client, self.heard).await;
        Ok(())
    }

    /// What comes next; `None` when the connection is closed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            biased;
            // Before the echo that closes these.
            Some(late) = self.given_up.next() => Some(Heard::Late(late)),
            answer = self.answers.next() => {
                let answer = answer?;
                if answer.reply.is_none() && answer.subject.ends_with(ECHO) {
                    self.came_back(&answer);
                    return Some(Heard::Echo);
                }
                Some(Heard::Answer(answer))
            }
        }
    }

    /// Gives all inboxes up, and returns the tasks that were on their way.
    pub(super) async fn close(&mut self, late: &mut Vec<Message>) {
        while let Some(Some(answer)) = self.given_up.next().now_or_never() {
            late.push(answer);
        }
        // Without a connection nothing more will come.
        if self.answers.drain().await.is_ok() {
            while let Some(answer) = self.answers.next().await {
                late.push(answer);
            }
        }
    }

    fn came_back(&mut self, echo: &Message) {
        let Some(sent) = self.echo.came_back(echo) else { return };
        let now = Instant::now();
        self.echoed = Some(now);
        self.given_up.clear();
        for ask in self.asks.iter_mut().filter(|ask| ask.at <= sent) {
            ask.read.get_or_insert(now);
        }
    }

    /// Sends an echo behind requests that are late.
    pub(super) async fn doubt(&mut self, client: &Client, now: Instant) {
        let is_late = |ask: &Sent| ask.read.is_none() && now > ask.at + ask.lasts + MARGIN;
        let is_late = self.asks.iter().any(is_late);
        let unheard = self.listens() && now > self.heard + SILENCE;
        let asked = self.echo.is_awaited() || self.echoed.is_some_and(|back| back > self.heard);
        if (is_late && !self.echo.is_awaited()) || (unheard && !asked) {
            self.call(client, now).await;
        }
    }

    async fn call(&mut self, client: &Client, now: Instant) {
        let to = format!("{}.{ECHO}", self.inbox);
        if let Err(error) = crate::tell(client, to.into(), self.echo.send(now)).await {
            debug!(error = %error, "could not ask whether the broker is there");
        }
    }

    fn listens(&self) -> bool {
        self.asks.iter().any(|ask| ask.heartbeat)
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
        let (at, read) = (now, None);
        self.asks.push_back(Sent { token, batch, at, lasts, read, heartbeat, look });
        true
    }

    /// Tasks that requests which are not over may still bring; strikes off those that are. Also
    /// whether these were the last: no answer to them is wanted any more.
    pub(super) fn still_asked(&mut self, now: Instant) -> (usize, bool) {
        let before = self.asks.len();
        self.asks.retain(|sent| !sent.is_over(now));
        let still = self.asks.iter().map(|sent| sent.batch).sum();
        (still, before > 0 && self.asks.is_empty())
    }

    /// Whether the server has missed two heartbeats, the second one after it gave a sign of life.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let since = self.echoed.filter(|&back| back > self.heard).map(|back| back + SILENCE);
        self.listens() && now > since.unwrap_or(self.heard + FORGOTTEN)
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
    fn is_over(&self, now: Instant) -> bool {
        if planted(Bug::RequestForgotten) {
            return now > self.at + self.lasts + MARGIN * 2;
        }
        let since = self.read.map_or(self.at + FORGOTTEN, |read| read + MARGIN);
        now > since + self.lasts
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_over_when_its_time_has_passed_since_the_broker_has_read_it() {
        let (at, seconds) = (Instant::now(), Duration::from_secs);
        let sent = |read: Option<u64>| Sent {
            token: 1,
            batch: 1,
            at,
            lasts: LONG,
            read: read.map(|read| at + seconds(read)),
            heartbeat: false,
            look: false,
        };
        // A broker that stands still for half a minute answers what it was asked before that.
        for (read, now, over) in [
            (Some(0), 3, false),
            (Some(0), 4, true),
            (None, 30, false),
            (Some(30), 33, false),
            (Some(30), 34, true),
            (None, 43, true),
        ] {
            assert_eq!(sent(read).is_over(at + seconds(now)), over, "read at {read:?}, now {now}");
        }
    }
}
