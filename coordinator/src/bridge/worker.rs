//! An HTTP plugin as the worker SDK sees one, and the worker that serves it.
//!
//! The SDK's worker pulls, renews leases, bounds attempts by their deadline, retries and writes
//! records, as for any plugin. What is here turns one attempt into `POST /process` and waits for
//! the callback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_config::manifest::{DataField, DataType};
use broker_config::{Chain, Manifest, MetaMap, MetaValue, PluginId};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use worker_sdk::{
    Context, Failure, Health, InvalidSettings, Meta, Outcome, Plugin, Settings, Worker,
    WorkerOptions,
};

use super::answer::{Reply, Verdict, reply};
use super::client::{self, Bounds, CallError};
use super::instances::{Board, Hold, Table, manifest_to_serve};
use super::pending::{Attempt, Facts, Pending};
use super::urls::Urls;

/// Longest wait for an instance to serve; the task goes back after it and costs no attempt.
const PATIENCE: Duration = Duration::from_secs(10);
/// When a task that no instance could take comes again.
const NO_INSTANCE: Duration = Duration::from_secs(5);
/// The deadline of the attempt ends it; this is for a request that nobody waits for any more.
const PAST_DEADLINE: Duration = Duration::from_secs(1);
/// Largest answer to a task.
const MAX_ANSWER: usize = 64 << 10;
/// Pauses before a worker that has ended is run again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// An HTTP plugin in the place of one of ours.
#[derive(Debug)]
struct Bridged {
    /// As the plugin wrote it.
    written: Arc<Manifest>,
    board: Arc<Board>,
    pending: Arc<Pending>,
    urls: Urls,
}

/// The body of `POST /process`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    task_id: &'a str,
    cid: &'a str,
    file_path: &'a str,
    callback_url: String,
    meta_core_url: String,
    existing_meta: BTreeMap<&'a str, String>,
}

impl Plugin for Bridged {
    fn manifest(&self) -> Manifest {
        announced(&self.written)
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        self.board.configure(settings, &self.written).await.map_err(InvalidSettings::new)
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        if ctx.task().path.file_path_bytes.is_some() {
            let why = "the file's path is not UTF-8, and an HTTP plugin can be told no other";
            return Err(Failure::permanent(why));
        }
        let patience = Instant::now() + PATIENCE.min(ctx.remaining() / 2);
        loop {
            let picked = timeout_at(patience, self.board.pick(&self.written)).await;
            let Ok(hold) = picked else {
                let trouble = self.board.trouble(&self.written);
                let why = trouble.unwrap_or_else(|| "all instances are busy".to_owned());
                return Ok(Outcome::retry_later(NO_INSTANCE, why));
            };
            let tried = tokio::select! {
                biased;
                tried = self.try_with(&hold, ctx) => tried,
                () = ctx.cancelled().cancelled() => {
                    warn!(instance.id = %hold.name(), "no callback came before the attempt ended");
                    return Err(Failure::retryable("no callback came in time"));
                }
            };
            match tried {
                Tried::Ended(ended) => return ended,
                Tried::NobodyThere(why) => {
                    info!(instance.id = %hold.name(), why, "the task waits for another instance");
                    hold.suspect();
                }
            }
        }
    }

    async fn health(&self) -> Health {
        self.board.trouble(&self.written).map_or(Health::Healthy, Health::Unhealthy)
    }
}

/// What came of handing a task to an instance.
enum Tried {
    Ended(Result<Outcome, Failure>),
    /// Nothing was sent: another instance may take it, and it costs no attempt.
    NobodyThere(String),
}

impl Tried {
    fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Ended(Err(Failure::retryable(why)))
    }
}

impl Bridged {
    /// Hands the task over and waits for the callback, which may come before the answer.
    async fn try_with(&self, hold: &Hold, ctx: &Context) -> Tried {
        let task = ctx.task();
        let facts = Facts {
            task: task.task_id.clone(),
            plugin: task.plugin_id.clone(),
            cid: task.cid.clone(),
        };
        let (mut attempt, body) = match self.prepare(facts, ctx, hold) {
            Ok(prepared) => prepared,
            Err(error) => return Tried::failed(error),
        };
        let asked = async {
            let bounds = Bounds { time: ctx.remaining() + PAST_DEADLINE, bytes: MAX_ANSWER };
            match client::post(&hold.place.url, "/process", body, bounds).await {
                Ok(answer) => {
                    let after = answer.retry_after();
                    match reply(answer.status, after, &answer.body, &task.task_id) {
                        Reply::Accepted => std::future::pending().await,
                        Reply::Refused(why) => Tried::failed(why),
                        Reply::Impossible(why) => Tried::Ended(Err(Failure::permanent(why))),
                        Reply::Later(wait, why) => {
                            Tried::Ended(Ok(Outcome::retry_later(wait, why)))
                        }
                    }
                }
                Err(error @ CallError::Connect { .. }) => {
                    Tried::NobodyThere(Chain(&error).to_string())
                }
                Err(error @ CallError::Broken { .. }) => {
                    hold.suspect();
                    Tried::failed(error)
                }
                Err(error @ (CallError::TimedOut { .. } | CallError::TooLarge { .. })) => {
                    Tried::failed(error)
                }
            }
        };
        tokio::select! {
            biased;
            verdict = attempt.verdict() => Tried::Ended(self.outcome(verdict, &attempt)),
            () = hold.life.cancelled() => {
                Tried::failed(format!("the plugin's instance {} has died", hold.name()))
            }
            tried = asked => tried,
        }
    }

