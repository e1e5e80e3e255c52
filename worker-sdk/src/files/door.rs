//! A file elsewhere for another program that reads by HTTP and jumps, e.g. ffprobe: it gets only the
//! bytes that it reads, and never the token.
//!
//! On the loopback of this machine a proxy answers for this one file. The program is told of it by the
//! variable `http_proxy`, which holds a password: the list of processes shows no environment.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use broker_config::wire::files::encode_path;
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use futures_util::stream;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::debug;

use super::client::{Client, FetchError, Wanted, next};
use super::remote::Remote;
use super::{Files, Source};

/// Random bytes of a password.
const SECRET: usize = 16;
/// Connections of the program at once; it needs one, and one more while it jumps.
const CONNECTIONS: usize = 8;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A file elsewhere, for a program on this machine; it is shut when this is dropped.
#[derive(Debug)]
pub struct Door {
    proxy: String,
    url: String,
    room: Arc<Room>,
    _open: JoinSet<()>,
}

/// What is behind a door.
struct Room {
    files: Arc<Files>,
    source: Arc<Source>,
    path: String,
    etag: String,
    size: u64,
    password: String,
    problem: Mutex<Option<FetchError>>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Door {
    pub(super) async fn open(
        files: Arc<Files>,
        source: Arc<Source>,
        path: &Path,
        remote: &Remote,
    ) -> io::Result<Self> {
        let mut secret = [0; SECRET];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        let secret = HEXLOWER.encode(&secret);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let proxy = format!("http://file:{secret}@{}", listener.local_addr()?);
        let password = format!("Basic {}", BASE64.encode(format!("file:{secret}").as_bytes()));
        let room = Arc::new(Room {
            files,
            source,
            path: encode_path(path.as_os_str().as_bytes()),
            etag: remote.etag.clone(),
            size: remote.size,
            password,
            problem: Mutex::new(None),
        });
        let mut open = JoinSet::new();
        open.spawn(serve(listener, room.clone()));
        Ok(Self { proxy, url: url(path), room, _open: open })
    }

    /// The value of the variable `http_proxy` of the program.
    #[must_use]
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// What the program is to read; it has the extension of the file.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Why bytes did not come, if some did not: whatever the program says then is not to be believed.
    pub fn problem(&self) -> Option<FetchError> {
        self.room.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A name that says no more than what kind of file it may be.
fn url(path: &Path) -> String {
    let extension = path.extension().and_then(OsStr::to_str);
    let plain = extension.filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    plain.map_or_else(|| "http://file/file".to_owned(), |text| format!("http://file/file.{text}"))
}

async fn serve(listener: TcpListener, room: Arc<Room>) {
    let mut connections = JoinSet::new();
    // An error of accepting has no cure here, and ends the program's reading.
    while let Ok((stream, _)) = listener.accept().await {
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let room = room.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| {
                let room = room.clone();
                async move { answer(room, &request).await }
            });
            let io = TokioIo::new(stream);
            if let Err(error) = http1::Builder::new().serve_connection(io, answer).await {
                debug!(%error, "a program stopped reading a file");
            }
        });
    }
}

/// The first and the last byte that a header asks for; a program that jumps asks for one range.
fn range(header: Option<&str>, size: u64) -> Option<(u64, u64)> {
    let Some(header) = header else { return Some((0, size.checked_sub(1)?)) };
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    (first < size && first <= last).then(|| (first, last.min(size - 1)))
}

async fn answer(
    room: Arc<Room>,
    request: &Request<Incoming>,
) -> hyper::http::Result<Response<Body>> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let answer = Response::builder();
    let nothing = || Empty::new().map_err(|never| match never {}).boxed_unsync();
    if header(PROXY_AUTHORIZATION) != Some(room.password.as_str()) {
        let asked = answer.header(PROXY_AUTHENTICATE, "Basic realm=\"file\"");
        return asked.status(StatusCode::PROXY_AUTHENTICATION_REQUIRED).body(nothing());
    }
    if request.method() != Method::GET {
        return answer.status(StatusCode::METHOD_NOT_ALLOWED).body(nothing());
    }
    let asked = header(RANGE);
    let Some((first, last)) = range(asked, room.size) else {
        let outside = answer.header(CONTENT_RANGE, format!("bytes */{}", room.size));
        return outside.status(StatusCode::RANGE_NOT_SATISFIABLE).body(nothing());
    };
    let mut client = Client::new(room.source.clone());
    let wanted = Wanted { path: &room.path, range: Some((first, last)), etag: Some(&room.etag) };
    let got = match client.get(wanted).await {
        Ok(got) => got,
        Err(error) => {
            room.note(error);
            return answer.status(StatusCode::BAD_GATEWAY).body(nothing());
        }
    };
    let (size, left) = (room.size, last - first + 1);
    // The client is kept with the body, because its connection ends with it.
    let begun = (got.response, client, left);
    let body = stream::try_unfold(begun, move |(mut got, client, left)| {
        let room = room.clone();
        async move {
            let piece = match next(&mut got, &client.name()).await {
                Ok(None) if left > 0 => {
                    Err(FetchError::Broken(client.name(), "it is shorter than it says".into()))
                }
                piece => piece,
            };
            match piece {
                Ok(Some(bytes)) => {
                    room.files.count(bytes.len());
                    let left = left.saturating_sub(bytes.len() as u64);
                    Ok(Some((Frame::data(bytes), (got, client, left))))
                }
                Ok(None) => Ok(None),
                Err(error) => {
                    room.note(error);
                    Err(io::Error::other("the bytes do not come"))
                }
            }
        }
    });
    let mut answer = answer.header(ACCEPT_RANGES, "bytes").header(CONTENT_LENGTH, left);
    if asked.is_some() {
        let part = format!("bytes {first}-{last}/{size}");
        answer = answer.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, part);
    }
    answer.body(StreamBody::new(body).boxed_unsync())
}

impl Room {
    fn note(&self, error: FetchError) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_no_more_than_the_kind() {
        for (path, expected) in [
            ("/l/A film.mkv", "http://file/file.mkv"),
            ("/l/A film.m k", "http://file/file"),
            ("/l/film", "http://file/file"),
        ] {
            assert_eq!(url(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn ranges_end_with_the_file() {
        for (header, size, expected) in [
            (None, 10, Some((0, 9))),
            (None, 0, None),
            (Some("bytes=0-"), 10, Some((0, 9))),
            (Some("bytes=3-5"), 10, Some((3, 5))),
            (Some("bytes=3-50"), 10, Some((3, 9))),
            (Some("bytes=10-"), 10, None),
            (Some("bytes=5-3"), 10, None),
            (Some("lines=1-"), 10, None),
        ] {
            assert_eq!(range(header, size), expected, "{header:?} of {size}");
        }
    }
}
