//! How many tasks of a plugin may be out at once over the whole fleet; pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;

use broker_config::{Cid, PluginId, Queue, RunId};

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
pub struct Limits {
    plugins: BTreeMap<PluginId, Limit>,
    /// Tasks that an earlier leader published and whose runs are not open here yet.
    inherited: BTreeSet<(PluginId, Cid)>,
}

impl Limits {
    /// Forgets everything but what was inherited, to be counted anew.
    pub fn clear(&mut self) {
        self.plugins.clear();
        let inherited = std::mem::take(&mut self.inherited);
        self.inherit(inherited);
    }

    /// Counts the tasks that an earlier leader published.
    pub fn inherit(&mut self, tasks: BTreeSet<(PluginId, Cid)>) {
        for (plugin, _) in &tasks {
            self.count(plugin);
        }
        self.inherited.extend(tasks);
    }

    /// Takes over the place of an inherited task; `false` if this one is none.
    #[must_use]
    pub fn claim(&mut self, plugin: &PluginId, cid: &Cid) -> bool {
        !self.inherited.is_empty() && self.inherited.remove(&(plugin.clone(), cid.clone()))
    }

    /// Gives back the places of inherited tasks that nobody has claimed; says whose they were.
    pub fn disinherit(&mut self) -> BTreeSet<PluginId> {
        let left: Vec<PluginId> =
            std::mem::take(&mut self.inherited).into_iter().map(|(plugin, _)| plugin).collect();
        for plugin in &left {
            self.release(plugin);
        }
        left.into_iter().collect()
    }

    /// Counts a task that is out already.
    pub fn count(&mut self, plugin: &PluginId) {
        self.plugins.entry(plugin.clone()).or_default().out += 1;
    }

    /// Takes a place if there is one; `most` = `None` means no limit.
    #[must_use]
    pub fn admit(&mut self, plugin: &PluginId, most: Option<NonZeroU32>) -> bool {
        if !self.plugins.contains_key(plugin) {
            self.plugins.insert(plugin.clone(), Limit::default());
        }
        let Some(limit) = self.plugins.get_mut(plugin) else { return false };
        let free = most.is_none_or(|most| limit.out < most.get());
        if free {
            limit.out += 1;
        }
        free
    }

    /// Puts a run in the line for a place.
    pub fn wait(&mut self, plugin: PluginId, queue: Queue, run: RunId) {
        let limit = self.plugins.entry(plugin).or_default();
        match queue {
            Queue::Fast => limit.fast.push_back(run),
            Queue::Background => limit.background.push_back(run),
        }
    }

    /// Gives a place back.
    pub fn release(&mut self, plugin: &PluginId) {
        if let Some(limit) = self.plugins.get_mut(plugin) {
            limit.out = limit.out.saturating_sub(1);
        }
    }

    /// Takes a place for whoever is next in line, if there is both; fast first, but background
    /// gets every fourth place while both wait.
    #[must_use]
    pub fn next(&mut self, plugin: &PluginId, most: Option<NonZeroU32>) -> Option<RunId> {
        let limit = self.plugins.get_mut(plugin)?;
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

    #[test]
    fn inherited_tasks_hold_their_places_until_they_are_claimed_or_left() {
        let plugin: PluginId = "p".parse().unwrap();
        let cid = |text: &str| text.parse::<Cid>().unwrap();
        let most = NonZeroU32::new(2);
        let mut limits = Limits::default();
        limits.inherit([(plugin.clone(), cid("a")), (plugin.clone(), cid("b"))].into());
        assert!(!limits.admit(&plugin, most));
        limits.clear();
        assert!(!limits.admit(&plugin, most), "counted anew");
        assert!(limits.claim(&plugin, &cid("a")) && !limits.claim(&plugin, &cid("a")));
        assert!(!limits.admit(&plugin, most), "a claimed place is taken");
        assert_eq!(limits.disinherit(), [plugin.clone()].into());
        assert!(limits.admit(&plugin, most) && !limits.admit(&plugin, most));
    }
}
