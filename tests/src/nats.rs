//! A private nats-server that dies with the test process, however that ends.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use coordinator::config::Secret;
use coordinator::config::connection::Login;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::eventually;

/// Keeps the server, whose process id it says, as long as its own standard input is open, and kills
/// it then: the kernel closes it when the test process goes, also when that is killed.
const KEEPER: &str = r#""$@" >/dev/null & echo $!; read -r _; kill -9 $!; wait $!"#;

/// A nats-server on a free port with its store in a folder of its own.
#[derive(Debug)]
pub struct Server {
    keeper: Mutex<Option<Keeper>>,
    home: TempDir,
    port: u16,
    arguments: Vec<OsString>,
    login: Login,
}

/// The configuration of a server, in its folder.
const CONFIG: &str = "server.conf";

/// A running server and who keeps it.
#[derive(Debug)]
struct Keeper {
    shell: Child,
    server: Pid,
}

impl Server {
    /// A server with JetStream.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(Login::Anonymous, |home| {
            Ok(vec!["--jetstream".into(), "--store_dir".into(), home.join("store").into()])
        })
        .await
    }

    /// A server with a configuration, which `write` makes for the folder of its store; `login` is the
    /// user and the password of those who may do everything.
    pub async fn configured(
        login: (&str, &str),
        write: impl FnOnce(&Path) -> String,
    ) -> anyhow::Result<Self> {
        let (name, password) = (login.0.to_owned(), Secret::new(login.1));
        Self::letting_in(Login::User { name, password }, write).await
    }

    /// The same, where `login` is another kind of login.
    pub async fn letting_in(
        login: Login,
        write: impl FnOnce(&Path) -> String,
    ) -> anyhow::Result<Self> {
        Self::with(login, |home| {
            let file = home.join(CONFIG);
            std::fs::write(&file, write(&home.join("store")))?;
            Ok(vec!["--config".into(), file.into(), "--http_port".into(), "-1".into()])
        })
        .await
    }

    /// A server with a configuration of its own, in which `port` is where clients connect; `home`
    /// is its folder.
    pub async fn at(home: TempDir, port: u16, config: &str) -> anyhow::Result<Self> {
        let file = home.path().join(CONFIG);
        std::fs::write(&file, config)?;
        let arguments = vec!["--config".into(), file.into()];
        let keeper = Mutex::new(Some(launch(home.path(), Some(port), &arguments)?));
        let server = Self { keeper, home, port, arguments, login: Login::Anonymous };
        server.listening().await.with_context(|| server.last_words())?;
        Ok(server)
    }

    /// Has a server with a configuration take another one while it runs. What accounts take from each
    /// other works after it was read twice.
    pub async fn reconfigure(&self, write: impl FnOnce(&Path) -> String) -> anyhow::Result<()> {
        let home = self.home.path();
        std::fs::write(home.join(CONFIG), write(&home.join("store")))?;
        for _ in 0..2 {
            let before = self.config_load_time().await?;
            let server = self.keeper().as_ref().context("it does not run")?.server;
            kill_process(server, Signal::HUP)?;
            eventually("the configuration to be read", async || {
                Ok((self.config_load_time().await? != before).then_some(()))
            })
            .await
            .with_context(|| self.last_words())?;
        }
        Ok(())
    }

    async fn config_load_time(&self) -> anyhow::Result<String> {
        let ports = self.ports_on_file()?.context("its ports")?;
        let monitoring = ports["monitoring"][0].as_str().context("where it tells of itself")?;
        let mut stream = TcpStream::connect(monitoring.trim_start_matches("http://")).await?;
        stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("a body")?;
        let varz: serde_json::Value = serde_json::from_str(body)?;
        Ok(varz["config_load_time"].as_str().context("the time")?.to_owned())
    }

    /// A server that somebody else runs for as long as this one is used; it is not ended with it.
    pub fn run_by_another(port: u16, login: Login) -> anyhow::Result<Self> {
        let (keeper, arguments) = (Mutex::new(None), Vec::new());
        Ok(Self { keeper, home: TempDir::new()?, port, arguments, login })
    }

    /// A server that only passes messages on.
    pub async fn without_jetstream() -> anyhow::Result<Self> {
        Self::with(Login::Anonymous, |_| Ok(Vec::new())).await
    }

    /// A server whose streams are in a folder of somebody else; `sync` says how soon they are on disk
    /// (`sync_interval`).
    pub async fn with_store(store: &Path, sync: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: {store:?}, sync_interval: {sync:?} }}\n"
        );
        Self::at(TempDir::new()?, port, &config).await
    }

    async fn with(
        login: Login,
        arguments: impl FnOnce(&Path) -> anyhow::Result<Vec<OsString>>,
    ) -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let arguments = arguments(home.path())?;
        let keeper = Mutex::new(Some(launch(home.path(), None, &arguments)?));
        let mut server = Self { keeper, home, port: 0, arguments, login };
        let port = eventually("nats-server to say its port", async || server.port_on_file()).await;
        server.port = port.with_context(|| server.last_words())?;
        server.listening().await?;
        Ok(server)
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// How those log in who may do everything.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// The same as a socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The id of its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let server = self.keeper().as_ref()?.server;
        u32::try_from(server.as_raw_nonzero().get()).ok()
    }

    /// Stops the server with SIGSTOP: what is sent to it is taken by the kernel and goes no further.
    pub fn hang(&self) -> anyhow::Result<()> {
        let server = self.keeper().as_ref().context("it does not run")?.server;
        Ok(kill_process(server, Signal::STOP)?)
    }

    /// Stops the server with SIGTERM and waits until it has ended in good order.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let server = self.keeper().as_ref().context("it does not run")?.server;
        kill_process(server, Signal::TERM)?;
        // Its keeper collects it only when told to; until then it is a zombie.
        let state = format!("/proc/{}/stat", server.as_raw_nonzero());
        eventually("nats-server to end", async || {
            let text = std::fs::read_to_string(&state).unwrap_or_default();
            Ok((text.is_empty() || text.contains(") Z ")).then_some(()))
        })
        .await?;
        self.kill()
    }

    /// Kills the server with SIGKILL and waits until it is gone.
    pub fn kill(&self) -> anyhow::Result<()> {
        let Some(Keeper { mut shell, .. }) = self.keeper().take() else { return Ok(()) };
        drop(shell.stdin.take());
        shell.wait()?;
        Ok(())
    }

    /// Starts it again on the same port and store.
    pub async fn restart(&self) -> anyhow::Result<()> {
        *self.keeper() = Some(launch(self.home.path(), Some(self.port), &self.arguments)?);
        self.listening().await.with_context(|| self.last_words())
    }

    async fn listening(&self) -> anyhow::Result<()> {
        eventually("nats-server to listen", async || {
            Ok(TcpStream::connect(self.address()).await.ok().map(drop))
        })
        .await
    }

    fn port_on_file(&self) -> anyhow::Result<Option<u16>> {
        let Some(ports) = self.ports_on_file()? else { return Ok(None) };
        let url = ports["nats"][0].as_str().context("an address")?;
        Ok(Some(url.rsplit(':').next().context("a port")?.parse()?))
    }

    fn ports_on_file(&self) -> anyhow::Result<Option<serde_json::Value>> {
        for entry in std::fs::read_dir(self.home.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ports") {
                return Ok(Some(serde_json::from_slice(&std::fs::read(&path)?)?));
            }
        }
        Ok(None)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        format!("nats-server said: {}", lines.into_iter().rev().collect::<Vec<_>>().join(" / "))
    }

    fn keeper(&self) -> MutexGuard<'_, Option<Keeper>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The folder must not go before the process that writes into it.
        drop(self.kill());
    }
}

fn launch(home: &Path, port: Option<u16>, arguments: &[OsString]) -> anyhow::Result<Keeper> {
    let binary = binary()?;
    let log = std::fs::File::options().create(true).append(true).open(home.join("log"))?;
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "sh"]).arg(&binary);
    command.args(["--addr", "127.0.0.1", "--port", &port, "--ports_file_dir"]).arg(home);
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    let mut shell = command.spawn().with_context(|| format!("start {}", binary.display()))?;
    let mut line = String::new();
    BufReader::new(shell.stdout.take().context("its output")?).read_line(&mut line)?;
    let server = line.trim().parse().ok().and_then(Pid::from_raw).context("a process id")?;
    Ok(Keeper { shell, server })
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The server named by `NATS_SERVER_BIN`, else one on the path, else the one that `make tools`
/// fetched.
fn binary() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("NATS_SERVER_BIN") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).collect();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools");
    if let Ok(entries) = std::fs::read_dir(tools) {
        places.extend(entries.filter_map(|entry| Some(entry.ok()?.path().join("nats-server"))));
    }
    match places.into_iter().find(|place| place.is_file()) {
        Some(found) => Ok(found),
        None => bail!("no nats-server: run `make tools`, or set NATS_SERVER_BIN"),
    }
}
