//! Another host, as far as a worker can tell: a network namespace with one cable to this machine, in
//! which the library is not mounted.
//!
//! Needs root and `ip`. Names begin with the process that made them, and whatever one that is gone has
//! left is removed by the next.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::cli::{Home, staged};

const PREFIX: &str = "mffar";

/// The other host; it goes when this is dropped.
#[derive(Debug)]
pub struct Far {
    name: String,
    /// This machine, seen from there.
    pub here: Ipv4Addr,
}

/// What a worker there sees of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Nothing.
    Nothing,
    /// All of it, in another folder.
    Elsewhere,
}

/// How a worker is started there.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The plugin, of the installation.
    pub plugin: &'a str,
    /// Where the broker is.
    pub broker: SocketAddr,
    /// What it sees of the library.
    pub sees: Sees,
    /// More of its environment.
    pub vars: &'a [(&'a str, &'a str)],
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let done = std::process::Command::new("ip").args(arguments).output();
    let done = done.context("`ip` cannot be run: install iproute2")?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "ip {arguments:?}: {said} (this needs root)");
    Ok(())
}

/// Removes what processes have left that are gone.
fn tidy_up() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            ip(&["netns", "del", &name]).ok();
        }
    }
}

impl Far {
    /// Makes it.
    pub fn new() -> anyhow::Result<Self> {
        tidy_up();
        let number = fastrand::u16(..) >> 2;
        let name = format!("{PREFIX}{}-{number:04x}", std::process::id());
        // Addresses for trials of networks, four of them for each.
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (u32::from(number) << 2);
        let (here, there) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        let (near, distant) = (format!("mfn{number:04x}"), format!("mfd{number:04x}"));
        ip(&["netns", "add", &name])?;
        // From here on it is removed whatever happens; the cable goes with it.
        let far = Self { name: name.clone(), here };
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &distant, "netns", &name])?;
        ip(&["addr", "add", &format!("{here}/30"), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{there}/30"), "dev", &distant])?;
        ip(&["-n", &name, "link", "set", &distant, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(far)
    }

    /// Starts a worker there.
    pub fn start(&self, home: &Home, start: &Start<'_>) -> anyhow::Result<Child> {
        let library = home.library();
        let library = library.to_str().context("text")?;
        let elsewhere = home.root().join("elsewhere");
        std::fs::create_dir_all(&elsewhere)?;
        let elsewhere = elsewhere.to_str().context("text")?;
        // `ip netns exec` has made a mount namespace already, from which nothing comes back.
        let mounted = match start.sees {
            Sees::Nothing => "",
            Sees::Elsewhere => r#"mount --bind "$1" "$2" && "#,
        };
        let script = format!(r#"{mounted}mount -t tmpfs -o size=64k none "$1" && exec "$3""#);
        let log = home.root().join(format!("far-{}.log", start.plugin));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-c", &script, "sh", library, elsewhere]);
        command.arg(program(start.plugin)?);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("NATS_URL", format!("nats://{}", start.broker)).env("NATS_USER", start.plugin);
        command.env("NATS_PASSWORD", password(home, start.plugin)?);
        command.env("METAFLEET_INSTANCE", format!("far-{}", start.plugin));
        if start.sees == Sees::Elsewhere {
            command.env("METAFLEET_PATHS", format!("{library}={elsewhere}"));
        }
        command.envs(start.vars.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        Ok(command.stderr(log).kill_on_drop(true).spawn()?)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let Self { name, .. } = self;
        // Whoever still runs there would keep it alive.
        if let Ok(done) = std::process::Command::new("ip").args(["netns", "pids", name]).output() {
            for pid in String::from_utf8_lossy(&done.stdout).split_whitespace() {
                std::process::Command::new("kill").args(["-9", pid]).status().ok();
            }
        }
        ip(&["netns", "del", name]).ok();
    }
}

/// The program of a plugin of the installation.
fn program(plugin: &str) -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir(staged(&format!("plugins/{plugin}"))?)?;
    let folder = versions.flatten().next().context("a version")?.path();
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    Ok(folder.join(manifest["entryPoint"]["main"].as_str().context("a program")?))
}

/// What a plugin logs in with at the fleet of `home`.
pub fn password(home: &Home, plugin: &str) -> anyhow::Result<String> {
    let users: Value =
        serde_json::from_slice(&std::fs::read(home.data().join("nats/users.json"))?)?;
    Ok(users["plugins"][plugin].as_str().context("the login of the plugin")?.to_owned())
}

/// A door to a server of this machine at an address that the other host reaches.
#[derive(Debug)]
pub struct Door {
    /// Where it is.
    pub address: SocketAddr,
    _open: JoinSet<()>,
}

impl Door {
    /// Opens it; `to` is asked anew for each connection, because a server may come back elsewhere.
    pub async fn open(
        here: Ipv4Addr,
        to: impl Fn() -> Option<SocketAddr> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((here, 0)).await?;
        let address = listener.local_addr()?;
        let mut open = JoinSet::new();
        open.spawn(async move {
            let mut through = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                while through.try_join_next().is_some() {}
                let Some(to) = to() else { continue };
                through.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        copy_bidirectional(&mut near, &mut far).await.ok();
                    }
                });
            }
        });
        Ok(Self { address, _open: open })
    }
}
