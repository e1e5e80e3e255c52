//! What this instance obeys: pause, resume, drain, configure, announce, ping.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subject, SubscribeError};
use broker_config::wire::signal::{Control, ControlReply};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::select;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::announce::configure;
use crate::plugin::{Plugin, Settings};
use crate::rim::Inner;

/// How long a plugin is waited for when it is told of a pause.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings that a plugin is to take, and where to say what came of it.
type Configuring = (Settings, Option<Subject>);

/// Obeys what is asked of all instances of the plugin and of this one, until `stop`.
///
/// A plugin may think about its settings for long; only other settings wait for that.
pub(crate) async fn run<P: Plugin>(
    inner: &Arc<Inner<P>>,
    stop: &CancellationToken,
) -> Result<(), SubscribeError> {
    let rim = &inner.rim;
    let (plugin, client) = (&rim.manifest.id, &rim.link.client);
    let all = client.subscribe(rim.names.control(plugin)).await?;
    let mine = client.subscribe(rim.names.control_instance(plugin, &rim.instance)).await?;
    let mut requests = select(all, mine);
    let (later, mut settings) = mpsc::unbounded_channel();
    let obeying = async {
        while let Some(Some(request)) = stop.run_until_cancelled(requests.next()).await {
            obey(inner, request, &later).await;
        }
        drop(later);
    };
    let configuring = async {
        while let Some((settings, reply)) = settings.recv().await {
            let done = configure(inner, settings).await;
            answer(inner, reply, done).await;
        }
    };
    tokio::join!(obeying, configuring);
    Ok(())
}

async fn answer<P>(inner: &Arc<Inner<P>>, reply: Option<Subject>, done: Result<(), String>) {
    let Some(reply) = reply else { return };
    let error = done.err();
    let instance = inner.rim.instance.clone();
    let answer = ControlReply { success: error.is_none(), error, instance };
    let sent = match serde_json::to_vec(&answer) {
        Ok(answer) => crate::tell(&inner.rim.link.client, reply, Bytes::from(answer)).await,
        Err(error) => return warn!(error = %error, "could not write an answer"),
    };
    if let Err(error) = sent {
        warn!(error = %error, "could not answer a control request");
    }
}

async fn obey<P: Plugin>(
    inner: &Arc<Inner<P>>,
    request: Message,
    later: &mpsc::UnboundedSender<Configuring>,
) {
    let control = match serde_json::from_slice(&request.payload) {
        Ok(control) => control,
        Err(error) => {
            warn!(error = %error, "a control request cannot be read");
            return answer(inner, request.reply, Err(error.to_string())).await;
        }
    };
    match control {
        Control::Pause => pause(inner, true).await,
        Control::Resume => pause(inner, false).await,
        Control::Drain => {
            info!("told to drain");
            inner.rim.drain.cancel();
        }
        Control::Configure { settings } => {
            // It takes them as long as this goes on.
            return later.send((settings, request.reply)).unwrap_or_default();
        }
        Control::Announce => inner.rim.announce.notify_one(),
        Control::Ping => {}
    }
    answer(inner, request.reply, Ok(())).await;
}

/// Pauses or resumes; the plugin is told only when that is a change, and not waited for long.
pub(crate) async fn pause<P: Plugin>(inner: &Arc<Inner<P>>, paused: bool) {
    let changed = inner.rim.standing.send_if_modified(|standing| {
        let changed = standing.paused != paused;
        standing.paused = paused;
        changed
    });
    if !changed {
        return;
    }
    info!(paused, "pulling was switched");
    let told = inner.beside(move |inner| async move {
        if paused { inner.plugin.on_pause() } else { inner.plugin.on_resume() }
    });
    match timeout(TELL_TIMEOUT, told).await {
        Ok(Some(())) => {}
        Ok(None) => warn!(paused, "the plugin panicked when it was told"),
        Err(_) => warn!(paused, "the plugin is slow to take it"),
    }
}