    fn prepare(
        &self,
        facts: Facts,
        ctx: &Context,
        hold: &Hold,
    ) -> std::io::Result<(Attempt, Bytes)> {
        let urls = hold.place.bridge.as_ref().unwrap_or(&self.urls);
        let attempt = self.pending.open(facts)?;
        let task = ctx.task();
        let existing = ctx.existing().iter();
        let request = Process {
            task_id: task.task_id.as_str(),
            cid: task.cid.as_str(),
            file_path: &task.path.file_path,
            callback_url: urls.callback(&attempt.token),
            meta_core_url: urls.meta_core(&attempt.token),
            existing_meta: existing.map(|(key, value)| (key.as_str(), value.to_flat())).collect(),
        };
        let body = serde_json::to_vec(&request)?;
        Ok((attempt, Bytes::from(body)))
    }

    fn outcome(&self, verdict: Verdict, attempt: &Attempt) -> Result<Outcome, Failure> {
        match verdict {
            Verdict::Completed => {
                Ok(Outcome::Completed(meta_of(attempt.layer().finish(&self.written))))
            }
            Verdict::Skipped(reason) => Ok(Outcome::skipped(reason)),
            // The callback does not say whether it may pass; attempts are few.
            Verdict::Failed(error) => Err(Failure::retryable(error)),
        }
    }
}

/// The manifest as the fleet knows it: a plugin of this sort may write keys that it does not
/// declare, as the document's own example does.
fn announced(written: &Manifest) -> Manifest {
    let mut manifest = written.clone();
    manifest.data_schema.entry("*".to_owned()).or_insert_with(|| DataField {
        label: "Keys that this HTTP plugin does not declare".to_owned(),
        kind: DataType::Json,
        ..DataField::default()
    });
    manifest
}

fn meta_of(map: MetaMap) -> Meta {
    let mut meta = Meta::new();
    for (key, value) in map {
        match value {
            MetaValue::Text(text) => meta.text(key.as_str(), text),
            MetaValue::Set(values) => meta.set(key.as_str(), values),
            MetaValue::Json(json) => meta.json(key.as_str(), json),
        };
    }
    meta
}

/// Serves one plugin for as long as the bridge runs.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) plugin: PluginId,
    pub(super) board: Arc<Board>,
    pub(super) pending: Arc<Pending>,
    pub(super) urls: Urls,
    pub(super) options: WorkerOptions,
}

impl Serving {
    /// Runs a worker with the manifest of the instances, and another one when that changes.
    pub(super) async fn run(self, drain: CancellationToken) {
        let mut table = self.board.watch();
        let mut current = None;
        let mut pause = PAUSES.0;
        loop {
            let changed = loop {
                if let Some(found) = manifest_to_serve(&table.borrow_and_update(), current.as_ref())
                {
                    break found;
                }
                tokio::select! {
                    biased;
                    () = drain.cancelled() => return,
                    changed = table.changed() => if changed.is_err() { return },
                }
            };
            let manifest = current.insert(changed).clone();
            let began = Instant::now();
            let replaced = self.serve(&manifest, &mut table, &drain).await;
            if drain.is_cancelled() {
                return;
            }
            if replaced {
                info!(plugin.id = %self.plugin, "the HTTP plugin has another manifest");
                continue;
            }
            pause = if began.elapsed() > PAUSES.1 { PAUSES.0 } else { pause };
            if drain.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Runs one worker; whether it ended because the instances have another manifest.
    async fn serve(
        &self,
        manifest: &Arc<Manifest>,
        table: &mut watch::Receiver<Table>,
        drain: &CancellationToken,
    ) -> bool {
        let bridged = Bridged {
            written: manifest.clone(),
            board: self.board.clone(),
            pending: self.pending.clone(),
            urls: self.urls.clone(),
        };
        let stop = drain.child_token();
        let worker = Worker::new(bridged, self.options.clone());
        let mut running = std::pin::pin!(worker.run(stop.clone()));
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut running => break ended,
                changed = table.changed(), if !stop.is_cancelled() => {
                    let is_other = changed.is_ok()
                        && manifest_to_serve(&table.borrow_and_update(), Some(manifest))
                            .is_some_and(|found| found != *manifest);
                    if is_other {
                        stop.cancel();
                    }
                }
            }
        };
        match ended {
            Ok(()) => stop.is_cancelled(),
            Err(error) => {
                warn!(plugin.id = %self.plugin, error = %Chain(&error), "an HTTP plugin cannot be served");
                false
            }
        }
    }
}
