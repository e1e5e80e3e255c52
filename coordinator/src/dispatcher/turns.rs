//! One run of a file at a time: who is open, who waits for its turn, and who is not opened at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use broker_config::{Cid, PluginId};

use super::{Command, Dispatcher, PerFile};
use crate::limits::{Line, line};
use crate::run::{KnownRecord, Opening, Run};

impl Dispatcher {
    pub(super) fn on_opened(
        &mut self,
        opening: Arc<Opening>,
        mut records: BTreeMap<PluginId, KnownRecord>,
        commands: &mut Vec<Command>,
    ) {
        for (plugin, record) in self.opening.remove(&opening.submission.cid).unwrap_or_default() {
            if records.get(&plugin).is_none_or(|read| read.revision < record.revision) {
                records.insert(plugin, record);
            }
        }
        let id = opening.id;
        let cid = &opening.submission.cid;
        if !self.is_new_number(&opening, commands) {
            return;
        }
        match self.files.get_mut(cid) {
            Some(file) if file.open == id && self.runs.contains_key(&id) => return,
            // Its turn has come: `Reopen` put it here.
            Some(file) if file.open == id => {}
            Some(file) => {
                match file.waiting.iter_mut().find(|waiting| waiting.id == id) {
                    Some(waiting) => *waiting = opening,
                    None => {
                        file.waiting.push_back(opening);
                        self.waiting += 1;
                    }
                }
                return;
            }
            None => {
                self.files.insert(cid.clone(), PerFile { open: id, waiting: VecDeque::new() });
            }
        }
        self.progress(commands);
        self.runs.insert(id, Run::open(opening, records, &self.graph, self.now));
        self.advance(id, commands);
    }

    /// A submission that was read is not opened, because it is in hand or settled.
    pub fn pass_over(&mut self, cid: &Cid) {
        self.opening.remove(cid);
    }

    /// Whether the records of any file are being read.
    #[cfg(test)]
    pub(crate) fn is_opening(&self) -> bool {
        !self.opening.is_empty()
    }

    /// Whether the number of a submission is not that of another, later one. An earlier one is
    /// dropped: a broker that lost its last moments has lost it and given its number away.
    fn is_new_number(&mut self, opening: &Opening, commands: &mut Vec<Command>) -> bool {
        let Some(run) = self.runs.get(&opening.id) else { return true };
        if run.opening().is_same(opening) {
            return true;
        }
        let (cid, lost) = (&opening.submission.cid, run.opening().submission.cid.clone());
        if run.opening().submitted_at > opening.submitted_at {
            // It waited for its turn.
            let is_next = self.files.get(cid).is_some_and(|file| file.open == opening.id);
            if is_next && *cid != lost {
                self.open_next(cid, commands);
            }
            return false;
        }
        let held: Vec<Line> = run
            .in_flight()
            .filter(|task| !task.deferred)
            .map(|task| line(&task.plugin, task.lane))
            .collect();
        self.runs.remove(&opening.id);
        for line in held {
            self.release(&line, commands);
        }
        self.open_next(&lost, commands);
        true
    }

    /// The open run of a file is over: the next submission of the same file has its turn.
    pub(super) fn open_next(&mut self, cid: &Cid, commands: &mut Vec<Command>) {
        let next = self.files.get_mut(cid).and_then(|file| {
            let next = file.waiting.pop_front()?;
            file.open = next.id;
            Some(next)
        });
        match next {
            Some(opening) => {
                self.waiting -= 1;
                commands.push(Command::Reopen { opening });
            }
            None => drop(self.files.remove(cid)),
        }
    }
}
