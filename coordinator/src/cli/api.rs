//! The API of the fleet that runs over the data folder, for commands that want something of it.

use std::pin::Pin;
use std::time::Duration;

use broker_config::Chain;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyDataStream, Empty};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_MATCH};
use hyper::http::request::Builder;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::App;
use super::exit::{Exit, Failure};
use crate::bridge::client::{Bounds, CallError, call};
use crate::config::BaseUrl;
use crate::http::api::token::Token;
use crate::process::log::Lines;

/// How long an answer may take: more than the fleet waits for what it was asked to do.
const ANSWER: Bounds = Bounds { time: Duration::from_secs(40), bytes: 16 << 20 };

/// A connection to the API; every request has one of its own.
#[derive(Clone, Debug)]
pub(crate) struct ApiClient {
    url: BaseUrl,
    token: Token,
}

/// A document, and what tells it from others.
#[derive(Clone, Debug)]
pub(crate) struct Tagged {
    pub(crate) body: Value,
    pub(crate) tag: Option<String>,
}

/// Lines of a log as they come.
pub(crate) type LogLines = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Failure>> + Send>>;

impl ApiClient {
    /// The API of the fleet that runs over the data folder.
    pub(crate) fn of(app: &App) -> Result<Self, Failure> {
        let data_dir = app.data_dir()?;
        let Some(fleet) = data_dir.running()? else {
            let root = data_dir.root().display();
            return Err(Failure::new(Exit::Unreachable, format!("no fleet runs over {root}"))
                .advise("this needs the fleet that starts the plugins; --data-dir names another"));
        };
        let Some(url) = fleet.api else {
            let what = "the fleet that runs belongs to a command and has no API";
            return Err(Failure::new(Exit::Unreachable, what).advise("`metafleet up` runs one"));
        };
        let url = url
            .parse()
            .map_err(|error| Failure::because(Exit::Failure, "the address of the API", &error))?;
        let path = data_dir.api_token();
        let token = Token::read(&path).map_err(|error| {
            Failure::because(Exit::Failure, &format!("could not read {}", path.display()), &error)
        })?;
        Ok(Self { url, token })
    }

    /// Asks for a document.
    pub(crate) async fn get(&self, path: &str) -> Result<Tagged, Failure> {
        self.send(self.request(Method::GET), path, None).await
    }

    /// Has something done.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        Ok(self.send(self.request(Method::POST), path, body).await?.body)
    }

    /// Replaces a document, unless it is another one than that with this tag.
    pub(crate) async fn put(
        &self,
        path: &str,
        body: &Value,
        tag: Option<&str>,
    ) -> Result<Value, Failure> {
        let request = self.request(Method::PUT);
        let request = tag.into_iter().fold(request, |request, tag| request.header(IF_MATCH, tag));
        Ok(self.send(request, path, Some(body)).await?.body)
    }

    fn request(&self, method: Method) -> Builder {
        Request::builder()
            .method(method)
            .header(AUTHORIZATION, self.token.header())
            .header(CONTENT_TYPE, "application/json")
    }

    async fn send(
        &self,
        request: Builder,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Tagged, Failure> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let answer = call(&self.url, request, path, body.into(), ANSWER).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if !(200..300).contains(&answer.status) {
            return Err(told(answer.status, &body));
        }
        let tag = answer.headers.get(ETAG).and_then(|tag| Some(tag.to_str().ok()?.to_owned()));
        Ok(Tagged { body, tag })
    }

    /// Reads a log.
    pub(crate) async fn log(&self, path: &str) -> Result<LogLines, Failure> {
        let request = Request::builder()
            .uri(self.url.route(path))
            .header(HOST, self.url.authority())
            .header(AUTHORIZATION, self.token.header())
            .header(ACCEPT, "text/plain")
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(&error))?;
        let connecting = timeout(ANSWER.time, TcpStream::connect(self.url.endpoint())).await;
        let stream = connecting.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // It carries what the other end sends, and goes with the lines.
        let mut carrier = JoinSet::new();
        carrier.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the API broke off");
            }
        });
        let answer = timeout(ANSWER.time, sender.send_request(request)).await;
        let answer = answer.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
        let status = answer.status().as_u16();
        let mut body = BodyDataStream::new(answer.into_body());
        if status != 200 {
            let mut text = Vec::new();
            while let Some(Ok(part)) = body.next().await {
                text.extend_from_slice(&part);
                if text.len() > ANSWER.bytes {
                    break;
                }
            }
            return Err(told(status, &serde_json::from_slice(&text).unwrap_or_default()));
        }
        let mut lines = Lines::default();
        let parts = body.map(Some).chain(stream::once(std::future::ready(None)));
        let cut = parts.flat_map(move |part| {
            // As long as there is somebody who reads.
            let _carried = &carrier;
            let mut found = Vec::new();
            match part {
                Some(Ok(bytes)) => lines.feed(&bytes, |line| found.push(Ok(line.to_vec()))),
                Some(Err(error)) => found.push(Err(broken(&error))),
                None => lines.finish(|line| found.push(Ok(line.to_vec()))),
            }
            stream::iter(found)
        });
        Ok(Box::pin(cut))
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::because(Exit::Unreachable, "the API of the fleet does not answer", error)
}

/// What the API says is wrong.
fn told(status: u16, body: &Value) -> Failure {
    let exit = match status {
        404 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        400 | 422 => Exit::Usage,
        503 => Exit::Unreachable,
        _ => Exit::Failure,
    };
    let detail = body.get("detail").and_then(Value::as_str);
    Failure::new(exit, detail.map_or_else(|| format!("the API answers {status}"), str::to_owned))
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(Exit::Unreachable, Chain(&error).to_string())
    }
}
