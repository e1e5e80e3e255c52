mod logins;
mod names;

use std::path::Path;

use anyhow::Context as _;
use async_nats::jetstream;
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::config::Env;
use crate::exec::tests::{eventually, is_alive, test_guard};

const PATIENCE: Duration = Duration::from_secs(60);

async fn options(home: &Path) -> anyhow::Result<NatsServerOptions> {
    let data_dir = DataDir::new(home);
    Ok(NatsServerOptions {
        binary: Binary::find(&Env, &data_dir).await?,
        data_dir,
        names: Names::default(),
        tenants: tenants(&["ffmpeg", "nfo"]),
        guard: test_guard(),
        sync: Sync::default(),
        grace: Duration::from_secs(20),
    })
}

fn plugins(ids: &[&str]) -> Plugins {
    ids.iter().map(|id| (id.parse().unwrap(), Default::default())).collect()
}

fn tenants(ids: &[&str]) -> Tenants {
    Tenants::Each { plugins: plugins(ids), forgets_others: true }
}

fn pid(handle: &NatsServerHandle) -> u32 {
    match handle.state() {
        ServerState::Ready { pid, .. } => pid,
        ServerState::Down { .. } | ServerState::Stopped => 0,
    }
}

fn kill(pid: u32, signal: Signal) -> anyhow::Result<()> {
    Ok(kill_process(Pid::from_raw(pid.cast_signed()).context("pid")?, signal)?)
}

/// Runs the server as the application does: on a task of its own.
fn run(server: NatsServer) -> (CancellationToken, JoinSet<()>) {
    let drain = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run(drain.clone()));
    (drain, tasks)
}

async fn stop(drain: &CancellationToken, running: JoinSet<()>) -> anyhow::Result<()> {
    drain.cancel();
    timeout(PATIENCE, running.join_all()).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_with_its_data() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (server, handle) = NatsServer::start(options(home.path()).await?).await?;
    let (drain, running) = run(server);
    let client = handle.coordinator.connect("test").await?;
    let jetstream = jetstream::new(client);
    let config = jetstream::stream::Config {
        name: "S".into(),
        subjects: vec!["s".into()],
        ..Default::default()
    };
    jetstream.create_stream(config).await?;
    jetstream.publish("s", "kept".into()).await?.await?;
    let first = pid(&handle);
    let mut state = handle.watch();

    kill(first, Signal::KILL)?;

    let again =
        |state: &ServerState| matches!(state, ServerState::Ready { pid, .. } if *pid != first);
    timeout(PATIENCE, state.wait_for(again)).await??;
    // The same client, which knows only the old port.
    let stream = timeout(PATIENCE, async {
        loop {
            if let Ok(stream) = jetstream.get_stream("S").await {
                return stream;
            }
        }
    });
    let message = stream.await?.get_raw_message(1).await?;
    assert_eq!(message.payload, "kept");
    let second = pid(&handle);
    stop(&drain, running).await?;
    assert!(!is_alive(second));
    assert_eq!(handle.state(), ServerState::Stopped);
    Ok(())
}

#[tokio::test]
async fn the_next_fleet_uses_the_same_port_and_passwords() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (server, first) = NatsServer::start(options(home.path()).await?).await?;
    let (drain, running) = run(server);
    stop(&drain, running).await?;

    let (server, second) = NatsServer::start(options(home.path()).await?).await?;
    let (drain, running) = run(server);

    assert_eq!(first.coordinator, second.coordinator);
    assert!(is_alive(pid(&second)));
    stop(&drain, running).await
}

#[tokio::test]
async fn a_port_that_is_taken_is_given_up() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = taken.local_addr()?.port();
    std::fs::create_dir_all(home.path().join("nats"))?;
    std::fs::write(home.path().join("nats/port"), port.to_string())?;

    let (server, handle) = NatsServer::start(options(home.path()).await?).await?;
    let (drain, running) = run(server);

    assert_ne!(handle.coordinator.url, format!("nats://127.0.0.1:{port}"));
    stop(&drain, running).await
}

#[tokio::test]
async fn the_store_is_not_touched_while_another_server_has_it() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (server, handle) = NatsServer::start(options(home.path()).await?).await?;
    let first = pid(&handle);
    // Stopped, not killed: it holds the store and does not answer.
    kill(first, Signal::STOP)?;

    let second = NatsServer::start(options(home.path()).await?);
    let early = timeout(Duration::from_secs(1), second).await;

    assert!(early.is_err(), "a second server was started over the same store");
    kill(first, Signal::KILL)?;
    drop(server);
    let (server, handle) = NatsServer::start(options(home.path()).await?).await?;
    assert_ne!(pid(&handle), first);
    let (drain, running) = run(server);
    stop(&drain, running).await
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    // A file where the store should be.
    std::fs::create_dir_all(home.path().join("nats"))?;
    std::fs::write(home.path().join("nats/store"), "")?;

    let error = NatsServer::start(options(home.path()).await?).await.unwrap_err();

    assert!(matches!(error, StartError::Ended { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("nats-server ended") && text.contains("JetStream"), "{text}");
    assert!(!text.contains("password"), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_the_server_keeps_is_the_owners_alone() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir()?;
    let (server, _handle) = NatsServer::start(options(home.path()).await?).await?;
    let (drain, running) = run(server);
    for name in ["users.json", "nats-server.conf"] {
        let mode = std::fs::metadata(home.path().join("nats").join(name))?.permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    eventually("there is a log", || home.path().join("log/nats-server.log").exists()).await?;
    stop(&drain, running).await
}

#[tokio::test]
async fn more_room_is_given_to_a_server_that_runs() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (mut server, handle) = NatsServer::start(options(home.path()).await?).await?;
    let ServerState::Ready { monitoring: Some(monitoring), .. } = handle.state() else {
        anyhow::bail!("it does not tell how it is: {:?}", handle.state())
    };
    assert_eq!(disk::problem(&monitoring).await, None);

    server.child.raise(&server.plan, 1 << 55).await;

    let address = monitoring.trim_start_matches("http://");
    let raised = timeout(PATIENCE, async {
        while !disk::get(address, "/jsz").await?.contains(&(1_u64 << 55).to_string()) {}
        anyhow::Ok(())
    });
    raised.await??;
    let (drain, running) = run(server);
    stop(&drain, running).await
}
