//! Pulls the tasks of both queues for one set of permits.
//!
//! `share::plan` says what to ask for; here the requests are sent, answers counted, and silence
//! noticed. What is promised to a request that nobody answered is taken back when the request is
//! surely over. A reconnect starts with a fresh inbox: the server may still hold the requests of
//! the old one, and would answer them as well.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, StatusCode, SubscribeError, Subscriber};
use broker_config::{Names, PluginId, Queue};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connect::Link;
use crate::permit::{Permit, Permits};
use crate::reply::DeliveryInfo;
use crate::share::{Ask, Policy, Sides, Wait, plan};
use crate::standing::Gate;

/// How long a request waits, by kind: a permit that is promised to one queue cannot serve the other.
const LONG: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(500);
/// How long any request waits when nothing has come for a while.
const QUIET: Duration = Duration::from_secs(5);
/// When that is.
const QUIET_AFTER: Duration = Duration::from_secs(10);
/// How often the server says that a quiet request still waits; two in a row must not be missed.
const HEARTBEAT: Duration = Duration::from_millis(1_500);
/// After this much more than its time a request is over, answered or not.
const MARGIN: Duration = Duration::from_secs(2);
/// How often overdue requests are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Pause before an empty queue is looked at again; doubles up to the second.
const LOOK: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// Pause after the server refused a request; doubles up to the second.
const REFUSED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Messages taken in one go before requests are planned again.
const BURST: usize = 256;
/// How long deliveries on their way are waited for when pulling ends.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// One queue: its requests and what came of them.
#[derive(Debug)]
struct Line {
    queue: Queue,
    /// Where requests go.
    next: String,
    inbox: String,
    answers: Subscriber,
    asks: VecDeque<Sent>,
    heard: Instant,
    /// When a task came last.
    last: Instant,
    refused: Option<Duration>,
    not_before: Instant,
    look: Duration,
    next_look: Instant,
}

/// A request that may still be answered.
#[derive(Debug)]
struct Sent {
    token: u64,
    batch: usize,
    over: Instant,
    heartbeat: bool,
    look: bool,
}

/// Pulls for one instance.
#[derive(Debug)]
pub(crate) struct Puller {
    link: Link,
    permits: Arc<Permits>,
    gate: watch::Receiver<Gate>,
    policy: Policy,
    /// Told when a consumer seems to be gone.
    lost: Arc<Notify>,
    lines: [Line; 2],
    sides: Sides,
    home: Queue,
    tokens: u64,
}

/// What a puller needs to know.
#[derive(Debug)]
pub(crate) struct PullerOptions<'a> {
    pub(crate) names: &'a Names,
    pub(crate) plugin: &'a PluginId,
    pub(crate) home: Queue,
    pub(crate) policy: Policy,
    pub(crate) gate: watch::Receiver<Gate>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) lost: Arc<Notify>,
}

impl Puller {
    pub(crate) async fn open(
        link: Link,
        options: PullerOptions<'_>,
    ) -> Result<Self, SubscribeError> {
        let stream = options.names.task_stream();
        let next = |queue| {
            let consumer = Names::consumer(options.plugin, queue);
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
        };
        let lines = [
            Line::open(&link.client, Queue::Fast, next(Queue::Fast)).await?,
            Line::open(&link.client, Queue::Background, next(Queue::Background)).await?,
        ];
        let PullerOptions { permits, gate, policy, lost, home, .. } = options;
        let sides = Sides::default();
        Ok(Self { link, permits, gate, policy, lost, lines, sides, home, tokens: 0 })
    }

