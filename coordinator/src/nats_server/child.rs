//! One process of the server: started, ready, ended, stopped.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use broker_config::{Chain, Names};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::ServerState;
use super::binary::Binary;
use super::render::{Listen, Sync, render_config};
use super::users::Users;
use crate::config::connection::{Connection, Origin, Tls};
use crate::config::private_file;
use crate::exec::{Guard, Limits};

/// How long a server before us may take to let go of the store.
const STORE_WAIT: Duration = Duration::from_secs(30);
/// How long the server may take to read its store and answer; large stores take their time.
const READY_WAIT: Duration = Duration::from_secs(300);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// How much of what a server that failed has said is told.
const TAIL: u64 = 2_000;

/// Everything that stays the same over restarts.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) home: PathBuf,
    pub(super) log: PathBuf,
    pub(super) names: Names,
    pub(super) users: Users,
    pub(super) binary: Binary,
    pub(super) guard: Guard,
    pub(super) sync: Sync,
}

/// The broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system refuses.
    #[error("could not use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another server works on the store.
    #[error("another nats-server works on {path}, and did not stop")]
    StoreInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The program could not be started at all.
    #[error("could not start {path}")]
    Spawn {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it answered.
    #[error("nats-server ended ({status}){}", because(.said))]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last lines it wrote.
        said: String,
    },
    /// It runs and does not answer.
    #[error("nats-server did not answer in time{}", because(.said))]
    Silent {
        /// The last lines it wrote, and why the last attempt to connect failed.
        said: String,
    },
    /// All ports that were tried are taken.
    #[error("no free port on 127.0.0.1 from {from} to {to}")]
    NoPort {
        /// First port tried.
        from: u16,
        /// Port after the last.
        to: u16,
    },
}

fn because(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl StartError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A server that answered.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    pub(super) pid: u32,
    monitoring: Option<String>,
    output: Output,
}

/// What the server writes into its ports file.
#[derive(Debug, Deserialize)]
struct Ports {
    #[serde(default)]
    monitoring: Vec<String>,
}

impl Child {
    /// Starts the server on `port` and returns when it answers.
    ///
    /// # Cancel safety
    ///
    /// A server that was started is killed when the future is dropped.
    pub(super) async fn start(plan: &Plan, port: u16) -> Result<Self, StartError> {
        let lock = lock_store(&plan.home).await?;
        let ports_dir = plan.home.join("run");
        empty_dir(&ports_dir).map_err(StartError::io(&ports_dir))?;
        let config = plan.config_file();
        let listen = Listen {
            port,
            store: &plan.home.join("store"),
            ports_dir: &ports_dir,
            log: &plan.log.join("nats-server.log"),
            sync: plan.sync,
        };
        let text = render_config(&listen, &plan.users, &plan.names);
        private_file::write(&config, text.as_bytes()).map_err(StartError::io(&config))?;
        let output = Output::begin(&plan.log);
        let errors = File::create(&output.errors).map_err(StartError::io(&output.errors))?;
        let mut command = plan.guard.command(&plan.binary.path, Limits::default());
        command.arg("-c").arg(&config);
        command.stdin(lock).stdout(Stdio::null()).stderr(errors);
        let spawn = |source| StartError::Spawn { path: plan.binary.path.clone(), source };
        let mut process = command.spawn().map_err(spawn)?;
        // The command holds the lock as well, and would keep it when the server is gone.
        drop(command);
        let pid = process.id().unwrap_or_default();
        let connection = Connection {
            url: format!("nats://127.0.0.1:{port}"),
            login: plan.users.coordinator_login(),
            tls: Tls::default(),
            origin: Origin::Fleet,
        };
        tokio::select! {
            biased;
            ended = process.wait() => {
                let status = ended.map_err(spawn)?;
                Err(StartError::Ended { status, said: output.tail() })
            }
            ready = ready(&ports_dir, &connection) => match ready {
                Ok(ports) => {
                    let monitoring = ports.monitoring.into_iter().next();
                    Ok(Self { process, pid, monitoring, output })
                }
                Err(problem) => {
                    Err(StartError::Silent { said: format!("{problem} {}", output.tail()) })
                }
            }
        }
    }

