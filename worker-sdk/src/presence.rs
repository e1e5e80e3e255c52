//! The sign of life of this instance, refreshed until it leaves.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use broker_config::Chain;
use broker_config::header::KV_OPERATION;
use broker_config::wire::instance::{HEARTBEAT_MS, Instance, InstanceType, Totals};
use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::plugin::{Health, Plugin};
use crate::rim::{Inner, Rim};

/// How long a plugin may think about its health.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long leaving may take; whoever does not hear of it sees the entry expire.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Shows a sign of life at every heartbeat and at every change, until `stop`.
pub(crate) async fn run<P: Plugin>(inner: &Arc<Inner<P>>, stop: &CancellationToken) {
    let rim = &inner.rim;
    let mut standing = rim.standing.subscribe();
    loop {
        drop(standing.borrow_and_update());
        show(rim).await;
        let heartbeat = Duration::from_millis(rim.heartbeat_ms());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = standing.changed() => if changed.is_err() { return },
            () = sleep(heartbeat) => check_health(inner).await,
        }
    }
}

async fn check_health<P: Plugin>(inner: &Arc<Inner<P>>) {
    let health = inner.beside(|inner| async move { inner.plugin.health().await });
    let unhealthy = match timeout(HEALTH_TIMEOUT, health).await {
        Ok(Some(Health::Healthy)) => None,
        Ok(Some(Health::Unhealthy(why))) => Some(crate::attempt::short(inner.rim.hide(why))),
        Ok(None) => Some("the health check panicked".to_owned()),
        Err(_) => Some("the health check does not answer".to_owned()),
    };
    inner.rim.standing.send_if_modified(|standing| {
        let changed = standing.unhealthy != unhealthy;
        standing.unhealthy = unhealthy;
        changed
    });
}

async fn show(rim: &Rim) {
    if rim.link.client.connection_state() != State::Connected {
        return;
    }
    let subject = rim.names.instance(&rim.manifest.id, &rim.instance);
    let entry = match serde_json::to_vec(&entry(rim)) {
        Ok(entry) => entry,
        Err(error) => return warn!(error = %error, "could not write the sign of life"),
    };
    if let Err(error) = crate::tell(&rim.link.client, subject.into(), Bytes::from(entry)).await {
        debug!(error = %error, "could not show a sign of life");
    }
}

fn entry(rim: &Rim) -> Instance {
    let standing = rim.standing.borrow().clone();
    let (state, error) = standing.shown();
    Instance {
        kind: InstanceType::V1,
        plugin_id: rim.manifest.id.clone(),
        instance: rim.instance.clone(),
        state,
        error,
        healthy: standing.unhealthy.is_none(),
        version: rim.manifest.version.to_string(),
        route: rim.route,
        host: rim.host.clone(),
        pid: std::process::id(),
        started_at: rim.started_at.clone(),
        at: jiff::Timestamp::now().to_string(),
        concurrency: u32::try_from(standing.permits).unwrap_or(u32::MAX),
        running: rim.leases.running(),
        totals: Totals { fetched_bytes: rim.files.fetched(), ..rim.totals.totals() },
    }
}

/// Says that this instance is gone, so that nobody waits for its entry to expire.
pub(crate) async fn leave(rim: &Rim) {
    if rim.link.client.connection_state() != State::Connected {
        return;
    }
    let subject = rim.names.instance(&rim.manifest.id, &rim.instance);
    let mut headers = HeaderMap::new();
    headers.insert(KV_OPERATION, "DEL");
    let left = timeout(LEAVE_TIMEOUT, rim.publisher.publish(subject, headers, Bytes::new()));
    match left.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => debug!(error = %Chain(&error), "could not take the sign of life down"),
        Err(_) => debug!("could not take the sign of life down in time"),
    }
}

/// The interval between signs of life until the coordinator says another one.
pub(crate) const FIRST_HEARTBEAT_MS: u64 = HEARTBEAT_MS;
