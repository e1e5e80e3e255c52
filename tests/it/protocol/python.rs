//! Workers in Python, each a process of its own: `tests/protocol/`.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::{
    Cid, FileFacts, Names, PluginId, Queue, RunId, Submission, wire::file::FilePath,
};
use integration_tests::{Fleet, LIMIT, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// The folder with the programs.
pub(crate) fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol")
}

/// A Python with nats-py: the one that `METAFLEET_TEST_PYTHON` names, else the one that `make tools`
/// made. Without one the tests fail; nothing is skipped.
pub(crate) async fn interpreter() -> anyhow::Result<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/python/bin/python");
    let python = std::env::var_os("METAFLEET_TEST_PYTHON").map_or(made, PathBuf::from);
    let output = Command::new(&python).args(["-c", "import nats"]).output().await;
    let problem = match output {
        Ok(output) if output.status.success() => return Ok(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    bail!(
        "{} is no Python with nats-py: {problem}\nrun `make tools`, or install it with `pip install \
         -r tests/protocol/requirements.txt` and set METAFLEET_TEST_PYTHON to that Python",
        python.display()
    )
}

/// Runs a line of Python beside the programs and reads what it prints.
pub(super) async fn evaluate(code: &str, argument: &str) -> anyhow::Result<String> {
    let python = interpreter().await?;
    let output =
        Command::new(python).args(["-c", code, argument]).current_dir(programs()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{code}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The manifest of `scripted.py` with some fields changed.
pub(crate) fn manifest(change: &Value) -> anyhow::Result<Value> {
    let mut manifest = json!({
        "id": "script", "name": "Script", "version": "2.1.0", "priority": 50, "queue": "fast",
        "timeout": 20_000, "concurrency": 1, "retry": {"maxAttempts": 3, "delaysMs": [100]},
        "dataSchema": {
            "script/attempt": {}, "script/cid": {}, "script/text/{n}/*": {},
            "script/existing": {"type": "json"}, "script/set": {"type": "set"},
        },
        "configSchema": {"mode": {"type": "string", "default": "good"}},
    });
    for (field, value) in change.as_object().context("an object of fields")? {
        manifest[field] = value.clone();
    }
    Ok(manifest)
}

/// The folder that a test's files lie in.
#[derive(Debug)]
pub(super) struct Home(TempDir);

impl Home {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(TempDir::new()?))
    }

    /// A path in it.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that says what is to be done with it, and hands it in with this content id.
    pub(super) async fn hand_in(
        &self,
        fleet: &Fleet,
        cid: &str,
        name: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
    ) -> anyhow::Result<RunId> {
        let path = self.path(name);
        std::fs::write(&path, content)?;
        fleet.hand_in(Queue::Fast, &submission(cid, &path)?).await
    }

    /// What `scripted.py` noted of its calls with a file: instance, attempt, milliseconds.
    pub(super) fn calls(&self, name: impl AsRef<Path>) -> anyhow::Result<Vec<(String, u32, u64)>> {
        let mut path = self.path(name).into_os_string();
        path.push(".calls");
        // Before the first call there is no such file.
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(Vec::new()) };
        let calls = text.lines().map(|line| {
            let mut words = line.split(' ');
            let mut next = || words.next().context("a word");
            Ok((next()?.to_owned(), next()?.parse()?, next()?.parse()?))
        });
        calls.collect()
    }

    /// Waits until `scripted.py` was called so often with a file.
    pub(super) async fn called(&self, name: &str, times: usize) -> anyhow::Result<()> {
        let what = format!("{times} calls with {name}");
        eventually(&what, async || Ok((self.calls(name)?.len() >= times).then_some(()))).await
    }
}

/// A submission of a text file.
pub(super) fn submission(cid: &str, path: &Path) -> anyhow::Result<Submission> {
    let file = FileFacts {
        size: std::fs::metadata(path)?.len(),
        mime: "text/plain".to_owned(),
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        extension: "txt".to_owned(),
        ..FileFacts::default()
    };
    Ok(Submission::new(cid.parse::<Cid>()?, FilePath::new(path), file))
}

