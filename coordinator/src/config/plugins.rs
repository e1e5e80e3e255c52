//! `plugins.yml`: which plugins run, how many of each, with which settings.
//!
//! An entry that breaks a rule is told as a [`Problem`] and skipped; the others load. A field that
//! nobody knows is a broken rule, so that a typing error is seen. A file that is no list of plugins
//! at all is an error: running everything as by default is not what its writer wanted.

mod decode;
pub mod images;
pub mod routes;
pub mod schema;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::manifest::OnDependencyFailure;
use broker_config::retry::RetryOptions;
use broker_config::{PluginId, Queue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use self::images::Images;
pub use self::routes::{Libraries, RouteEntry};
use super::base_url::BaseUrl;
use super::problem::Problem;
use super::vars::Vars;
use super::yaml::{self, Value};
use crate::scale::{Bounds, Cap};
use crate::transition::Plan;

/// A file larger than this is not a list of plugins.
const MAX_BYTES: u64 = 4 << 20;

/// What `plugins.yml` says.
#[derive(Clone, Debug, Default)]
pub struct PluginsFile {
    /// The valid entries.
    pub entries: BTreeMap<PluginId, PluginEntry>,
    /// What all plugins together may use of this machine.
    pub cap: Cap,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One plugin, as the person wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginEntry {
    /// Whether it is to run at all.
    pub enabled: bool,
    /// What starts it.
    pub runtime: Runtime,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where an HTTP plugin listens: each instance of a remote one; a process gets the port of the
    /// one address, and its further instances the ports after it.
    pub urls: Vec<BaseUrl>,
    /// Program and arguments; `None` = as the plugin's manifest says.
    pub command: Option<Vec<String>>,
    /// Its folder, with `manifest.json`; `None` = the one found in the plugin folders.
    pub dir: Option<PathBuf>,
    /// How many of it run.
    pub instances: NonZeroU32,
    /// Between how many and how many run; counts instead of `instances`.
    pub scale: Option<Bounds>,
    /// Tasks that one instance runs at once; overrides the manifest.
    pub concurrency: Option<NonZeroU32>,
    /// Tasks at once over the whole fleet; overrides the manifest.
    pub max_in_flight: Option<NonZeroU32>,
    /// Where its tasks wait; overrides the manifest.
    pub queue: Option<Queue>,
    /// Time for one attempt; overrides the manifest.
    pub timeout: Option<Duration>,
    /// Time within an attempt from one report of progress to the next; overrides the manifest.
    pub progress_timeout: Option<Duration>,
    /// How failures are tried again; overrides the manifest.
    pub retry: Option<RetryOptions>,
    /// Whether it runs although something it depends on has failed; overrides the manifest.
    pub on_dependency_failure: Option<OnDependencyFailure>,
    /// After how many tasks an instance is replaced by a fresh one.
    pub recycle: Option<NonZeroU32>,
    /// What one instance may use.
    pub resources: Resources,
    /// The container image, or one for each version.
    pub image: Option<Images>,
    /// How another version takes the place of this one; absent = gracefully.
    pub transition: Option<Plan>,
    /// Which of its files go to workers of their own; the first that fits counts.
    pub routes: Vec<RouteEntry>,
    /// Settings for the plugin.
    pub config: PluginConfig,
    /// What the person grants it.
    pub permissions: Vec<String>,
    /// What of this machine it sees besides the libraries.
    pub mounts: Vec<Mount>,
    /// Whether its processes are kept apart; `None` = as the fleet does it.
    pub isolation: Option<Isolation>,
    /// Labels of its containers.
    pub labels: BTreeMap<String, String>,
}

/// Whether processes are kept apart from the rest of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// As far as the kernel can.
    #[default]
    On,
    /// Not at all: they may do what the user of the fleet may.
    Off,
}

/// A folder or file of this machine that a plugin sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where it is.
    pub source: PathBuf,
    /// Where containers see it.
    pub target: PathBuf,
    /// Whether they may write there.
    pub writable: bool,
}

/// What starts a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// This machine, as a child process.
    #[default]
    Process,
    /// Somebody else; it only announces itself.
    Remote,
    /// A container.
    Docker,
    /// The coordinator itself: a plugin that is part of this program.
    Internal,
}

/// What a plugin speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// It pulls its tasks from the broker.
    #[default]
    Nats,
    /// It is an HTTP server; the bridge pulls its tasks.
    Http,
}

/// What one instance may use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<NonZeroU64>,
    /// Processor cores.
    pub cpus: Option<f64>,
}

/// Settings of a plugin; `Debug` prints their names only, because a value may be a secret.
#[derive(Clone, Default, PartialEq)]
pub struct PluginConfig(pub Map<String, Json>);

impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for PluginEntry {
    fn default() -> Self {
        Self {
            enabled: true,
            runtime: Runtime::default(),
            protocol: Protocol::default(),
            urls: Vec::new(),
            command: None,
            dir: None,
            instances: NonZeroU32::MIN,
            scale: None,
            concurrency: None,
            max_in_flight: None,
            queue: None,
            timeout: None,
            progress_timeout: None,
            retry: None,
            on_dependency_failure: None,
            recycle: None,
            resources: Resources::default(),
            image: None,
            transition: None,
            routes: Vec::new(),
            config: PluginConfig::default(),
            permissions: Vec::new(),
            mounts: Vec::new(),
            isolation: None,
            labels: BTreeMap::new(),
        }
    }
}

