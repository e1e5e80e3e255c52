//! PURE: which versions of a plugin there are, as the bucket of plugins holds it.

use broker_config::Manifest;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::plan::{How, Plan, Steps};

/// The value of key `<plugin>.versions`; a plugin that never had a transition has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    pub(super) r#type: VersionsType,
    /// The one that is to run.
    pub current: Version,
    /// The highest that was decided on: only a higher one on disk begins a transition by itself.
    pub decided: Version,
    /// The one before: what a roll back goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Version>,
    /// What goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// What ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum VersionsType {
    #[serde(rename = "metafleet.versions.v1")]
    V1,
}

/// One version is taking the place of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// The version that is current until the switch.
    pub from: Version,
    /// The one that is to be.
    pub to: Version,
    /// Since when, RFC 3339.
    pub began_at: String,
    /// What the new version said about itself; from then on it gets tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Box<Manifest>>,
    /// What a person wants to come of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// How.
    #[serde(flatten)]
    pub way: Way,
}

/// How, with what has come of it so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Way {
    /// At once.
    Immediate,
    /// When the old version holds nothing any more.
    Graceful,
    /// File by file.
    Gradual(Gradual),
    /// After a comparison, when a person says so.
    BlueGreen,
}

/// A rising share of the files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gradual {
    /// The shares.
    pub steps: Steps,
    /// Which of them is in effect, from 0.
    pub step: usize,
    /// Since when, in milliseconds of Unix time.
    pub since_ms: u64,
    /// Tasks that the new version has done in this step.
    pub done: u32,
    /// Tasks that it must have done in each step.
    pub tasks: u32,
    /// How long each step takes at least, in milliseconds.
    pub step_ms: u64,
    /// How the tasks of the old version ended, since the beginning.
    pub old: Tally,
    /// How those of the new one ended.
    pub new: Tally,
}

impl Gradual {
    /// The share in effect, in percent.
    #[must_use]
    pub fn percent(&self) -> u8 {
        self.steps.as_slice().get(self.step).copied().unwrap_or(100)
    }
}

/// Tasks that were settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub done: u32,
    /// Those that were given up on.
    pub failed: u32,
}

impl Tally {
    /// Counts one more.
    pub fn count(&mut self, failed: bool) {
        self.done = self.done.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(failed));
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            done: self.done.saturating_add(other.done),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// What has come since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            done: self.done.saturating_sub(before.done),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// What a person wants to come of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// The new version becomes the current one now.
    Switch,
    /// The old version stays.
    Revert,
}

/// A transition that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The version before it.
    pub from: Version,
    /// The version that was to be.
    pub to: Version,
    /// How.
    pub how: How,
    /// Why the version before has stayed; absent when the new one has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<String>,
    /// When, RFC 3339.
    pub at: String,
}

impl Way {
    /// What it is called.
    #[must_use]
    pub const fn how(&self) -> How {
        match self {
            Self::Immediate => How::Immediate,
            Self::Graceful => How::Graceful,
            Self::Gradual(_) => How::Gradual,
            Self::BlueGreen => How::BlueGreen,
        }
    }
}

/// A moment, as both who compares and who reads it need it.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Milliseconds of Unix time.
    pub ms: u64,
    /// RFC 3339.
    pub text: String,
}

impl Versions {
    /// A plugin of which only `current` is known.
    #[must_use]
    pub fn new(current: Version) -> Self {
        let decided = current.clone();
        Self {
            r#type: VersionsType::V1,
            current,
            decided,
            previous: None,
            transition: None,
            last: None,
        }
    }

    /// What decides which of the versions on disk run; the rest may change without consequence.
    #[must_use]
    pub fn runs(&self) -> (Version, Version, Option<(Version, How)>) {
        let transition = self.transition.as_ref().map(|it| (it.to.clone(), it.way.how()));
        (self.current.clone(), self.decided.clone(), transition)
    }

