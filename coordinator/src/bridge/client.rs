//! Requests to HTTP plugins: one connection each, everything bounded.
//!
//! A connection of its own costs a fraction of a millisecond and can never be one that the plugin
//! has closed meanwhile, so that no request is in doubt about whether it was sent.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::BaseUrl;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an exchange may take, and how much may be answered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the connection to the last byte.
    pub time: Duration,
    /// The body of the answer.
    pub bytes: usize,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there; nothing was sent.
    #[error("could not connect to {url}")]
    Connect {
        /// Where.
        url: BaseUrl,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{url} did not answer within {} ms", limit.as_millis())]
    TimedOut {
        /// Where.
        url: BaseUrl,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer is too long.
    #[error("{url} answered with more than {limit} bytes")]
    TooLarge {
        /// Where.
        url: BaseUrl,
        /// How long it may be.
        limit: usize,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the exchange with {url} broke off")]
    Broken {
        /// Where.
        url: BaseUrl,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Answer {
    /// The seconds of a `Retry-After` header.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Asks for a route.
///
/// # Errors
///
/// [`CallError`]; an answer with any status is none.
pub async fn get(url: &BaseUrl, route: &str, bounds: Bounds) -> Result<Answer, CallError> {
    call(url, Request::builder().method(Method::GET), route, Bytes::new(), bounds).await
}

/// Sends JSON to a route.
///
/// # Errors
///
/// [`CallError`]; an answer with any status is none.
pub async fn post(
    url: &BaseUrl,
    route: &str,
    json: Bytes,
    bounds: Bounds,
) -> Result<Answer, CallError> {
    let request = Request::builder().method(Method::POST).header(CONTENT_TYPE, "application/json");
    call(url, request, route, json, bounds).await
}

/// Sends a request with the method and the headers of `request`.
///
/// # Errors
///
/// [`CallError`]; an answer with any status is none.
///
/// # Cancel safety
///
/// When dropped, the connection is closed; the plugin may have read the request.
pub async fn call(
    url: &BaseUrl,
    request: hyper::http::request::Builder,
    route: &str,
    body: Bytes,
    bounds: Bounds,
) -> Result<Answer, CallError> {
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| CallError::Broken {
        url: url.clone(),
        source,
    };
    let request = request
        .uri(url.route(route))
        .header(HOST, url.authority())
        .header(USER_AGENT, concat!("metafleet/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| broken(error.into()))?;
    let limit = CONNECT.min(bounds.time);
    let stream = match timeout(limit, TcpStream::connect(url.endpoint())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(CallError::Connect { url: url.clone(), source }),
        Err(_) => {
            let source = io::Error::new(io::ErrorKind::TimedOut, "it takes too long");
            return Err(CallError::Connect { url: url.clone(), source });
        }
    };
    let exchange = exchange(stream, request, bounds.bytes);
    match timeout(bounds.time, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(CallError::TooLarge { url: url.clone(), limit: bounds.bytes })
        }
        Ok(Err(error)) => Err(broken(error)),
        Err(_) => Err(CallError::TimedOut { url: url.clone(), limit: bounds.time }),
    }
}

async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answering = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, limit).collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    };
    let (mut answering, mut connection) = (pin!(answering), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answering => return answer,
        // Its end may come before the last of the answer was read.
        ended = &mut connection => ended?,
    }
    answering.await
}