impl PluginEntry {
    /// Whether it can run when it is enabled; while it is not, the file may say anything.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn may_run(&self) -> Result<(), String> {
        if self.runtime == Runtime::Docker && self.image.is_none() {
            return Err("`runtime: docker` needs an `image`".to_owned());
        }
        whole::addresses(self, false)
    }

    /// Between how many and how many of it run.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.scale.unwrap_or_else(|| Bounds::fixed(self.instances))
    }
}

/// There is no list of plugins to be had from the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadPluginsError {
    /// The operating system refuses.
    #[error("could not read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is too large to be what it should be.
    #[error("{path} has {bytes} bytes, more than the {MAX_BYTES} a list of plugins may have")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is no YAML, or YAML that lists no plugins.
    #[error("{0}")]
    NoList(Problem),
    /// What was changed through the API cannot be read.
    #[error(transparent)]
    Overrides(#[from] super::overrides::OverridesError),
}

impl PluginsFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ReadPluginsError`] when there is no readable file, or no list of plugins in it. What is
    /// wrong with single entries is in [`PluginsFile::problems`].
    pub fn read(path: &Path, vars: &dyn Vars) -> Result<Self, ReadPluginsError> {
        let failed = |source| ReadPluginsError::Io { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > MAX_BYTES {
            return Err(ReadPluginsError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(path, &text, vars).map_err(ReadPluginsError::NoList)
    }

    /// Reads `text`, which came from `path`.
    ///
    /// A relative `dir` is relative to the folder of `path`.
    ///
    /// # Errors
    ///
    /// The [`Problem`] that makes the whole text useless.
    pub fn parse(path: &Path, text: &str, vars: &dyn Vars) -> Result<Self, Problem> {
        let mut file = Self::default();
        let problem = |line: Option<u64>, rule: String| Problem {
            file: path.to_owned(),
            line: line.filter(|line| *line > 0),
            plugin: None,
            rule,
        };
        let root = yaml::parse(text).map_err(|broken| problem(broken.line, broken.reason))?;
        let fields = match root.value {
            Value::Map(fields) => fields,
            // An empty file asks for nothing.
            Value::Null => return Ok(file),
            Value::Bool(_) | Value::Number(_) | Value::Text { .. } | Value::List(_) => {
                return Err(problem(Some(root.line), "must begin with `plugins:`".into()));
            }
        };
        let mut has_list = false;
        // What it says decides on what the plugins below may say.
        if let Some(field) = fields.iter().find(|field| field.key == "fleet") {
            let (cap, findings) = decode::fleet(field, vars);
            file.cap = cap;
            let found = findings.into_iter().map(|found| problem(Some(found.line), found.rule));
            file.problems.extend(found);
        }
        for field in fields {
            match (field.key.as_str(), field.node.value) {
                ("plugins", Value::Map(entries)) => {
                    has_list = true;
                    for entry in entries {
                        file.add(path, entry, vars);
                    }
                }
                ("plugins", Value::Null) => has_list = true,
                ("plugins", _) => {
                    let rule = "`plugins` must map the id of each plugin to its fields";
                    return Err(problem(Some(field.line), rule.to_owned()));
                }
                ("fleet", _) => {}
                // Compose's place for pieces that are used by anchor.
                (key, _) if key.starts_with("x-") => {}
                (key, _) => {
                    let key = key.escape_debug();
                    let rule =
                        format!("unknown field `{key}`; there are only `plugins` and `fleet`");
                    file.problems.push(problem(Some(field.line), rule));
                }
            }
        }
        // Only a field that nobody knows, e.g. `plugin:`: a typing error in the one that counts.
        if !has_list && !file.problems.is_empty() {
            return Err(file.problems.remove(0));
        }
        Ok(file)
    }

    /// Whether something is wrong with what it says of a plugin.
    #[must_use]
    pub fn is_broken(&self, id: &PluginId) -> bool {
        self.problems.iter().any(|problem| problem.plugin.as_deref() == Some(id.as_str()))
    }

    fn add(&mut self, path: &Path, field: yaml::Field, vars: &dyn Vars) {
        let yaml::Field { key, line, node } = field;
        let problem = |line: u64, rule: String| Problem {
            file: path.to_owned(),
            line: (line > 0).then_some(line),
            plugin: Some(key.clone()),
            rule,
        };
        let id: PluginId = match key.parse() {
            Ok(id) => id,
            Err(error) => {
                let error: broker_config::id::InvalidId = error;
                self.problems.push(problem(line, format!("the id {}", error.rule)));
                return;
            }
        };
        if let Some(whom) = id.kept_for() {
            self.problems.push(problem(line, format!("the id is kept for {whom}")));
            return;
        }
        match decode::entry(line, node, vars) {
            Ok(mut entry) => {
                if let (Some(dir), Some(base)) = (&entry.dir, path.parent()) {
                    entry.dir = Some(base.join(dir));
                }
                if let Some(base) = path.parent() {
                    for mount in &mut entry.mounts {
                        mount.source = base.join(&mount.source);
                    }
                }
                let is_process = entry.runtime == Runtime::Process;
                let counts = self.cap.millicpus.is_some();
                if entry.enabled && is_process && entry.resources.cpus.is_some() && !counts {
                    let rule = "`resources`: `cpus` does not limit a process, only a container";
                    self.problems.push(problem(line, rule.to_owned()));
                }
                self.entries.insert(id, entry);
            }
            Err(findings) => {
                let found = findings.into_iter().map(|found| problem(found.line, found.rule));
                self.problems.extend(found);
            }
        }
    }
}
