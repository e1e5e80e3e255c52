//! Stands before the real engine and spoils some of its answers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// It never reaches the engine, which seems to answer with this status.
    Status(u16),
    /// The connection ends without an answer.
    Close,
    /// The engine does what it is asked for, and nobody hears of it.
    Unheard,
    /// The answer is no JSON.
    Garbage,
}

#[derive(Clone, Debug)]
struct Rule {
    method: &'static str,
    part: &'static str,
    spoil: Spoil,
    left: usize,
}

/// A socket that leads to the engine.
#[derive(Debug)]
pub struct Proxy {
    path: PathBuf,
    rules: Arc<Mutex<Vec<Rule>>>,
    serving: Option<(CancellationToken, JoinSet<()>)>,
}

impl Proxy {
    /// Opens it in `dir`.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("engine.sock");
        let mut proxy = Self { path, rules: Arc::default(), serving: None };
        proxy.come_back()?;
        Ok(proxy)
    }

    /// For `DOCKER_HOST`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Spoils the next `count` requests with this method and this in their path.
    pub fn spoil(&self, method: &'static str, part: &'static str, spoil: Spoil, count: usize) {
        let rule = Rule { method, part, spoil, left: count };
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// Whether all that was to be spoilt has been.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|rule| rule.left == 0)
    }

    /// The engine is gone: all connections end and no new one is taken.
    pub async fn go_away(&mut self) {
        if let Some((stop, mut serving)) = self.serving.take() {
            stop.cancel();
            while serving.join_next().await.is_some() {}
        }
        std::fs::remove_file(&self.path).ok();
    }

    /// The engine is there again.
    pub fn come_back(&mut self) -> anyhow::Result<()> {
        let listener = UnixListener::bind(&self.path).context("listen for the engine")?;
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&self.rules), stop.clone()));
        self.serving = Some((stop, serving));
        Ok(())
    }
}

async fn serve(listener: UnixListener, rules: Arc<Mutex<Vec<Rule>>>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let rules = Arc::clone(&rules);
                connections.spawn(async move { carry(client, &rules).await.ok() });
            }
        }
    }
    connections.shutdown().await;
}

/// One request for each connection: the engine is asked to close it after its answer.
async fn carry(mut client: UnixStream, rules: &Mutex<Vec<Rule>>) -> anyhow::Result<()> {
    let mut head = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        let count = client.read(&mut piece).await?;
        anyhow::ensure!(count > 0, "no request");
        head.extend_from_slice(&piece[..count]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let line =
        String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default())
            .into_owned();
    let spoil = {
        let mut rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |rule: &&mut Rule| {
            rule.left > 0 && line.starts_with(rule.method) && line.contains(rule.part)
        };
        rules.iter_mut().find(fits).map(|rule| {
            rule.left -= 1;
            rule.spoil
        })
    };
    let answer = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} Spoilt\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match spoil {
        Some(Spoil::Status(status)) => {
            let text = answer(status, r#"{"message":"spoilt by the test"}"#);
            return Ok(client.write_all(text.as_bytes()).await?);
        }
        Some(Spoil::Garbage) => {
            return Ok(client.write_all(answer(200, "}no json{").as_bytes()).await?);
        }
        Some(Spoil::Close) => return Ok(()),
        Some(Spoil::Unheard) | None => {}
    }
    let mut engine = UnixStream::connect("/var/run/docker.sock").await?;
    let (first, rest) = head.split_at(end);
    engine.write_all(first).await?;
    engine.write_all(b"\r\nConnection: close").await?;
    engine.write_all(rest).await?;
    if spoil == Some(Spoil::Unheard) {
        let mut answer = [0; 16];
        engine.read_exact(&mut answer).await?;
        return Ok(());
    }
    copy_bidirectional(&mut client, &mut engine).await?;
    Ok(())
}
