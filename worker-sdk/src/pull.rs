//! Pulls the tasks of both queues for one set of permits.
//!
//! `share::plan` says what to ask for; here the requests are sent, answers counted, and silence
//! noticed. What is promised to a request that nobody answered is taken back when the request is
//! surely over. A reconnect starts with a fresh inbox: the server may still hold the requests of
//! the old one, and would answer them as well. What comes there all the same is run.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Message, StatusCode, SubscribeError};
use broker_config::delivery::Place;
use broker_config::{Lane, Names, PluginId, Queue};
use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connect::Link;
use crate::permit::{Permit, Permits};
use crate::share::{Policy, Sides, plan};
use crate::standing::Gate;

mod line;

use line::{Heard, Line};

/// How often overdue requests are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Messages taken in one go before requests are planned again.
const BURST: usize = 256;
/// How long deliveries on their way are waited for when pulling ends.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// Without a task for so long, requests may wait longer.
const QUIET_AFTER: Duration = Duration::from_secs(10);

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
    pub(crate) lane: Lane,
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
            let consumer = Names::consumer_in(options.lane, options.plugin, queue);
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
                answer = fast.next() => (Queue::Fast, answer),
                answer = background.next() => (Queue::Background, answer),
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
            let line = &mut self.lines[at(ask.queue)];
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
                match self.lines[at(queue)].next().now_or_never() {
                    Some(Some(answer)) => self.on_answer(queue, answer, deliver),
                    Some(None) | None => break,
                }
            }
        }
    }

    fn on_answer(&mut self, queue: Queue, heard: Heard, deliver: &mut impl FnMut(Message, Permit)) {
        let is_task = |answer: &Message| answer.status.is_none_or(|it| it == StatusCode::OK);
        let answer = match heard {
            Heard::Answer(answer) => answer,
            // It was promised to nobody any more.
            Heard::Late(late) if is_task(&late) => return deliver(late, self.permits.take(queue)),
            Heard::Late(_) | Heard::Echo => return,
        };
        let line = &mut self.lines[at(queue)];
        let side = self.sides.of_mut(queue);
        line.heard = Instant::now();
        let Some(status) = answer.status.filter(|_| !is_task(&answer)) else {
            side.promised = side.promised.saturating_sub(1);
            if side.promised == 0 {
                line.all_answered();
            }
            line.found_something();
            let place = answer.reply.as_deref().and_then(Place::parse);
            side.waiting = place.map_or(0, |place| place.pending);
            self.home = queue;
            deliver(answer, self.permits.take(queue));
            return;
        };
        if status == StatusCode::IDLE_HEARTBEAT {
            return;
        }
        let over = line.over(&answer);
        let look = over.as_ref().is_some_and(|sent| sent.look);
        let left = over.map_or(0, |sent| sent.left_over(&answer));
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
        if self.link.client.connection_state() != State::Connected {
            return Ok(());
        }
        for line in &mut self.lines {
            line.doubt(&self.link.client, now).await;
            let side = self.sides.of_mut(line.queue);
            let (still, forgotten) = line.still_asked(now);
            side.promised = side.promised.min(still);
            if forgotten || line.is_silent(now) {
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
            // Without a connection nothing will end the wait.
            drop(timeout(LAST_ANSWERS, line.close(&mut late)).await);
        }
        late.retain(|answer| answer.status.is_none());
        late
    }
}

const fn at(queue: Queue) -> usize {
    match queue {
        Queue::Fast => 0,
        Queue::Background => 1,
    }
}
