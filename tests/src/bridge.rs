//! HTTP plugins that do as told, and a bridge that serves them.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use broker_config::InstanceId;
use coordinator::bridge::client::{Answer, Bounds, call};
use coordinator::bridge::{Addresses, Bridge, BridgeOptions, Bridged, Place, Places};
use coordinator::config::BaseUrl;
use coordinator::config::connection::{Connection, Login, Origin, Tls};
use coordinator::http::{HttpOptions, Limits, Server};
use coordinator::nats_server::Access;
use coordinator::store::Store;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Fleet, LIMIT, eventually};

/// A status and a body.
pub type Said = (u16, String);
type Saying = Pin<Box<dyn Future<Output = Said> + Send>>;
type Handler = dyn Fn(Asked) -> Saying + Send + Sync;

/// A task as an HTTP plugin gets it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The body of `POST /process`.
    pub body: Value,
    /// How many came before it.
    pub number: usize,
}

/// What an HTTP plugin answers, and what it was asked; clones share both.
#[derive(Clone)]
pub struct Odd(Arc<Inner>);

struct Inner {
    health: Mutex<Said>,
    manifest: Mutex<Said>,
    configure: Mutex<Said>,
    handler: Box<Handler>,
    asked: Mutex<Vec<Value>>,
    configured: Mutex<Vec<Value>>,
}

impl std::fmt::Debug for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Odd").field("asked", &self.asked().len()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// JSON with status 200.
#[must_use]
pub fn ok(body: &Value) -> Said {
    (200, body.to_string())
}

/// The manifest of the plugin `odd` with some fields changed.
#[must_use]
pub fn manifest(change: &Value) -> Value {
    let mut manifest = json!({
        "id": "odd", "name": "Odd", "version": "1.0.0", "priority": 50, "queue": "fast",
        "timeout": 20_000, "retry": {"maxAttempts": 2, "delaysMs": [100]},
        "dataSchema": {"odd/done": {"type": "string"}, "genres": {"type": "set"}},
    });
    for (field, value) in change.as_object().into_iter().flatten() {
        manifest[field] = value.clone();
    }
    manifest
}

impl Asked {
    /// A text of the task.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_default().to_owned()
    }

    /// The answer that takes the task.
    #[must_use]
    pub fn accept(&self) -> Said {
        ok(&json!({ "status": "accepted", "taskId": self.body["taskId"] }))
    }

    /// Says how the task ended; all fields as in the document, and changed.
    pub async fn call_back(&self, change: &Value) -> anyhow::Result<Answer> {
        let mut body = json!({
            "taskId": self.body["taskId"], "pluginId": "odd", "cid": self.body["cid"],
            "status": "completed", "duration": 1,
        });
        for (field, value) in change.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        send("POST", &self.text("callbackUrl"), &[], &body.to_string()).await
    }

    /// Sends a request about the file's metadata; `route` follows the content id.
    pub async fn meta(&self, method: &str, route: &str, body: &str) -> anyhow::Result<Answer> {
        let url = format!("{}/meta/{}{route}", self.text("metaCoreUrl"), self.text("cid"));
        send(method, &url, &[], body).await
    }
}

