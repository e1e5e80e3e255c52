//! PURE. What a command says on its standard output.
//!
//! The first byte that is not blank decides: `{` begins a JSON object, anything else `key=value`
//! lines. An object with a member `outcome` is an answer in full, any other one metadata.

mod meta;

use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::Manifest;
use serde::Deserialize;
use serde_json::Value;
use worker_sdk::{Failure, Forward, Meta, Outcome, PluginId};

/// What a command says about one task.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Which request it answers, where it says so.
    pub(crate) id: Option<u64>,
    /// Files that it made, to be handed in before anything else.
    pub(crate) submit: Vec<PathBuf>,
    /// How the task ended.
    pub(crate) said: Result<Outcome, Failure>,
}

impl Answer {
    /// Whether it says that it answers another request than this one.
    pub(crate) fn is_to_other_than(&self, id: u64) -> bool {
        self.id.is_some_and(|answered| answered != id)
    }
}

/// The output is none that the README describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is not text.
    #[error("the output is not UTF-8 from byte {0} on")]
    NotText(usize),
    /// It begins with `{`, and goes on wrongly.
    #[error("the output is not a JSON object: {0}")]
    Json(String),
    /// Neither a JSON object nor `key=value`.
    #[error("line {0} of the output is not of the form key=value")]
    Line(usize),
    /// An answer in full that cannot be.
    #[error("the answer makes no sense: {0}")]
    Answer(String),
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Said {
    Completed {
        #[serde(default)]
        meta: Object,
    },
    Skipped {
        reason: String,
    },
    Later {
        after_ms: u64,
        #[serde(default)]
        reason: String,
    },
    Retry {
        error: String,
    },
    Failed {
        error: String,
    },
    Forward {
        file: Option<PathBuf>,
        plugin: Option<PluginId>,
        #[serde(default)]
        meta: Object,
    },
}

type Object = serde_json::Map<String, Value>;

/// Members beside `outcome`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Beside {
    id: Option<u64>,
    submit: Vec<PathBuf>,
}

/// Reads the output of a command that plays the plugin of `manifest`.
///
/// # Errors
///
/// [`Unreadable`], which says what is wrong.
pub(crate) fn read(output: &[u8], manifest: &Manifest) -> Result<Answer, Unreadable> {
    let text =
        std::str::from_utf8(output).map_err(|error| Unreadable::NotText(error.valid_up_to()))?;
    let completed = |meta| Answer { id: None, submit: vec![], said: Ok(Outcome::Completed(meta)) };
    if !text.trim_start().starts_with('{') {
        return meta::of_lines(text, manifest).map(completed);
    }
    let object: Object =
        serde_json::from_str(text).map_err(|error| Unreadable::Json(error.to_string()))?;
    if !object.contains_key("outcome") {
        return Ok(completed(meta::of_object(object, manifest)));
    }
    let object = Value::Object(object);
    let wrong = |error: serde_json::Error| Unreadable::Answer(error.to_string());
    let beside = Beside::deserialize(&object).map_err(wrong)?;
    let said = Said::deserialize(object).map_err(wrong)?;
    beside.submit.iter().try_for_each(|file| absolute(file))?;
    Ok(Answer { id: beside.id, submit: beside.submit, said: outcome(said, manifest)? })
}

fn outcome(said: Said, manifest: &Manifest) -> Result<Result<Outcome, Failure>, Unreadable> {
    Ok(match said {
        Said::Completed { meta } => Ok(Outcome::Completed(meta::of_object(meta, manifest))),
        Said::Skipped { reason } => Ok(Outcome::skipped(reason)),
        Said::Later { after_ms, reason } => {
            Ok(Outcome::retry_later(Duration::from_millis(after_ms), reason))
        }
        Said::Retry { error } => Err(Failure::retryable(error)),
        Said::Failed { error } => Err(Failure::permanent(error)),
        Said::Forward { file, plugin, meta } => {
            let forward = match (file, plugin) {
                (Some(file), None) => {
                    absolute(&file)?;
                    Forward::file(file)
                }
                (None, Some(plugin)) => Forward::plugin(plugin),
                (None, None) | (Some(_), Some(_)) => {
                    let problem = "`forward` needs either `file` or `plugin`";
                    return Err(Unreadable::Answer(problem.to_owned()));
                }
            };
            let meta: Meta = meta::of_object(meta, manifest);
            Ok(Outcome::Forward(forward.with_meta(meta)))
        }
    })
}

fn absolute(file: &Path) -> Result<(), Unreadable> {
    if file.is_absolute() {
        return Ok(());
    }
    Err(Unreadable::Answer(format!("{} is no absolute path", file.display())))
}

/// A report of progress: a line of its own that begins with `{"progress"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Report {
    /// How far the task has got, 0 to 1.
    #[serde(rename = "progress")]
    pub(crate) fraction: f32,
    /// More for people.
    #[serde(default)]
    pub(crate) note: String,
}

impl Report {
    /// The report in a line, if it is one.
    #[must_use]
    pub(crate) fn of(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii();
        if line.starts_with(b"{\"progress\"") { serde_json::from_slice(line).ok() } else { None }
    }
}

/// How long a command wants to wait that ended with the code for it: the number of seconds that its
/// output begins with.
#[must_use]
pub(crate) fn delay(output: &[u8]) -> Option<Duration> {
    let first = std::str::from_utf8(output).ok()?.split_whitespace().next()?;
    Duration::try_from_secs_f64(first.parse().ok()?).ok()
}

#[cfg(test)]
mod tests;
