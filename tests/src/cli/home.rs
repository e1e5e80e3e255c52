//! A folder with a data folder, a library and plugins, and the program run there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use broker_config::planted;
use broker_config::wire::event::{Event, Fact};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::{demo_library, staged};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// What the program sees of our own environment.
const INHERITED: [&str; 4] = ["PATH", "NATS_SERVER_BIN", "METAFLEET_LOG", planted::VARIABLE];

/// Where one test works; it goes with the test.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    data: PathBuf,
    vars: BTreeMap<String, String>,
    /// The plugins of the installation run when the test has made none of its own.
    has_own_plugins: bool,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Data.
    pub out: String,
    /// Messages.
    pub err: String,
}

impl Home {
    /// An empty library and no data.
    pub fn new() -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let data = dir.path().join("data");
        std::fs::create_dir(dir.path().join("library"))?;
        Ok(Self { dir, data, vars: BTreeMap::new(), has_own_plugins: false })
    }

    /// A copy of the small library of real media.
    pub async fn with_demo_library() -> anyhow::Result<Self> {
        let home = Self::new()?;
        let from = demo_library().await?.join(".");
        let copy = Command::new("cp").arg("-a").arg(from).arg(home.library()).output().await?;
        anyhow::ensure!(copy.status.success(), "cp: {}", String::from_utf8_lossy(&copy.stderr));
        Ok(home)
    }

    /// Sets a variable for all commands from here on.
    #[must_use]
    pub fn with_var(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vars.insert(name.to_owned(), value.into());
        self
    }

    /// Keeps the data elsewhere.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<PathBuf>) -> Self {
        self.data = data.into();
        self
    }

    /// The folder of everything else.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The library.
    #[must_use]
    pub fn library(&self) -> PathBuf {
        self.root().join("library")
    }

    /// A file of the library, as an argument.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.library().join(name).to_string_lossy().into_owned()
    }

    /// Writes a file of the library.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let path = self.library().join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        Ok(std::fs::write(path, content)?)
    }

    /// Writes `count` text files, each with content of its own.
    pub fn write_many(&self, count: usize) -> anyhow::Result<()> {
        (0..count)
            .try_for_each(|n| self.write(&format!("{}/{n:04}.txt", n % 7), format!("text {n}")))
    }

    /// The folder of one version of a plugin that the test has made.
    #[must_use]
    pub fn plugin_dir(&self, id: &str, version: &str) -> PathBuf {
        self.root().join(format!("plugins/{id}/v{version}"))
    }

    /// Makes a plugin: `program` started with `arguments`, its manifest changed by `change`.
    pub fn add_plugin(
        &mut self,
        id: &str,
        program: &Path,
        arguments: &[&str],
        change: &Value,
    ) -> anyhow::Result<()> {
        self.has_own_plugins = true;
        let mut manifest = json!({
            "id": id, "name": id, "version": "1.0.0", "priority": 50, "queue": "fast",
            "timeout": 20_000, "dataSchema": {format!("{id}/done"): {}}, "concurrency": 2,
            "retry": {"maxAttempts": 2, "delaysMs": [100]},
            "entryPoint": {"main": "program", "args": arguments},
        });
        for (field, value) in change.as_object().context("an object of fields")? {
            manifest[field] = value.clone();
        }
        let dir = self.plugin_dir(id, manifest["version"].as_str().context("a version")?);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("manifest.json"), manifest.to_string())?;
        Ok(std::os::unix::fs::symlink(program, dir.join("program"))?)
    }

    /// How often a plugin of ours began an attempt, by content id.
    pub fn calls(&self, id: &str) -> anyhow::Result<BTreeMap<String, usize>> {
        let mut calls = BTreeMap::new();
        for version in std::fs::read_dir(self.root().join("plugins").join(id))? {
            let text = std::fs::read_to_string(version?.path().join("calls")).unwrap_or_default();
            for cid in text.lines().filter_map(|line| line.split(' ').next()) {
                *calls.entry(cid.to_owned()).or_default() += 1;
            }
        }
        Ok(calls)
    }

    /// The program with these arguments, not started yet; killed when dropped.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<Command> {
        self.command_under(&[], arguments)
    }

    /// As [`Home::command`], with `wrapper` in front of the program.
    pub fn command_under<S: AsRef<OsStr>>(
        &self,
        wrapper: &[&str],
        arguments: &[S],
    ) -> anyhow::Result<Command> {
        let program = staged("bin/metafleet")?;
        let mut command = match wrapper.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.env_clear().current_dir(self.root());
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let plugins =
            if self.has_own_plugins { self.root().join("plugins") } else { staged("plugins")? };
        if self.has_own_plugins {
            // They note what they do in their own folder, which no sandbox lets them.
            command.env("METAFLEET_ISOLATION", "off");
        }
        command
            .env("HOME", self.root())
            .env("METAFLEET_DATA_DIR", &self.data)
            .env("METAFLEET_PLUGIN_PATH", plugins)
            .envs(&self.vars)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs a command to its end.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<Done> {
        finish(self.command(arguments)?).await
    }

    /// Runs a command with `--output json` that must end well; returns what it printed.
    pub async fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        self.run(&[arguments, &["--output", "json"]].concat()).await?.ok()?.json()
    }

    /// Scans the library to its end; returns the exit code and the object at the end.
    pub async fn scan(&self, more: &[&str]) -> anyhow::Result<(i32, Value)> {
        let library = self.library();
        let library = library.to_str().context("a path")?;
        let arguments = [&["scan", library, "--wait", "--output", "json"], more].concat();
        let done = self.run(&arguments).await?;
        let code = done.code.context("killed")?;
        let summary = done.json().with_context(|| format!("{done:?}"))?;
        Ok((code, summary))
    }

    /// The events from a sequence on, each with its own; works with and without a fleet.
    pub async fn events(&self, since: u64) -> anyhow::Result<Vec<(u64, Fact)>> {
        let since = since.to_string();
        let arguments = ["event", "tail", "--no-follow", "--since", &since, "--output", "json"];
        let done = self.run(&arguments).await?.ok()?;
        let event = |line: &str| -> anyhow::Result<(u64, Fact)> {
            let value: Value = serde_json::from_str(line)?;
            let sequence = value["seq"].as_u64().context("a sequence")?;
            Ok((sequence, serde_json::from_value::<Event>(value)?.what))
        };
        done.out.lines().map(event).collect()
    }

    /// The sequence after the last event.
    pub async fn next_event(&self) -> anyhow::Result<u64> {
        Ok(self.events(1).await?.last().map_or(1, |(sequence, _)| sequence + 1))
    }
}

impl Done {
    /// The same if it ended well.
    pub fn ok(self) -> anyhow::Result<Self> {
        self.ended(0)
    }

    /// The same if it ended with this code.
    pub fn ended(self, code: i32) -> anyhow::Result<Self> {
        anyhow::ensure!(self.code == Some(code), "not {code}: {self:?}");
        Ok(self)
    }

    /// What it printed, as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.out).with_context(|| format!("no JSON: {self:?}"))
    }

    /// The last message says this.
    pub fn says(&self, text: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.err.contains(text), "nothing says `{text}`: {self:?}");
        Ok(())
    }
}

/// Runs a command to its end.
pub async fn finish(mut command: Command) -> anyhow::Result<Done> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let what = format!("{:?}", command.as_std().get_args());
    let output = timeout(PATIENCE, command.output());
    let output = output.await.with_context(|| format!("{what} takes too long"))??;
    Ok(Done {
        code: ExitStatus::code(&output.status),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
