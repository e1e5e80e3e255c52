//! Requests: the router with its guard, called without a socket, and what stands in queries.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use broker_config::TaskId;
use coordinator::bridge::pending::{Attempt, Facts, Pending};
use coordinator::config::Secret;
use coordinator::files::ask::{self, Answer, Version};
use coordinator::files::key::Key;
use coordinator::files::library::Libraries;
use coordinator::http::api::query::LogQuery;
use coordinator::http::{HttpOptions, Limits, callback, guarded};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Bytes of an answer that are looked at.
const MOST: usize = 1 << 20;
/// What no answer may hold: what lies outside of the library, and what tokens follow from.
const OUTSIDE: &str = "outside-4711";
const SECRET: &str = "0123456789abcdef";

/// Routes that need no broker, and what opens them.
struct Served {
    runtime: Runtime,
    router: Router,
    /// Waits for its callback for ever.
    attempt: Attempt,
    token: String,
    _home: TempDir,
}

impl Served {
    fn new() -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let library = home.path().join("library");
        std::fs::create_dir(&library)?;
        std::fs::write(library.join("film.txt"), "a film")?;
        std::fs::write(home.path().join("secret.txt"), OUTSIDE)?;
        std::os::unix::fs::symlink("../secret.txt", library.join("link"))?;
        let (cid, plugin) = ("film".parse()?, "probe".parse()?);
        let task = TaskId::derive(&cid, &plugin, "", 0);
        let pending = Arc::new(Pending::default());
        let attempt = pending.open(Facts { task, plugin: plugin.clone(), cid })?;
        let key = Arc::new(Key::new(Secret::new(SECRET)));
        let token = key.token(&plugin);
        let routes = callback::routes(pending)
            .merge(coordinator::files::routes(key, Libraries::new(vec![library])));
        let limits = Limits { body_bytes: 4 << 10, ..Limits::default() };
        let options = HttpOptions { limits, ..HttpOptions::default() };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, router: guarded(&options, routes), attempt, token, _home: home })
    }

    fn ask(&self, request: Request<Body>) -> anyhow::Result<(StatusCode, HeaderMap, Vec<u8>)> {
        self.runtime.block_on(async {
            let answer = TowerToHyperService::new(self.router.clone()).call(request).await?;
            let (head, body) = answer.into_parts();
            Ok((head.status, head.headers, to_bytes(body, MOST).await?.to_vec()))
        })
    }
}

static SERVED: LazyLock<Mutex<anyhow::Result<Served>>> =
    LazyLock::new(|| Mutex::new(Served::new()));

/// A request: method and target in the first line, headers, an empty line, the body. `TOKEN` stands
/// for what opens the route that is asked for.
pub fn http(data: &[u8]) {
    let served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(served.is_ok(), "{:?}", served.as_ref().err());
    let Ok(served) = served.as_ref() else { return };
    let Some(request) = request(data, served) else { return };
    let shows_token =
        request.headers().values().any(|value| value.as_bytes().ends_with(served.token.as_bytes()));
    let (path, is_head) = (request.uri().path().to_owned(), request.method() == Method::HEAD);
    let answer = served.ask(request);
    assert!(answer.is_ok(), "{:?}", answer.err());
    let Ok((status, headers, body)) = answer else { return };
    assert!(status.as_u16() != 500, "{path}: {}", String::from_utf8_lossy(&body));
    if status.is_client_error() || status.is_server_error() {
        is_problem(status, &headers, (!is_head).then_some(body.as_slice()));
    } else if path == coordinator::files::ROUTE {
        assert!(shows_token, "a file was sent to nobody");
    }
    let text = String::from_utf8_lossy(&body);
    assert!(!text.contains(OUTSIDE), "a file outside of the library was sent");
    // Whoever said it may be told what was said.
    let said_it = data.windows(5).any(|five| five == b"TOKEN");
    assert!(said_it || !text.contains(&served.token), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

fn is_problem(status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) {
    let kind = headers.get(header::CONTENT_TYPE);
    assert!(kind.is_some_and(|kind| kind == "application/problem+json"), "{status}: {kind:?}");
    // An answer to HEAD has none.
    let Some(body) = body else { return };
    let told = serde_json::from_slice::<Value>(body).unwrap_or_default();
    assert_eq!(told.get("status"), Some(&status.as_u16().into()), "{told}");
}

fn request(data: &[u8], served: &Served) -> Option<Request<Body>> {
    let text = String::from_utf8_lossy(data);
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| (text.as_ref(), ""));
    let mut lines = head.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let target = target.replace("TOKEN", &served.attempt.token);
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().replace("TOKEN", &served.token);
        let name: HeaderName = name.parse().ok()?;
        request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    request.body(Body::from(body.to_owned())).ok()
}

/// What stands behind a `?`, and in the headers that ask for a part of a file.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(wanted) = LogQuery::parse(Some(text)) {
        assert!(wanted.tail <= 10_000, "{wanted:?}");
    }
    let root = Path::new("/library");
    let asked = ask::path(Some(text)).into_iter().chain([PathBuf::from(text)]);
    for path in asked {
        if let Some(below) = ask::below(root, &path) {
            let stays = below.components().all(|part| matches!(part, Component::Normal(_)));
            assert!(stays && root.join(below).starts_with(root), "{}", path.display());
        }
    }
    let version = Version { size: 100, modified: (1_700_000_000, 5), inode: 77 };
    for name in [header::RANGE, header::IF_RANGE, header::IF_MATCH] {
        let Ok(value) = HeaderValue::from_str(text) else { return };
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=5-9"));
        headers.insert(name, value);
        for size in [0, 1, version.size, u64::MAX] {
            if let Answer::Part(first, last) = ask::answer(&headers, &Version { size, ..version }) {
                assert!(first <= last && last < size, "{text}: {first} to {last} of {size}");
            }
        }
    }
}