impl Odd {
    /// Answers tasks as `handler` says.
    pub fn new<W>(handler: impl Fn(Asked) -> W + Send + Sync + 'static) -> Self
    where
        W: Future<Output = Said> + Send + 'static,
    {
        Self(Arc::new(Inner {
            health: Mutex::new(ok(&json!({"status": "healthy", "ready": true}))),
            manifest: Mutex::new(ok(&manifest(&json!({})))),
            configure: Mutex::new(ok(&json!({"success": true}))),
            handler: Box::new(move |asked| Box::pin(handler(asked))),
            asked: Mutex::default(),
            configured: Mutex::default(),
        }))
    }

    /// Takes each task and calls back as `change` says, a moment later.
    #[must_use]
    pub fn calls_back(change: Value) -> Self {
        Self::new(move |asked| {
            let change = change.clone();
            async move {
                later(asked.clone(), async move |asked| {
                    asked.meta("PATCH", "", r#"{"odd/done":"yes"}"#).await?;
                    asked.call_back(&change).await.map(drop)
                });
                asked.accept()
            }
        })
    }

    /// Answers health checks so from here on.
    pub fn set_health(&self, said: Said) {
        *lock(&self.0.health) = said;
    }

    /// Has this manifest from here on.
    pub fn set_manifest(&self, said: Said) {
        *lock(&self.0.manifest) = said;
    }

    /// Answers settings so from here on.
    pub fn set_configure(&self, said: Said) {
        *lock(&self.0.configure) = said;
    }

    /// All tasks that it was asked.
    #[must_use]
    pub fn asked(&self) -> Vec<Value> {
        lock(&self.0.asked).clone()
    }

    /// All settings that it was given.
    #[must_use]
    pub fn configured(&self) -> Vec<Value> {
        lock(&self.0.configured).clone()
    }

    /// Waits until it was asked so many tasks.
    pub async fn asked_reach(&self, count: usize) -> anyhow::Result<()> {
        eventually(&format!("{count} tasks"), async || {
            Ok((self.asked().len() >= count).then_some(()))
        })
        .await
    }

    /// Starts a server; port 0 takes a free one.
    pub async fn listen(&self, port: u16) -> anyhow::Result<Listening> {
        let router = Router::new()
            .route("/health", get(async |State(odd): State<Self>| answer(&odd.0.health)))
            .route("/manifest", get(async |State(odd): State<Self>| answer(&odd.0.manifest)))
            .route(
                "/configure",
                post(async |State(odd): State<Self>, body: Bytes| {
                    lock(&odd.0.configured).push(serde_json::from_slice(&body).unwrap_or_default());
                    answer(&odd.0.configure)
                }),
            )
            .route("/process", post(process))
            .with_state(self.clone());
        let limits = Limits { grace: Duration::from_millis(50), ..Limits::default() };
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        let options = HttpOptions { listen, limits, ..HttpOptions::default() };
        let server = eventually("the port to be free", async || {
            Ok(Some(Server::bind(&options, router.clone()).await?))
        });
        let server = server.await?;
        let (port, stop) = (server.address().port(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(server.run(stop.clone()));
        Ok(Listening { port, stop, task })
    }
}

async fn process(State(odd): State<Odd>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let number = {
        let mut asked = lock(&odd.0.asked);
        asked.push(body.clone());
        asked.len() - 1
    };
    response((odd.0.handler)(Asked { body, number }).await)
}

fn answer(said: &Mutex<Said>) -> Response {
    response(lock(said).clone())
}

fn response((status, body): Said) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Works on a task after the answer, as plugins do.
pub fn later<W>(asked: Asked, work: impl FnOnce(Asked) -> W + Send + 'static)
where
    W: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "a plugin's own thread, which nobody joins")]
    tokio::spawn(async move {
        if let Err(error) = work(asked).await {
            tracing::warn!("an HTTP plugin failed: {error:#}");
        }
    });
}

/// A plugin that listens; it dies when dropped.
#[derive(Debug)]
pub struct Listening {
    /// Where.
    pub port: u16,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Listening {
    /// Its address.
    pub fn url(&self) -> anyhow::Result<BaseUrl> {
        Ok(format!("http://127.0.0.1:{}", self.port).parse()?)
    }

    /// Lets it die.
    pub async fn die(mut self) {
        self.stop.cancel();
        while self.task.join_next().await.is_some() {}
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A bridge that serves the plugin `odd`, and what it is told of its instances.
#[derive(Debug)]
pub struct Bench {
    /// The bridge.
    pub bridge: Bridge,
    /// Where the instances are.
    pub places: watch::Sender<Places>,
    /// Instances that are to be started anew.
    pub restarts: mpsc::Receiver<InstanceId>,
    /// The fleet's state.
    pub store: Store,
}

impl Bench {
    /// A bridge to instances at these addresses.
    pub async fn start(fleet: &Fleet, urls: &[BaseUrl]) -> anyhow::Result<Self> {
        let (places, receiver) = watch::channel(places(urls, 0)?);
        let (restart, restarts) = mpsc::channel(16);
        let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;
        let free = HttpOptions::default();
        let bridge = Bridge::start(BridgeOptions {
            plugins: vec![Bridged {
                plugin: "odd".parse()?,
                places: receiver,
                restarts: Some(restart),
                concurrency: None,
                instances: NonZeroUsize::new(urls.len()).context("an instance")?,
            }],
            addresses: Addresses { api: free.clone(), kv: free, api_url: None, kv_url: None },
            routes: Router::new(),
            access: Access::Shared(Connection {
                url: fleet.server.url(),
                login: Login::Anonymous,
                tls: Tls::default(),
                origin: Origin::Flag,
            }),
            prefix: fleet.names.prefix().clone(),
            grace: Duration::from_secs(5),
            store: store.clone(),
        });
        Ok(Self { bridge: bridge.await?, places, restarts, store })
    }

    /// A bridge to one instance that serves.
    pub async fn serving(fleet: &Fleet, odd: &Odd) -> anyhow::Result<(Self, Listening)> {
        let listening = odd.listen(0).await?;
        let bench = Self::start(fleet, &[listening.url()?]).await?;
        bench.serves(fleet).await?;
        Ok((bench, listening))
    }

    /// Waits until the plugin is known and takes tasks.
    pub async fn serves(&self, fleet: &Fleet) -> anyhow::Result<()> {
        eventually("the plugin to serve", async || {
            let overview = self.store.overview().await?;
            Ok(overview.plugins.iter().any(|p| p.id.as_str() == "odd" && p.ready > 0).then_some(()))
        })
        .await
        .with_context(|| format!("fleet {:?}", fleet.names.prefix()))
    }

    /// What the sign of life says is wrong.
    pub async fn errors(&self) -> anyhow::Result<Vec<String>> {
        let overview = self.store.overview().await?;
        Ok(overview.plugins.into_iter().flat_map(|plugin| plugin.errors).collect())
    }

    /// The address of a file's metadata for people; `route` follows the content id.
    #[must_use]
    pub fn meta(&self, cid: &str, route: &str) -> String {
        format!("{}/meta/{cid}{route}", self.bridge.urls.kv)
    }
}

/// Where instances are, in their `incarnation`.
pub fn places(urls: &[BaseUrl], incarnation: u64) -> anyhow::Result<Places> {
    let mut places = BTreeMap::new();
    for (n, url) in (1..).zip(urls) {
        let name: InstanceId = format!("plugin-odd-{n}").parse()?;
        places.insert(name, Place { url: url.clone(), incarnation, bridge: None });
    }
    Ok(places)
}

/// Sends a request.
pub async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    let (host, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .with_context(|| format!("no address: {url}"))?;
    let base: BaseUrl = format!("http://{host}").parse()?;
    let mut request = axum::http::Request::builder().method(method);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let bounds = Bounds { time: LIMIT, bytes: 4 << 20 };
    let body = Bytes::from(body.to_owned());
    Ok(call(&base, request, &format!("/{path}"), body, bounds).await?)
}

/// The body of an answer as text.
#[must_use]
pub fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
