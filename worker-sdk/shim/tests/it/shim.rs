//! A shim that serves a fleet; each file of it is a script, and the command runs that.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use broker_config::wire::file::FilePath;
use broker_config::wire::signal::What;
use broker_config::{Manifest, Queue, Record, Signal, Task};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::harness::{Fleet, PATIENCE, eventually, policy, task};

/// A fleet, its folder, and the program that serves it.
pub(crate) struct Bed {
    pub(crate) fleet: Fleet,
    pub(crate) home: TempDir,
    process: Child,
}

/// Runs the file it is called for.
pub(crate) const RUN: &str = ". \"$METAFLEET_FILE\"";

impl Bed {
    /// A shim with these options whose command is `sh -c script`.
    pub(crate) async fn with(options: &[&str], script: &str) -> anyhow::Result<Self> {
        let manifest = serde_json::json!({
            "dataSchema": {"a": {}, "b": {}, "s": {"type": "set"}, "j": {"type": "json"}, "n/{n}": {}},
            "configSchema": {"mode": {"default": "good"}, "apiKey": {"secret": true}},
        });
        let manifest = crate::harness::manifest(&manifest)?;
        let home = TempDir::new()?;
        fs::write(home.path().join("manifest.json"), serde_json::to_string(&manifest)?)?;
        let folder = home.path().to_owned();
        let arguments = [options, &["--", "sh", "-c", script]].concat();
        Self::in_folder(manifest, &folder, &arguments, home).await
    }

    /// A shim that plays the plugin in a folder.
    pub(crate) async fn of(
        manifest: Manifest,
        folder: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        Self::in_folder(manifest, folder, arguments, TempDir::new()?).await
    }

    async fn in_folder(
        manifest: Manifest,
        folder: &Path,
        arguments: &[&str],
        home: TempDir,
    ) -> anyhow::Result<Self> {
        let fleet = Fleet::with(manifest).await?;
        let process = Command::new(env!("CARGO_BIN_EXE_metafleet-shim"))
            .args(arguments)
            .env("NATS_URL", fleet.server.url())
            .env("METAFLEET_INSTANCE", "w0")
            .env("METAFLEET_CONCURRENCY", "4")
            .env("NATS_CA_NOT_USED", "hush")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { fleet, home, process })
    }

    /// A shim that runs each file as a script.
    pub(crate) async fn start(options: &[&str]) -> anyhow::Result<Self> {
        Self::with(options, RUN).await
    }

    /// Writes a file.
    pub(crate) fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.home.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// Hands in a task for a file with one attempt.
    pub(crate) async fn hand_in(
        &self,
        cid: &str,
        path: &Path,
        change: impl FnOnce(&mut Task),
    ) -> anyhow::Result<()> {
        let mut task = Task {
            path: FilePath::new(path),
            retry: policy(1, &[]),
            deadline_ms: 15_000,
            ..task(cid)?
        };
        change(&mut task);
        self.fleet.publish(Queue::Fast, &task).await?;
        Ok(())
    }

    /// Hands in a script, and waits for its record.
    pub(crate) async fn record(&self, cid: &str, script: &str) -> anyhow::Result<Record> {
        let path = self.file(cid, script)?;
        self.hand_in(cid, &path, |_| {}).await?;
        self.fleet.settled(cid).await
    }

    /// Hands in a script that fails; returns whether that is for good, and the error.
    pub(crate) async fn failure(&self, cid: &str, script: &str) -> anyhow::Result<(bool, String)> {
        let path = self.file(cid, script)?;
        self.hand_in(cid, &path, |_| {}).await?;
        self.failed(cid).await
    }

    /// Waits until the task has failed.
    pub(crate) async fn failed(&self, cid: &str) -> anyhow::Result<(bool, String)> {
        for n in 0.. {
            if let Signal { what: What::Failed { error, permanent, task, .. }, .. } =
                self.fleet.signal("failed", n).await?
                && task.cid.as_str() == cid
            {
                return Ok((permanent, error));
            }
        }
        unreachable!("there is always a next number")
    }

    /// Waits until nothing is left of a task's processes.
    pub(crate) async fn nothing_left(&self, cid: &str) -> anyhow::Result<()> {
        eventually(&format!("the end of all that ran for {cid}"), async || left_of(cid).is_empty())
            .await
    }

    /// Sends the shim a signal.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.process.id().to_string();
        anyhow::ensure!(Command::new("kill").args(["-s", name, &id]).status()?.success(), "kill");
        Ok(())
    }

    /// Waits for the end of the shim.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.code());
            }
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the shim goes on")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Processes that were started for a task: they have inherited its variable.
pub(crate) fn left_of(cid: &str) -> Vec<String> {
    let wanted = format!("METAFLEET_CID={cid}");
    let is_of =
        |environment: &[u8]| environment.split(|&b| b == 0).any(|it| it == wanted.as_bytes());
    let Ok(entries) = fs::read_dir("/proc") else { return vec![] };
    entries
        .flatten()
        .filter(|entry| fs::read(entry.path().join("environ")).is_ok_and(|it| is_of(&it)))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Waits until a file is there, and returns what it says.
pub(crate) async fn written(path: &Path) -> anyhow::Result<String> {
    eventually("a file to be written", async || {
        fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'))
    })
    .await?;
    Ok(fs::read_to_string(path)?)
}