    pub(super) fn state(&self) -> ServerState {
        ServerState::Ready { pid: self.pid, monitoring: self.monitoring.clone() }
    }

    /// Waits for its end and says how it ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn ended(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => format!("{status}{}", because(&self.output.tail())),
            Err(error) => error.to_string(),
        }
    }

    /// Asks it to stop, kills it when it takes longer than `grace`, waits until it is gone.
    pub(super) async fn stop(&mut self, grace: Duration) {
        let Some(id) = self.process.id() else { return };
        if let Some(pid) = Pid::from_raw(id.cast_signed())
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            debug!(%error, "the broker cannot be asked to stop");
        }
        if timeout(grace, self.process.wait()).await.is_err() {
            warn!(grace_ms = grace.as_millis(), "the broker does not stop, killing it");
            if let Err(error) = self.process.kill().await {
                warn!(%error, "could not kill the broker");
            }
        }
    }
}

/// Takes the right to work on the store, from a server that is just stopping if need be.
async fn lock_store(home: &Path) -> Result<File, StartError> {
    let path = home.join("store.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(StartError::io(&path))?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if since.elapsed() < STORE_WAIT => sleep(LOOK).await,
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::StoreInUse { path: home.join("store") });
            }
            Err(TryLockError::Error(source)) => return Err(StartError::Io { path, source }),
        }
    }
}

/// Makes the folder, or removes what servers that were killed left in it.
fn empty_dir(dir: &Path) -> io::Result<()> {
    private_file::make_dir(dir)?;
    for entry in std::fs::read_dir(dir)? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Waits until the server has told its ports and answers over one of them; `Err` says what was
/// missing last.
async fn ready(ports_dir: &Path, connection: &Connection) -> Result<Ports, String> {
    let since = Instant::now();
    let ports = loop {
        if let Some(ports) = told(ports_dir) {
            break ports;
        }
        if since.elapsed() > READY_WAIT {
            return Err("it did not listen.".to_owned());
        }
        sleep(LOOK).await;
    };
    loop {
        let problem = match answer(connection).await {
            Ok(()) => return Ok(ports),
            Err(problem) => problem,
        };
        if since.elapsed() > READY_WAIT {
            return Err(problem);
        }
        sleep(LOOK).await;
    }
}

fn told(dir: &Path) -> Option<Ports> {
    std::fs::read_dir(dir)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ports"))
        // It may be read while it is written; then it is no JSON yet.
        .find_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok())
}

async fn answer(connection: &Connection) -> Result<(), String> {
    let client =
        connection.connect("metafleet-start").await.map_err(|error| Chain(&error).to_string())?;
    // JetStream answers when the streams are read.
    let reply = client.request("$JS.API.INFO", "".into()).await;
    let reply = reply.map_err(|error| Chain(&error).to_string())?;
    let reply: serde_json::Value =
        serde_json::from_slice(&reply.payload).map_err(|error| error.to_string())?;
    match reply.get("error") {
        None => Ok(()),
        Some(error) => Err(format!("JetStream: {error}")),
    }
}

/// Where the server writes: its log, and what goes to standard error before there is a log or when
/// it crashes.
#[derive(Debug)]
struct Output {
    log: PathBuf,
    /// Where in the log this server begins.
    from: u64,
    errors: PathBuf,
}

impl Output {
    fn begin(dir: &Path) -> Self {
        let log = dir.join("nats-server.log");
        let from = std::fs::metadata(&log).map_or(0, |meta| meta.len());
        Self { log, from, errors: dir.join("nats-server.err") }
    }

    /// What it said about its end: what went to standard error, else the errors in its log.
    fn tail(&self) -> String {
        let errors = tail(&self.errors, 0);
        if !errors.is_empty() {
            return errors;
        }
        let log = tail(&self.log, self.from);
        let told: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once("[FTL] ").or_else(|| line.split_once("[ERR] ")))
            .map(|(_, text)| text)
            .collect();
        told.join("; ")
    }
}

/// The last of the file, as text on one line.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        // A shorter file is a new one.
        let from = if length < from { 0 } else { from };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
