//! PURE: which instance is replaced by a fresh one, because it has done so many tasks.
//!
//! One at a time, and where there are several only while another one takes tasks, so that the plugin always
//! serves. It goes as those that are too many go, see [`super::drain`]: it takes no more, finishes what it holds
//! and is stopped when it has been idle for a while; its runtime starts it again.

use std::num::NonZeroU32;
use std::time::Duration;

use broker_config::InstanceId;

use super::{Drain, Moment, Sign, Step};

/// For so long a fresh one is waited for before the next one goes.
const FRESH: Duration = Duration::from_secs(60);

/// What an instance says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worn<'a> {
    /// Its name.
    pub name: &'a InstanceId,
    /// When it was started; tells a fresh one from the one before.
    pub started_at: &'a str,
    /// Whether it takes tasks.
    pub is_ready: bool,
    /// Attempts that it has begun.
    pub done: u64,
    /// What else it says.
    pub sign: Sign<'a>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is to take no more tasks; who does not hear it would go on.
    Pause(InstanceId),
    /// It is to go on after all.
    Resume(InstanceId),
    /// It is to be stopped and started anew.
    Renew {
        /// Which.
        name: InstanceId,
        /// Whether it holds nothing, as far as can be known.
        is_idle: bool,
    },
}

/// Replaces the instances of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recycler {
    now: Option<Going>,
    /// Who was replaced last, when it had been started, and when it was replaced.
    last: Option<(InstanceId, String, Moment)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Going {
    name: InstanceId,
    started_at: String,
    drain: Drain,
}

