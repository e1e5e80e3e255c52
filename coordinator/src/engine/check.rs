//! Looks for published tasks: are they still waiting, delivered too often, or gone?

use std::collections::{BTreeMap, BTreeSet};

use broker_config::planted::{Bug, planted};
use broker_config::read::{Stored, last_messages};
use broker_config::{Cid, Lane, Names, PluginId, Queue};

use super::{Input, Shared};
use crate::advisories::exhausted;
use crate::dispatcher::{Event, Suspect};
use crate::strays::{Fate, LEAVING};

/// Subjects asked for in one request; three per task.
const BATCH: usize = 256;

/// A suspect and the sequence of its task.
type Lying<'a> = (&'a Suspect, u64);

impl Shared {
    /// Reports every suspect whose task is nowhere, or was to be given to nobody, after its record if that
    /// has changed; gives up those that were delivered as often as they may be and that no advisory
    /// told us of.
    pub(super) async fn check(&self, mut suspects: Vec<Suspect>) {
        // Before anything is read: what arrives meanwhile would be missed as well.
        suspects.retain(|suspect| !self.underway.has(suspect.run, &suspect.plugin));
        let Some(found) = self.find(&suspects).await else { return };
        let mut missing = Vec::new();
        let mut stuck: BTreeMap<(PluginId, Queue, Lane), Vec<Lying<'_>>> = BTreeMap::new();
        for suspect in &suspects {
            let names = &self.broker.names;
            let tasks = Queue::ALL.map(|queue| (queue, found.get(&task_of(names, queue, suspect))));
            let later =
                found.get(&later_of(names, suspect)).filter(|_| !planted(Bug::WaitingIsMissing));
            let is_gone = later.is_none() && tasks.iter().all(|(_, task)| task.is_none());
            if is_gone {
                missing.push(suspect);
            }
            // What waits for its time has been put off and acknowledged. If it is there as well, a
            // broker that was killed has lost the removal, and that is no reason to give it up.
            for (queue, task) in tasks.into_iter().filter(|_| later.is_none()) {
                let of = (suspect.plugin.clone(), queue, suspect.lane);
                if let Some(task) = task {
                    stuck.entry(of).or_default().push((suspect, task.sequence));
                }
            }
        }
        for ((plugin, queue, lane), tasks) in stuck {
            missing.extend(self.sweep(Names::consumer_in(lane, &plugin, queue), tasks).await);
        }
        if missing.is_empty() {
            return;
        }
        let cids: BTreeSet<Cid> = missing.iter().map(|suspect| suspect.cid.clone()).collect();
        let cids: Vec<Cid> = cids.into_iter().collect();
        let Ok(records) = self.broker.records_of(&cids).await else { return };
        // Those that are given up just now have their record in a moment; the next look sees it.
        missing.retain(|suspect| !self.broker.in_hand.has(&suspect.plugin, &suspect.cid));
        for suspect in missing {
            let record = records.get(&suspect.cid).and_then(|of| of.get(&suspect.plugin));
            let (cid, plugin) = (suspect.cid.clone(), suspect.plugin.clone());
            if let Some(record) = record.cloned() {
                self.send(Event::Record { cid, plugin: plugin.clone(), record }).await;
            }
            let (run, since, record) = (suspect.run, suspect.since, record.cloned());
            self.send(Event::Reread { run, plugin: plugin.clone(), since, record }).await;
            self.send(Event::Missing { run, plugin, since }).await;
        }
    }

    async fn send(&self, event: Event) {
        if self.inputs.send(Input::Event(event)).await.is_err() {
            tracing::trace!("engine has stopped");
        }
    }

    async fn find(&self, suspects: &[Suspect]) -> Option<BTreeMap<String, Stored>> {
        let names = &self.broker.names;
        let all = |suspect: &Suspect| {
            let tasks = Queue::ALL.map(|queue| task_of(names, queue, suspect));
            tasks.into_iter().chain([later_of(names, suspect)])
        };
        let subjects: BTreeSet<String> = suspects.iter().flat_map(all).collect();
        let subjects: Vec<String> = subjects.into_iter().collect();
        let mut found = BTreeMap::new();
        for batch in subjects.chunks(BATCH) {
            let stream = names.task_stream();
            let stored = last_messages(&self.broker.client, &stream, batch).await.ok()?;
            found.extend(stored.into_iter().map(|stored| (stored.subject.clone(), stored)));
        }
        Some(found)
    }

    /// A task that was delivered and is not held by anybody is not coming again by itself: it was
    /// delivered as often as it may be, which advisories say too, but at most once; or it is passed
    /// over, and taken out. Returns those that are taken out so.
    async fn sweep<'a>(&self, consumer: String, tasks: Vec<Lying<'a>>) -> Vec<&'a Suspect> {
        let broker = &self.broker;
        let mut taken_out = Vec::new();
        let Some((standing, filter)) = broker.standing(&consumer).await else { return taken_out };
        let sequences: Vec<u64> = tasks.iter().map(|(_, sequence)| *sequence).collect();
        if sequences.iter().all(|sequence| *sequence > standing.behind()) {
            return taken_out;
        }
        // One that was acknowledged a moment ago is leaving its stream.
        tokio::time::sleep(LEAVING).await;
        let fates = broker.fates(&consumer, (standing, &filter), &sequences).await;
        for (task, fate) in fates.unwrap_or_default() {
            match fate {
                Fate::Comes => {}
                Fate::RanOut if planted(Bug::NoSweep) => {}
                Fate::RanOut => drop(exhausted(broker, &self.witness, &task).await),
                Fate::PassedOver => {
                    tracing::warn!(subject = task.subject, "nobody would be given a task");
                    let stream = broker.names.task_stream();
                    if broker.delete_message(&stream, task.sequence).await.is_ok() {
                        let its = tasks.iter().filter(|(_, sequence)| *sequence == task.sequence);
                        taken_out.extend(its.map(|(suspect, _)| *suspect));
                    }
                }
            }
        }
        taken_out
    }
}

/// Where a task waits in one of the queues. In which one it is, only the broker knows: the operator may have moved the
/// plugin to the other one since, also while somebody else led.
fn task_of(names: &Names, queue: Queue, suspect: &Suspect) -> String {
    names.task_in(suspect.lane, queue, &suspect.plugin, &suspect.cid)
}

/// Where a task waits for its time.
fn later_of(names: &Names, suspect: &Suspect) -> String {
    names.later_in(suspect.lane, &suspect.plugin, &suspect.cid)
}
