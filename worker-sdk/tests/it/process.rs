//! The process of a plugin, as operators see it: signals, exit codes, telemetry.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::header::TRACE_PARENT;
use broker_config::wire::file::FilePath;
use broker_config::wire::signal::AnnounceReply;
use broker_config::{Manifest, Queue, Task};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Fleet, PATIENCE, Script, eventually, lock, manifest, task};

/// A process of an example plugin; killed on drop.
struct Process(Child);

impl Process {
    /// Of the one that counts lines.
    fn start(fleet: &Fleet, vars: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::spawn(fleet, Command::new(example("minimal")?).envs(vars.iter().copied()))
    }

    /// Of the one that does what the file says; the fleet's manifest is kept in `home`.
    fn scripted(fleet: &Fleet, home: &TempDir) -> anyhow::Result<Self> {
        let manifest = home.path().join("manifest.json");
        std::fs::write(&manifest, serde_json::to_vec(&fleet.manifest)?)?;
        Self::spawn(fleet, Command::new(example("conformance")?).arg(manifest))
    }

    fn spawn(fleet: &Fleet, command: &mut Command) -> anyhow::Result<Self> {
        command.env("NATS_URL", fleet.server.url()).env("METAFLEET_INSTANCE", "w0");
        Ok(Self(command.stderr(Stdio::null()).spawn()?))
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status()?;
        anyhow::ensure!(status.success(), "kill -s {name} {id}");
        Ok(())
    }

    /// Waits for its end and returns the exit code; `None` when a signal killed it.
    async fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.code());
            }
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the process goes on")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An example beside this test's own program; cargo builds it for `cargo test`.
pub(crate) fn example(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("a target directory")?;
    let example = target.join("examples").join(name);
    anyhow::ensure!(example.exists(), "run `cargo build -p worker-sdk --examples`");
    Ok(example)
}

async fn fleet() -> anyhow::Result<Fleet> {
    Fleet::with(manifest(&serde_json::json!({
        "id": "lines",
        "dataSchema": {"text/lines": {"label": "Lines", "type": "string"}, "a": {}},
    }))?)
    .await
}

fn lines_of(cid: &str, path: &Path) -> anyhow::Result<Task> {
    Ok(Task { path: FilePath::new(path), ..task(cid)? })
}

/// A file whose task blocks its thread for ever.
fn endless(home: &TempDir) -> anyhow::Result<PathBuf> {
    let path = home.path().join("endless");
    std::fs::write(&path, format!("block {}\n", home.path().join("never").display()))?;
    Ok(path)
}

async fn is_ready(fleet: &Fleet) -> anyhow::Result<()> {
    eventually("the process to be ready", async || matches!(fleet.presence().await, Ok(Some(_))))
        .await
}

