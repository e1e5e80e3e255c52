//! What the processes of a fleet are kept apart by, as it is on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::FleetOptions;
use crate::bridge::Bridge;
use crate::config::connection::files::{Content, LoginFiles};
use crate::config::data_dir::DataDirError;
use crate::config::{DataDir, Env, Vars as _, private_file};
use crate::nats_server::Access;
use crate::process::confine::{Logins, Servers};
use crate::process::{Confines, Instances};
use crate::sandbox::kept::kept;
use crate::sandbox::{Network, Reads, Support};

/// What processes are kept apart by; `access` is theirs.
#[must_use]
pub(super) fn of(options: &FleetOptions, access: &Access) -> Confines {
    let root = absolute(options.data_dir.root());
    let login_dir = login_dir(&options.data_dir);
    let connection = access.common();
    let login = match access {
        Access::Shared(connection) => Logins::Shared(connection.login_files(&login_dir)),
        Access::Each(_) => Logins::Each,
    };
    Confines {
        isolation: options.isolation,
        reads: Reads { below: options.roots.clone(), anywhere: options.roots.is_empty() },
        kept: kept(&root, &homes(), rustix::process::geteuid().is_root()),
        scratch: root.join("scratch"),
        login,
        login_dir,
        servers: Servers::of_broker(&connection.url),
        bridge: BTreeSet::new(),
    }
}

/// Folders of persons, as far as they can be seen.
fn homes() -> Vec<PathBuf> {
    let others = fs::read_dir("/home").into_iter().flatten().flatten().map(|entry| entry.path());
    let own = Env.non_empty("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let elsewhere = homes_of_persons(&users);
    let root = PathBuf::from("/root");
    let mut all: Vec<PathBuf> = others.chain(own).chain(elsewhere).chain([root]).collect();
    all.sort();
    all.dedup();
    all
}

/// Folders of the persons in a list of users; those of services lie among the system's folders.
fn homes_of_persons(users: &str) -> Vec<PathBuf> {
    let home = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let id: u32 = fields.next()?.parse().ok()?;
        let home = PathBuf::from(fields.nth(2)?);
        let is_folder = home.is_absolute() && home.parent().is_some();
        ((1_000..65_534).contains(&id) && is_folder).then_some(home)
    };
    users.lines().filter_map(home).collect()
}

/// The operating system knows nothing of the folder we are in once it is left.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Where the logins of processes are.
pub(crate) fn login_dir(data_dir: &DataDir) -> PathBuf {
    absolute(data_dir.root()).join("login")
}

/// Writes the login that all plugins share, if they do, where only its owner and their processes read
/// it.
pub(super) fn write_login(confines: &Confines) -> Result<(), DataDirError> {
    match &confines.login {
        Logins::Shared(login) => write_files(&confines.login_dir, login),
        Logins::Each => Ok(()),
    }
}

/// Writes a login into a folder of its own.
pub(super) fn write_files(dir: &Path, login: &LoginFiles) -> Result<(), DataDirError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| DataDirError::Io { path, source }
    };
    private_file::make_dir(dir).map_err(failed(dir))?;
    for (name, content) in &login.files {
        let path = dir.join(name);
        let text = match content {
            Content::Text(secret) => secret.reveal().as_bytes().to_vec(),
            Content::CopyOf(from) => fs::read(from).map_err(failed(from))?,
        };
        private_file::write(&path, &text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Removes the logins of processes.
pub(super) fn remove_login(confines: &Confines) {
    remove_files(&confines.login_dir);
}

/// Removes a folder with logins.
pub(super) fn remove_files(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(path = %dir.display(), %error, "the login of plugins is left");
    }
}

/// Notes where HTTP plugins reach the bridge, which is known only once it listens.
pub(super) fn open_bridge(bridge: &Bridge, confines: &mut Confines, instances: &mut Instances) {
    let servers = Servers::default().with_http(&bridge.urls.api).with_http(&bridge.urls.kv);
    confines.bridge = servers.ports;
    for sandbox in instances.values_mut().filter_map(|wanted| wanted.sandbox.as_mut()) {
        if let (Some(_), Network::Ports { connect, .. }) = (sandbox.listens, &mut sandbox.network) {
            connect.extend(&confines.bridge);
        }
    }
}

/// Says once what keeps processes apart here and what does not.
pub(super) fn tell(confines: &Confines, instances: &Instances) {
    let mut open: Vec<&str> = instances
        .values()
        .filter(|wanted| wanted.sandbox.is_none())
        .map(|wanted| wanted.plugin.as_str())
        .collect();
    open.dedup();
    if !open.is_empty() {
        warn!(plugins = ?open, "these run without isolation, as plugins.yml or --isolation says");
    }
    if instances.values().any(|wanted| wanted.sandbox.is_some()) {
        let missing = Support::look().missing();
        if !missing.is_empty() {
            warn!(?missing, "plugin processes are not fully kept apart; see `metafleet doctor`");
        }
        if confines.reads.anywhere {
            info!("no library was named, so plugin processes read all but what is kept from them");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_of_persons_are_found_wherever_they_are() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbin:x:2:2:bin:/bin:/none\nodd\n\
                     ann:x:1000:1000:Ann,,,:/srv/ann:/bin/sh\nnobody:x:65534:65534::/:/none\n\
                     top:x:1001:1001::/:/bin/sh\n";
        assert_eq!(homes_of_persons(users), [PathBuf::from("/srv/ann")]);
    }
}
