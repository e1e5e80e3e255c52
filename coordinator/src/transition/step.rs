//! PURE: how a transition goes on by what is seen of it.

use semver::Version;

use super::judge::{Verdict, judge, rate};
use super::state::{Asked, Gradual, Moment, Tally, Transition, Versions, Way};

/// For so long a version that is tried may be away before the old one gets its files back.
pub const ABSENT_MS: u64 = 120_000;

/// What is seen of a transition.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Now.
    pub now: Moment,
    /// The current version in the registry.
    pub recorded: Version,
    /// Whether a worker of the old version pulls, or holds a task.
    pub old_is_busy: bool,
    /// For how long no worker of the new version was alive, in milliseconds.
    pub absent_ms: u64,
    /// Tasks of the old version that were settled since the last look.
    pub old: Tally,
    /// Those of the new one.
    pub new: Tally,
}

/// What is to be done, beside keeping the new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Keep,
    /// The new version is to become the current one, then the state is kept.
    Switch,
    /// It has become the current one.
    Completed,
    /// Its share has risen to this.
    Advanced(u8),
    /// The old version stays.
    Reverted { reason: String, automatic: bool },
}

/// The next state, and what is to be done about it; `None` = nothing has changed.
#[must_use]
pub fn step(versions: &Versions, seen: &Seen) -> Option<(Versions, Act)> {
    let transition = versions.transition.as_ref()?;
    let completed = || versions.ended(None, &seen.now);
    if seen.recorded == transition.to {
        return Some((completed(), Act::Completed));
    }
    let revert = |reason: String, automatic| {
        let ended = versions.ended(Some(reason.clone()), &seen.now);
        Some((ended, Act::Reverted { reason, automatic }))
    };
    let is_there = transition.candidate.is_some();
    match transition.asked {
        Some(Asked::Revert) => return revert("a person wants it so".to_owned(), false),
        Some(Asked::Switch) if is_there => return Some((completed(), Act::Switch)),
        Some(Asked::Switch) | None => {}
    }
    match &transition.way {
        Way::Immediate if is_there => Some((completed(), Act::Switch)),
        Way::Graceful if is_there && !seen.old_is_busy => Some((completed(), Act::Switch)),
        Way::Immediate | Way::Graceful | Way::BlueGreen => None,
        Way::Gradual(gradual) => {
            if is_there && seen.absent_ms > ABSENT_MS {
                let seconds = ABSENT_MS / 1000;
                return revert(format!("no worker of it for {seconds} s"), true);
            }
            let counted = counted(gradual, seen);
            if judge(counted.old, counted.new) == Verdict::Worse {
                return revert(worse(&counted), true);
            }
            let is_due = is_there
                && counted.done >= counted.tasks
                && seen.now.ms >= counted.since_ms.saturating_add(counted.step_ms);
            if is_due && counted.step >= counted.steps.last() {
                return Some((completed(), Act::Switch));
            }
            if is_due {
                let next = risen(counted, seen.now.ms);
                let act = Act::Advanced(next.percent());
                return Some((with(versions, transition, next), act));
            }
            let has_changed = counted != *gradual;
            has_changed.then(|| (with(versions, transition, counted), Act::Keep))
        }
    }
}

fn counted(gradual: &Gradual, seen: &Seen) -> Gradual {
    Gradual {
        done: gradual.done.saturating_add(seen.new.done),
        old: gradual.old.plus(seen.old),
        new: gradual.new.plus(seen.new),
        ..gradual.clone()
    }
}

fn risen(gradual: Gradual, now_ms: u64) -> Gradual {
    Gradual { step: gradual.step + 1, since_ms: now_ms, done: 0, ..gradual }
}

fn with(versions: &Versions, transition: &Transition, gradual: Gradual) -> Versions {
    let transition = Transition { way: Way::Gradual(gradual), ..transition.clone() };
    Versions { transition: Some(transition), ..versions.clone() }
}

