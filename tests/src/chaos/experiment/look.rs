//! Looks at what an experiment has left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use anyhow::{Context as _, bail};
use async_nats::HeaderMap;
use broker_config::Record;
use broker_config::read::Stored;
use broker_config::wire::event::{Event, Fact};
use coordinator::broker::records::stored_at;

use super::Chaos;
use crate::chaos::check::Seen;
use crate::chaos::submitter::{Handed, cid};
use crate::chaos::{Sabotage, leftover};

/// A record whose time is so many microseconds off is from a worker whose clock was turned.
const WRONG: u64 = 30 * 60 * 1_000_000;

impl Chaos {
    /// Looks at everything that is there in the end.
    pub(super) async fn look(&mut self, handed: &Handed) -> anyhow::Result<Seen> {
        let mut processes = std::mem::take(&mut self.workers);
        processes.append(&mut self.coordinators);
        for process in &mut processes {
            self.note_end(process)?;
        }
        if self.options.sabotage == Some(Sabotage::TellTwice) {
            self.tell_twice().await?;
        }
        let fleet = &self.fleet;
        let mut settled: BTreeMap<String, usize> = BTreeMap::new();
        let (mut repaired, mut work, mut written_at) = (0, Vec::new(), Vec::new());
        let handed = handed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut told, mut told_twice) = (BTreeSet::new(), 0);
        let mut outcomes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let note = |stored: Stored| {
            let event: Event = serde_json::from_slice(&stored.payload)?;
            if let Fact::TaskSettled { cid, plugin_id, revision, .. } = &event.what {
                outcomes.entry(format!("{cid}.{plugin_id}")).or_default().push(*revision);
                told_twice += usize::from(!told.insert(("record", *revision)));
            }
            if let Fact::FileSettled { cid, run_id, .. } = &event.what {
                told_twice += usize::from(!told.insert(("file", run_id.0)));
                *settled.entry(cid.to_string()).or_default() += 1;
                let from = handed.get(cid.as_str()).copied();
                work.extend(from.map(|from| (from, stored_at(&stored) / 1_000)));
            }
            repaired += usize::from(matches!(event.what, Fact::TaskRepaired { .. }));
            Ok(())
        };
        fleet.each_stored(&fleet.names.event_stream(), note).await.context("read the events")?;
        let (mut records, mut wrong_times) = (Vec::new(), 0);
        let note = |stored: Stored| {
            let Some(address) = fleet.names.parse_record(&stored.subject) else {
                bail!("{} is no record", stored.subject);
            };
            let record: Record = serde_json::from_slice(&stored.payload)?;
            written_at.push(stored_at(&stored) / 1_000);
            let finished: jiff::Timestamp = record.finished_at.parse()?;
            let off = finished.as_microsecond().abs_diff(stored_at(&stored) / 1_000);
            wrong_times += usize::from(off > WRONG);
            records.push((address.cid.to_string(), address.plugin.to_string(), record.status));
            Ok(())
        };
        fleet.each_stored(&fleet.names.record_stream(), note).await.context("read the records")?;
        outcomes.retain(|_, revisions| revisions.len() > 1);
        let outcomes: String = outcomes.iter().map(|found| format!("{found:?}\n")).collect();
        std::fs::write(self.options.folder.join("again.txt"), outcomes)?;
        self.ledgers.read()?;
        let kills: String = self.kills.iter().map(|kill| format!("{kill:?}\n")).collect();
        std::fs::write(self.options.folder.join("kills.txt"), kills)?;
        std::fs::write(self.options.folder.join("left.txt"), leftover::describe(fleet).await?)?;
        Ok(Seen {
            files: (0..self.options.files).map(cid).collect(),
            executions: self.ledgers.executions(),
            kills: std::mem::take(&mut self.kills),
            records,
            written: fleet.state(&fleet.names.record_stream()).await?.1,
            settled,
            told_twice,
            submissions_left: fleet.state(&fleet.names.submit_stream()).await?.0,
            tasks_left: fleet.state(&fleet.names.task_stream()).await?.0,
            dead_letters: fleet.dead_letters().await?.len(),
            repaired,
            may_repair: self.may_repair,
            clock_jumps: self.done.clock_jumps,
            wrong_times,
            work,
            written_at,
            stall_limit_ms: 0,
        })
    }

    /// Has subscribers hear of a settled file once more.
    async fn tell_twice(&self) -> anyhow::Result<()> {
        let names = &self.fleet.names;
        let subject = names.event("file.settled");
        let told = self.fleet.last(&names.event_stream(), &subject).await?;
        let told = told.context("no file is settled")?;
        self.fleet.publisher.publish(subject, HeaderMap::new(), told.payload).await?;
        Ok(())
    }
}
