//! Requests for bytes: one connection, nothing followed, everything bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, HOST, IF_MATCH, RANGE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::Source;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long may pass without a byte.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody listens there.
    #[error("could not connect to {0}")]
    Connect(String, #[source] io::Error),
    /// For too long nothing came.
    #[error("{0} sent nothing for {seconds} s", seconds = SILENCE.as_secs())]
    Silent(String),
    /// The connection broke, or what came is no HTTP.
    #[error("the exchange with {0} broke off")]
    Broken(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The token is not known there.
    #[error(
        "{0} does not know the token (401): look at METAFLEET_FILES_TOKEN, METAFLEET_FILES_TOKEN_FILE \
         and METAFLEET_FILES_URL of this worker, or announce it again"
    )]
    Unknown(String),
    /// The file is in no library that is offered.
    #[error(
        "{0} does not offer the file (403): the coordinator must be started with --library for its \
         folder"
    )]
    Outside(String),
    /// There is no such file.
    #[error("{0} has no such file (404)")]
    Absent(String),
    /// It is another file now than when the first bytes were read.
    #[error("the file has changed at {0} while it was read (412)")]
    Changed(String),
    /// Anything else.
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    /// The answer makes no sense.
    #[error("{0} answered without {1}")]
    Incomplete(String, &'static str),
}

impl FetchError {
    /// As an error of reading.
    pub(super) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Absent(_) => io::ErrorKind::NotFound,
            Self::Silent(_) => io::ErrorKind::TimedOut,
            Self::Broken(..) => io::ErrorKind::UnexpectedEof,
            Self::Connect(..)
            | Self::Unknown(_)
            | Self::Outside(_)
            | Self::Changed(_)
            | Self::Status(..)
            | Self::Incomplete(..) => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

/// Asks one source, over one connection that is made anew when it has gone.
#[derive(Debug)]
pub(super) struct Client {
    source: Arc<Source>,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// Ends when it is dropped.
    _driver: JoinSet<()>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The path, spelled as the protocol says.
    pub(super) path: &'a str,
    /// First and last byte; everything when absent.
    pub(super) range: Option<(u64, u64)>,
    /// The version.
    pub(super) etag: Option<&'a str>,
}

/// An answer with bytes of the file.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) etag: String,
    pub(super) length: u64,
}

impl Answer {
    /// Reads the head of an answer.
    pub(super) fn of(
        response: Response<Incoming>,
        is_part: bool,
        name: &str,
    ) -> Result<Self, FetchError> {
        let expected = if is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let name = || name.to_owned();
        let status = response.status();
        match status {
            _ if status == expected => {}
            StatusCode::UNAUTHORIZED => return Err(FetchError::Unknown(name())),
            StatusCode::FORBIDDEN => return Err(FetchError::Outside(name())),
            StatusCode::NOT_FOUND => return Err(FetchError::Absent(name())),
            StatusCode::PRECONDITION_FAILED => return Err(FetchError::Changed(name())),
            other => return Err(FetchError::Status(name(), other)),
        }
        let text = |header| response.headers().get(header).and_then(|value| value.to_str().ok());
        let etag = text(ETAG).map(str::to_owned);
        let length = text(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let etag = etag.ok_or_else(|| FetchError::Incomplete(name(), "an ETag"))?;
        let length = length.ok_or_else(|| FetchError::Incomplete(name(), "a Content-Length"))?;
        Ok(Self { response, etag, length })
    }
}

impl Client {
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self { source, connection: None }
    }

    /// Who is asked, for errors.
    pub(super) fn name(&self) -> String {
        self.source.endpoint.to_string()
    }

    /// Asks; every status is an answer.
    pub(super) async fn ask(
        &mut self,
        wanted: Wanted<'_>,
    ) -> Result<Response<Incoming>, FetchError> {
        // One that was kept may have been closed meanwhile, so that the request never arrived.
        if let Some(mut kept) = self.connection.take()
            && kept.sender.ready().await.is_ok()
        {
            match self.exchange(&mut kept, wanted).await {
                Ok(answer) => {
                    self.connection = Some(kept);
                    return Ok(answer);
                }
                Err(FetchError::Broken(..)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut fresh = self.connect().await?;
        let answer = self.exchange(&mut fresh, wanted).await?;
        self.connection = Some(fresh);
        Ok(answer)
    }

    /// Asks for bytes.
    pub(super) async fn get(&mut self, wanted: Wanted<'_>) -> Result<Answer, FetchError> {
        let response = self.ask(wanted).await?;
        Answer::of(response, wanted.range.is_some(), &self.name())
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        wanted: Wanted<'_>,
    ) -> Result<Response<Incoming>, FetchError> {
        let Source { endpoint, token } = &*self.source;
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(endpoint.target(wanted.path))
            .header(HOST, endpoint.authority())
            .header(USER_AGENT, concat!("metafleet/", env!("CARGO_PKG_VERSION")))
            .header(AUTHORIZATION, format!("Bearer {token}"));
        if let Some((first, last)) = wanted.range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        if let Some(etag) = wanted.etag {
            request = request.header(IF_MATCH, etag);
        }
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
            FetchError::Broken(self.name(), error)
        };
        let request = request.body(Empty::new()).map_err(|error| broken(error.into()))?;
        match timeout(SILENCE, connection.sender.send_request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(broken(error.into())),
            Err(_) => Err(FetchError::Silent(self.name())),
        }
    }

    async fn connect(&self) -> Result<Connection, FetchError> {
        let failed = |error| FetchError::Connect(self.name(), error);
        let stream =
            match timeout(CONNECT, TcpStream::connect(self.source.endpoint.address())).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Err(failed(error)),
                Err(_) => {
                    let words = format!("it takes longer than {} s", CONNECT.as_secs());
                    return Err(failed(io::Error::new(io::ErrorKind::TimedOut, words)));
                }
            };
        // Requests are small, and the next one waits for the answer.
        stream.set_nodelay(true).map_err(failed)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            shaken.map_err(|error| FetchError::Broken(self.name(), error.into()))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection for files ended early");
            }
        });
        Ok(Connection { sender, _driver: driver })
    }
}

/// The next bytes of an answer; `None` at its end.
pub(super) async fn next(
    response: &mut Response<Incoming>,
    name: &str,
) -> Result<Option<Bytes>, FetchError> {
    loop {
        let frame = timeout(SILENCE, response.body_mut().frame()).await;
        match frame.map_err(|_| FetchError::Silent(name.to_owned()))? {
            None => return Ok(None),
            Some(Err(error)) => return Err(FetchError::Broken(name.to_owned(), error.into())),
            // What is no data is a trailer.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
