//! A plugin that takes as much as it can get: each bound of an account, and others who go on meanwhile.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::LIMIT;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use worker_sdk::Credentials;

use super::stage::{CONNECTIONS, HOSTILE, PAYLOAD, SUBSCRIPTIONS, Stage, VICTIM, Walls};

/// The largest message of the embedded broker.
const EMBEDDED_PAYLOAD: usize = 4 << 20;

/// A connection without a library, which would keep to the rules.
struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn login(stage: &Stage, id: &str) -> anyhow::Result<Self> {
        let Credentials::User { name, password } = stage.credentials(id)? else {
            anyhow::bail!("{id} has no password");
        };
        let mut raw = Self(BufReader::new(TcpStream::connect(stage.fleet.server.address()).await?));
        let login = serde_json::json!({ "user": name, "pass": password, "verbose": false });
        raw.say(format!("CONNECT {login}\r\n").as_bytes()).await?;
        let heard = raw.heard().await?;
        anyhow::ensure!(heard.iter().any(|line| line == "PONG"), "{heard:?}");
        Ok(raw)
    }

    async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.0.get_mut().write_all(bytes).await?)
    }

    /// What the server says, until it has seen all that was sent or the connection is at its end.
    async fn heard(&mut self) -> anyhow::Result<Vec<String>> {
        self.say(b"PING\r\n").await.ok();
        let mut heard: Vec<String> = Vec::new();
        while heard.last().is_none_or(|line| line != "PONG") {
            let mut line = String::new();
            // Whoever is cut off with bytes on the way has its connection reset.
            if timeout(LIMIT, self.0.read_line(&mut line)).await?.unwrap_or_default() == 0 {
                break;
            }
            heard.push(line.trim().to_owned());
        }
        Ok(heard)
    }
}

/// How many times the server has said so.
fn count(heard: &[String], words: &str) -> usize {
    heard.iter().filter(|line| line.to_lowercase().contains(words)).count()
}

async fn connections_stop(walls: Walls) -> anyhow::Result<()> {
    let stage = Stage::start(walls).await?;
    let mut flood = Vec::new();

    for _ in 0..CONNECTIONS * 2 {
        if let Ok(client) = stage.login(HOSTILE).await {
            flood.push(client);
        }
    }

    // It has one already.
    assert!(flood.len() < CONNECTIONS as usize, "{} more", flood.len());
    stage.login(VICTIM).await.context("the victim gets in")?;
    stage.live().await
}

#[tokio::test]
async fn a_flood_of_connections_stops_at_the_plugins_own_limit() -> anyhow::Result<()> {
    Box::pin(connections_stop(Walls::Rendered)).await
}

#[tokio::test]
async fn a_flood_of_connections_stops_at_the_limit_that_was_issued() -> anyhow::Result<()> {
    Box::pin(connections_stop(Walls::Issued)).await
}

/// One connection subscribes to more than it may; the bound is that of each connection.
async fn subscriptions_stop(walls: Walls, limit: usize) -> anyhow::Result<()> {
    let stage = Stage::start(walls).await?;
    let mut open = Vec::new();
    for turn in 0..2 {
        let mut raw = Raw::login(&stage, HOSTILE).await?;

        let mut all = String::new();
        for number in 0..limit + 5 {
            all += &format!("SUB _INBOX.flood.{number} {number}\r\n");
        }
        raw.say(all.as_bytes()).await?;
        let heard = raw.heard().await?;

        let refused = count(&heard, "maximum subscriptions exceeded");
        assert_eq!(refused, 5, "{turn}: {:?}", heard.first());
        open.push(raw);
    }
    for raw in &mut open {
        assert_eq!(raw.heard().await?, ["PONG"], "it keeps what it has");
    }
    stage.live().await
}

#[tokio::test]
async fn subscriptions_stop_at_the_limit_of_the_account() -> anyhow::Result<()> {
    Box::pin(subscriptions_stop(Walls::Rendered, SUBSCRIPTIONS as usize)).await
}

#[tokio::test]
async fn subscriptions_at_the_embedded_broker_stop_at_its_usual_limit() -> anyhow::Result<()> {
    Box::pin(subscriptions_stop(Walls::Embedded, 32_768)).await
}

/// A message that is too large costs whoever sends it its connection, and nobody else anything.
async fn large_messages_stop(walls: Walls, limit: usize) -> anyhow::Result<()> {
    let stage = Stage::start(walls).await?;
    let own = "$KV.mf-records.large.hostile";
    for (bytes, is_refused) in [(limit, false), (limit + 1, true)] {
        let mut raw = Raw::login(&stage, HOSTILE).await?;
        let head = format!("PUB {own} {bytes}\r\n");
        let body = vec![b'x'; bytes];

        // It may be cut off before all of it was sent.
        let sent = raw.say(&[head.as_bytes(), &body, b"\r\n"].concat()).await;
        assert!(sent.is_ok() || is_refused, "{bytes}: {sent:?}");
        let heard = raw.heard().await?;

        let is_connected = heard.last().is_some_and(|line| line == "PONG");
        assert_eq!(is_connected, !is_refused, "{bytes}: {heard:?}");
    }
    let connects = stage.victim.statistics().connects.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(connects, 1, "the victim had to come again");
    timeout(Duration::from_secs(30), stage.live()).await?
}

#[tokio::test]
async fn large_messages_stop_at_the_limit_of_the_account() -> anyhow::Result<()> {
    Box::pin(large_messages_stop(Walls::Rendered, PAYLOAD as usize)).await
}

#[tokio::test]
async fn large_messages_at_the_embedded_broker_stop_at_its_limit() -> anyhow::Result<()> {
    Box::pin(large_messages_stop(Walls::Embedded, EMBEDDED_PAYLOAD)).await
}
