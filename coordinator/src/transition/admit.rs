//! PURE: what a worker that announces itself is to do, by its version.

use broker_config::Lane;
use semver::Version;

use super::state::{Transition, Versions, Way};

/// What is known when a worker announces itself.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its version.
    pub version: &'a Version,
    /// Whether it knows lanes.
    pub knows_lanes: bool,
    /// The current version; `None` = the plugin is new.
    pub recorded: Option<&'a Version>,
    /// The plugin's versions, if it ever had a transition.
    pub versions: Option<&'a Versions>,
    /// What the other workers of the current version do.
    pub others: Others,
}

/// What the workers of a version do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// There are none.
    Gone,
    /// They are there, pull nothing and hold nothing.
    Idle,
    /// One of them pulls, or holds a task.
    Busy,
}

/// What it is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Serve as the current version, which it becomes if it is not.
    Current,
    /// Serve as the version that is tried, from the second lane.
    Next,
    /// Wait: its version is not, not yet or not any more, the one that serves.
    Hold,
    /// A transition to its version begins, then it is to ask again.
    Begin,
    /// It cannot take part, because of this.
    Refuse(String),
}

/// Decides on a worker that announces itself.
#[must_use]
pub fn admit(arrival: Arrival<'_>) -> Place {
    let Arrival { version, recorded, versions, .. } = arrival;
    let Some(recorded) = recorded else { return Place::Current };
    if let Some(transition) = versions.and_then(|versions| versions.transition.as_ref()) {
        return in_transition(arrival, recorded, transition);
    }
    if version == recorded {
        return Place::Current;
    }
    // It was rolled back, or skipped over on purpose.
    let is_new = versions.is_none_or(|versions| *version > versions.decided);
    match (version > recorded, arrival.others != Others::Gone) {
        (true, _) if !is_new => Place::Hold,
        (true, true) => Place::Begin,
        // Two versions that served in turn would run every file again and again.
        (false, true) => Place::Hold,
        (true | false, false) => Place::Current,
    }
}

fn in_transition(arrival: Arrival<'_>, recorded: &Version, transition: &Transition) -> Place {
    let Arrival { version, .. } = arrival;
    // It has happened already, and is only not written down yet.
    if *recorded == transition.to {
        return if version == recorded { Place::Current } else { Place::Hold };
    }
    let (is_to, is_from) = (*version == transition.to, *version == transition.from);
    match &transition.way {
        Way::Immediate if is_to => Place::Current,
        Way::Graceful if is_to && arrival.others == Others::Busy => Place::Hold,
        Way::Graceful if is_to => Place::Current,
        // As long as the new one is not there, somebody must do the work.
        Way::Immediate | Way::Graceful if is_from && transition.candidate.is_none() => {
            Place::Current
        }
        Way::Gradual(_) | Way::BlueGreen if is_from => Place::Current,
        Way::Gradual(_) | Way::BlueGreen if is_to && !arrival.knows_lanes => {
            let how = transition.way.how();
            Place::Refuse(format!(
                "it cannot take part in a {how} transition: its announcement does not say `lanes`; \
                 use another SDK, or `immediate` or `graceful`"
            ))
        }
        Way::Gradual(_) | Way::BlueGreen if is_to => Place::Next,
        Way::Immediate | Way::Graceful | Way::Gradual(_) | Way::BlueGreen => Place::Hold,
    }
}