/// A worker that runs.
#[derive(Debug)]
pub(super) struct Python {
    plugin: PluginId,
    pub(super) instance: String,
    log: PathBuf,
    child: Child,
    /// It lives as long as this is open.
    _stdin: Option<ChildStdin>,
}

impl Python {
    /// Starts `scripted.py` and waits until it serves.
    pub(super) async fn scripted(
        fleet: &Fleet,
        home: &Home,
        instance: &str,
        change: &Value,
    ) -> anyhow::Result<Self> {
        let worker = Self::spawn_scripted(fleet, home, instance, change, &[]).await?;
        worker.is(fleet, InstanceState::Ready).await?;
        Ok(worker)
    }

    /// Starts `scripted.py` with variables of its own and waits for nothing.
    pub(super) async fn spawn_scripted(
        fleet: &Fleet,
        home: &Home,
        instance: &str,
        change: &Value,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let path = home.path(format!("{instance}.json"));
        std::fs::write(&path, manifest(change)?.to_string())?;
        let mut worker = Self::command(fleet, "scripted.py", instance).await?;
        worker.arg(path).envs(env.iter().copied());
        Self::start(worker, home, "script", instance)
    }

    /// Starts `line_counter.py` and waits until it serves.
    pub(super) async fn line_counter(fleet: &Fleet, home: &Home) -> anyhow::Result<Self> {
        let worker = Self::command(fleet, "line_counter.py", "counter-1").await?;
        let worker = Self::start(worker, home, "line-counter", "counter-1")?;
        worker.is(fleet, InstanceState::Ready).await?;
        Ok(worker)
    }

    async fn command(fleet: &Fleet, program: &str, instance: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(interpreter().await?);
        command.args(["-B", "under_test.py", program]).current_dir(programs());
        command.env("NATS_URL", fleet.server.url());
        command.env("METAFLEET_PREFIX", fleet.names.prefix().as_str());
        command.env("METAFLEET_INSTANCE", instance);
        command.stdin(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    fn start(
        mut command: Command,
        home: &Home,
        plugin: &str,
        instance: &str,
    ) -> anyhow::Result<Self> {
        let log = home.path(format!("{instance}.log"));
        let mut child = command.stderr(std::fs::File::create(&log)?).spawn()?;
        let _stdin = child.stdin.take();
        Ok(Self { plugin: plugin.parse()?, instance: instance.to_owned(), log, child, _stdin })
    }

    /// What it wrote to standard error.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it shows a state.
    pub(super) async fn is(&self, fleet: &Fleet, state: InstanceState) -> anyhow::Result<Instance> {
        let shown = fleet.instance_is(&self.plugin, &self.instance, state).await;
        shown.with_context(|| format!("{}: {}", self.instance, self.said()))
    }

    /// Whether it shows a sign of life at the moment.
    pub(super) async fn is_there(&self, fleet: &Fleet) -> anyhow::Result<bool> {
        let subject = fleet.names.instance(&self.plugin, &self.instance.parse()?);
        let stream = Names::bucket_stream(&fleet.names.instances_bucket());
        Ok(fleet.last(&stream, &subject).await?.is_some_and(|stored| !stored.is_deletion()))
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().context("it has ended")?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("a pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = timeout(LIMIT, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} goes on: {}", self.instance, self.said()))??)
    }

    /// Waits for an answer to a control request to this instance.
    pub(super) async fn control(&self, fleet: &Fleet, request: &Value) -> anyhow::Result<Value> {
        let subject = fleet.names.control_instance(&self.plugin, &self.instance.parse()?);
        let answer = fleet.client.request(subject, request.to_string().into());
        let answer = timeout(Duration::from_secs(5), answer).await??;
        Ok(serde_json::from_slice(&answer.payload)?)
    }
}
