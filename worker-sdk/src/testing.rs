//! Runs a plugin on a file without a broker; for the tests of plugins.
//!
//! ```
//! # use worker_sdk::{Context, Failure, Manifest, Meta, Outcome, Plugin};
//! # struct Size;
//! # impl Plugin for Size {
//! #     fn manifest(&self) -> Manifest {
//! #         Manifest::from_json(r#"{"id":"size","name":"Size","version":"1.0.0","priority":50,
//! #             "queue":"fast","dataSchema":{"size":{"type":"string"}}}"#).unwrap()
//! #     }
//! #     async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
//! #         let mut meta = Meta::new();
//! #         meta.text("size", ctx.file().size);
//! #         Ok(Outcome::Completed(meta))
//! #     }
//! # }
//! use worker_sdk::testing::Bench;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let report = Bench::new(Size).run(file!()).await;
//! assert!(report.text("size").is_some(), "{:?}", report.outcome);
//! # }
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use broker_config::wire::file::FilePath;
use broker_config::wire::task::TaskType;
use broker_config::{
    Artifact, ArtifactName, Cid, FileFacts, Lane, MetaKey, MetaMap, MetaValue, RunId, Sidecar,
    Task, TaskId,
};
use bytes::Bytes;
use std::num::NonZeroU32;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::{self, Ended};
use crate::context::{BoxFuture, Context, Port, SubmitError};
use crate::facts;
use crate::files::{Files, FilesOptions};
use crate::outcome::{Failure, Outcome};
use crate::plugin::{Plugin, Settings};

/// Runs a plugin on files as a worker would: settings, deadline, panics and the dataSchema are
/// treated the same way.
#[derive(Debug)]
pub struct Bench<P> {
    plugin: P,
    settings: Result<Settings, String>,
    existing: MetaMap,
    mime: Option<String>,
    attempt: NonZeroU32,
    files: FilesOptions,
    largest_artifact: usize,
}

/// What came of one run.
#[derive(Debug)]
pub struct Report {
    /// What the plugin said, or why a worker would fail the attempt.
    pub outcome: Result<Outcome, Failure>,
    /// The files that it handed in.
    pub submitted: Vec<PathBuf>,
    /// What it kept of the file, in order.
    pub artifacts: Vec<(Artifact, Bytes)>,
    meta: MetaMap,
}

impl Report {
    /// The metadata that would be in the record; empty unless the plugin completed or forwarded.
    #[must_use]
    pub fn meta(&self) -> &MetaMap {
        &self.meta
    }

    /// The text that `key` holds; `None` where it holds a set or JSON, or nothing.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.meta.get(key)?.as_text()
    }

    /// Asserts that the attempt failed, whether trying again may help, and that the error says
    /// `words`.
    ///
    /// # Panics
    ///
    /// When one of these is not so.
    #[expect(clippy::panic, reason = "this is for tests, where it is how to fail")]
    pub fn assert_failed(&self, retryable: bool, words: &str) {
        match &self.outcome {
            Ok(outcome) => panic!("it did not fail: {outcome:?}"),
            Err(failure) => {
                let said = failure.to_string();
                assert!(said.contains(words), "`{words}` is not in: {said}");
                assert_eq!(failure.is_retryable(), retryable, "retryable: {said}");
            }
        }
    }
}

/// Makes a pipe in `folder` that nobody writes to: whoever opens it for reading waits for ever.
///
/// # Errors
///
/// When it cannot be made.
pub fn pipe_in(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status()?;
    if made.success() { Ok(path) } else { Err(io::Error::other(format!("mkfifo: {made}"))) }
}

impl<P: Plugin> Bench<P> {
    /// A bench with the default settings of the manifest and nothing known of the file.
    #[must_use]
    pub fn new(plugin: P) -> Self {
        let settings =
            plugin.manifest().settings(&Settings::new()).map_err(|reasons| reasons.join("; "));
        let attempt = NonZeroU32::MIN;
        let files = FilesOptions::default();
        let (existing, mime, largest_artifact) = (MetaMap::new(), None, usize::MAX);
        Self { plugin, settings, existing, mime, attempt, files, largest_artifact }
    }

