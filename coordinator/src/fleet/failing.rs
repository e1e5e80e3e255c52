//! Tells the whole fleet which plugin processes and containers of this machine cannot serve, and which
//! HTTP plugins cannot be served.
//!
//! They cannot say so themselves. A sign of life with the state `failed` is written in their name,
//! so that `status` shows them from anywhere; it expires when nobody refreshes it, and the
//! plugin's own takes its place as soon as it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::wire::instance::{HEARTBEAT_MS, Instance, InstanceState, InstanceType, Totals};
use broker_config::{Chain, InstanceId, Lane, PluginId};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::plugins::Known;
use crate::bridge::Troubles;
use crate::docker::{ContainerInfo, ContainerState};
use crate::internal::InternalInfo;
use crate::process::{ProcessInfo, ProcessState, instance_name};
use crate::store::Store;

/// How often it is said again.
const REFRESH: Duration = Duration::from_millis(HEARTBEAT_MS);

/// Before the reason why an instance is not started until somebody changes something.
pub(crate) const NOT_STARTED: &str = "not started: ";

/// What runs on this machine and may be unable to serve.
pub(super) trait MayFail {
    /// The sign to be given in its name; `None` while it may well serve.
    fn sign(&self) -> Option<Instance>;
}

/// What is followed: whose signs are to be given.
pub(super) trait Failing {
    /// The signs to be given now.
    fn signs(&self) -> Vec<Instance>;
}

impl<T: MayFail> Failing for BTreeMap<InstanceId, T> {
    fn signs(&self) -> Vec<Instance> {
        self.values().filter_map(MayFail::sign).collect()
    }
}

/// Those that are not even started have no instance; the first one's name stands for all.
impl Failing for Arc<Known> {
    fn signs(&self) -> Vec<Instance> {
        let sign = |(plugin, reason): (&PluginId, &String)| {
            let name = instance_name(plugin, Lane::Main, 1)?;
            Some(failed(plugin, &name, format!("{NOT_STARTED}{reason}"), None))
        };
        self.unable.iter().filter_map(sign).collect()
    }
}

/// Writes signs of life for what cannot serve until `stop`.
pub(super) async fn tell<F: Failing + Send + Sync + 'static>(
    store: Store,
    mut processes: watch::Receiver<F>,
    troubles: Troubles,
    stop: CancellationToken,
) {
    let mut due = interval(REFRESH);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: BTreeSet<InstanceId> = BTreeSet::new();
    loop {
        let refresh = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = due.tick() => true,
            changed = processes.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
        };
        let unable = processes.borrow_and_update().signs();
        let unserved = troubles
            .list()
            .into_iter()
            .map(|trouble| failed(&trouble.plugin, &trouble.instance, trouble.why, None));
        let failing: Vec<Instance> = unable.into_iter().chain(unserved).collect();
        told.retain(|name| failing.iter().any(|sign| sign.instance == *name));
        for sign in failing {
            let is_new = told.insert(sign.instance.clone());
            if (is_new || refresh) && stop.run_until_cancelled(put(&store, &sign)).await.is_none() {
                return;
            }
        }
    }
}

async fn put(store: &Store, sign: &Instance) {
    let Ok(body) = serde_json::to_vec(sign) else { return };
    let subject = store.names().instance(&sign.plugin_id, &sign.instance);
    let put = store.publisher().publish(subject, HeaderMap::new(), Bytes::from(body)).await;
    if let Err(error) = put {
        // It is said again soon.
        debug!(instance.id = %sign.instance, error = %Chain(&error), "a crash loop was not told");
    }
}

impl MayFail for ProcessInfo {
    fn sign(&self) -> Option<Instance> {
        if self.state != ProcessState::CrashLoop {
            return None;
        }
        let reason = self.last_exit.as_ref().map_or("ended", |exit| exit.reason.as_str());
        // Not what it printed: that may be a secret.
        let error = format!("crash loop: {reason}; see {}", self.log.display());
        Some(failed(&self.plugin, &self.name, error, self.started))
    }
}

