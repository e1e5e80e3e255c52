//! Clients that are slow on purpose, all at once, and one that is not.

use std::time::Duration;

use anyhow::Context as _;
use coordinator::http::Limits;
use integration_tests::bridge::send;
use integration_tests::{eventually, heavy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::fleet;

/// What a machine that is busy may take longer.
const SLACK: Duration = Duration::from_secs(25);
/// Logs that are followed at once.
const LOGS: usize = 64;
/// Between two bytes.
const DRIP: Duration = Duration::from_millis(200);

/// Sends a byte at a time until the other end is gone; returns how long that took and what it said.
async fn drips(host: &str, begun: &str, more: &str) -> anyhow::Result<(Duration, String)> {
    let mut stream = TcpStream::connect(host).await?;
    let since = Instant::now();
    stream.write_all(begun.as_bytes()).await?;
    let mut said = Vec::new();
    for byte in more.bytes().cycle() {
        let mut buffer = [0; 4096];
        match timeout(DRIP, stream.read(&mut buffer)).await {
            Err(_) => drop(stream.write_all(&[byte]).await),
            Ok(Ok(read)) if read > 0 => said.extend_from_slice(&buffer[..read]),
            Ok(_) => break,
        }
    }
    Ok((since.elapsed(), String::from_utf8_lossy(&said).into_owned()))
}

/// Asks for more and more and reads nothing, until the other end is gone.
async fn never_reads(host: &str, token: &str) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(host).await?;
    let since = Instant::now();
    let request = format!(
        "GET /api/openapi.json HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    while stream.write_all(request.as_bytes()).await.is_ok() {}
    Ok(since.elapsed())
}

/// Takes a place and says nothing.
async fn says_nothing(host: &str) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(host).await?;
    let since = Instant::now();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.ok();
    Ok(since.elapsed())
}

#[tokio::test]
async fn slow_clients_are_cut_off_in_time_and_others_are_served_meanwhile() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (_home, up, _look, api) = fleet().await?;
    let host = api.url.strip_prefix("http://").context("an address")?;
    let limits = Limits::default();
    let head = "GET /api/health HTTP/1.1\r\nHost: localhost\r\nX: ";
    let body = format!(
        "PUT /api/plugins/odd/config HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 1000000\r\n\r\n",
        api.token
    );
    let silent = async {
        let all = (0..100).map(|_| says_nothing(host));
        futures_util::future::try_join_all(all).await
    };
    let slow = async {
        tokio::try_join!(
            drips(host, head, "x"),
            drips(host, &body, " "),
            never_reads(host, &api.token),
            silent
        )
    };
    let others = async {
        let (mut served, mut longest) = (0, Duration::ZERO);
        loop {
            let begun = Instant::now();
            let answer = send("GET", &format!("{}/api/health", api.url), &[], "").await;
            if !answer.is_ok_and(|answer| answer.status == 200) {
                return (served, longest);
            }
            (served, longest) = (served + 1, longest.max(begun.elapsed()));
            sleep(DRIP).await;
        }
    };

    let mut others = std::pin::pin!(others);
    let patience = limits.stall + limits.body + SLACK;
    let cut = tokio::select! {
        cut = timeout(patience, slow) => cut.context("somebody is not cut off")??,
        (served, _) = &mut others => anyhow::bail!("others are not served any more after {served}"),
    };

    let ((of_head, _), (of_body, told), of_reader, of_silent) = cut;
    println!("head {of_head:?}, body {of_body:?}, reader {of_reader:?}");
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(told.contains("application/problem+json"), "{told}");
    let silent = of_silent.into_iter().max().context("a hundred")?;
    let early = Duration::from_secs(1);
    for (what, took, limit) in [
        ("head", of_head, limits.head),
        ("body", of_body, limits.body),
        ("reader", of_reader, limits.stall),
        ("silent", silent, limits.head),
    ] {
        assert!(took + early >= limit, "{what}: cut off after {took:?}, not {limit:?}");
        assert!(took <= limit + SLACK, "{what}: cut off only after {took:?}, not {limit:?}");
    }
    up.stop().await
}

/// Follows a log for as long as the stream is kept; says what the answer begins with.
async fn follows(host: &str, token: &str) -> anyhow::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(host).await?;
    let request = format!(
        "GET /api/plugins/odd/instances/plugin-odd-1/logs?follow=true HTTP/1.1\r\nHost: {host}\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut begun = [0; 12];
    timeout(SLACK, stream.read_exact(&mut begun)).await??;
    Ok((stream, String::from_utf8_lossy(&begun).into_owned()))
}

#[tokio::test]
async fn logs_that_are_followed_leave_places_for_others() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (_home, up, _look, api) = fleet().await?;
    let host = api.url.strip_prefix("http://").context("an address")?;
    let mut followed = Vec::new();
    for number in 0..LOGS {
        let (stream, begun) = follows(host, &api.token).await?;
        assert_eq!(begun, "HTTP/1.1 200", "{number}");
        followed.push(stream);
    }

    let (_, begun) = follows(host, &api.token).await?;

    assert_eq!(begun, "HTTP/1.1 503", "one more than there are places");
    let health = send("GET", &format!("{}/api/health", api.url), &[], "").await?;
    assert_eq!(health.status, 200);
    drop(followed);
    eventually("a place to be free again", async || {
        let (_, begun) = follows(host, &api.token).await?;
        Ok((begun == "HTTP/1.1 200").then_some(()))
    })
    .await?;
    up.stop().await
}
