//! The announcement of this instance, and the settings that come in answer.
//!
//! It announces itself before it serves, after every reconnect (the coordinator may be another
//! one), when its consumers seem to be gone, and when it is asked to. While nobody answers it
//! waits; it pulls nothing before the first answer, and goes on pulling during later ones.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind};
use broker_config::Lane;
use broker_config::wire::signal::{ANNOUNCE, Announce, AnnounceReply, AnnounceType};
use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::connect::pauses;
use crate::control::pause;
use crate::lease::millis;
use crate::plugin::{Plugin, Settings};
use crate::rim::Inner;
use crate::worker::WorkerError;

/// How long the coordinator may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest time between two announcements.
const REST: Duration = Duration::from_millis(500);
/// How long a plugin may think about its settings.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the log says that nobody answers.
const COMPLAIN_EVERY: u32 = 15;

/// Announces until the coordinator accepts, and takes what it answers; `Ok` also when `stop` came
/// first.
pub(crate) async fn announce<P: Plugin>(
    inner: &Arc<Inner<P>>,
    stop: &CancellationToken,
) -> Result<(), WorkerError> {
    let mut pauses = pauses();
    for tries in 0_u32.. {
        let Some(answer) = stop.run_until_cancelled(ask(inner)).await else { return Ok(()) };
        match answer {
            Ok(AnnounceReply::Rejected { reasons }) => {
                return Err(WorkerError::Rejected { reasons });
            }
            Ok(AnnounceReply::Accepted {
                settings,
                lease_ms,
                heartbeat_ms,
                max_payload,
                concurrency,
                paused,
                lane,
                files,
            }) => {
                let rim = &inner.rim;
                rim.files.take_offer(files.as_ref());
                // Who serves a route was not started for other tasks, whoever answers.
                let its_lane = rim.route.map_or(lane, Lane::Route);
                let paused = paused || lane != its_lane;
                rim.leases.set_lease(Duration::from_millis(lease_ms.max(100)));
                rim.set_heartbeat_ms(heartbeat_ms.max(100));
                rim.publisher.limit_to(max_payload);
                let permits = rim.concurrency(concurrency);
                rim.standing.send_if_modified(|standing| {
                    let changed = standing.permits != permits || standing.lane != its_lane;
                    standing.permits = permits;
                    standing.lane = its_lane;
                    changed
                });
                pause(inner, paused).await;
                if rim.standing.borrow().configured.is_none() || *rim.settings() != settings {
                    // What comes of it is shown in the sign of life.
                    drop(configure(inner, settings).await);
                }
                return Ok(());
            }
            Err(why) if tries % COMPLAIN_EVERY == 0 => {
                warn!(why, "no coordinator answers, announcing again");
            }
            Err(why) => debug!(why, "no coordinator answers, announcing again"),
        }
        let wait = pauses.next().unwrap_or(ANSWER_TIMEOUT);
        if stop.run_until_cancelled(sleep(wait)).await.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// Announces again whenever there is reason to, until `stop` or until the fleet says no.
pub(crate) async fn keep<P: Plugin>(
    inner: &Arc<Inner<P>>,
    stop: &CancellationToken,
) -> Result<(), WorkerError> {
    let mut epoch = inner.rim.link.epoch.clone();
    epoch.mark_unchanged();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            changed = epoch.changed() => if changed.is_err() { return Ok(()) },
            () = inner.rim.announce.notified() => {}
        }
        announce(inner, stop).await?;
        if stop.run_until_cancelled(sleep(REST)).await.is_none() {
            return Ok(());
        }
    }
}

async fn ask<P: Plugin>(inner: &Arc<Inner<P>>) -> Result<AnnounceReply, String> {
    let rim = &inner.rim;
    let announcement = Announce {
        kind: AnnounceType::V1,
        instance: rim.instance.clone(),
        manifest: rim.manifest.clone(),
        host: rim.host.clone(),
        pid: std::process::id(),
        sdk: concat!("rust ", env!("CARGO_PKG_VERSION")).to_owned(),
        lanes: true,
        route: rim.route,
    };
    let body = serde_json::to_vec(&announcement).map_err(|error| error.to_string())?;
    let request = async_nats::Request::new()
        .payload(Bytes::from(body))
        .headers(HeaderMap::new())
        .timeout(Some(ANSWER_TIMEOUT));
    let subject = rim.names.signal(&rim.manifest.id, ANNOUNCE);
    let answer =
        rim.link.client.send_request(subject, request).await.map_err(|error| {
            match error.kind() {
                RequestErrorKind::NoResponders => "nobody listens".to_owned(),
                RequestErrorKind::TimedOut
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded
                | RequestErrorKind::Other => error.to_string(),
            }
        })?;
    serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())
}

/// Lets the plugin take `settings`; says what it says. Ends on a drain, and when the plugin takes
/// too long over it, which counts as a refusal.
pub(crate) async fn configure<P: Plugin>(
    inner: &Arc<Inner<P>>,
    settings: Settings,
) -> Result<(), String> {
    let started = tokio::time::Instant::now();
    inner.rim.hide_all_of(&settings);
    let given = settings.clone();
    let answer = inner.beside(|inner| async move { inner.plugin.configure(&given).await });
    let drain = inner.rim.drain.clone();
    let Some(answer) = drain.run_until_cancelled(timeout(CONFIGURE_TIMEOUT, answer)).await else {
        return Err("the worker is draining".to_owned());
    };
    let result = match answer {
        Ok(Some(result)) => {
            result.map_err(|error| crate::attempt::short(inner.rim.hide(error.to_string())))
        }
        Ok(None) => Err("the plugin panicked over its settings".to_owned()),
        Err(_) => {
            let seconds = CONFIGURE_TIMEOUT.as_secs();
            Err(format!("the plugin did not take its settings within {seconds} s"))
        }
    };
    match &result {
        Ok(()) => info!(duration_ms = millis(started.elapsed()), "configured"),
        Err(error) => warn!(error, "the plugin refuses its settings, it does not serve"),
    }
    inner.rim.set_settings(settings);
    inner.rim.standing.send_modify(|standing| standing.configured = Some(result.clone()));
    result
}
