//! Something in a file that is wrong, told and passed over.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// What is wrong, and where a person finds it.
///
/// The part it is about is skipped and the rest goes on. The rule never quotes a value: it may be
/// a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The plugin as it is written there, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The rule that is broken.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(plugin) = &self.plugin {
            write!(f, ": plugin `{}`", plugin.escape_debug())?;
        }
        write!(f, ": {}", self.rule)
    }
}