fn worse(gradual: &Gradual) -> String {
    let of = |tally: Tally| {
        format!("{} of {} tasks ({:.0} %)", tally.failed, tally.done, rate(tally) * 100.0)
    };
    format!("it fails more: {}, the version before {}", of(gradual.new), of(gradual.old))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan::How;
    use super::super::state::tests::{moment, under_way, version};
    use super::*;
    use crate::graph::tests::spec;

    fn seen(now_ms: u64) -> Seen {
        Seen {
            now: moment(now_ms),
            recorded: version("1.0.0"),
            old_is_busy: true,
            absent_ms: 0,
            old: Tally::default(),
            new: Tally::default(),
        }
    }

    fn announced(how: How) -> Versions {
        let mut versions = under_way(how);
        let transition = versions.transition.as_mut().unwrap();
        transition.candidate = Some(Box::new(spec("p", 20, &[]).manifest));
        versions
    }

    fn asked(how: How, asked: Asked) -> Versions {
        let mut versions = announced(how);
        versions.transition.as_mut().unwrap().asked = Some(asked);
        versions
    }

    fn gradual(versions: &Versions) -> &Gradual {
        let Some(Transition { way: Way::Gradual(gradual), .. }) = &versions.transition else {
            panic!("{versions:?}")
        };
        gradual
    }

    #[test]
    fn what_comes_next() {
        use How::{BlueGreen, Graceful, Gradual, Immediate};
        let tally = |done, failed| Tally { done, failed };
        let idle = Seen { old_is_busy: false, ..seen(1) };
        let done = Seen { new: tally(10, 0), ..seen(1_000) };
        let worse = Seen { old: tally(50, 1), new: tally(10, 6), ..seen(1) };
        let gone = Seen { absent_ms: ABSENT_MS + 1, ..seen(1) };
        let switched = Seen { recorded: version("2.0.0"), ..seen(1) };
        for (case, versions, seen, expected) in [
            ("nobody there", under_way(Immediate), seen(1), None),
            ("immediate", announced(Immediate), seen(1), Some("switch")),
            ("drains", announced(Graceful), seen(1), None),
            ("drained", announced(Graceful), idle.clone(), Some("switch")),
            ("drained, nobody there", under_way(Graceful), idle, None),
            ("compares", announced(BlueGreen), done.clone(), None),
            ("switch", asked(BlueGreen, Asked::Switch), seen(1), Some("switch")),
            ("abort", asked(BlueGreen, Asked::Revert), seen(1), Some("reverted by hand")),
            ("nothing new", announced(Gradual), seen(1), None),
            ("counts", announced(Gradual), Seen { new: tally(3, 0), ..seen(1) }, Some("keep")),
            ("too soon", announced(Gradual), Seen { new: tally(10, 0), ..seen(999) }, Some("keep")),
            ("too few", announced(Gradual), Seen { new: tally(9, 0), ..seen(9_999) }, Some("keep")),
            ("enough", announced(Gradual), done, Some("advanced 25")),
            ("worse", announced(Gradual), worse, Some("reverted")),
            ("away", announced(Gradual), gone.clone(), Some("reverted")),
            ("never there", under_way(Gradual), gone, None),
            ("roll back", asked(Gradual, Asked::Revert), seen(1), Some("reverted by hand")),
            ("at once", asked(Gradual, Asked::Switch), seen(1), Some("switch")),
            ("a crash after the switch", announced(Gradual), switched, Some("completed")),
            ("nothing goes on", under_way(Gradual).ended(None, &moment(1)), seen(1), None),
        ] {
            let act = step(&versions, &seen).map(|(_, act)| match act {
                Act::Keep => "keep".to_owned(),
                Act::Switch => "switch".to_owned(),
                Act::Completed => "completed".to_owned(),
                Act::Advanced(percent) => format!("advanced {percent}"),
                Act::Reverted { automatic: true, .. } => "reverted".to_owned(),
                Act::Reverted { automatic: false, .. } => "reverted by hand".to_owned(),
            });
            assert_eq!(act.as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn a_share_rises_step_by_step_to_the_switch() {
        let mut versions = announced(How::Gradual);
        let mut acts = Vec::new();
        for now in (1_000..).step_by(1_000).take(4) {
            assert!(versions.transition.is_some(), "{acts:?}");
            let new = Tally { done: 10, failed: 0 };
            let (next, act) = step(&versions, &Seen { new, ..seen(now) }).unwrap();
            versions = next;
            acts.push(act);
        }
        let expected = [Act::Advanced(25), Act::Advanced(50), Act::Advanced(100), Act::Switch];
        assert_eq!(acts, expected);
        assert_eq!(versions.current, version("2.0.0"));
    }

    proptest! {
        /// Whatever happens: no share falls, and no task is counted twice or forgotten.
        #[test]
        fn it_only_goes_forward_or_back_to_the_beginning(
            looks in proptest::collection::vec((0_u64..3_000, 0_u32..30, 0_u32..4), 1..60),
        ) {
            let mut versions = announced(How::Gradual);
            let (mut now, mut total) = (0, Tally::default());
            for (wait, done, failed) in looks {
                now += wait;
                let new = Tally { done, failed: failed.min(done) };
                total = total.plus(new);
                let before = gradual(&versions).clone();
                let Some((next, act)) = step(&versions, &Seen { new, ..seen(now) }) else {
                    prop_assert_eq!(new, Tally::default());
                    continue;
                };
                match act {
                    Act::Keep | Act::Advanced(_) => {
                        let after = gradual(&next);
                        prop_assert!(after.percent() >= before.percent());
                        prop_assert_eq!(after.new, total);
                        versions = next;
                    }
                    Act::Switch => {
                        prop_assert_eq!(before.percent(), 100);
                        prop_assert_eq!(next.current, version("2.0.0"));
                        break;
                    }
                    Act::Reverted { automatic, .. } => {
                        prop_assert!(automatic);
                        prop_assert_eq!(next.current, version("1.0.0"));
                        break;
                    }
                    Act::Completed => prop_assert!(false, "nobody has switched"),
                }
            }
        }
    }
}
