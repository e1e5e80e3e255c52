//! Tells the whole fleet which plugin processes of this machine are in a crash loop, and which HTTP
//! plugins cannot be served.
//!
//! They cannot say so themselves. A sign of life with the state `failed` is written in their name,
//! so that `status` shows them from anywhere; it expires when nobody refreshes it, and the
//! plugin's own takes its place as soon as it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::wire::instance::{HEARTBEAT_MS, Instance, InstanceState, InstanceType, Totals};
use broker_config::{Chain, InstanceId, PluginId};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::bridge::{Trouble, Troubles};
use crate::process::{ProcessInfo, ProcessState};
use crate::store::Store;

/// How often it is said again.
const REFRESH: Duration = Duration::from_millis(HEARTBEAT_MS);

/// Writes signs of life for processes in a crash loop until `stop`.
pub(super) async fn tell(
    store: Store,
    mut processes: watch::Receiver<BTreeMap<InstanceId, ProcessInfo>>,
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
        let crashing: Vec<Instance> =
            processes.borrow_and_update().values().filter_map(sign_of).collect();
        let unfit = troubles.list().into_iter().map(sign_of_trouble);
        let failing: Vec<Instance> = crashing.into_iter().chain(unfit).collect();
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

/// `None` for a process that is in no crash loop.
fn sign_of(process: &ProcessInfo) -> Option<Instance> {
    if process.state != ProcessState::CrashLoop {
        return None;
    }
    let reason = process.last_exit.as_ref().map_or("ended", |exit| exit.reason.as_str());
    Some(Instance {
        started_at: process.started.map(|at| at.to_string()).unwrap_or_default(),
        // Not what it printed: that may be a secret.
        ..failed(
            process.plugin.clone(),
            process.name.clone(),
            format!("crash loop: {reason}; see {}", process.log.display()),
        )
    })
}

/// An HTTP plugin cannot say anything by itself.
fn sign_of_trouble(trouble: Trouble) -> Instance {
    failed(trouble.plugin, trouble.instance, trouble.why)
}

fn failed(plugin_id: PluginId, instance: InstanceId, error: String) -> Instance {
    Instance {
        kind: InstanceType::V1,
        plugin_id,
        instance,
        state: InstanceState::Failed,
        error: Some(error),
        healthy: false,
        // No version of the plugin is alive here.
        version: String::new(),
        host: String::new(),
        pid: 0,
        started_at: String::new(),
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