impl MayFail for InternalInfo {
    fn sign(&self) -> Option<Instance> {
        if self.state != ProcessState::CrashLoop {
            return None;
        }
        let reason = self.last_error.as_deref().unwrap_or("ended");
        Some(failed(&self.plugin, &self.name, format!("crash loop: {reason}"), self.started))
    }
}

impl MayFail for ContainerInfo {
    fn sign(&self) -> Option<Instance> {
        let note = self.note.as_deref().unwrap_or("ended");
        let error = match self.state {
            ContainerState::CrashLoop => {
                format!("crash loop: {note}; see docker logs {}", self.name)
            }
            ContainerState::Blocked => format!("{NOT_STARTED}{note}"),
            ContainerState::Unable => format!("not started yet: {note}"),
            ContainerState::Starting | ContainerState::Waiting | ContainerState::Running => {
                return None;
            }
        };
        Some(failed(&self.plugin, &self.name, error, self.started))
    }
}

/// A sign in the name of somebody who cannot give one.
fn failed(
    plugin: &PluginId,
    name: &InstanceId,
    error: String,
    started: Option<Timestamp>,
) -> Instance {
    Instance {
        kind: InstanceType::V1,
        plugin_id: plugin.clone(),
        instance: name.clone(),
        state: InstanceState::Failed,
        error: Some(error),
        healthy: false,
        // No version of the plugin is alive here.
        version: String::new(),
        route: None,
        host: String::new(),
        pid: 0,
        started_at: started.map(|at| at.to_string()).unwrap_or_default(),
        at: Timestamp::now().to_string(),
        concurrency: 0,
        running: Vec::new(),
        totals: Totals::default(),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::process::LastExit;
    use crate::store::overview::PluginNumbers;
    use crate::store::testing::TestBroker;

    fn process(name: &str, state: ProcessState) -> ProcessInfo {
        ProcessInfo {
            name: format!("plugin-{name}-1").parse().unwrap(),
            plugin: name.parse().unwrap(),
            version: None,
            pid: None,
            isolated: true,
            state,
            restarts: 5,
            started: None,
            next_start: None,
            last_exit: Some(LastExit {
                at: Timestamp::now(),
                code: Some(3),
                signal: None,
                reason: "ended with exit code 3".to_owned(),
                lines: vec!["hush".to_owned()],
            }),
            log: "/log/x.log".into(),
        }
    }

    async fn failing(store: &Store) -> anyhow::Result<Vec<PluginNumbers>> {
        let plugins = store.overview().await?.plugins;
        Ok(plugins.into_iter().filter(|plugin| plugin.failing > 0).collect())
    }

    #[tokio::test]
    async fn a_crash_loop_is_seen_by_whoever_asks_the_broker() -> anyhow::Result<()> {
        let (_broker, store) = TestBroker::start().await?;
        let (sender, processes) = watch::channel(BTreeMap::new());
        let stop = CancellationToken::new();
        let mut telling = JoinSet::new();
        telling.spawn(tell(store.clone(), processes, Troubles::default(), stop.clone()));

        let all = [process("bad", ProcessState::CrashLoop), process("good", ProcessState::Running)];
        sender.send_replace(all.map(|process| (process.name.clone(), process)).into());

        let until = Instant::now() + Duration::from_secs(20);
        while failing(&store).await?.is_empty() {
            anyhow::ensure!(Instant::now() < until, "it is not shown");
            sleep(Duration::from_millis(20)).await;
        }
        let bad = failing(&store).await?.pop().context("one")?;
        assert_eq!((bad.id.as_str(), bad.failing, bad.ready), ("bad", 1, 0));
        let told = "plugin-bad-1: crash loop: ended with exit code 3; see /log/x.log";
        assert_eq!(bad.errors, [told]);
        stop.cancel();
        telling.join_all().await;
        Ok(())
    }
}
