//! What a case has in its hands: a broker, the part of the coordinator, and the worker's command.

mod answer;
mod draft;
mod ends;
mod scene;

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use broker_config::{Manifest, PluginId};
use serde_json::{Map, Value};

pub(super) use self::answer::Word;
pub(super) use self::draft::{Draft, Sent};
pub(super) use self::ends::Outcome;
pub(super) use self::scene::{HEARTBEAT, LEASE, Refusing, Scene, Setup};
use super::files::{self, Sample};
use super::seen::{Pull, Seen};
use super::worker::Worker;

/// How long something may take that takes no time on an idle machine.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// What is known of the worker that is tried.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) manifest: Manifest,
    /// The whole announcement.
    pub(super) announcement: Value,
    /// Whether it follows the script.
    pub(super) scripted: bool,
    /// Whether it obeys lanes.
    pub(super) lanes: bool,
}

impl About {
    /// Reads an announcement.
    pub(super) fn read(announcement: &Value) -> anyhow::Result<Self> {
        let manifest = announcement.get("manifest").context("an announcement has a manifest")?;
        let manifest = Manifest::from_json(&manifest.to_string())?;
        let scripted = manifest.capabilities.get("conformance") == Some(&true);
        let lanes = announcement.get("lanes").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self { manifest, announcement: announcement.clone(), scripted, lanes })
    }
}

/// The case says nothing about this worker.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotApplicable(pub(super) String);

/// Everything of one case.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(super) scene: Scene,
    pub(super) about: Arc<About>,
    /// Files that the person named.
    given: Arc<Vec<PathBuf>>,
}

impl Deref for Stage {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Scene {
        &mut self.scene
    }
}

impl Stage {
    /// The requests for tasks so far.
    pub(super) fn requests(&self) -> Vec<(Duration, Pull)> {
        let read = |all: &[Seen]| {
            all.iter().filter_map(|seen| Some((seen.at, seen.pull()?.clone()))).collect()
        };
        self.tape.look(read)
    }

    pub(super) fn new(scene: Scene, about: Arc<About>, given: Arc<Vec<PathBuf>>) -> Self {
        Self { scene, about, given }
    }

    pub(super) fn plugin(&self) -> &PluginId {
        &self.about.manifest.id
    }

    /// The values that the operator gave, with the defaults of the plugin.
    pub(super) fn settings(&self) -> Map<String, Value> {
        self.about.manifest.settings(&self.scene.given_settings).unwrap_or_default()
    }

    // Workers ------------------------------------------------------------------------------------

    /// Starts a worker and waits until it serves.
    pub(super) async fn serve(&mut self) -> anyhow::Result<Worker> {
        self.serve_with(&[]).await
    }

