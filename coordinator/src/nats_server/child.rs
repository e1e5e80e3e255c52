//! One process of the server: started, ready, ended, stopped.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use broker_config::{Chain, Names};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::ServerState;
use super::StartError;
use super::binary::Binary;
use super::disk::{self, Care, Room};
use super::error::because;
use super::logins::Tenants;
use super::output::Output;
use super::render::{Listen, Sync, render_config};
use super::users::Users;
use super::{store, varz};
use crate::config::connection::{Connection, Origin, Tls};
use crate::config::private_file;
use crate::exec::{Guard, Limits};

/// How long a server before us may take to let go of the store.
const STORE_WAIT: Duration = Duration::from_secs(30);
/// How long the server may take to read its store and answer; large stores take their time.
const READY_WAIT: Duration = Duration::from_secs(300);
/// How long it may take to read its configuration anew.
const RELOAD_WAIT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Everything that stays the same over restarts.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) home: PathBuf,
    pub(super) log: PathBuf,
    pub(super) names: Names,
    pub(super) users: Users,
    pub(super) tenants: Tenants,
    pub(super) binary: Binary,
    pub(super) guard: Guard,
    pub(super) sync: Sync,
}

impl Plan {
    fn config_file(&self) -> PathBuf {
        self.home.join("nats-server.conf")
    }

    pub(super) fn users_file(&self) -> PathBuf {
        self.home.join("users.json")
    }

    fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    fn ports_dir(&self) -> PathBuf {
        self.home.join("run")
    }

    fn write_config(&self, port: u16, limit: u64) -> io::Result<()> {
        let listen = Listen {
            port,
            store: &self.store(),
            ports_dir: &self.ports_dir(),
            log: &self.log.join("nats-server.log"),
            limit,
            sync: self.sync,
        };
        let text = render_config(&listen, &self.users, &self.names, &self.tenants);
        private_file::write(&self.config_file(), text.as_bytes())
    }
}

/// A server that answered.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    pub(super) pid: u32,
    port: u16,
    monitoring: Option<String>,
    /// Bytes that the store may have.
    limit: u64,
    /// What a person should know.
    trouble: Option<String>,
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
        let ports_dir = plan.ports_dir();
        empty_dir(&ports_dir).map_err(StartError::io(&ports_dir))?;
        let store = plan.store();
        if matches!(plan.tenants, Tenants::Each { .. }) {
            store::give_to_fleet(&store)?;
        }
        let limit = Room::look(&store).map_err(StartError::io(&store))?.limit();
        let config = plan.config_file();
        plan.write_config(port, limit).map_err(StartError::io(&config))?;
        let output = Output::begin(&plan.log);
        let errors = File::create(output.errors()).map_err(StartError::io(output.errors()))?;
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
                    Ok(Self { process, pid, port, monitoring, limit, trouble: None, output })
                }
                Err(problem) => {
                    Err(StartError::Silent { said: format!("{problem} {}", output.tail()) })
                }
            }
        }
    }

    pub(super) fn state(&self) -> ServerState {
        let (monitoring, trouble) = (self.monitoring.clone(), self.trouble.clone());
        ServerState::Ready { pid: self.pid, monitoring, trouble }
    }

    /// Looks after the room for the store; `Err` = only a restart helps, and why.
    pub(super) async fn look_after(&mut self, plan: &Plan) -> Result<(), String> {
        let problem = match &self.monitoring {
            Some(monitoring) => disk::problem(monitoring).await,
            None => None,
        };
        let store = plan.store();
        let look = tokio::task::spawn_blocking(move || Room::look(&store));
        let room = match look.await {
            Ok(Ok(room)) => room,
            Ok(Err(error)) => {
                debug!(%error, "could not look at the disk");
                return Ok(());
            }
            Err(error) => {
                debug!(%error, "could not look at the disk");
                return Ok(());
            }
        };
        match disk::care(self.limit, room, problem) {
            Care::Fine(trouble) => {
                if let Some(text) = trouble.as_ref().filter(|_| self.trouble.is_none()) {
                    warn!(problem = text, "the broker cannot write as it should");
                }
                self.trouble = trouble;
                Ok(())
            }
            Care::Raise(limit) => {
                self.raise(plan, limit).await;
                Ok(())
            }
            Care::Restart(problem) => Err(problem),
        }
    }

    /// Lets the store have more.
    pub(super) async fn raise(&mut self, plan: &Plan, limit: u64) {
        info!(size_bytes = limit, "there is more room for the broker");
        if let Err(error) = plan.write_config(self.port, limit) {
            warn!(%error, "could not write the configuration of the broker");
            return;
        }
        // The next change must not take this one for its own.
        if let Err(problem) = self.read_config().await {
            warn!(problem, "the broker does not say that it has more room");
        }
        self.limit = limit;
        self.trouble = None;
    }

    /// Has the server let exactly the tenants of the plan in; `Err` = only a restart helps, and why.
    ///
    /// It reads its configuration twice: what one account takes from another works after the second
    /// time.
    pub(super) async fn let_in(&mut self, plan: &Plan) -> Result<(), String> {
        let written = plan.write_config(self.port, self.limit);
        written.map_err(|error| format!("its configuration cannot be written: {error}"))?;
        for _ in 0..2 {
            self.read_config().await?;
        }
        Ok(())
    }

    /// Has the server read its configuration, and waits until it has.
    async fn read_config(&self) -> Result<(), String> {
        let monitoring = self.monitoring.as_deref().ok_or("it does not tell about itself")?;
        let read = async {
            let before = varz::config_load_time(monitoring).await?;
            self.signal(Signal::HUP);
            while varz::config_load_time(monitoring).await? == before {
                sleep(LOOK).await;
            }
            Ok(())
        };
        let read: Result<io::Result<()>, _> = timeout(RELOAD_WAIT, read).await;
        match read {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("it does not tell whether it read it: {error}")),
            Err(_) => {
                Err(format!("it does not read its configuration{}", because(&self.output.tail())))
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            debug!(%error, "the broker cannot be signalled");
        }
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
        self.signal(Signal::TERM);
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
