//! A client of a fleet's API.

use anyhow::Context as _;
use coordinator::bridge::client::Answer;
use coordinator::config::DataDir;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bridge::send;
use crate::cli::Home;
use crate::{LIMIT, eventually};

/// How a fleet's API is reached.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where it is.
    pub url: String,
    /// What its owner knows.
    pub token: String,
}

impl Api {
    /// The API of the fleet that runs over the data folder.
    pub fn of(home: &Home) -> anyhow::Result<Self> {
        let data_dir = DataDir::new(home.data());
        let fleet = data_dir.running()?.context("a fleet")?;
        let token = std::fs::read_to_string(data_dir.api_token())?.trim().to_owned();
        Ok(Self { url: fleet.api.context("an API")?, token })
    }

    /// Sends a request with the token.
    pub async fn send(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
        let shown = format!("Bearer {}", self.token);
        self.send_as(method, path, &[("authorization", &shown)], body).await
    }

    /// Sends a request with these headers and no others.
    pub async fn send_as(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        send(method, &format!("{}{path}", self.url), headers, body).await
    }

    /// Reads a document that must be there.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        ok(&self.send("GET", path, "").await?)
    }

    /// Has something done that must be taken, and waits until it is in effect.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        ok(&self.send("POST", path, &body).await?)
    }

    /// Waits until a plugin is so.
    pub async fn until(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let path = format!("/api/plugins/{id}");
        let so = eventually(what, async || {
            last = self.get(&path).await?;
            Ok(is_so(&last).then(|| last.clone()))
        });
        let done = so.await;
        done.with_context(|| format!("{last:#}"))
    }

    /// Begins to read a log.
    pub async fn log(&self, path: &str, accept: &str) -> anyhow::Result<Log> {
        let host = self.url.strip_prefix("http://").context("an address")?;
        let mut stream = TcpStream::connect(host).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nAuthorization: Bearer {}\r\n\
             Connection: close\r\n\r\n",
            self.token
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(Log { stream, read: String::new() })
    }
}

/// The JSON of an answer that says that all is well.
pub fn ok(answer: &Answer) -> anyhow::Result<Value> {
    let text = String::from_utf8_lossy(&answer.body);
    anyhow::ensure!(answer.status == 200, "{}: {text}", answer.status);
    serde_json::from_str(&text).with_context(|| text.into_owned())
}

/// The problem that an answer tells.
pub fn problem(answer: &Answer) -> anyhow::Result<Value> {
    let kind = answer.headers.get("content-type").context("a content type")?;
    anyhow::ensure!(kind == "application/problem+json", "{kind:?}");
    Ok(serde_json::from_slice(&answer.body)?)
}

/// A log that is being read.
#[derive(Debug)]
pub struct Log {
    stream: TcpStream,
    /// All that has come, with the head of the answer.
    pub read: String,
}

impl Log {
    /// Reads on until something has come.
    pub async fn says(&mut self, text: &str) -> anyhow::Result<()> {
        while !self.read.contains(text) {
            anyhow::ensure!(self.more().await? > 0, "it ended without `{text}`: {}", self.read);
        }
        Ok(())
    }

    /// Reads to its end.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        while self.more().await? > 0 {}
        Ok(())
    }

    async fn more(&mut self) -> anyhow::Result<usize> {
        let mut buffer = [0; 4096];
        let read = timeout(LIMIT, self.stream.read(&mut buffer)).await;
        let read = read.with_context(|| format!("nothing comes after {}", self.read))??;
        self.read.push_str(&String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()));
        Ok(read)
    }
}