    /// The same with variables of its own.
    pub(super) async fn serve_with(
        &mut self,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Worker> {
        let mut worker = self.start(variables).await?;
        if let Err(error) = self.shows(&worker, "ready").await {
            worker.lives()?;
            return Err(error);
        }
        Ok(worker)
    }

    /// Starts a worker and waits for nothing.
    pub(super) async fn start(&mut self, variables: &[(&str, &str)]) -> anyhow::Result<Worker> {
        let plugin = self.about.manifest.id.to_string();
        let mut all = vec![("METAFLEET_PLUGIN", plugin.as_str())];
        all.extend(variables);
        self.scene.start_worker(&all).await
    }

    /// The subject of a worker's sign of life.
    pub(super) fn life(&self, worker: &Worker) -> anyhow::Result<String> {
        Ok(self.names.instance(self.plugin(), &worker.instance.parse()?))
    }

    /// Waits until a worker shows a state.
    pub(super) async fn shows(&self, worker: &Worker, state: &str) -> anyhow::Result<Seen> {
        self.shows_after(worker, state, Duration::ZERO).await
    }

    /// The same, not before `since`.
    pub(super) async fn shows_after(
        &self,
        worker: &Worker,
        state: &str,
        since: Duration,
    ) -> anyhow::Result<Seen> {
        let life = self.life(worker)?;
        let what = format!("the state `{state}` in its sign of life ({life})");
        self.tape
            .after(since, &what, SOON, |seen| seen.subject == life && seen.state() == state)
            .await
    }

    /// Asks one worker, or all of the plugin, to do something; its answer.
    pub(super) async fn control(
        &self,
        worker: Option<&Worker>,
        request: &str,
    ) -> anyhow::Result<Value> {
        let subject = match worker {
            Some(worker) => self.names.control_instance(self.plugin(), &worker.instance.parse()?),
            None => self.names.control(self.plugin()),
        };
        let answer = self.client.request(subject.clone(), request.to_owned().into());
        let answer = tokio::time::timeout(SOON, answer).await;
        let answer = answer.with_context(|| format!("no answer to `{request}` on {subject}"))?;
        let answer = answer.with_context(|| format!("no answer to `{request}` on {subject}"))?;
        let body = String::from_utf8_lossy(&answer.payload).into_owned();
        serde_json::from_str(&body).with_context(|| format!("the answer to `{request}`: {body}"))
    }

    // Files and tasks ----------------------------------------------------------------------------

    /// A file that the plugin can do something with, under a name; a script, where it follows one.
    pub(super) fn sample(&self, name: &str) -> anyhow::Result<Sample> {
        if self.about.scripted {
            return self.script(name, "complete");
        }
        let source = match self.given.first() {
            Some(path) => Sample { path: path.clone(), facts: files::look(path)? },
            None => files::make(&self.folder, &self.about.manifest.filter)?,
        };
        // The extension may be all that the plugin goes by.
        let name = match source.path.extension() {
            Some(extension) => format!("{name}.{}", extension.to_string_lossy()),
            None => name.to_owned(),
        };
        let path = self.folder.join(&name);
        std::fs::copy(&source.path, &path).with_context(|| format!("write {}", path.display()))?;
        files::show(&path)?;
        let facts = broker_config::FileFacts { name, ..source.facts };
        Ok(Sample { path, facts })
    }

    /// A file that says what is to be done with it.
    pub(super) fn script(&self, name: impl AsRef<Path>, lines: &str) -> anyhow::Result<Sample> {
        let path = self.folder.join(name);
        std::fs::write(&path, lines).with_context(|| format!("write {}", path.display()))?;
        files::show(&path)?;
        let facts = files::look(&path)?;
        Ok(Sample { path, facts })
    }

    /// A task for a file.
    pub(super) fn task(&self, cid: &str, file: &Sample) -> anyhow::Result<Draft> {
        Draft::new(&self.about.manifest, cid, file)
    }

    /// Publishes a task for a file that the plugin can do something with.
    pub(super) async fn send_sample(&self, name: &str) -> anyhow::Result<Sent> {
        let draft = self.task(&format!("conformance:{name}"), &self.sample(name)?)?;
        self.send(draft).await
    }

    /// Publishes a task for a file with such a script.
    pub(super) async fn send_script(&self, name: &str, lines: &str) -> anyhow::Result<Sent> {
        let draft = self.task(&format!("conformance:{name}"), &self.script(name, lines)?)?;
        self.send(draft).await
    }

    /// How often a handler was called with the file of a task: instance and attempt of each.
    pub(super) fn calls(&self, sent: &Sent) -> Vec<(String, u32)> {
        let mut path = sent.path.clone().into_os_string();
        path.push(".calls");
        // Before the first call there is no such file.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let read = |line: &str| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        };
        text.lines().filter_map(read).collect()
    }

    /// Waits until a handler was called so often with the file of a task.
    pub(super) async fn called(&self, sent: &Sent, times: usize) -> anyhow::Result<()> {
        let begun = tokio::time::Instant::now();
        while self.calls(sent).len() < times {
            let made = self.calls(sent).len();
            anyhow::ensure!(
                begun.elapsed() < SOON,
                "waited {} s for call {times} of the handler with {}, there were {made}",
                SOON.as_secs(),
                sent.path.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// A file that handlers wait for: its path, and a way to make it.
    pub(super) fn gate(&self) -> PathBuf {
        self.folder.join("gate")
    }

    /// Lets go all handlers that wait.
    pub(super) fn open_gate(&self) -> anyhow::Result<()> {
        std::fs::write(self.gate(), "").context("write the gate")
    }
}
