//! A file elsewhere: its size, its version, and pieces of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use broker_config::wire::files::encode_path;
use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::CONTENT_RANGE;
use std::os::unix::ffi::OsStrExt as _;
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client, FetchError, Wanted, next};
use super::{Files, Source};

/// Bytes that the first request asks for: what most files are known by.
pub(super) const FIRST: u64 = 64 << 10;

/// A file elsewhere, in one version.
#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    files: Arc<Files>,
    cancelled: CancellationToken,
    path: String,
    pub(super) etag: String,
    pub(super) size: u64,
}

impl Remote {
    /// Finds the file, and gets its beginning.
    pub(super) async fn open(
        files: Arc<Files>,
        source: Arc<Source>,
        path: &Path,
        cancelled: CancellationToken,
    ) -> Result<(Self, Bytes), FetchError> {
        let path = encode_path(path.as_os_str().as_bytes());
        let client = Client::new(source);
        let mut remote = Self { client, files, cancelled, path, etag: String::new(), size: 0 };
        let name = remote.client.name();
        let wanted = Wanted { path: &remote.path, range: Some((0, FIRST - 1)), etag: None };
        let response = remote.client.ask(wanted).await?;
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let size = range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        // An empty file has no part.
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && size == Some(0) {
            return Ok((remote, Bytes::new()));
        }
        let answer = Answer::of(response, wanted.range.is_some(), &name)?;
        remote.size = size.ok_or(FetchError::Incomplete(name, "a Content-Range"))?;
        remote.etag.clone_from(&answer.etag);
        let expected = remote.size.min(FIRST);
        let beginning = remote.collect(answer, expected).await?;
        Ok((remote, beginning))
    }

    /// The bytes from `first` on, `length` of them, which the file must have.
    pub(super) async fn piece(&mut self, first: u64, length: u64) -> io::Result<Bytes> {
        let cancelled = self.cancelled.clone();
        let got = cancelled.run_until_cancelled(self.get(first, length)).await;
        let ended = || io::Error::other("the attempt is over");
        got.ok_or_else(ended)?.map_err(FetchError::into_io)
    }

    async fn get(&mut self, first: u64, length: u64) -> Result<Bytes, FetchError> {
        let range = Some((first, first + length - 1));
        let wanted = Wanted { path: &self.path, range, etag: Some(&self.etag) };
        let answer = self.client.get(wanted).await?;
        self.collect(answer, length).await
    }

    async fn collect(&self, mut answer: Answer, expected: u64) -> Result<Bytes, FetchError> {
        let name = self.client.name();
        if answer.length != expected {
            return Err(FetchError::Incomplete(name, "the bytes that were asked for"));
        }
        let mut piece = BytesMut::new();
        while let Some(bytes) = next(&mut answer.response, &name).await? {
            self.files.count(bytes.len());
            // Small pieces come in one, which need not be copied.
            if piece.is_empty() && bytes.len() as u64 == expected {
                return Ok(bytes);
            }
            piece.extend_from_slice(&bytes);
        }
        if piece.len() as u64 == expected {
            return Ok(piece.freeze());
        }
        Err(FetchError::Broken(name, "it is shorter than it says".into()))
    }
}