    /// The settings an operator gives, as a JSON object; defaults are filled in.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!({..})` in place")]
    pub fn settings(mut self, given: serde_json::Value) -> Self {
        self.settings = match given.as_object() {
            Some(given) => {
                self.plugin.manifest().settings(given).map_err(|reasons| reasons.join("; "))
            }
            None => Err("settings must be a JSON object".to_owned()),
        };
        self
    }

    /// What other plugins wrote about the file; adds to what is there. `file/mime` also sets the
    /// media type in [`Context::file`].
    ///
    /// # Panics
    ///
    /// When a key is not a legal metadata key.
    #[must_use]
    #[expect(clippy::panic, reason = "this is for tests, where a wrong key is a wrong test")]
    pub fn existing<K, V>(mut self, entries: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: Into<MetaValue>,
    {
        for (key, value) in entries {
            let value = value.into();
            match key.as_ref().parse::<MetaKey>() {
                Ok(key) => {
                    if key.as_str() == "file/mime" {
                        self.mime = value.as_text().map(str::to_owned);
                    }
                    self.existing.insert(key, value);
                }
                Err(error) => panic!("{error}"),
            }
        }
        self
    }

    /// The number of the attempt, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: NonZeroU32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Where files are, for tests of plugins that read them from elsewhere.
    #[must_use]
    pub fn files(mut self, files: FilesOptions) -> Self {
        self.files = files;
        self
    }

    /// How large an artefact may be, in bytes: a broker takes no more than one message holds.
    #[must_use]
    pub fn largest_artifact(mut self, bytes: usize) -> Self {
        self.largest_artifact = bytes;
        self
    }

    /// Configures the plugin and lets it process one file.
    ///
    /// A file that does not exist is given to the plugin all the same, as it would be if it
    /// vanished between scan and task.
    pub async fn run(&self, path: impl AsRef<Path>) -> Report {
        let failed = |error| Noted::default().report(Err(error), MetaMap::new());
        let settings = match &self.settings {
            Ok(settings) => Arc::new(settings.clone()),
            Err(reasons) => return failed(Failure::permanent(reasons.clone())),
        };
        if let Err(error) = self.plugin.configure(&settings).await {
            return failed(Failure::permanent(error));
        }
        let manifest = self.plugin.manifest();
        let notes = Notes { largest: self.largest_artifact, noted: Arc::default() };
        let task = match self.task(path.as_ref()) {
            Ok(task) => task,
            Err(error) => return failed(Failure::permanent(error)),
        };
        let ctx = Context {
            path: self.files.paths.here(&task.path.to_path()),
            files: Arc::new(Files::new(self.files.clone())),
            settings,
            attempt: self.attempt,
            deadline: Instant::now() + manifest.deadline(),
            cancelled: CancellationToken::new(),
            got_on: Mutex::new(Instant::now()),
            port: Box::new(notes.clone()),
            task,
        };
        let outcome = attempt::run(&self.plugin, &manifest, &ctx).await;
        let checked = outcome.and_then(|outcome| {
            let ended = attempt::check(&manifest, outcome.clone())?;
            Ok((outcome, ended))
        });
        let noted =
            std::mem::take(&mut *notes.noted.lock().unwrap_or_else(PoisonError::into_inner));
        match checked {
            Ok((outcome, Ended::Completed(meta) | Ended::Forward { meta, .. })) => {
                noted.report(Ok(outcome), meta)
            }
            Ok((outcome, Ended::Skipped(_) | Ended::RetryLater { .. })) => {
                noted.report(Ok(outcome), MetaMap::new())
            }
            Err(failure) => noted.report(Err(failure), MetaMap::new()),
        }
    }

    fn task(&self, path: &Path) -> Result<Task, Box<dyn std::error::Error + Send + Sync>> {
        let manifest = self.plugin.manifest();
        let path = std::path::absolute(path)?;
        let mut file = facts_of(&path);
        if let Some(mime) = &self.mime {
            file.mime.clone_from(mime);
        }
        let mut existing_meta = file_meta(&path, &file)?;
        if let Some(reads) = &manifest.reads {
            existing_meta.retain(|key, _| {
                reads
                    .iter()
                    .any(|pattern| broker_config::meta::matches_pattern(pattern, key.as_str()))
            });
        } else {
            existing_meta.clear();
        }
        existing_meta.extend(self.existing.clone());
        let cid: Cid = "test-bench".parse()?;
        Ok(Task {
            kind: TaskType::V1,
            task_id: TaskId::derive(&cid, &manifest.id, "bench", 0),
            run_id: RunId(1),
            plugin_id: manifest.id.clone(),
            cid,
            path: FilePath::new(&path),
            file,
            existing_meta,
            record_revision: 0,
            fingerprint: "bench".to_owned(),
            deadline_ms: manifest.timeout,
            progress_timeout_ms: None,
            retry: manifest.retry_policy(),
            plugin_version: None,
            lane: Lane::Main,
            trial: false,
            depth: 0,
            scan_id: None,
        })
    }
}

/// What a plugin caused outside, in order.
#[derive(Debug, Clone)]
struct Notes {
    largest: usize,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug, Default)]
