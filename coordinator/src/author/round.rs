//! A file through one plugin: handed in, followed until it is settled, its record read.

use std::path::Path;
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::InstanceState;
use broker_config::{Cid, InstanceId, Manifest, MetaMap, PluginId, Queue, Record, Submission};
use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::events::Events;
use crate::source::look_at;
use crate::store::{Store, StoreError};

/// Between two looks at what has happened.
const LOOK: Duration = Duration::from_millis(20);

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// There is metadata.
    Completed,
    /// The plugin has nothing to say about it.
    Skipped,
    /// It was given up on.
    Failed,
    /// The manifest's filter keeps it away.
    NotWanted,
}

impl Status {
    /// The words for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::NotWanted => "not wanted",
        }
    }
}

/// An attempt after which another one followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// Why it failed.
    pub error: String,
    /// How long was waited after it, in milliseconds.
    pub delay_ms: u64,
}

/// What came of one file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileReport {
    /// The file, as it was named.
    pub file: String,
    /// How it ended.
    pub status: Status,
    /// Why, where there is no record to say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From handing it in until it was settled, in milliseconds.
    pub total_ms: u64,
    /// Attempts that failed before.
    pub failed_attempts: Vec<Attempt>,
    /// The plugin's record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// The plugin does not serve, or a file cannot be handed in.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The coordinator does not take the plugin.
    #[error("the coordinator does not accept {plugin}: {}", reasons.join("; "))]
    Rejected {
        /// Which.
        plugin: PluginId,
        /// Why not.
        reasons: Vec<String>,
    },
    /// The plugin does not take its settings.
    #[error("{plugin} does not serve: {error}")]
    Unfit {
        /// Which.
        plugin: PluginId,
        /// Its words.
        error: String,
    },
    /// The file cannot be read.
    #[error("{path} cannot be handed in")]
    File {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The broker.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Waits until an instance takes tasks.
///
/// # Errors
///
/// [`RoundError`] when it never will as it is.
pub async fn until_ready(
    store: &Store,
    plugin: &PluginId,
    name: &InstanceId,
    events: &mut Events,
) -> Result<(), RoundError> {
    loop {
        let instances = store.instances().await?;
        let found = instances.get(plugin).into_iter().flatten().find(|it| it.instance == *name);
        match found.map(|found| (found.state, found.error.clone())) {
            Some((InstanceState::Ready, _)) => return Ok(()),
            Some((InstanceState::Failed, error)) => {
                let error = error.unwrap_or_else(|| "it does not say why".to_owned());
                return Err(RoundError::Unfit { plugin: plugin.clone(), error });
            }
            Some((
                InstanceState::Starting | InstanceState::Paused | InstanceState::Draining,
                _,
            ))
            | None => {}
        }
        for fact in events.read().await? {
            if let Fact::PluginRejected { plugin_id, reasons } = fact
                && plugin_id == *plugin
            {
                return Err(RoundError::Rejected { plugin: plugin_id, reasons });
            }
        }
        sleep(LOOK).await;
    }
}

/// Runs one plugin on one file, whether or not it is up to date, and waits until it is settled.
/// `existing` is what others have said of the file; `tell` hears of attempts that fail.
///
/// # Errors
///
/// [`RoundError`] when the file cannot be handed in or the broker is away.
pub async fn run(
    store: &Store,
    manifest: &Manifest,
    path: &Path,
    existing: &MetaMap,
    mut tell: impl FnMut(&str),
) -> Result<FileReport, RoundError> {
    let shown = path.display().to_string();
    let failed = |source| RoundError::File { path: shown.clone(), source };
    let found = look_at(path).await.map_err(failed)?;
    let mut report = FileReport {
        file: shown.clone(),
        status: Status::NotWanted,
        reason: manifest.filter.mismatch(&found.facts()),
        total_ms: 0,
        failed_attempts: Vec::new(),
        record: None,
    };
    if report.reason.is_some() {
        return Ok(report);
    }
    let id = &manifest.id;
    if !existing.is_empty() {
        let now = jiff::Timestamp::now().to_string();
        let write = |record: &mut Record, _: &[_]| {
            record.meta.clone_from(existing);
            Ok::<_, StoreError>(())
        };
        store.edit_user(&found.cid, &now, write).await?;
    }
    let mut events = Events::open(store).await?;
    let (only, rerun) = (vec![id.clone()], vec![id.clone()]);
    let submission = Submission { only, rerun, ..found.submission() };
    let begun = Instant::now();
    let run = submit(store, &submission).await?;
    loop {
        for fact in events.read().await? {
            match hear(fact, id, &found.cid, run) {
                Heard::Failed(attempt) => {
                    let Attempt { attempt: number, error, .. } = &attempt;
                    tell(&format!("{shown}: attempt {number} failed: {error}"));
                    report.failed_attempts.push(attempt);
                }
                Heard::Later { delay_ms, reason } => {
                    tell(&format!("{shown}: to be tried again in {delay_ms} ms: {reason}"));
                }
                Heard::Rejected(reason) => {
                    (report.status, report.reason) = (Status::Failed, Some(reason));
                    return Ok(report);
                }
                Heard::Settled(outcome) => {
                    report.total_ms = millis(begun.elapsed());
                    report.record =
                        store.records(&found.cid).await?.remove(id).map(|(_, record)| record);
                    (report.status, report.reason) = ended(outcome);
                    return Ok(report);
                }
                Heard::Nothing => {}
            }
        }
        sleep(LOOK).await;
    }
}

/// What an event says of one run of one plugin.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Failed(Attempt),
    Later { delay_ms: u64, reason: String },
    Rejected(String),
    Settled(Option<Outcome>),
    Nothing,
}

