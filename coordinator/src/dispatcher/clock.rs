//! What the passing of time asks for: tries again, looks for lost tasks, says when nothing moves.

use broker_config::RunId;

use super::{Command, Dispatcher, Suspect};

/// Most tasks that one check looks for.
const CHECK_BATCH: usize = 400;

impl Dispatcher {
    pub(super) fn on_tick(&mut self, now: u64, commands: &mut Vec<Command>) {
        self.now = now;
        while let Some((due, id, plugin)) = self.retries.first().cloned()
            && due <= now
        {
            self.retries.remove(&(due, id, plugin.clone()));
            self.give_back(id, &plugin, commands);
        }
        self.disinherit(commands);
        if now >= self.checked + self.timing.check_every {
            self.checked = now;
            let suspects = self.suspects();
            if !suspects.is_empty() {
                commands.push(Command::Check { suspects });
            }
        }
        if self.runs.is_empty() {
            self.progress(commands);
        } else if !self.alarmed && now >= self.moved + self.timing.stall_after {
            let numbers = self.numbers();
            if numbers.parked.all() < self.runs.len() {
                self.alarmed = true;
                commands.push(Command::Alarm {
                    open_files: numbers.open as u64,
                    for_ms: now - self.moved,
                    waiting_for: numbers.waiting_for,
                });
            }
        }
    }

    pub(super) fn progress(&mut self, commands: &mut Vec<Command>) {
        if std::mem::take(&mut self.alarmed) {
            commands.push(Command::Recovered { for_ms: self.now - self.moved });
        }
        self.moved = self.now;
    }

    /// Old published tasks, going round over all runs from check to check.
    pub(super) fn suspects(&mut self) -> Vec<Suspect> {
        let before = self.now.saturating_sub(self.timing.check_after);
        let mut suspects = Vec::new();
        let from = self.check_from;
        let around = self.runs.range(from..).chain(self.runs.range(..from));
        let mut next = RunId(0);
        for (id, run) in around {
            if suspects.len() >= CHECK_BATCH {
                next = *id;
                break;
            }
            suspects.extend(run.in_flight().filter(|task| task.since <= before).map(|task| {
                Suspect {
                    run: *id,
                    cid: run.opening().submission.cid.clone(),
                    plugin: task.plugin,
                    queue: task.queue,
                    lane: task.lane,
                    since: task.since,
                }
            }));
        }
        self.check_from = next;
        suspects
    }
}
