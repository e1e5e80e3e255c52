//! PURE: which of the versions on disk are to run.

use std::collections::BTreeSet;

use semver::Version;

use super::state::{Versions, Way};

/// The versions of one plugin that are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The one that does, or is to do, the work.
    pub main: Version,
    /// The one that is tried beside it.
    pub next: Option<Version>,
}

/// Picks from what is on disk; `None` if nothing is.
#[must_use]
pub fn pick(on_disk: &BTreeSet<Version>, versions: Option<&Versions>) -> Option<Pick> {
    let highest = on_disk.last()?;
    let Some(versions) = versions else {
        return Some(Pick { main: highest.clone(), next: None });
    };
    let is_there = |version: &&Version| on_disk.contains(*version);
    if let Some(transition) = &versions.transition {
        let (from, to) = (&transition.from, &transition.to);
        let (main, next) = match &transition.way {
            Way::Immediate | Way::Graceful => (Some(to).filter(is_there).or(Some(from)), None),
            Way::Gradual(_) | Way::BlueGreen => (Some(from), Some(to)),
        };
        let main = main.filter(is_there).unwrap_or(highest).clone();
        let next = next.filter(is_there).filter(|next| **next != main).cloned();
        return Some(Pick { main, next });
    }
    let main = if *highest > versions.decided {
        highest
    } else {
        // The version that was decided on may have been taken away; then the best below it.
        let below = || on_disk.iter().rfind(|version| **version < versions.current);
        Some(&versions.current).filter(is_there).or_else(below).unwrap_or(highest)
    };
    Some(Pick { main: main.clone(), next: None })
}

#[cfg(test)]
mod tests {
    use super::super::plan::How;
    use super::super::state::tests::{moment, under_way, version};
    use super::*;

    #[test]
    fn what_was_decided_runs_and_a_higher_version_else() {
        let back = || under_way(How::Gradual).ended(Some("worse".into()), &moment(1));
        let done = || under_way(How::Gradual).ended(None, &moment(1));
        let both = vec!["1.0.0", "2.0.0"];
        for (case, on_disk, versions, main, next) in [
            ("never decided", both.clone(), None, "2.0.0", None),
            ("graceful", both.clone(), Some(under_way(How::Graceful)), "2.0.0", None),
            ("immediate", both.clone(), Some(under_way(How::Immediate)), "2.0.0", None),
            ("gradual", both.clone(), Some(under_way(How::Gradual)), "1.0.0", Some("2.0.0")),
            ("blue-green", both.clone(), Some(under_way(How::BlueGreen)), "1.0.0", Some("2.0.0")),
            ("not on this machine", vec!["1.0.0"], Some(under_way(How::Gradual)), "1.0.0", None),
            ("graceful, not here", vec!["1.0.0"], Some(under_way(How::Graceful)), "1.0.0", None),
            ("the old one is gone", vec!["2.0.0"], Some(under_way(How::Gradual)), "2.0.0", None),
            ("done", both.clone(), Some(done()), "2.0.0", None),
            ("rolled back", both.clone(), Some(back()), "1.0.0", None),
            ("a higher one comes", vec!["1.0.0", "2.0.0", "2.1.0"], Some(back()), "2.1.0", None),
            ("taken away", vec!["0.9.0", "2.0.0"], Some(back()), "0.9.0", None),
            ("only what was refused", vec!["2.0.0"], Some(back()), "2.0.0", None),
        ] {
            let on_disk = on_disk.into_iter().map(version).collect();
            let expected = Pick { main: version(main), next: next.map(version) };
            assert_eq!(pick(&on_disk, versions.as_ref()), Some(expected), "{case}");
        }
        assert_eq!(pick(&BTreeSet::new(), None), None);
    }
}
