//! How many tasks of a plugin may be out at once over the whole fleet; pure.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;

use broker_config::{PluginId, Queue, RunId};

/// Of this many admissions while both queues wait, one goes to `background`.
const BACKGROUND_TURN: u32 = 4;

#[derive(Debug, Default)]
struct Limit {
    out: u32,
    fast: VecDeque<RunId>,
    background: VecDeque<RunId>,
    turn: u32,
}

/// Counts tasks in the broker's hands and keeps what waits for a place, per plugin.
#[derive(Debug, Default)]
pub struct Limits(BTreeMap<PluginId, Limit>);

impl Limits {
    /// Forgets everything, to be counted anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a task that is out already.
    pub fn count(&mut self, plugin: &PluginId) {
        self.0.entry(plugin.clone()).or_default().out += 1;
    }

    /// Takes a place if there is one; `most` = `None` means no limit.
    #[must_use]
    pub fn admit(&mut self, plugin: &PluginId, most: Option<NonZeroU32>) -> bool {
        if !self.0.contains_key(plugin) {
            self.0.insert(plugin.clone(), Limit::default());
        }
        let Some(limit) = self.0.get_mut(plugin) else { return false };
        let free = most.is_none_or(|most| limit.out < most.get());
        if free {
            limit.out += 1;
        }
        free
    }

    /// Puts a run in the line for a place.
    pub fn wait(&mut self, plugin: PluginId, queue: Queue, run: RunId) {
        let limit = self.0.entry(plugin).or_default();
        match queue {
            Queue::Fast => limit.fast.push_back(run),
            Queue::Background => limit.background.push_back(run),
        }
    }

    /// Gives a place back.
    pub fn release(&mut self, plugin: &PluginId) {
        if let Some(limit) = self.0.get_mut(plugin) {
            limit.out = limit.out.saturating_sub(1);
        }
    }

    /// Takes a place for whoever is next in line, if there is both; fast first, but background
    /// gets every fourth place while both wait.
    #[must_use]
    pub fn next(&mut self, plugin: &PluginId, most: Option<NonZeroU32>) -> Option<RunId> {
        let limit = self.0.get_mut(plugin)?;
        if most.is_some_and(|most| limit.out >= most.get()) {
            return None;
        }
        let both = !limit.fast.is_empty() && !limit.background.is_empty();
        let background = both && limit.turn + 1 >= BACKGROUND_TURN;
        limit.turn = if both && !background { limit.turn + 1 } else { 0 };
        let run = if background {
            limit.background.pop_front()
        } else {
            limit.fast.pop_front().or_else(|| limit.background.pop_front())
        }?;
        limit.out += 1;
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_out_and_neither_queue_starves() {
        let plugin: PluginId = "p".parse().unwrap();
        let most = NonZeroU32::new(2);
        let mut limits = Limits::default();
        assert!(limits.admit(&plugin, most) && limits.admit(&plugin, most));
        assert!(!limits.admit(&plugin, most));
        for run in 1..=8 {
            limits.wait(plugin.clone(), Queue::Fast, RunId(run));
        }
        for run in 101..=102 {
            limits.wait(plugin.clone(), Queue::Background, RunId(run));
        }
        assert_eq!(limits.next(&plugin, most), None, "both places are taken");
        let mut order = Vec::new();
        for _ in 0..11 {
            limits.release(&plugin);
            order.extend(limits.next(&plugin, most).map(|run| run.0));
        }
        assert_eq!(order, [1, 2, 3, 101, 4, 5, 6, 102, 7, 8]);
    }
}