#[tokio::test]
async fn a_plugin_process_serves_until_it_is_told_to_stop() -> anyhow::Result<()> {
    let (fleet, home) = (fleet().await?, TempDir::new()?);
    let path = home.path().join("a.txt");
    std::fs::write(&path, "one\ntwo\nthree\n")?;
    let mut process = Process::start(&fleet, &[])?;

    fleet.publish(Queue::Fast, &lines_of("x", &path)?).await?;
    let record = fleet.settled("x").await?;
    assert_eq!(record.meta["text/lines"].as_text(), Some("3"));

    process.signal("TERM")?;
    assert_eq!(process.ended().await?, Some(0));
    assert!(fleet.presence().await?.is_none(), "it took its sign of life down");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> anyhow::Result<()> {
    let (fleet, home) = (fleet().await?, TempDir::new()?);
    let mut process = Process::scripted(&fleet, &home)?;
    fleet.publish(Queue::Fast, &lines_of("x", &endless(&home)?)?).await?;
    eventually(
        "the task to run",
        async || matches!(fleet.presence().await, Ok(Some(entry)) if entry.running.len() == 1),
    )
    .await?;

    process.signal("INT")?;
    eventually("it to drain", async || {
        use broker_config::wire::instance::InstanceState::Draining;
        matches!(fleet.presence().await, Ok(Some(entry)) if entry.state == Draining)
    })
    .await?;
    process.signal("INT")?;

    assert_eq!(process.ended().await?, Some(130));
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_killed_process_run_elsewhere_when_their_lease_is_over() -> anyhow::Result<()> {
    let (fleet, home) = (fleet().await?, TempDir::new()?);
    let process = Process::scripted(&fleet, &home)?;
    fleet.publish(Queue::Fast, &lines_of("x", &endless(&home)?)?).await?;
    eventually(
        "the task to run",
        async || matches!(fleet.presence().await, Ok(Some(entry)) if entry.running.len() == 1),
    )
    .await?;
    let worker = fleet.worker(Script::completes(), |_| {}).await?;

    process.signal("KILL")?;
    let record = fleet.settled("x").await?;

    assert_eq!(record.attempt, 2);
    worker.stop().await
}

#[tokio::test]
async fn exit_codes_say_what_is_wrong() -> anyhow::Result<()> {
    let fleet = fleet().await?;
    *lock(&fleet.reply) = AnnounceReply::Rejected { reasons: vec!["no".to_owned()] };
    for (vars, code) in [
        (vec![], 5),
        (vec![("METAFLEET_CONCURRENCY", "many")], 2),
        (vec![("METAFLEET_PLUGIN", "ffmpeg")], 2),
        (vec![("NATS_CREDS", "/nowhere/x.creds")], 4),
    ] {
        let mut process = Process::start(&fleet, &vars)?;
        assert_eq!(process.ended().await?, Some(code), "{vars:?}");
    }
    Ok(())
}

/// Stands for a collector: takes one request and returns it.
async fn collect(listener: TcpListener) -> anyhow::Result<Vec<u8>> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await?;
        request.extend_from_slice(&part[..n]);
        let head = request.windows(4).position(|w| w == b"\r\n\r\n");
        let Some(head) = head else { continue };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("content-length")?.trim().parse()?;
        if request.len() >= head + 4 + length {
            break;
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
    Ok(request)
}

#[tokio::test]
async fn the_span_of_a_task_is_exported_as_a_child_of_its_trace() -> anyhow::Result<()> {
    let (fleet, home) = (fleet().await?, TempDir::new()?);
    let path = home.path().join("a.txt");
    std::fs::write(&path, "one\n")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let mut process = Process::start(
        &fleet,
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")],
    )?;
    is_ready(&fleet).await?;

    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let mut headers = HeaderMap::new();
    headers.insert(TRACE_PARENT, format!("00-{trace}-{parent}-01"));
    let task = lines_of("x", &path)?;
    fleet.publish_raw(Queue::Fast, &task.cid, headers, serde_json::to_vec(&task)?).await?;
    let request = timeout(PATIENCE, collect(listener)).await.context("no span came")??;

    assert!(request.starts_with(b"POST /v1/traces"));
    let bytes = u128::from_str_radix(trace, 16)?.to_be_bytes();
    assert!(request.windows(16).any(|window| window == bytes), "the same trace");
    let bytes = u64::from_str_radix(parent, 16)?.to_be_bytes();
    assert!(request.windows(8).any(|window| window == bytes), "the same parent");
    fleet.settled("x").await?;
    let (_, _, headers) = fleet.record("x").await?.context("no record")?;
    let passed_on = headers.get(TRACE_PARENT).map(ToString::to_string).unwrap_or_default();
    assert!(passed_on.contains(trace), "{passed_on}");
    assert!(!passed_on.contains(parent), "the record's parent is the task's span: {passed_on}");
    process.signal("TERM")?;
    assert_eq!(process.ended().await?, Some(0));
    Ok(())
}

#[test]
fn the_example_has_a_valid_manifest() {
    let source = include_str!("../../examples/minimal.rs");
    let (_, rest) = source.split_once("r#\"").unwrap();
    let (json, _) = rest.split_once("\"#").unwrap();
    assert!(Manifest::from_json(json).is_ok());
}