    /// Another text whenever files that have not changed may have something to run.
    #[must_use]
    pub fn mark(&self) -> String {
        let tried = self.transition.as_ref().and_then(|it| match &it.way {
            Way::Gradual(gradual) => Some((it.to.to_string(), gradual.percent())),
            Way::BlueGreen => Some((it.to.to_string(), 0)),
            Way::Immediate | Way::Graceful => None,
        });
        let ended = self.last.as_ref().map(|last| last.at.as_str());
        format!("{tried:?} {ended:?}")
    }

    /// Begins a transition.
    ///
    /// # Errors
    ///
    /// Why it cannot begin.
    pub fn begin(&self, to: Version, plan: &Plan, now: &Moment) -> Result<Self, String> {
        if let Some(Transition { from, to, way, .. }) = &self.transition {
            let how = way.how();
            return Err(format!("a {how} transition from {from} to {to} goes on already"));
        }
        if to == self.current {
            return Err(format!("{to} is the current version already"));
        }
        let mut next = self.clone();
        next.decided = next.decided.max(to.clone());
        next.transition = Some(Transition {
            from: self.current.clone(),
            to,
            began_at: now.text.clone(),
            candidate: None,
            asked: None,
            way: plan.way(now.ms),
        });
        Ok(next)
    }

    /// The state where the registry has another version on record than this says, because that one
    /// came without a transition; `None` if it is right.
    #[must_use]
    pub fn aligned(&self, recorded: &Version) -> Option<Self> {
        if self.transition.is_some() || self.current == *recorded {
            return None;
        }
        let mut next = self.clone();
        next.previous = Some(std::mem::replace(&mut next.current, recorded.clone()));
        next.decided = next.decided.max(recorded.clone());
        Some(next)
    }

    /// The state after the transition that goes on; `reverted` = why the version before stays.
    #[must_use]
    pub fn ended(&self, reverted: Option<String>, now: &Moment) -> Self {
        let mut next = self.clone();
        let Some(Transition { from, to, way, .. }) = next.transition.take() else { return next };
        if reverted.is_none() {
            next.previous = Some(from.clone());
            next.current = to.clone();
        } else {
            next.current = from.clone();
        }
        let at = now.text.clone();
        next.last = Some(Ended { from, to, how: way.how(), reverted, at });
        next
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    pub(crate) fn moment(ms: u64) -> Moment {
        Moment { ms, text: format!("at {ms}") }
    }

    /// A transition from 1.0.0 to 2.0.0.
    pub(crate) fn under_way(how: How) -> Versions {
        let plan = Plan { how, tasks: 10, step_ms: 1_000, ..Plan::default() };
        Versions::new(version("1.0.0")).begin(version("2.0.0"), &plan, &moment(0)).unwrap()
    }

    #[test]
    fn one_transition_goes_on_at_a_time_and_what_comes_of_it_is_kept() {
        let begun = under_way(How::Gradual);
        assert_eq!(begun.current, version("1.0.0"));
        assert!(begun.begin(version("3.0.0"), &Plan::default(), &moment(1)).is_err());
        let same = Versions::new(version("1.0.0"));
        assert!(same.begin(version("1.0.0"), &Plan::default(), &moment(1)).is_err());

        let done = begun.ended(None, &moment(2));
        assert_eq!((&done.current, &done.previous), (&version("2.0.0"), &Some(version("1.0.0"))));
        let reverted = begun.ended(Some("it fails".into()), &moment(2));
        assert_eq!((&reverted.current, &reverted.previous), (&version("1.0.0"), &None));
        assert_eq!(reverted.decided, version("2.0.0"), "it does not begin again by itself");
        assert_eq!(reverted.ended(None, &moment(3)), reverted, "nothing to end");
    }

    #[test]
    fn the_state_survives_the_wire() {
        for how in [How::Immediate, How::Graceful, How::Gradual, How::BlueGreen] {
            for versions in [under_way(how), under_way(how).ended(None, &moment(1))] {
                let text = serde_json::to_string(&versions).unwrap();
                assert_eq!(serde_json::from_str::<Versions>(&text).unwrap(), versions, "{text}");
                assert!(text.contains(&how.to_string()), "{text}");
            }
        }
    }
}
