//! `GET /api/plugins/{id}/instances/{instance}/logs`: what an instance prints, line by line.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use broker_config::mask::Mask;
use broker_config::{Chain, InstanceId, Manifest, PluginId};
use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::super::problem::Problem;
use super::boxed::BoxedLog;
use super::query::LogQuery;
use super::tail::Tail;
use super::{Answer, Api, Shared};
use crate::docker::engine::EngineError;

/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A stream of events without any says so often that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn logs(
    State(api): Shared,
    Path((id, instance)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = LogQuery::parse(query.as_deref())?;
    let (id, entry) = api.known(&id).await?;
    let unknown = || {
        let instance = instance.escape_debug();
        let detail = format!("no instance `{instance}` of {id} is started here");
        Problem::not_found(detail)
    };
    let name: InstanceId = instance.parse().map_err(|_| unknown())?;
    let busy = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many logs are followed");
    let place = api.streams.clone().try_acquire_owned().map_err(busy)?;
    let (source, first) = match api.log_of(&id, &name).ok_or_else(unknown)? {
        Log::File(path) => {
            let failed = |error| unreadable(&name, &error);
            let (tail, first) = Tail::open(path, query.tail).await.map_err(failed)?;
            let source = if query.follow { Source::File(tail) } else { Source::Ended };
            (source, first)
        }
        Log::Container(container, started) => {
            let failed = |error: EngineError| unreadable(&name, &error);
            let (engine, its) = (&api.options.engine, (&name, container, started));
            let board = query.follow.then(|| api.options.containers.watch());
            let log = BoxedLog::open(its, engine, query.tail, board).await.map_err(failed)?;
            (Source::Container(Box::new(log)), Vec::new())
        }
    };
    let is_sse = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|accept| accept.contains("text/event-stream")));
    let following = Following {
        source,
        ready: first.into(),
        form: if is_sse { Form::Events } else { Form::Text },
        plugin: id,
        manifest: entry.map(|known| known.entry.manifest),
        api,
        alive: Instant::now() + KEEP_ALIVE,
        _place: place,
    };
    let kind = if is_sse { "text/event-stream" } else { "text/plain; charset=utf-8" };
    let body = Body::from_stream(stream::unfold(following, Following::step));
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, body).into_response())
}

fn unreadable(name: &InstanceId, error: &(dyn std::error::Error + 'static)) -> Problem {
    let detail = format!("the log of {name} cannot be read: {}", Chain(error));
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// Where the log of an instance is.
enum Log {
    File(PathBuf),
    Container(String, Option<Timestamp>),
}

impl Api {
    fn log_of(&self, id: &PluginId, name: &InstanceId) -> Option<Log> {
        let processes = self.options.processes.watch();
        let process = processes.borrow().get(name).filter(|info| info.plugin == *id).cloned();
        if let Some(process) = process {
            return Some(Log::File(process.log));
        }
        let containers = self.options.containers.watch();
        let info = containers.borrow().get(name).filter(|info| info.plugin == *id).cloned()?;
        // Of one that is gone, the end is kept.
        let started = info.started;
        Some(match info.container {
            Some(container) => Log::Container(container, started),
            None => Log::File(info.log),
        })
    }
}

/// Where further lines come from.
enum Source {
    File(Tail),
    Container(Box<BoxedLog>),
    Ended,
}

/// What the answer looks like.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Events,
}

/// A log that is being sent.
struct Following {
    source: Source,
    ready: VecDeque<Vec<u8>>,
    form: Form,
    plugin: PluginId,
    manifest: Option<Manifest>,
    api: Arc<Api>,
    /// When a sign that it is still there is due.
    alive: Instant,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

impl Following {
    /// The next piece of the answer; `None` at its end.
    async fn step(mut self) -> Option<(Result<Bytes, std::convert::Infallible>, Self)> {
        let stop = self.api.options.stop.clone();
        loop {
            if !self.ready.is_empty() {
                let piece = self.render();
                self.alive = Instant::now() + KEEP_ALIVE;
                return Some((Ok(piece), self));
            }
            if matches!(self.source, Source::Ended) {
                return None;
            }
            let alive = self.alive;
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = self.source.fill(&mut self.ready) => {}
                () = sleep_until(alive), if matches!(self.form, Form::Events) => {
                    self.alive = Instant::now() + KEEP_ALIVE;
                    return Some((Ok(Bytes::from_static(b":\n\n")), self));
                }
            }
        }
    }

    fn render(&mut self) -> Bytes {
        // The settings may have changed since the last line.
        let known = self.api.options.steering.known();
        let settings = &known.entry(&self.plugin).config.0;
        let manifest = self.manifest.as_ref().or_else(|| known.manifests.get(&self.plugin));
        let mask = Mask::of(manifest, settings);
        let mut text = String::new();
        for line in self.ready.drain(..) {
            let line = mask.line(&line);
            match self.form {
                Form::Text => text.extend([line.as_str(), "\n"]),
                // There, a carriage return would end the line.
                Form::Events => text.extend(["data: ", &line.replace('\r', ""), "\n\n"]),
            }
        }
        text.into()
    }
}

impl Source {
    /// Waits for lines.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has been read is in `ready` or comes with the next call.
    async fn fill(&mut self, ready: &mut VecDeque<Vec<u8>>) {
        match self {
            Self::File(tail) => match tail.more().await {
                Ok(lines) if lines.is_empty() => sleep_until(Instant::now() + LOOK).await,
                Ok(lines) => ready.extend(lines),
                Err(error) => {
                    debug!(%error, "a log cannot be followed any further");
                    *self = Self::Ended;
                }
            },
            Self::Container(log) => {
                if !log.fill(ready).await {
                    *self = Self::Ended;
                }
            }
            Self::Ended => {}
        }
    }
}
