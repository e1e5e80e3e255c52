//! The two queues of tasks.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which queue a task waits in; `fast` goes first, `background` still gets its share.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// Seconds at most; somebody waits for the result.
    #[default]
    Fast,
    /// May take minutes or hours.
    Background,
}

impl Queue {
    /// Both queues, the one that goes first before the other.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Background];

    /// The name on the wire: `fast` or `background`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Background => "background",
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue `{0}` must be `fast` or `background`")]
pub struct InvalidQueue(String);

impl FromStr for Queue {
    type Err = InvalidQueue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fast" => Ok(Self::Fast),
            "background" => Ok(Self::Background),
            _ => Err(InvalidQueue(text.to_owned())),
        }
    }
}
