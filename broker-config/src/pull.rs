//! Pulling from a consumer without hoarding.
//!
//! The caller says how many messages it has room for ([`Puller::set_room`]); never more than that
//! are asked for. One inbox serves for the life of the puller. It asks again by itself when a
//! request runs out, when the server has been silent for too long, and after a reconnect, because
//! a server that was killed forgets who was waiting.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// How long one request waits at the server before it is made anew.
const EXPIRES: Duration = Duration::from_secs(20);
/// How often the server says that a request still waits.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which a request is taken for lost.
const SILENCE: Duration = Duration::from_millis(2_500);
/// How often the connection's state is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Pause before asking again after the server refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// What came of waiting for a message.
#[derive(Debug)]
pub enum Pulled {
    /// A message.
    Message(Box<Message>),
    /// The server refused the request, for example because the consumer is gone (503, 409); the
    /// next call asks again after a pause.
    Refused(u16),
    /// The connection is closed for good.
    Closed,
}

/// Pulls the messages of one consumer.
#[derive(Debug)]
pub struct Puller {
    client: Client,
    subject: String,
    inbox: String,
    answers: Subscriber,
    /// Messages the caller has room for.
    room: usize,
    /// Messages asked for and not yet come.
    asked: usize,
    heard: Instant,
    not_before: Option<Instant>,
    refused: Option<u16>,
    was_away: bool,
    look: Interval,
}

impl Puller {
    /// Subscribes to an inbox; asks for nothing until there is room.
    ///
    /// # Errors
    ///
    /// When the connection is closed.
    pub async fn open(
        client: Client,
        stream: &str,
        consumer: &str,
    ) -> Result<Self, async_nats::SubscribeError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            client,
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            inbox,
            answers,
            room: 0,
            asked: 0,
            heard: Instant::now(),
            not_before: None,
            refused: None,
            was_away: false,
            look,
        })
    }

    /// Says how many messages the caller can take from now on; each one that comes takes a place.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// Messages that were asked for and may still come.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Waits for the next message.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message that has come is returned by this call or the next.
    pub async fn next(&mut self) -> Pulled {
        loop {
            self.ask().await;
            tokio::select! {
                biased;
                answer = self.answers.next() => {
                    let Some(answer) = answer else { return Pulled::Closed };
                    self.heard = Instant::now();
                    match answer.status {
                        None | Some(StatusCode::OK) => {
                            self.asked = self.asked.saturating_sub(1);
                            self.room = self.room.saturating_sub(1);
                            return Pulled::Message(Box::new(answer));
                        }
                        Some(status) => self.on_status(status, &answer),
                    }
                    if let Some(status) = self.refused.take() {
                        return Pulled::Refused(status);
                    }
                }
                _ = self.look.tick() => self.on_look(),
            }
        }
    }

    /// Takes a message that has already come, without waiting.
    pub fn try_next(&mut self) -> Option<Message> {
        use futures_util::FutureExt as _;
        while let Some(Some(answer)) = self.answers.next().now_or_never() {
            self.heard = Instant::now();
            match answer.status {
                None | Some(StatusCode::OK) => {
                    self.asked = self.asked.saturating_sub(1);
                    self.room = self.room.saturating_sub(1);
                    return Some(answer);
                }
                Some(status) => self.on_status(status, &answer),
            }
        }
        None
    }

    /// Asks for what there is room for, if that is worth a request.
    async fn ask(&mut self) {
        let missing = self.room.saturating_sub(self.asked);
        // A request for each single place would double the traffic of a busy worker.
        let worth_it = self.asked == 0 || missing >= self.asked;
        if missing == 0 || !worth_it || self.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.not_before = None;
        let request = Bytes::from(format!(
            r#"{{"batch":{missing},"expires":{},"idle_heartbeat":{}}}"#,
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos()
        ));
        let sent =
            self.client.publish_with_reply(self.subject.clone(), self.inbox.clone(), request).await;
        if sent.is_ok() {
            if self.asked == 0 {
                self.heard = Instant::now();
            }
            self.asked += missing;
        }
    }

    fn on_status(&mut self, status: StatusCode, answer: &Message) {
        match status.as_u16() {
            // Still waiting.
            100 => {}
            // This request ran out; what it did not deliver is in a header.
            404 | 408 => {
                let left = answer
                    .headers
                    .as_ref()
                    .and_then(|headers| headers.get("Nats-Pending-Messages"))
                    .and_then(|value| value.as_str().parse().ok());
                self.asked = self.asked.saturating_sub(left.unwrap_or(self.asked));
            }
            // Refused: the consumer is gone or full, or nobody is there. Ask again a little later.
            other => {
                self.asked = 0;
                self.refused = Some(other);
                self.not_before = Some(Instant::now() + REFUSED_PAUSE);
            }
        }
    }

    fn on_look(&mut self) {
        let away = self.client.connection_state() != State::Connected;
        let lost = self.asked > 0 && self.heard.elapsed() > SILENCE;
        if (self.was_away || lost) && !away {
            self.asked = 0;
            self.heard = Instant::now();
        }
        self.was_away = away;
    }
}
