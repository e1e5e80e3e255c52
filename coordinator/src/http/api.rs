//! The status API: how plugins are doing, and what a person wants of them.
//!
//! Every route but health needs the token of the data folder. What a person changes is kept and
//! carried out by the keeper of the plan ([`crate::fleet::steer`]); nothing is decided here. No
//! answer holds a secret setting. The document of the API is `api/openapi.json`.

mod actions;
mod boxed;
mod config;
mod logs;
mod plugins;
pub mod query;
pub mod tail;
pub mod token;
pub mod view;

use std::sync::Arc;

use async_nats::connection::State as Link;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Router, middleware};
use broker_config::PluginId;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::meta::json_answer;
use super::problem::Problem;
use crate::config::Secret;
use crate::docker::DockerHandle;
use crate::fleet::steer::Steering;
use crate::process::ProcessHandle;
use crate::service::{CoordinatorHandle, Phase};
use crate::store::Store;
use crate::store::plugins::KnownPlugin;
use crate::usage::Usages;

/// Log streams at once; more are refused, so that they leave connections for others.
const STREAMS: usize = 64;
/// The document of the API.
pub const DOCUMENT: &str = include_str!("api/openapi.json");

/// What the API is about.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// What every request but for health must show.
    pub token: token::Token,
    /// Makes tags of settings tell nothing of the secrets in them.
    pub salt: Secret,
    /// The fleet's state.
    pub store: Store,
    /// What the coordinator is doing.
    pub coordinator: CoordinatorHandle,
    /// What the plugin processes are doing.
    pub processes: ProcessHandle,
    /// What the plugin containers are doing.
    pub containers: DockerHandle,
    /// Where the engine of containers listens.
    pub engine: String,
    /// What instances use.
    pub used: watch::Receiver<Usages>,
    /// Changes what runs.
    pub steering: Steering,
    /// Ends what would go on for ever.
    pub stop: CancellationToken,
}

#[derive(Debug)]
struct Api {
    options: ApiOptions,
    streams: Arc<Semaphore>,
}

type Shared = State<Arc<Api>>;
type Answer = Result<Response, Problem>;

/// The routes that need the token, by path.
fn guarded() -> [(&'static str, MethodRouter<Arc<Api>>); 12] {
    [
        ("/api/openapi.json", get(document)),
        ("/api/plugins", get(plugins::all)),
        ("/api/plugins/{id}", get(plugins::one)),
        ("/api/plugins/{id}/enable", post(actions::enable)),
        ("/api/plugins/{id}/disable", post(actions::disable)),
        ("/api/plugins/{id}/restart", post(actions::restart)),
        ("/api/plugins/{id}/scale", post(actions::scale)),
        ("/api/plugins/{id}/pause", post(actions::pause)),
        ("/api/plugins/{id}/resume", post(actions::resume)),
        ("/api/plugins/{id}/reset", post(actions::reset)),
        ("/api/plugins/{id}/config", get(config::read).put(config::write)),
        ("/api/plugins/{id}/instances/{instance}/logs", get(logs::logs)),
    ]
}

/// The routes of the API.
pub fn routes(options: ApiOptions) -> Router {
    let token = options.token.clone();
    let mut router = Router::new();
    for (path, methods) in guarded() {
        router = router.route(path, methods);
    }
    let api = Arc::new(Api { options, streams: Arc::new(Semaphore::new(STREAMS)) });
    router
        .route_layer(middleware::from_fn_with_state(token, token::guard))
        .route("/api/health", get(health))
        .with_state(api)
}

/// Whether the fleet works, for whoever watches over it: 200 while it does, 503 while it does not.
async fn health(State(api): Shared) -> Response {
    let is_connected = api.options.store.client().connection_state() == Link::Connected;
    let phase = api.options.coordinator.phase().borrow().clone();
    let status = match (is_connected, phase) {
        (false, _) => "unhealthy",
        (true, Phase::Waiting | Phase::Starting { .. }) => "starting",
        (true, Phase::Leading) => "healthy",
    };
    let code = if is_connected { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "status": status, "version": env!("CARGO_PKG_VERSION") });
    let mut answer = json_answer(&body).into_response();
    *answer.status_mut() = code;
    answer
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

impl Api {
    /// The plugin that a path names, with its entry in the registry if it has announced itself.
    async fn known(&self, id: &str) -> Result<(PluginId, Option<KnownPlugin>), Problem> {
        let unknown = || Problem::not_found(format!("no plugin `{}` is known", id.escape_debug()));
        let id: PluginId = id.parse().map_err(|_| unknown())?;
        let entry = self.options.store.plugin(&id).await?;
        if entry.is_none() && !self.options.steering.known().effective.contains_key(&id) {
            return Err(unknown());
        }
        Ok((id, entry))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_document_has_every_path_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let documented: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routes = guarded();
        let mut served: BTreeSet<&str> = routes.iter().map(|(path, _)| *path).collect();
        served.insert("/api/health");
        assert_eq!(documented, served);
    }
}