impl Place {
    /// The lane whose tasks it pulls, and whether it may.
    #[must_use]
    pub fn lane(&self) -> (Lane, bool) {
        match self {
            Self::Current => (Lane::Main, true),
            Self::Next => (Lane::Next, true),
            Self::Hold | Self::Begin | Self::Refuse(_) => (Lane::Main, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::How;
    use super::super::state::tests::{moment, under_way, version};
    use super::*;
    use crate::graph::tests::spec;

    fn arrival<'a>(version: &'a Version, recorded: &'a Version) -> Arrival<'a> {
        Arrival {
            version,
            knows_lanes: true,
            recorded: Some(recorded),
            versions: None,
            others: Others::Busy,
        }
    }

    #[test]
    fn without_a_transition_the_newest_takes_over_and_an_older_one_waits() {
        let rolled_back = under_way(How::Gradual).ended(Some("worse".into()), &moment(1));
        for (case, announced, versions, lives, expected) in [
            ("the same", "1.0.0", None, true, Place::Current),
            ("newer, the old one is gone", "2.0.0", None, false, Place::Current),
            ("newer beside the old one", "2.0.0", None, true, Place::Begin),
            ("older beside", "0.9.0", None, true, Place::Hold),
            ("older, put back by hand", "0.9.0", None, false, Place::Current),
            ("rolled back from", "2.0.0", Some(&rolled_back), true, Place::Hold),
            ("rolled back from, alone", "2.0.0", Some(&rolled_back), false, Place::Hold),
            ("newer than that", "2.0.1", Some(&rolled_back), true, Place::Begin),
            ("newer than that, alone", "2.0.1", Some(&rolled_back), false, Place::Current),
            ("the current one", "1.0.0", Some(&rolled_back), true, Place::Current),
        ] {
            let (announced, recorded) = (version(announced), version("1.0.0"));
            let arrival = Arrival {
                versions,
                others: if lives { Others::Idle } else { Others::Gone },
                ..arrival(&announced, &recorded)
            };
            assert_eq!(admit(arrival), expected, "{case}");
        }
        let new = version("1.0.0");
        assert_eq!(admit(Arrival { recorded: None, ..arrival(&new, &new) }), Place::Current);
    }

    #[test]
    fn in_a_transition_each_version_has_its_place() {
        use How::{BlueGreen, Graceful, Gradual, Immediate};
        use Place::{Current, Hold, Next};
        // how, announced, old is busy, new is there, expected
        for (how, announced, busy, there, expected) in [
            (Immediate, "2.0.0", true, true, Current),
            (Immediate, "1.0.0", true, false, Current),
            (Immediate, "1.0.0", true, true, Hold),
            (Graceful, "2.0.0", true, true, Hold),
            (Graceful, "2.0.0", false, true, Current),
            (Graceful, "1.0.0", true, false, Current),
            (Graceful, "1.0.0", true, true, Hold),
            (Gradual, "2.0.0", true, true, Next),
            (Gradual, "1.0.0", true, true, Current),
            (Gradual, "3.0.0", true, true, Hold),
            (BlueGreen, "2.0.0", true, true, Next),
            (BlueGreen, "1.0.0", true, true, Current),
            (BlueGreen, "0.1.0", false, false, Hold),
        ] {
            let (announced, recorded) = (version(announced), version("1.0.0"));
            let mut versions = under_way(how);
            if there {
                let manifest = Box::new(spec("p", 20, &[]).manifest);
                versions.transition.as_mut().unwrap().candidate = Some(manifest);
            }
            let arrival = Arrival {
                versions: Some(&versions),
                others: if busy { Others::Busy } else { Others::Idle },
                ..arrival(&announced, &recorded)
            };
            let case = format!("{how} {announced} busy: {busy}, there: {there}");
            assert_eq!(admit(arrival), expected, "{case}");

            // The switch is made, and the leader has died before it could write that down.
            let switched = version("2.0.0");
            let expected = if announced == switched { Current } else { Hold };
            let arrival = Arrival { recorded: Some(&switched), ..arrival };
            assert_eq!(admit(arrival), expected, "{case}, switched");
        }
    }

    #[test]
    fn who_knows_no_lanes_is_not_tried() {
        let (announced, recorded) = (version("2.0.0"), version("1.0.0"));
        for (how, refused) in [
            (How::Immediate, false),
            (How::Graceful, false),
            (How::Gradual, true),
            (How::BlueGreen, true),
        ] {
            let versions = under_way(how);
            let arrival = Arrival {
                versions: Some(&versions),
                knows_lanes: false,
                ..arrival(&announced, &recorded)
            };
            assert_eq!(matches!(admit(arrival), Place::Refuse(_)), refused, "{how}");
        }
    }
}