fn hear(fact: Fact, plugin: &PluginId, of: &Cid, run: u64) -> Heard {
    if let Fact::TaskRetrying { cid, plugin_id, attempt, delay_ms, error, .. } = &fact
        && (plugin_id, cid) == (plugin, of)
    {
        let (attempt, delay_ms) = (*attempt, *delay_ms);
        return Heard::Failed(Attempt { attempt, error: error.clone(), delay_ms });
    }
    if let Fact::TaskDeferred { cid, plugin_id, delay_ms, reason, .. } = &fact
        && (plugin_id, cid) == (plugin, of)
    {
        return Heard::Later { delay_ms: *delay_ms, reason: reason.clone() };
    }
    if let Fact::SubmissionRejected { run_id, reason } = &fact
        && run_id.0 == run
    {
        return Heard::Rejected(reason.clone());
    }
    if let Fact::FileSettled { run_id, plugins, .. } = fact
        && run_id.0 == run
    {
        return Heard::Settled(plugins.get(plugin).copied());
    }
    Heard::Nothing
}

fn ended(outcome: Option<Outcome>) -> (Status, Option<String>) {
    match outcome {
        Some(Outcome::Completed | Outcome::Cached) => (Status::Completed, None),
        Some(Outcome::Skipped) => (Status::Skipped, None),
        Some(Outcome::Failed) => (Status::Failed, None),
        Some(Outcome::Gone) | None => (Status::Failed, Some("the plugin took no part".to_owned())),
    }
}

async fn submit(store: &Store, submission: &Submission) -> Result<u64, StoreError> {
    let what = format!("hand in {}", submission.cid);
    let body = serde_json::to_vec(submission)
        .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
    let subject = store.names().submit(Queue::Fast);
    let sent = store.publisher().publish(subject, HeaderMap::new(), Bytes::from(body)).await;
    sent.map_err(|error| StoreError::of_publish(&what, error))
}

/// For people and JSON.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use broker_config::wire::event::TaskCounts;
    use broker_config::{RunId, TaskId};

    use super::*;

    #[test]
    fn only_what_is_about_this_plugin_and_this_run_is_heard() {
        let id = |text: &str| text.parse::<PluginId>().unwrap();
        let cid: Cid = "c".parse().unwrap();
        let task_id = TaskId::derive(&cid, &id("a"), "", 0);
        let retrying = |plugin: &str, of: &str| Fact::TaskRetrying {
            cid: of.parse().unwrap(),
            plugin_id: id(plugin),
            task_id: task_id.clone(),
            attempt: 2,
            delay_ms: 50,
            error: "busy".to_owned(),
        };
        let settled = |run: u64| Fact::FileSettled {
            cid: cid.clone(),
            run_id: RunId(run),
            path: "/x".to_owned(),
            scan_id: None,
            tasks: TaskCounts::default(),
            plugins: BTreeMap::from([(id("a"), Outcome::Skipped)]),
            duration_ms: 1,
        };
        let rejected =
            |run: u64| Fact::SubmissionRejected { run_id: RunId(run), reason: "odd".to_owned() };
        let failed = Attempt { attempt: 2, error: "busy".to_owned(), delay_ms: 50 };
        for (fact, expected) in [
            (retrying("a", "c"), Heard::Failed(failed)),
            (retrying("b", "c"), Heard::Nothing),
            (retrying("a", "d"), Heard::Nothing),
            (settled(7), Heard::Settled(Some(Outcome::Skipped))),
            (settled(8), Heard::Nothing),
            (rejected(7), Heard::Rejected("odd".to_owned())),
            (rejected(8), Heard::Nothing),
            (Fact::PluginRemoved { plugin_id: id("a") }, Heard::Nothing),
        ] {
            let shown = format!("{fact:?}");
            assert_eq!(hear(fact, &id("a"), &cid, 7), expected, "{shown}");
        }
    }

    #[test]
    fn a_plugin_that_took_no_part_has_failed() {
        for (outcome, status, has_reason) in [
            (Some(Outcome::Completed), Status::Completed, false),
            (Some(Outcome::Cached), Status::Completed, false),
            (Some(Outcome::Skipped), Status::Skipped, false),
            (Some(Outcome::Failed), Status::Failed, false),
            (Some(Outcome::Gone), Status::Failed, true),
            (None, Status::Failed, true),
        ] {
            let (found, reason) = ended(outcome);
            assert_eq!((found, reason.is_some()), (status, has_reason), "{outcome:?}");
        }
    }
}
