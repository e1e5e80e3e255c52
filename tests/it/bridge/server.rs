//! The HTTP server that all routes stand on, against clients that mean no good.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use coordinator::http::{HttpOptions, Limits, Server};
use integration_tests::bridge::{Bench, Odd, send, text};
use integration_tests::{Fleet, LIMIT};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A server that is quickly out of patience.
async fn impatient() -> anyhow::Result<(SocketAddr, CancellationToken, JoinSet<()>)> {
    let soon = Duration::from_secs(2);
    let limits = Limits {
        head: soon,
        body: soon,
        answer: soon,
        stall: soon,
        body_bytes: 1_000,
        connections: 4,
        grace: Duration::from_secs(5),
    };
    let routes = Router::new()
        .route("/echo", post(async |body: Bytes| body))
        .route("/slow", get(async || sleep(Duration::from_secs(3600)).await))
        .route("/work", get(async || sleep(Duration::from_millis(200)).await))
        .route("/big", get(async || vec![b'x'; 64 << 20]));
    let options = HttpOptions { limits, ..HttpOptions::default() };
    let server = Server::bind(&options, routes).await?;
    let (address, stop, mut task) = (server.address(), CancellationToken::new(), JoinSet::new());
    task.spawn(server.run(stop.clone()));
    Ok((address, stop, task))
}

/// What comes back until the other end closes.
async fn rest(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    // A connection that is cut off may end with an error.
    drop(timeout(LIMIT, stream.read_to_end(&mut bytes)).await?);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn slow_and_greedy_clients_are_cut_off_and_others_are_served() -> anyhow::Result<()> {
    let (address, stop, task) = impatient().await?;
    for (begun, expected) in [
        ("", ""),
        ("POST /echo HTTP/1.1\r\nHost: local", ""),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc", "408"),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n", "413"),
        ("GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "503"),
        ("GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404"),
        ("GET /echo HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(begun.as_bytes()).await?;
        let said = rest(&mut stream).await?;
        assert!(said.contains(expected), "{begun:?}: {said:?}");
    }

    // Four that do not read their answers hold all places, and lose them.
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        stuck.push(stream);
    }
    let served = send("POST", &format!("http://{address}/echo"), &[], "hello").await?;
    assert_eq!(text(&served), "hello");
    drop(stuck);
    stop.cancel();
    timeout(LIMIT, task.join_all()).await?;
    Ok(())
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_hand_and_takes_nothing_new() -> anyhow::Result<()> {
    let (address, stop, task) = impatient().await?;
    let mut working = TcpStream::connect(address).await?;
    working.write_all(b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let echo = format!("http://{address}/echo");
    assert_eq!(send("POST", &echo, &[], "on its way").await?.status, 200);

    stop.cancel();
    let said = rest(&mut working).await?;
    timeout(LIMIT, task.join_all()).await?;

    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(send("POST", &echo, &[], "late").await.is_err());
    Ok(())
}

#[tokio::test]
async fn pages_of_other_origins_reach_neither_callbacks_nor_metadata() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (bench, _listening) = Bench::serving(&fleet, &Odd::calls_back(json!({}))).await?;
    let add = bench.meta("film", "/_add/genres");
    let callback = format!("{}/api/plugins/callback", bench.bridge.urls.api);
    for url in [&add, &callback] {
        let page = send("POST", url, &[("origin", "https://evil.example")], "x").await?;
        assert_eq!(page.status, 403, "{url}");
    }
    assert_eq!(send("POST", &callback, &[], "{}").await?.status, 404, "without a token");
    assert_eq!(send("POST", &add, &[], "x").await?.status, 200);
    Ok(())
}
