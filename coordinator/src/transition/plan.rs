//! PURE: what a person, or `plugins.yml`, asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::state::{Gradual, Tally, Way};

/// Shares of the files, one after the other, unless told otherwise.
const STEPS: [u8; 4] = [5, 25, 50, 100];
/// Tasks that the new version must have done in each step, unless told otherwise.
const TASKS: u32 = 20;
/// How long each step takes at least, unless told otherwise.
const STEP_MS: u64 = 60_000;

/// The ways from one version to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// At once: what the old version holds is done again by the new one.
    Immediate,
    /// The old version finishes what it holds, then the new one begins.
    #[default]
    Graceful,
    /// The new version gets a share of the files, which rises.
    Gradual,
    /// The new version gets what the old one gets, and its outcomes are only compared.
    BlueGreen,
}

impl How {
    /// Whether both versions work at the same time, each with tasks of its own.
    #[must_use]
    pub const fn is_side_by_side(&self) -> bool {
        match self {
            Self::Gradual | Self::BlueGreen => true,
            Self::Immediate | Self::Graceful => false,
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Immediate => "immediate",
            Self::Graceful => "graceful",
            Self::Gradual => "gradual",
            Self::BlueGreen => "blue-green",
        })
    }
}

/// Rising shares in percent; the last one is 100.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Steps(Vec<u8>);

impl Steps {
    /// The share of a step is not larger than that of the one before, or not from 1 to 100.
    pub const RULE: &str = "rising whole numbers from 1 to 100, e.g. 5,25,50,100";

    /// Which of them is the last.
    #[must_use]
    pub fn last(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self(STEPS.to_vec())
    }
}

impl TryFrom<Vec<u8>> for Steps {
    type Error = String;

    fn try_from(mut steps: Vec<u8>) -> Result<Self, String> {
        let rises = steps.is_sorted_by(|a, b| a < b);
        if steps.is_empty() || !rises || !steps.iter().all(|step| (1..=100).contains(step)) {
            return Err(Self::RULE.to_owned());
        }
        if steps.last() != Some(&100) {
            steps.push(100);
        }
        Ok(Self(steps))
    }
}

impl From<Steps> for Vec<u8> {
    fn from(steps: Steps) -> Self {
        steps.0
    }
}

/// What a person, or `plugins.yml`, asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How.
    pub how: How,
    /// Shares, where it is gradual.
    pub steps: Steps,
    /// Tasks in each step at least.
    pub tasks: u32,
    /// Time for each step at least, in milliseconds.
    pub step_ms: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { how: How::default(), steps: Steps::default(), tasks: TASKS, step_ms: STEP_MS }
    }
}

impl Plan {
    pub(super) fn way(&self, now_ms: u64) -> Way {
        match self.how {
            How::Immediate => Way::Immediate,
            How::Graceful => Way::Graceful,
            How::BlueGreen => Way::BlueGreen,
            How::Gradual => Way::Gradual(Gradual {
                steps: self.steps.clone(),
                step: 0,
                since_ms: now_ms,
                done: 0,
                tasks: self.tasks,
                step_ms: self.step_ms,
                old: Tally::default(),
                new: Tally::default(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_rise_to_a_hundred() {
        for (steps, expected) in [
            (vec![5, 25, 50, 100], Some(vec![5, 25, 50, 100])),
            (vec![10], Some(vec![10, 100])),
            (vec![100], Some(vec![100])),
            (vec![], None),
            (vec![0, 100], None),
            (vec![50, 25], None),
            (vec![5, 5], None),
            (vec![101], None),
        ] {
            assert_eq!(Steps::try_from(steps.clone()).ok().map(Vec::from), expected, "{steps:?}");
        }
    }
}
