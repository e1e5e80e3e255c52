//! Looks up the facts; each look has a time limit or reads a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use broker_config::Chain;
use rustix::process::{Resource, getrlimit};
use tokio::process::Command;
use tokio::time::timeout;

use super::ask::{Asked, ask};
use super::{Data, Facts, Plugins};
use crate::config::plugins::Isolation;
use crate::config::{DataDir, PluginsFile, Runtime, Vars, private_file};
use crate::docker::engine::{self, About, Engine};
use crate::nats_server::binary::Binary;
use crate::sandbox::Support;

/// How long a program or an engine may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Places {
    /// The data folder.
    pub data_dir: DataDir,
    /// `plugins.yml`, if there is to be one.
    pub plugins_file: Option<PathBuf>,
    /// Whether processes are kept apart, where the file does not say.
    pub isolation: Isolation,
    /// Whether a broker that exists was named.
    pub has_broker: bool,
    /// The broker to be asked, if there is any.
    pub broker: Option<Asked>,
}

/// Looks at this machine.
pub async fn look(places: &Places, vars: &dyn Vars) -> Facts {
    let engine_address = engine::address(vars);
    let broker = async {
        match &places.broker {
            Some(asked) => Some(ask(asked).await),
            None => None,
        }
    };
    let (broker, engine, nats_server, ffprobe) = tokio::join!(
        broker,
        about(&engine_address),
        Binary::find(vars, &places.data_dir),
        first_line("ffprobe", "-version"),
    );
    Facts {
        kernel: read("/proc/sys/kernel/osrelease"),
        is_root: rustix::process::geteuid().is_root(),
        sandbox: Support::look(),
        user_namespaces: user_namespaces(),
        cgroups: cgroups(&read("/proc/mounts")),
        engine,
        engine_address,
        nats_server: nats_server
            .map(|found| (found.path, found.version.to_string()))
            .map_err(|error| Chain(&error).to_string()),
        has_broker: places.has_broker,
        broker,
        ffprobe,
        data: data(places.data_dir.root()),
        open_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        year: jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year(),
        clock_follows: clock_follows(),
        plugins: plugins(places, vars),
    }
}

async fn about(address: &str) -> Result<About, String> {
    let ask = async { Engine::connect(address).await?.about().await };
    match timeout(PATIENCE, ask).await {
        Ok(Ok(about)) => Ok(about),
        Ok(Err(error)) => Err(Chain(&error).to_string()),
        Err(_) => Err(format!("nothing within {} s", PATIENCE.as_secs())),
    }
}

async fn first_line(program: &str, argument: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.map_err(io::Error::from);
    match output.and_then(|output| output) {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(said.lines().next().unwrap_or_default().to_owned())
        }
        Err(error) => Err(format!("{program} does not run: {error}")),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn user_namespaces() -> bool {
    let most = read("/proc/sys/user/max_user_namespaces").parse::<u64>().unwrap_or_default();
    // Only some systems have this one.
    most > 0 && read("/proc/sys/kernel/unprivileged_userns_clone") != "0"
}

/// The version of control groups by the list of what is mounted.
fn cgroups(mounts: &str) -> u8 {
    let has = |at: &str, kind: &str| {
        mounts.lines().any(|line| {
            let mut words = line.split(' ').skip(1);
            words.next() == Some(at) && words.next() == Some(kind)
        })
    };
    if has("/sys/fs/cgroup", "cgroup2") {
        2
    } else if mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup")) {
        1
    } else {
        0
    }
}

fn data(path: &Path) -> Data {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let try_out = || -> io::Result<()> {
        private_file::make_dir(&path)?;
        let file = path.join(format!(".doctor.{}", std::process::id()));
        private_file::write(&file, b"is it writable?")?;
        fs::remove_file(&file)
    };
    let problem = try_out().err().map(|error| error.to_string());
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
    let free =
        rustix::fs::statvfs(there).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let file_system = file_system(there, &read("/proc/self/mountinfo"));
    Data { path, problem, file_system, free }
}

/// The file system under a path, by the kernel's list of mounts: the deepest, of the same the last.
fn file_system(path: &Path, mounts: &str) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let (place, rest) = line.split_once(" - ")?;
        let at = place.split(' ').nth(4)?.replace("\\040", " ");
        Some((PathBuf::from(at), rest.split(' ').next()?.to_owned()))
    });
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let under = mounts.filter(|(at, _)| real.starts_with(at));
    let deepest = under.max_by_key(|(at, _)| at.components().count());
    let kind = deepest.map_or_else(|| "an unknown file system".to_owned(), |(_, kind)| kind);
    // `nfs4`, `fuse.sshfs` and their like.
    let family = ["nfs", "fuse", "cifs"].into_iter().find(|family| kind.starts_with(family));
    family.map_or(kind, str::to_owned)
}

fn clock_follows() -> Option<bool> {
    if Path::new("/run/systemd/timesync").exists() {
        return Some(Path::new("/run/systemd/timesync/synchronized").exists());
    }
    let others = ["/run/chrony", "/run/chronyd.pid", "/run/ntpd.pid", "/run/openntpd.pid"];
    others.iter().any(|path| Path::new(path).exists()).then_some(true)
}

fn plugins(places: &Places, vars: &dyn Vars) -> Result<Plugins, String> {
    let file = match &places.plugins_file {
        Some(path) => PluginsFile::read(path, vars).map_err(|error| Chain(&error).to_string())?,
        None => PluginsFile::default(),
    };
    let mut plugins = Plugins {
        problems: file.problems.iter().map(ToString::to_string).collect(),
        ..Plugins::default()
    };
    for (id, entry) in file.entries.iter().filter(|(_, entry)| entry.enabled) {
        let isolation = entry.isolation.unwrap_or(places.isolation);
        match (entry.runtime, isolation) {
            (Runtime::Docker, _) => plugins.in_containers.push(id.to_string()),
            (Runtime::Process, Isolation::Off) => plugins.without_isolation.push(id.to_string()),
            (Runtime::Process, Isolation::On) | (Runtime::Remote | Runtime::Internal, _) => {}
        }
    }
    if places.isolation == Isolation::Off {
        plugins.without_isolation.push("all that plugins.yml does not name".to_owned());
    }
    Ok(plugins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_and_file_systems_are_read_from_the_lists_of_mounts() {
        for (mounts, expected) in [
            ("", 0),
            ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", 2),
            ("tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0", 1),
        ] {
            assert_eq!(cgroups(mounts), expected, "{mounts}");
        }
        let mounts = "1 0 8:1 / / rw - ext4 /dev/vda rw\n\
                      2 1 0:5 / /none rw shared:1 - nfs4 nas:/ rw\n\
                      3 1 0:6 / /none/a\\040b rw - fuse.sshfs x rw";
        for (path, expected) in [("/none/x", "nfs"), ("/none/a b/x", "fuse"), ("/other", "ext4")] {
            assert_eq!(file_system(Path::new(path), mounts), expected, "{path}");
        }
        assert_eq!(file_system(Path::new("/x"), ""), "an unknown file system");
    }
}
