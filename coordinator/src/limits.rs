//! How many tasks of a plugin may be out at once over the whole fleet; pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;

use broker_config::{Cid, Lane, PluginId, Queue, RunId};

/// Of this many admissions while both queues wait, one goes to `background`.
const BACKGROUND_TURN: u32 = 4;

/// Whose tasks are counted together: those of a plugin, and those of each of its routes by
/// themselves, so that what waits for a route that nobody serves holds up nothing else.
pub type Line = (PluginId, Lane);

/// The line of a plugin's tasks in a lane.
#[must_use]
pub fn line(plugin: &PluginId, lane: Lane) -> Line {
    let lane = match lane {
        Lane::Main | Lane::Next => Lane::Main,
        Lane::Route(_) => lane,
    };
    (plugin.clone(), lane)
}

#[derive(Debug, Default)]
struct Limit {
    out: u32,
    fast: VecDeque<RunId>,
    background: VecDeque<RunId>,
    turn: u32,
}

/// Counts tasks in the broker's hands and keeps what waits for a place, per line.
#[derive(Debug, Default)]
pub struct Limits {
    lines: BTreeMap<Line, Limit>,
    /// Tasks that an earlier leader published and whose runs are not open here yet.
    inherited: BTreeMap<(PluginId, Cid), Lane>,
}

impl Limits {
    /// Forgets everything but what was inherited, to be counted anew.
    pub fn clear(&mut self) {
        self.lines.clear();
        let inherited = std::mem::take(&mut self.inherited);
        self.inherit(inherited);
    }

    /// Counts the tasks that an earlier leader published.
    pub fn inherit(&mut self, tasks: BTreeMap<(PluginId, Cid), Lane>) {
        for ((plugin, _), lane) in &tasks {
            self.count(&line(plugin, *lane));
        }
        self.inherited.extend(tasks);
    }

    /// Takes over the place of an inherited task, and says in which lane it is; `None` if this one
    /// is none.
    #[must_use]
    pub fn claim(&mut self, plugin: &PluginId, cid: &Cid) -> Option<Lane> {
        if self.inherited.is_empty() {
            return None;
        }
        self.inherited.remove(&(plugin.clone(), cid.clone()))
    }

    /// Gives back the places of inherited tasks that nobody has claimed; says whose they were.
    pub fn disinherit(&mut self) -> BTreeSet<Line> {
        let left = std::mem::take(&mut self.inherited).into_iter();
        let left: Vec<Line> = left.map(|((plugin, _), lane)| line(&plugin, lane)).collect();
        for line in &left {
            self.release(line);
        }
        left.into_iter().collect()
    }

    /// Counts a task that is out already.
    pub fn count(&mut self, line: &Line) {
        self.lines.entry(line.clone()).or_default().out += 1;
    }

    /// Takes a place if there is one; `most` = `None` means no limit.
    #[must_use]
    pub fn admit(&mut self, line: &Line, most: Option<NonZeroU32>) -> bool {
        if !self.lines.contains_key(line) {
            self.lines.insert(line.clone(), Limit::default());
        }
        let Some(limit) = self.lines.get_mut(line) else { return false };
        let free = most.is_none_or(|most| limit.out < most.get());
        if free {
            limit.out += 1;
        }
        free
    }

    /// Puts a run in the line for a place.
    pub fn wait(&mut self, line: Line, queue: Queue, run: RunId) {
        let limit = self.lines.entry(line).or_default();
        match queue {
            Queue::Fast => limit.fast.push_back(run),
            Queue::Background => limit.background.push_back(run),
        }
    }

    /// Gives a place back.
    pub fn release(&mut self, line: &Line) {
        if let Some(limit) = self.lines.get_mut(line) {
            limit.out = limit.out.saturating_sub(1);
        }
    }

    /// Takes a place for whoever is next in line, if there is both; fast first, but background
    /// gets every fourth place while both wait.
    #[must_use]
    pub fn next(&mut self, line: &Line, most: Option<NonZeroU32>) -> Option<RunId> {
        let limit = self.lines.get_mut(line)?;
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
        let plugin = line(&"p".parse().unwrap(), Lane::Main);
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
        let plugin = line(&"p".parse().unwrap(), Lane::Main);
        let cid = |text: &str| text.parse::<Cid>().unwrap();
        let most = NonZeroU32::new(2);
        let mut limits = Limits::default();
        let id = plugin.0.clone();
        let of = |text: &str| ((id.clone(), cid(text)), Lane::Next);
        limits.inherit([of("a"), of("b")].into());
        assert!(!limits.admit(&plugin, most));
        limits.clear();
        assert!(!limits.admit(&plugin, most), "counted anew");
        assert_eq!(limits.claim(&id, &cid("a")), Some(Lane::Next), "two versions count together");
        assert_eq!(limits.claim(&id, &cid("a")), None);
        assert!(!limits.admit(&plugin, most), "a claimed place is taken");
        assert_eq!(limits.disinherit(), [plugin.clone()].into());
        assert!(limits.admit(&plugin, most) && !limits.admit(&plugin, most));
    }

    #[test]
    fn what_waits_for_a_route_holds_up_neither_another_route_nor_the_rest() {
        let id: PluginId = "p".parse().unwrap();
        let route = |name: &str| line(&id, Lane::Route(name.parse().unwrap()));
        let most = NonZeroU32::new(1);
        let mut limits = Limits::default();
        assert!(limits.admit(&route("gpu"), most) && !limits.admit(&route("gpu"), most));
        assert!(limits.admit(&route("big"), most));
        assert!(limits.admit(&line(&id, Lane::Main), most));
        assert!(!limits.admit(&line(&id, Lane::Next), most), "a version that is tried is no route");
        limits.release(&route("gpu"));
        assert!(!limits.admit(&line(&id, Lane::Main), most) && limits.admit(&route("gpu"), most));
    }
}
