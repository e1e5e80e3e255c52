//! Takes submissions out of their stream while there are places; as `feeder.rs`.

use std::rc::Rc;
use std::sync::Arc;

use broker_config::{Queue, RunId};
use coordinator::dispatcher::Event;
use coordinator::engine::SUBMISSION_LEASE;
use coordinator::feeder::is_of_later;
use coordinator::run::{Opening, Trace};

use super::super::broker::{Answer, Body, Delivery, Stream};
use super::super::runtime::Topic;
use super::super::sim::Lost;
use super::{Input, Session};

/// Pause before trying again what the broker refused.
const PAUSE: u64 = 500;

impl Session {
    pub(super) async fn feed(self: Rc<Self>, queue: Queue) {
        let mut has_led = false;
        loop {
            if let Some(name) = self.take_over(queue, has_led).await {
                has_led = true;
                self.feed_from(queue, &name).await;
            }
            self.sim.rt.sleep(PAUSE).await;
        }
    }

    /// Makes a consumer of our own; the one of an earlier leader goes.
    async fn take_over(&self, queue: Queue, has_led: bool) -> Option<String> {
        let beginning = format!("coordinator_{queue}_");
        let name = format!("{beginning}{}", self.epoch);
        let found = self.sim.call(|broker| broker.consumers()).await.ok()?;
        for found in found {
            let Some(epoch) = found.strip_prefix(&beginning).and_then(|text| text.parse().ok())
            else {
                continue;
            };
            if is_of_later(self.epoch, epoch, has_led) {
                return None;
            }
            if epoch != self.epoch {
                self.sim.call(|broker| broker.forget(&found)).await.ok()?;
            }
        }
        let lease = u64::try_from(SUBMISSION_LEASE.as_millis()).unwrap_or(u64::MAX);
        let filter = (Stream::Submit, self.sim.names.submit(queue));
        self.sim.call(|broker| broker.consume(&name, filter, lease, None)).await.ok()?;
        Some(name)
    }

    /// Takes submissions until the consumer is gone.
    async fn feed_from(self: &Rc<Self>, queue: Queue, name: &str) {
        loop {
            if self.slots.room(queue) == 0 {
                self.sim.rt.wait(vec![Topic::Places(self.at)], PAUSE).await;
                continue;
            }
            match self.sim.call(|broker| broker.pull(name)).await {
                Ok(None) => return,
                Ok(Some(Some(delivery))) => {
                    if let Some(opened) = self.parse(queue, delivery).await {
                        let me = self.clone();
                        self.serve(async move { me.open(opened).await });
                    }
                }
                Ok(Some(None)) => {
                    self.sim.rt.wait(vec![Topic::Consumer(name.to_owned())], 5_000).await;
                }
                Err(Lost) => {}
            }
        }
    }

    /// Reads a submission; one that is not readable is told of and then ended.
    async fn parse(&self, queue: Queue, delivery: Delivery) -> Option<(Arc<Opening>, Delivery)> {
        self.slots.take(queue);
        let id = RunId(delivery.message.sequence);
        if let Body::Submission(submission) = &delivery.message.body {
            let opening = Opening {
                id,
                queue,
                submitted_at: delivery.message.stored_at,
                submission: (**submission).clone(),
                trace: Trace::default(),
            };
            return Some((Arc::new(opening), delivery));
        }
        self.slots.release(queue);
        let told = Some(format!("rejected.{id}"));
        let headers = super::super::broker::Headers { id: told, ..Default::default() };
        let body = Body::Rejected(id);
        if self.sim.publish(Stream::Events, "event", headers, body).await.is_ok() {
            self.sim.answer(&delivery.reply, Answer::Term);
        }
        None
    }

    async fn open(self: Rc<Self>, (opening, delivery): (Arc<Opening>, Delivery)) {
        let cid = opening.submission.cid.clone();
        self.report(Event::Opening { cids: vec![cid.clone()] });
        let records = self.records_of_patiently(&cid).await;
        self.tell(Input::Opened { opening, records, reply: delivery.reply });
    }
}