struct Noted {
    submitted: Vec<PathBuf>,
    artifacts: Vec<(Artifact, Bytes)>,
}

impl Noted {
    fn report(self, outcome: Result<Outcome, Failure>, meta: MetaMap) -> Report {
        let Self { submitted, artifacts } = self;
        Report { outcome, submitted, artifacts, meta }
    }
}

impl Port for Notes {
    fn submit<'a>(
        &'a self,
        _task: &'a Task,
        file: &'a Path,
    ) -> BoxFuture<'a, Result<(), SubmitError>> {
        Box::pin(async move {
            std::fs::metadata(file)
                .map_err(|source| SubmitError::Read { path: file.to_owned(), source })?;
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.submitted.push(file.to_owned());
            Ok(())
        })
    }

    fn artifact<'a>(
        &'a self,
        _: &'a Task,
        name: &'a ArtifactName,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Artifact, Failure>> {
        Box::pin(async move {
            if bytes.len() > self.largest {
                let what = format!("`{name}` is larger than {} bytes", self.largest);
                return Err(Failure::permanent(what));
            }
            let artifact = Artifact::of(name.clone(), media_type, &bytes);
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.artifacts.push((artifact.clone(), bytes));
            Ok(artifact)
        })
    }

    fn progress<'a>(&'a self, _: &'a Task, _: f32, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// What a scanner says of a file; of one that cannot be read, what its name says.
fn facts_of(path: &Path) -> FileFacts {
    let facts = facts::of_file(path).unwrap_or_else(|_| facts::of_name(path));
    FileFacts { sidecars: sidecars(path).unwrap_or_default(), ..facts }
}

/// Files of the same stem beside `path`, and the `.nfo` of the folder.
fn sidecars(path: &Path) -> io::Result<Vec<Sidecar>> {
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem()) else { return Ok(vec![]) };
    let stem = format!("{}.", stem.to_string_lossy());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_folder = ["movie.nfo", "tvshow.nfo"].contains(&name.as_str());
        let beside = name.starts_with(&stem) || of_folder;
        if beside && entry.path() != path && entry.file_type()?.is_file() {
            let metadata = entry.metadata()?;
            found.push(Sidecar {
                name,
                size: metadata.len(),
                modified: facts::modified(&metadata),
            });
        }
    }
    found.sort();
    Ok(found)
}

/// The facts under the keys by which `reads` names them.
fn file_meta(
    path: &Path,
    file: &FileFacts,
) -> Result<MetaMap, Box<dyn std::error::Error + Send + Sync>> {
    let entries = [
        ("file/path", MetaValue::Text(path.to_string_lossy().into_owned())),
        ("file/name", MetaValue::Text(file.name.clone())),
        ("file/extension", MetaValue::Text(file.extension.clone())),
        ("file/size", MetaValue::Text(file.size.to_string())),
        ("file/mime", MetaValue::Text(file.mime.clone())),
        ("file/modified", MetaValue::Text(file.modified.clone())),
        ("file/sidecars", MetaValue::Json(serde_json::to_value(&file.sidecars)?)),
    ];
    entries.into_iter().map(|(key, value)| Ok((key.parse::<MetaKey>()?, value))).collect()
}

#[cfg(test)]
mod tests;
