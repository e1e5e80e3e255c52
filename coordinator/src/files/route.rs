//! The route: who asks, for which file, and which of its bytes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use broker_config::PluginId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::ROUTE;
use super::ask::{self, Answer};
use super::key::Key;
use super::library::{Libraries, Opened, Refusal};
use super::transfer::Transfer;
use crate::http::problem::Problem;

/// Transfers at once; each may keep one thread that reads.
const TRANSFERS: usize = 64;
/// How long one more waits for its turn.
const TURN: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Files {
    key: Arc<Key>,
    libraries: Arc<Libraries>,
    places: Arc<Semaphore>,
}

/// The route that sends files of the libraries to whoever shows a token of the key.
pub fn routes(key: Arc<Key>, libraries: Libraries) -> Router {
    let places = Arc::new(Semaphore::new(TRANSFERS));
    let files = Files { key, libraries: Arc::new(libraries), places };
    // Also answers HEAD.
    Router::new().route(ROUTE, get(send)).with_state(Arc::new(files))
}

async fn send(State(files): State<Arc<Files>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let answer = match files.holder(&request.headers) {
        Some(plugin) => files.answer(plugin, &request).await,
        None => Err(unknown()),
    };
    answer.unwrap_or_else(|problem| {
        let mut answer = problem.into_response();
        if answer.status() == StatusCode::UNAUTHORIZED {
            debug!("a request for a file shows no token that is known");
            let challenge = HeaderValue::from_static("Bearer realm=\"metafleet files\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        answer
    })
}

fn unknown() -> Problem {
    let detail = "send `Authorization: Bearer <token>` with the token of the answer to the \
                  announcement, or of METAFLEET_FILES_TOKEN if that is set there";
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

impl Files {
    /// Whose token the request shows.
    fn holder(&self, headers: &HeaderMap) -> Option<PluginId> {
        let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| self.key.holder(token.trim()))?
    }

    async fn answer(&self, plugin: PluginId, request: &Parts) -> Result<Response, Problem> {
        let path = ask::path(request.uri.query());
        let path = path.ok_or_else(|| Problem::bad_request("ask for `?path=` and one path"))?;
        let waiting = timeout(TURN, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = waiting else { return Err(busy()) };
        let libraries = self.libraries.clone();
        // Where the disk hangs, the place stays taken, so that not all threads come to hang there.
        let opening = spawn_blocking(move || (libraries.open(&path), place));
        let (opened, place) = opening.await.map_err(|_| unreadable())?;
        let opened = opened.map_err(|refusal| self.refused(&plugin, refusal))?;
        let answer = ask::answer(&request.headers, &opened.version);
        sent(plugin, opened, answer, request.method == Method::HEAD, place)
    }

    fn refused(&self, plugin: &PluginId, refusal: Refusal) -> Problem {
        debug!(plugin.id = %plugin, %refusal, "a file is not sent");
        match refusal {
            Refusal::Outside => Problem::forbidden(
                "the file is outside of the libraries that are offered here; name its folder with \
                 --library",
            ),
            Refusal::Absent => {
                Problem::not_found("there is no such file, or it is not a regular one")
            }
            Refusal::Unreadable(error) => {
                warn!(plugin.id = %plugin, %error, "a file cannot be read");
                unreadable()
            }
        }
    }
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many files are sent at the moment")
}

fn unreadable() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read now")
}

fn sent(
    plugin: PluginId,
    opened: Opened,
    answer: Answer,
    is_head: bool,
    place: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let size = opened.version.size;
    let etag = opened.version.etag();
    let (status, next, end) = match answer {
        Answer::Whole => (StatusCode::OK, 0, size),
        Answer::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        Answer::Changed => {
            let detail = "the file has changed since";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail));
        }
        Answer::Outside => {
            let range = format!("bytes */{size}");
            let detail = "the range begins behind the end of the file";
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail);
            return Ok(([(header::CONTENT_RANGE, range)], problem).into_response());
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, etag)
        .header(header::CONTENT_LENGTH, end - next);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {next}-{}/{size}", end - 1);
        response = response.header(header::CONTENT_RANGE, range);
    }
    let body = if is_head {
        Body::empty()
    } else {
        Transfer { opened, next, end, plugin, _place: place }.body()
    };
    response.body(body).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests;