    /// Pulls until `stop`, and hands each delivery over with its permit; returns what was still on
    /// its way then, to be given back.
    pub(crate) async fn run(
        mut self,
        stop: &CancellationToken,
        mut deliver: impl FnMut(Message, Permit),
    ) -> Result<Vec<Message>, SubscribeError> {
        let permits = self.permits.clone();
        let mut epoch = self.link.epoch.clone();
        epoch.mark_unchanged();
        let mut gate = self.gate.clone();
        loop {
            let wake = self.ask().await;
            let [fast, background] = &mut self.lines;
            let answer = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = epoch.changed() => {
                    self.start_anew(&mut deliver).await?;
                    continue;
                }
                answer = fast.answers.next() => (Queue::Fast, answer),
                answer = background.answers.next() => (Queue::Background, answer),
                () = permits.freed() => continue,
                Ok(()) = gate.changed() => continue,
                () = sleep_until(wake) => {
                    self.sweep().await?;
                    continue;
                }
            };
            match answer {
                (queue, Some(answer)) => self.on_answer(queue, answer, &mut deliver),
                // The connection is closed; the worker ends with it.
                (_, None) => break,
            }
            self.take_what_is_there(&mut deliver);
        }
        Ok(self.finish().await)
    }

    /// Sends what the plan says; returns when to look again.
    async fn ask(&mut self) -> Instant {
        let now = Instant::now();
        let gate = *self.gate.borrow_and_update();
        if !gate.pulling || self.link.client.connection_state() != State::Connected {
            return now + TICK;
        }
        for line in &self.lines {
            let side = self.sides.of_mut(line.queue);
            side.held = self.permits.held(line.queue);
            side.due = line.next_look <= now;
        }
        let quiet = self.lines.iter().all(|line| now > line.last + QUIET_AFTER);
        let asks = plan(self.policy, gate.permits, self.home, &self.sides);
        self.sides.note(&asks);
        for ask in asks {
            let line = &mut self.lines[place(ask.queue)];
            if line.not_before > now {
                continue;
            }
            self.tokens += 1;
            if line.send(&self.link.client, ask, self.tokens, quiet).await {
                self.sides.of_mut(ask.queue).promised += ask.batch;
            }
        }
        if self.sides.free(gate.permits) == 0 {
            return now + TICK;
        }
        let times = self.lines.iter().flat_map(|line| [line.next_look, line.not_before]);
        times.filter(|&at| at > now).fold(now + TICK, Instant::min)
    }

    fn take_what_is_there(&mut self, deliver: &mut impl FnMut(Message, Permit)) {
        for queue in Queue::ALL {
            for _ in 0..BURST {
                match self.lines[place(queue)].answers.next().now_or_never() {
                    Some(Some(answer)) => self.on_answer(queue, answer, deliver),
                    Some(None) | None => break,
                }
            }
        }
    }

    fn on_answer(
        &mut self,
        queue: Queue,
        answer: Message,
        deliver: &mut impl FnMut(Message, Permit),
    ) {
        let line = &mut self.lines[place(queue)];
        let side = self.sides.of_mut(queue);
        line.heard = Instant::now();
        let Some(status) = answer.status.filter(|&status| status != StatusCode::OK) else {
            side.promised = side.promised.saturating_sub(1);
            if side.promised == 0 {
                line.asks.clear();
            }
            line.found_something();
            let info = answer.reply.as_deref().and_then(DeliveryInfo::parse);
            side.waiting = info.map_or(0, |info| info.pending);
            self.home = queue;
            deliver(answer, self.permits.take(queue));
            return;
        };
        if status == StatusCode::IDLE_HEARTBEAT {
            return;
        }
        let over = line.over(&answer);
        let look = over.as_ref().is_some_and(|sent| sent.look);
        let left = over.map_or(0, |sent| left_over(&answer, sent.batch));
        side.promised = side.promised.saturating_sub(left);
        side.waiting = 0;
        match status {
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => {
                line.refused = None;
                if look {
                    line.found_nothing();
                }
            }
            _ => {
                let why = answer.description.as_deref().unwrap_or_default();
                debug!(%queue, status = status.as_u16(), why, "the broker refused a pull request");
                line.refuse();
                if status == StatusCode::NO_RESPONDERS || why.contains("Deleted") {
                    self.lost.notify_one();
                }
            }
        }
    }

    /// Takes back what was promised to requests that are over, and starts a queue anew whose
    /// long request has gone silent.
    async fn sweep(&mut self) -> Result<(), SubscribeError> {
        let now = Instant::now();
        for line in &mut self.lines {
            line.asks.retain(|sent| sent.over > now);
            let side = self.sides.of_mut(line.queue);
            side.promised = side.promised.min(line.asks.iter().map(|sent| sent.batch).sum());
            let listening = line.asks.iter().any(|sent| sent.heartbeat);
            let connected = self.link.client.connection_state() == State::Connected;
            if listening && connected && now > line.heard + HEARTBEAT * 2 + HEARTBEAT / 3 {
                warn!(queue = %line.queue, "the broker forgot a pull request, asking again");
                line.renew_inbox(&self.link.client).await?;
                side.promised = 0;
            }
        }
        Ok(())
    }

    async fn start_anew(
        &mut self,
        deliver: &mut impl FnMut(Message, Permit),
    ) -> Result<(), SubscribeError> {
        self.take_what_is_there(deliver);
        for line in &mut self.lines {
            line.renew_inbox(&self.link.client).await?;
            line.refused = None;
            line.not_before = Instant::now();
            let side = self.sides.of_mut(line.queue);
            (side.promised, side.waiting) = (0, 0);
        }
        Ok(())
    }

    async fn finish(mut self) -> Vec<Message> {
        let mut late = Vec::new();
        for line in &mut self.lines {
            if line.answers.drain().await.is_err() {
                break;
            }
            let rest = async {
                while let Some(answer) = line.answers.next().await {
                    if answer.status.is_none() {
                        late.push(answer);
                    }
                }
            };
            // Without a connection nothing more will come, and nothing will end the wait.
            drop(timeout(LAST_ANSWERS, rest).await);
        }
        late
    }
}

impl Line {
    async fn open(client: &Client, queue: Queue, next: String) -> Result<Self, SubscribeError> {
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

    async fn renew_inbox(&mut self, client: &Client) -> Result<(), SubscribeError> {
        (self.inbox, self.answers) = subscribe(client).await?;
        self.asks.clear();
        self.heard = Instant::now();
        Ok(())
    }

    async fn send(&mut self, client: &Client, ask: Ask, token: u64, quiet: bool) -> bool {
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

    /// Strikes off the request that `answer` ends.
    fn over(&mut self, answer: &Message) -> Option<Sent> {
        let token: u64 = answer.subject.rsplit('.').next()?.parse().ok()?;
        let at = self.asks.iter().position(|sent| sent.token == token)?;
        self.asks.remove(at)
    }

    fn found_something(&mut self) {
        self.refused = None;
        self.look = LOOK[0];
        self.last = Instant::now();
        self.next_look = self.last;
    }

    fn found_nothing(&mut self) {
        self.next_look = Instant::now() + self.look;
        self.look = (self.look * 2).min(LOOK[1]);
    }

    fn refuse(&mut self) {
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

/// How many tasks a request that is over did not get.
fn left_over(answer: &Message, batch: usize) -> usize {
    answer
        .headers
        .as_ref()
        .and_then(|headers| headers.get("Nats-Pending-Messages"))
        .and_then(|value| value.as_str().parse().ok())
        .unwrap_or(batch)
}

const fn place(queue: Queue) -> usize {
    match queue {
        Queue::Fast => 0,
        Queue::Background => 1,
    }
}
