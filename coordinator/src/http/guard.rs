//! What every request goes through: who it is for, where it comes from, how large and how slow.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::Limits;
use super::problem::Problem;

/// Bytes of what the library says of an error.
const MOST_WORDS: usize = 4 << 10;

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

#[derive(Debug)]
pub(super) struct Rules {
    /// The names that it answers to; `None` = any.
    pub(super) hosts: Option<BTreeSet<String>>,
    pub(super) limits: Limits,
}

/// Refuses what is not for us, reads the body within its bounds, and waits for the answer no
/// longer than it may take.
pub(super) async fn guard(
    State(rules): State<Arc<Rules>>,
    request: Request,
    next: Next,
) -> Response {
    let answered = async {
        addressed(request.headers(), rules.hosts.as_ref())?;
        let (head, body) = request.into_parts();
        let Limits { body: patience, body_bytes, answer, .. } = rules.limits;
        let claimed = head.headers.get(header::CONTENT_LENGTH);
        let claimed = claimed.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let too_large = || {
            let detail = format!("the body may have {body_bytes} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        if claimed.is_some_and(|bytes| bytes > body_bytes) {
            return Err(too_large());
        }
        let body = match timeout(patience, to_bytes(body, body_bytes)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if is_length(&error) => return Err(too_large()),
            Ok(Err(_)) => {
                let detail = "the body breaks off, or is not sent as the head says";
                return Err(Problem::bad_request(detail));
            }
            Err(_) => {
                let detail = "the body did not come in time";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
            }
        };
        let request = Request::from_parts(head, Body::from(body));
        timeout(answer, next.run(request)).await.map_err(|_| {
            let detail = "the answer took too long; what was asked may have been done";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    };
    match answered.await {
        Ok(answer) => told(answer).await,
        Err(problem) => problem.into_response(),
    }
}

fn is_length(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

/// The library has errors of its own, e.g. of a path that is no text; they are told as all others.
async fn told(answer: Response) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let is_text = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_text || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let (head, body) = answer.into_parts();
    let words = to_bytes(body, MOST_WORDS).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    let mut answer = Problem::new(status, words).into_response();
    for (name, value) in &head.headers {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

/// Whether the request is for us, and not made by a page of another origin.
fn addressed(headers: &HeaderMap, hosts: Option<&BTreeSet<String>>) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if hosts.is_some_and(|hosts| !is_ours(name_of(host), hosts)) {
        let detail = format!("this is not `{}`", host.escape_debug());
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    // Of two, somebody on the way might have looked at the other one.
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Problem::bad_request("a request has one `Host`"));
    }
    // Only browsers send it, and only from pages.
    if headers.contains_key(header::ORIGIN) {
        let origin = text(header::ORIGIN).unwrap_or_default();
        if origin.split_once("://").is_none_or(|(_, origin)| origin != host) {
            return Err(Problem::forbidden("pages of other origins may not ask"));
        }
    }
    Ok(())
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A page can make a name of its own point to us, but no address.
fn is_ours(name: &str, hosts: &BTreeSet<String>) -> bool {
    let name = name.to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok() || name == "localhost" || hosts.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_others_and_from_other_pages_are_refused() {
        let hosts = BTreeSet::from(["meta-sort".to_owned()]);
        for (host, origin, expected) in [
            ("127.0.0.1:9000", None, None),
            ("localhost", None, None),
            ("LOCALHOST:1", None, None),
            ("[::1]:9000", None, None),
            ("meta-sort:9000", None, None),
            ("10.0.0.7:9000", None, None),
            ("evil.example:9000", None, Some(421)),
            ("127.0.0.1.evil.example", None, Some(421)),
            ("", None, Some(421)),
            ("localhost:9000", Some("http://localhost:9000"), None),
            ("localhost:9000", Some("http://localhost:1"), Some(403)),
            ("localhost:9000", Some("https://evil.example"), Some(403)),
            ("localhost:9000", Some("null"), Some(403)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            let refused = addressed(&headers, Some(&hosts)).err();
            let status = refused.map(|problem| problem.status().as_u16());
            assert_eq!(status, expected, "{host} {origin:?}");
            let of_any = addressed(&headers, None).err().map(|problem| problem.status().as_u16());
            assert_eq!(of_any, expected.filter(|status| *status != 421), "{host} {origin:?}");
        }
    }
}
