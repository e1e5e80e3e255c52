//! Workers that write and say what is not true, and such that send much of it.
//!
//! They do what their credentials allow: everything under their own subjects.

use std::sync::Arc;

use broker_config::wire::signal::What;
use broker_config::{Cid, MetaMap, Queue, RecordStatus, Task};

use super::super::broker::{Answer, Body, Headers, Stream};
use super::super::plan::{cid_of, plugin_id};
use super::Attempt;

impl Attempt {
    pub(super) async fn lie(&self) {
        let sim = &self.worker.sim;
        match sim.draw(0, 7) {
            0 => self.answer(Answer::Ack),
            1 => self.answer(Answer::Term),
            2 => {
                // Another file's record, whatever is there.
                let cid = self.another_file();
                self.put(&cid, RecordStatus::Completed, self.task.fingerprint.clone()).await;
                self.answer(Answer::Ack);
            }
            3 => {
                // Its own, as if it had been made from something else.
                let cid = self.task.cid.clone();
                self.put(&cid, RecordStatus::Completed, "made up".to_owned()).await;
                self.answer(Answer::Ack);
            }
            4 => {
                let subject = sim.names.record(&self.task.cid, &self.task.plugin_id);
                let junk = sim.publish(Stream::Records, &subject, Headers::default(), Body::Junk);
                junk.await.ok();
                self.answer(Answer::Ack);
            }
            5 => {
                // The failure of another plugin, with the record that is there.
                let plugin = plugin_id(usize::try_from(sim.draw(0, 4)).unwrap_or(0));
                let record = sim.names.record(&self.task.cid, &plugin);
                let found = sim.call(|broker| broker.last_on(Stream::Records, &record)).await;
                let revision = found.ok().flatten().map_or(0, |record| record.sequence);
                let task =
                    Task { plugin_id: plugin, record_revision: revision, ..(*self.task).clone() };
                self.claim(task).await;
            }
            _ => {
                let task = Task { cid: self.another_file(), ..(*self.task).clone() };
                self.claim(task).await;
            }
        }
    }

    fn another_file(&self) -> Cid {
        cid_of(usize::try_from(self.worker.sim.draw(0, 6)).unwrap_or(0))
    }

    async fn put(&self, cid: &Cid, status: RecordStatus, fingerprint: String) {
        let sim = &self.worker.sim;
        let mut record = self.record_of(status, MetaMap::new());
        record.plugin_id = plugin_id(0);
        record.fingerprint = fingerprint;
        let subject = sim.names.record(cid, &self.task.plugin_id);
        let body = Body::Record(Arc::new(record));
        sim.publish(Stream::Records, &subject, Headers::default(), body).await.ok();
    }

    async fn claim(&self, task: Task) {
        let (error, permanent) = ("it is not true".to_owned(), true);
        let what = What::Failed { error, permanent, duration_ms: 0, task: Box::new(task) };
        self.signal(what).await.ok();
        self.answer(Answer::Ack);
    }

    /// Much that nobody can read, before the work is settled properly.
    pub(super) async fn flood(&self) {
        let sim = &self.worker.sim;
        let kind = sim.names.signal(&self.task.plugin_id, "failed");
        for _ in 0..sim.draw(1, 6) {
            sim.publish(Stream::Signals, &kind, Headers::default(), Body::Junk).await.ok();
        }
        let subject = sim.names.submit(Queue::Fast);
        sim.publish(Stream::Submit, &subject, Headers::default(), Body::Junk).await.ok();
    }
}
