//! What the command line says, as written and as checked.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::Manifest;
use clap::Parser;

use crate::child::Launch;
use crate::limits::Limits;
use crate::plugin::{Life, Plan};
use crate::request;
use crate::verdict::Codes;

/// The embedded broker takes no larger message.
const MAX_OUTPUT: u64 = 4 * 1024 * 1024;

/// Makes any command a MetaFleet plugin.
///
/// The command gets each task by its environment (`METAFLEET_FILE` is the path) and as a line of JSON on
/// standard input, and writes metadata to standard output: a JSON object, or key=value lines. Exit codes:
/// 0 completed, 80 skipped, 81 later, 64, 65 and 78 failed for good, anything else failed and tried again.
/// The worker is told by its environment where its fleet is (`NATS_URL` …).
#[derive(Debug, Parser)]
#[command(name = "metafleet-shim", version, max_term_width = 100)]
pub struct Options {
    /// The plugin's manifest, JSON or YAML.
    #[arg(long, value_name = "FILE", default_value = "manifest.json")]
    manifest: PathBuf,
    /// Keep processes from task to task: a line of JSON in, a line of JSON out, one task at a time each.
    #[arg(long)]
    persistent: bool,
    /// Replace a process after so many tasks.
    #[arg(long, value_name = "N", requires = "persistent")]
    recycle_after: Option<NonZeroU32>,
    /// Tasks at once, in place of what the manifest says; what the operator says goes before it.
    #[arg(long, value_name = "N")]
    concurrency: Option<NonZeroU32>,
    /// How long a command may take to end after SIGTERM, in seconds or as `500ms`.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    grace: Duration,
    /// How much a command may write about one file, in bytes or as `64K`, `4M`, `1G`.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_OUTPUT, value_parser = bytes)]
    max_output: u64,
    /// Memory that each of its processes may write to.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_memory: Option<u64>,
    /// Processor time of each of its processes, in seconds.
    #[arg(long, value_name = "SECONDS")]
    max_cpu_seconds: Option<NonZeroU64>,
    /// Files that each of its processes may have open.
    #[arg(long, value_name = "N")]
    max_open_files: Option<NonZeroU64>,
    /// The largest file that each of its processes may write.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_file_size: Option<u64>,
    /// How far it stands back behind other programs.
    #[arg(long, value_name = "0..19", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=19))]
    nice: u8,
    /// How long to wait after exit code 81, unless the output begins with a number of seconds.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    later: Duration,
    /// Exit codes that mean `skipped`, too.
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(1..=255))]
    skipped_codes: Vec<i32>,
    /// Exit codes that mean a failure for good, too.
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(1..=255))]
    permanent_codes: Vec<i32>,
    /// Exit codes that end the worker with the same code: it cannot go on here. Another worker does the task.
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(1..=255))]
    fatal_codes: Vec<i32>,
    /// Tell secret settings by the environment, too, not only on standard input.
    #[arg(long)]
    secrets_in_environment: bool,
    /// Ask the command about new settings: `METAFLEET_EVENT` is `configure`, and any exit code but 0
    /// refuses them.
    #[arg(long)]
    check_settings: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The command line cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPlan {
    /// The manifest is not there, or may not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The manifest is not YAML.
    #[error("{}: {reason}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// The manifest breaks a rule.
    #[error("{}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Which.
        #[source]
        source: broker_config::InvalidManifest,
    },
    /// Two settings have the same variable.
    #[error("the settings {0} and {1} would both be told by {2}: one needs another name")]
    Ambiguous(String, String, String),
}

impl Options {
    /// Checks what is said, and reads the manifest.
    ///
    /// # Errors
    ///
    /// [`InvalidPlan`], which says what to do.
    pub fn plan(
        self,
        keeper: PathBuf,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Plan, InvalidPlan> {
        let mut manifest = read_manifest(&self.manifest)?;
        if let Some((one, other)) = request::ambiguous(&manifest) {
            let (one, other, variable) = (one.to_owned(), other.to_owned(), request::variable(one));
            return Err(InvalidPlan::Ambiguous(one, other, variable));
        }
        manifest.concurrency = self.concurrency.or(manifest.concurrency);
        let limits = Limits {
            memory: self.max_memory,
            cpu_seconds: self.max_cpu_seconds.map(NonZeroU64::get),
            open_files: self.max_open_files.map(NonZeroU64::get),
            file_size: self.max_file_size,
            nice: self.nice,
        };
        Ok(Plan {
            manifest,
            launch: Launch {
                keeper,
                command: self.command,
                limits,
                grace: self.grace,
                environment: request::inherited(environment).collect(),
            },
            life: if self.persistent {
                Life::Persistent { recycle_after: self.recycle_after }
            } else {
                Life::Once
            },
            codes: Codes {
                skipped: BTreeSet::from_iter(self.skipped_codes),
                permanent: BTreeSet::from_iter(self.permanent_codes),
                fatal: BTreeSet::from_iter(self.fatal_codes),
            },
            max_output: usize::try_from(self.max_output).unwrap_or(usize::MAX),
            later: self.later,
            secrets_in_environment: self.secrets_in_environment,
            check_settings: self.check_settings,
        })
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, InvalidPlan> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| InvalidPlan::Read { path: path.to_owned(), source })?;
    let is_yaml = path.extension().is_some_and(|it| it == "yaml" || it == "yml");
    let json = if is_yaml {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let value: serde_json::Value =
            serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
                InvalidPlan::Yaml { path: path.to_owned(), reason: error.to_string() }
            })?;
        value.to_string()
    } else {
        text
    };
    Manifest::from_json(&json)
        .map_err(|source| InvalidPlan::Manifest { path: path.to_owned(), source })
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = match text.strip_suffix("ms") {
        Some(number) => number.trim().parse().map(|ms: f64| ms / 1000.0),
        None => text.strip_suffix('s').unwrap_or(text).trim().parse(),
    };
    seconds
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "seconds, e.g. `30`, `1.5s` or `500ms`".to_owned())
}

fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (text.get(..at), 1 << 10),
        Some((at, 'M' | 'm')) => (text.get(..at), 1 << 20),
        Some((at, 'G' | 'g')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1_u64),
    };
    number
        .and_then(|number| number.trim().parse::<u64>().ok()?.checked_mul(unit))
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "a number of bytes above 0, e.g. `65536`, `64K`, `4M` or `1G`".to_owned())
}

#[cfg(test)]
mod tests;
