//! The engine's API, as much of it as tests need, without a client library.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(60);

/// A connection for each call.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The engine that listens there.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Asks; returns the status and what was answered.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let (status, bytes) = self.raw(method, path, body).await?;
        let value = serde_json::from_slice(&bytes);
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        Ok((status, value.unwrap_or_else(|_| text())))
    }

    async fn raw(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let call = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            let body = body.map(Value::to_string).unwrap_or_default();
            // With 1.0 the answer ends with the connection and comes in one piece.
            let head = format!(
                "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let answer = timeout(CALL, call).await.with_context(|| format!("{method} {path}"))??;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("a head")?;
        let (head, body) = answer.split_at(end + 4);
        let status = std::str::from_utf8(head)?.split(' ').nth(1).context("a status")?.parse()?;
        Ok((status, body.to_vec()))
    }

    async fn done(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let (status, body) = self.ask(method, path, body).await?;
        anyhow::ensure!((200..400).contains(&status), "{method} {path}: {status} {body}");
        Ok(body)
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.done("GET", path, None).await
    }

    /// Makes or does something.
    pub async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.done("POST", path, body).await
    }

    /// Removes.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.done("DELETE", path, None).await
    }

    /// What a container has printed: pieces, each with eight bytes in front.
    pub async fn logs(&self, name: &str) -> anyhow::Result<String> {
        let path = format!("/containers/{name}/logs?stdout=true&stderr=true");
        let (_, mut rest) = self.raw("GET", &path, None).await?;
        let mut text = Vec::new();
        while rest.len() > 8 {
            let size = u32::from_be_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
            let end = rest.len().min(8 + size);
            text.extend_from_slice(&rest[8..end]);
            rest.drain(..end);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