impl Recycler {
    /// Takes in how its instances are; `after` is `None` when nothing is to be replaced any more, `limit` how
    /// long one may take to finish what it holds.
    pub fn look(
        &mut self,
        instances: &[Worn<'_>],
        after: Option<NonZeroU32>,
        limit: Duration,
        at: Moment,
    ) -> Option<Act> {
        let Some(after) = after else {
            return self.now.take().map(|going| Act::Resume(going.name));
        };
        if self.now.is_none() {
            let worn = self.next(instances, after, at)?;
            self.now = Some(Going {
                name: worn.name.clone(),
                started_at: worn.started_at.to_owned(),
                drain: Drain::new(at),
            });
        }
        let going = self.now.as_mut()?;
        let its = instances.iter().find(|worn| *worn.name == going.name);
        // Somebody else has started it anew.
        if its.is_some_and(|worn| worn.started_at != going.started_at) {
            self.now = None;
            return None;
        }
        let step = going.drain.look(its.map(|worn| worn.sign), limit, at);
        if step == Step::Pause {
            return Some(Act::Pause(going.name.clone()));
        }
        let Going { name, started_at, .. } = self.now.take()?;
        self.last = Some((name.clone(), started_at, at));
        Some(Act::Renew { name, is_idle: step == Step::Stop })
    }

    /// The one that has done most, if one may go.
    fn next<'a, 'b>(
        &self,
        instances: &'b [Worn<'a>],
        after: NonZeroU32,
        at: Moment,
    ) -> Option<&'b Worn<'a>> {
        let is_old = |worn: &Worn<'_>| {
            let last = self.last.as_ref();
            last.is_some_and(|(name, from, _)| worn.name == name && worn.started_at == from)
        };
        if let Some((name, _, when)) = &self.last {
            let is_back = instances.iter().any(|w| w.name == name && !is_old(w) && w.is_ready);
            if !is_back && at.saturating_sub(*when) < FRESH {
                return None;
            }
        }
        let is_worn = |worn: &&Worn<'_>| {
            let others = || instances.iter().any(|other| other.name != worn.name && other.is_ready);
            let may_go = instances.len() == 1 || others();
            worn.is_ready && worn.done >= u64::from(after.get()) && !is_old(worn) && may_go
        };
        instances.iter().filter(is_worn).max_by_key(|worn| worn.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays looks, one each second, at instances that are written `name@start:state:done`, where the state
    /// is `r` ready, `p` paused and idle, `b` paused and busy; shows what is done at each.
    fn play(looks: &[&str], after: u32) -> Vec<String> {
        let mut recycler = Recycler::default();
        let play = |(second, look): (usize, &&str)| {
            let told = format!("sign {second}");
            let names: Vec<Vec<String>> = look
                .split_whitespace()
                .map(|one| one.split(['@', ':']).map(str::to_owned).collect())
                .collect();
            let ids: Vec<InstanceId> =
                names.iter().map(|parts| parts[0].parse().unwrap()).collect();
            let worn = ids.iter().zip(&names).map(|(name, parts)| Worn {
                name,
                started_at: &parts[1],
                is_ready: parts[2] == "r",
                done: parts[3].parse().unwrap(),
                sign: Sign { at: &told, is_paused: parts[2] != "r", is_idle: parts[2] == "p" },
            });
            let at = Duration::from_secs(second as u64);
            let limit = Duration::from_secs(30);
            let act = recycler.look(&worn.collect::<Vec<_>>(), NonZeroU32::new(after), limit, at);
            match act {
                None => "-".to_owned(),
                Some(Act::Pause(name)) => format!("pause {name}"),
                Some(Act::Resume(name)) => format!("resume {name}"),
                Some(Act::Renew { name, is_idle: true }) => format!("renew {name}"),
                Some(Act::Renew { name, .. }) => format!("renew {name} busy"),
            }
        };
        let mut acts: Vec<String> = looks.iter().enumerate().map(play).collect();
        acts.dedup();
        acts
    }

    #[test]
    fn one_after_the_other_is_drained_and_replaced_while_the_others_serve() {
        let mut looks = vec!["a@1:r:4 b@1:r:2"; 2];
        looks.extend(["a@1:r:5 b@1:r:7"; 2]);
        looks.extend(["a@1:r:6 b@1:b:7"; 3]);
        looks.extend(["a@1:r:6 b@1:p:7"; 8]);
        // It is gone for a moment, comes back, and only then the other one goes.
        looks.extend(["a@1:r:6 b@1:p:7", "a@1:r:6", "a@1:r:6", "a@1:r:7 b@2:r:0"]);
        looks.extend(["a@1:p:7 b@2:r:1"; 9]);
        looks.extend(["a@2:r:0 b@2:r:2"; 3]);
        let acts = play(&looks, 5);
        assert_eq!(acts, ["-", "pause b", "renew b", "-", "pause a", "renew a", "-"]);
    }

    #[test]
    fn who_may_not_go_stays() {
        for (case, look, expected) in [
            ("not enough", "a@1:r:4 b@1:r:4", "-"),
            ("the only one that serves of several", "a@1:r:9 b@1:p:0", "-"),
            ("it serves not", "a@1:p:9 b@1:r:0", "-"),
            ("the only one there is", "a@1:r:9", "pause a"),
            ("the one that has done most", "a@1:r:6 b@1:r:9 c@1:r:7", "pause b"),
        ] {
            assert_eq!(play(&[look], 5), [expected], "{case}");
        }
        // Who does not get done is stopped all the same, in the end.
        let acts = play(&["a@1:b:9 b@1:r:0"; 1], 5);
        assert_eq!(acts, ["-"]);
        let mut looks = vec!["a@1:r:9 b@1:r:0"];
        looks.extend(["a@1:b:9 b@1:r:0"; 31]);
        assert_eq!(play(&looks, 5), ["pause a", "renew a busy", "-"]);
        // Somebody has started it anew meanwhile.
        assert_eq!(play(&["a@1:r:9 b@1:r:0", "a@2:r:0 b@1:r:0"], 5), ["pause a", "-"]);
        // Nothing is to be replaced any more.
        let mut recycler = Recycler { now: None, last: None };
        assert_eq!(recycler.look(&[], None, Duration::ZERO, Duration::ZERO), None);
    }
}
