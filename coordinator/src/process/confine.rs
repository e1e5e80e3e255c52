//! PURE: what of a machine the processes of a plugin are opened, and why a plugin must not be started.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use broker_config::{InstanceId, PluginId};

use crate::config::connection::files::LoginFiles;
use crate::config::plugins::{Isolation, Mount, Protocol, Resources};
use crate::config::{Login, PluginEntry, Secret};
use crate::permission::{Asked, Permission, effective};
use crate::sandbox::{Network, Reads, Sandbox};

/// What all processes of a fleet are kept apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confines {
    /// Whether they are, where `plugins.yml` does not say.
    pub isolation: Isolation,
    /// What they read.
    pub reads: Reads,
    /// What nobody reads.
    pub kept: Vec<PathBuf>,
    /// Where each has a folder for temporary files.
    pub scratch: PathBuf,
    /// Their login, as files.
    pub login: Logins,
    /// Where these files are.
    pub login_dir: PathBuf,
    /// Where plugins that pull their tasks connect to.
    pub servers: Servers,
    /// Ports that HTTP plugins connect to.
    pub bridge: BTreeSet<u16>,
}

/// The login of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logins {
    /// All have this one.
    Shared(LoginFiles),
    /// Each plugin has its own: a user that is called as it is, and a password in a folder that only
    /// its processes read.
    Each,
}

impl Confines {
    /// Variables with the login of a plugin's processes.
    #[must_use]
    pub fn login_of(&self, plugin: &PluginId) -> BTreeMap<String, String> {
        match &self.login {
            Logins::Shared(login) => login.variables.clone(),
            Logins::Each => {
                let name = plugin.to_string();
                let login = Login::User { name, password: Secret::new("") };
                login.files(&self.login_dir_of(plugin)).variables
            }
        }
    }

    /// Where the files of a plugin's login are.
    #[must_use]
    pub fn login_dir_of(&self, plugin: &PluginId) -> PathBuf {
        match self.login {
            Logins::Shared(_) => self.login_dir.clone(),
            Logins::Each => self.login_dir.join(plugin.as_str()),
        }
    }

    /// Whether there are such files.
    fn has_files(&self) -> bool {
        match &self.login {
            Logins::Shared(login) => !login.files.is_empty(),
            Logins::Each => true,
        }
    }

    /// What processes read of people's files; empty = everywhere.
    #[must_use]
    pub fn roots(&self) -> Vec<PathBuf> {
        if self.isolation == Isolation::Off || self.reads.anywhere {
            return Vec::new();
        }
        self.reads.below.clone()
    }
}

/// Where processes connect to, from addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// Their ports.
    pub ports: BTreeSet<u16>,
    /// Whether one of them is at a name that has to be looked up.
    pub by_name: bool,
}

impl Servers {
    /// Those of a broker, with commas between.
    #[must_use]
    pub fn of_broker(url: &str) -> Self {
        url.split(',').fold(Self::default(), |servers, part| servers.with(part.trim(), 4222))
    }

    /// With the one at an address of HTTP.
    #[must_use]
    pub fn with_http(self, url: &str) -> Self {
        let usual = if url.starts_with("https:") { 443 } else { 80 };
        self.with(url, usual)
    }

    fn with(mut self, url: &str, usual: u16) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.rsplit_once(':') {
            // Else the colon is one of an address of IPv6.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().unwrap_or(usual))
            }
            _ => (authority, usual),
        };
        if !host.is_empty() {
            self.add(host.trim_start_matches('[').trim_end_matches(']'), port);
        }
        self
    }

    fn add(&mut self, host: &str, port: u16) {
        self.ports.insert(port);
        self.by_name |= host != "localhost" && host.parse::<IpAddr>().is_err();
    }
}

/// A plugin's processes, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Confined {
    allowed: BTreeSet<Permission>,
    isolation: Option<Isolation>,
    mounts: (Vec<PathBuf>, Vec<PathBuf>),
    protocol: Protocol,
    has_command: bool,
}

/// What a plugin may do by its manifest and `plugins.yml`.
///
/// # Errors
///
/// Why it must not be started.
pub(super) fn confined(
    entry: &PluginEntry,
    declared: Option<&[String]>,
) -> Result<Confined, String> {
    let (writable, readable): (Vec<_>, Vec<_>) =
        entry.mounts.iter().cloned().partition(|mount| mount.writable);
    let asked =
        Asked { declared, granted: &entry.permissions, has_writable_mount: !writable.is_empty() };
    let paths =
        |mounts: Vec<Mount>| mounts.into_iter().map(|mount| mount.source).collect::<Vec<_>>();
    Ok(Confined {
        allowed: effective(&asked)?,
        isolation: entry.isolation,
        mounts: (paths(readable), paths(writable)),
        protocol: entry.protocol,
        has_command: entry.command.is_some(),
    })
}

impl Confined {
    /// What it may use.
    pub(super) fn memory(&self, resources: Resources) -> Option<NonZeroU64> {
        resources.memory.filter(|_| !self.allowed.contains(&Permission::MemoryUnlimited))
    }

    /// Whether its processes are kept apart in these confines.
    pub(super) fn is_on(&self, confines: &Confines) -> bool {
        self.isolation.unwrap_or(confines.isolation) == Isolation::On
    }

    /// The sandbox of one instance, which listens on `port` when it is an HTTP plugin; `None` =
    /// it is not kept apart.
    pub(super) fn sandbox(
        &self,
        confines: &Confines,
        (plugin, name): (&PluginId, &InstanceId),
        dir: Option<&PathBuf>,
        port: Option<u16>,
    ) -> Option<Sandbox> {
        if !self.is_on(confines) {
            return None;
        }
        let (readable, writable) = self.mounts.clone();
        let login = (self.protocol == Protocol::Nats && confines.has_files())
            .then(|| confines.login_dir_of(plugin));
        let mut reads = confines.reads.clone();
        reads.below.extend(readable.into_iter().chain(login));
        let ports = match self.protocol {
            Protocol::Nats => (confines.servers.ports.clone(), confines.servers.by_name),
            Protocol::Http => (confines.bridge.clone(), false),
        };
        Some(Sandbox {
            reads,
            kept: confines.kept.clone(),
            own: dir.into_iter().cloned().collect(),
            writes: writable,
            scratch: confines.scratch.join(name.as_str()),
            network: if self.allowed.contains(&Permission::NetworkHttp) {
                Network::Open
            } else {
                Network::Ports { connect: ports.0, by_name: ports.1 }
            },
            listens: port,
            allowed: self.allowed.clone(),
            trusts_arguments: self.has_command,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::PluginsFile;
    use crate::config::vars::vars;

    /// Confines with nothing in them.
    pub(crate) fn confines() -> Confines {
        Confines {
            isolation: Isolation::On,
            reads: Reads { below: vec!["/films".into()], anywhere: false },
            kept: vec!["/data".into()],
            scratch: "/data/scratch".into(),
            login: Logins::Shared(LoginFiles::default()),
            login_dir: "/data/login".into(),
            servers: Servers::of_broker("nats://127.0.0.1:4000"),
            bridge: [8180, 9000].into(),
        }
    }

    fn sandbox(entry: &str, declared: Option<&[&str]>) -> Result<Option<Sandbox>, String> {
        let text = format!("plugins: {{p: {entry}}}");
        let file = PluginsFile::parse(Path::new("/p.yml"), &text, &vars(&[])).unwrap();
        let entry = &file.entries[&"p".parse().unwrap()];
        let declared: Option<Vec<String>> =
            declared.map(|list| list.iter().map(|text| (*text).to_owned()).collect());
        let confined = confined(entry, declared.as_deref())?;
        let dir = PathBuf::from("/plugins/p");
        let name = "plugin-p-1".parse().unwrap();
        let port = (entry.protocol == Protocol::Http).then_some(8080);
        Ok(confined.sandbox(&confines(), (&"p".parse().unwrap(), &name), Some(&dir), port))
    }

    #[test]
    fn each_permission_opens_what_it_names_and_nothing_else() {
        let base = Sandbox {
            reads: Reads { below: vec!["/films".into()], anywhere: false },
            kept: vec!["/data".into()],
            own: vec!["/plugins/p".into()],
            scratch: "/data/scratch/plugin-p-1".into(),
            network: Network::Ports { connect: [4000].into(), by_name: false },
            ..Sandbox::default()
        };
        assert_eq!(sandbox("{}", None), Ok(Some(base.clone())));
        for (permission, expected) in [
            ("network.http", Sandbox { network: Network::Open, ..base.clone() }),
            ("filesystem.write", base.clone()),
            ("gpu.access", base.clone()),
            ("memory.unlimited", base.clone()),
            ("system.exec", base.clone()),
            ("root", base.clone()),
        ] {
            let allowed = [permission.parse().unwrap()].into();
            let expected = Sandbox { allowed, ..expected };
            let granted = format!("{{permissions: [{permission}]}}");
            assert_eq!(sandbox(&granted, Some(&[permission])), Ok(Some(expected)));
            assert_eq!(sandbox(&granted, Some(&[])), Ok(Some(base.clone())), "{permission}");
            let refused = sandbox("{}", Some(&[permission])).unwrap_err();
            assert!(refused.contains(&format!("it wants `{permission}`")), "{refused}");
        }
        let mounts = "mounts: ['/out:/out:rw', '/models:/models']";
        let written = sandbox(&format!("{{permissions: [filesystem.write], {mounts}}}"), None);
        let written = written.unwrap().unwrap();
        assert_eq!(written.writes, [PathBuf::from("/out")]);
        assert_eq!(written.reads.below, ["/films", "/models"].map(PathBuf::from));
        assert!(sandbox(&format!("{{{mounts}}}"), None).unwrap_err().contains("filesystem.write"));
        assert_eq!(sandbox("{isolation: off}", None), Ok(None));
        assert!(
            sandbox("{isolation: off}", Some(&["root"])).is_err(),
            "the rule holds all the same"
        );
    }

    #[test]
    fn an_http_plugin_listens_on_its_port_and_reaches_the_bridge() {
        let found = sandbox("{protocol: http, command: [x]}", None).unwrap().unwrap();
        assert_eq!(found.listens, Some(8080));
        let connect = [8180, 9000].into();
        assert_eq!(found.network, Network::Ports { connect, by_name: false });
    }

    #[test]
    fn ports_are_read_from_addresses() {
        for (url, ports, by_name) in [
            ("nats://127.0.0.1:4000", &[4000][..], false),
            ("nats://localhost", &[4222][..], false),
            ("nats://10.0.0.1:1,tls://nas.lan:2", &[1, 2][..], true),
            ("nats://[::1]:5", &[5][..], false),
            ("nats://u:p@10.0.0.1", &[4222][..], false),
            ("10.0.0.1:7", &[7][..], false),
        ] {
            let servers = Servers::of_broker(url);
            let expected = Servers { ports: ports.iter().copied().collect(), by_name };
            assert_eq!(servers, expected, "{url}");
        }
        for (url, port, by_name) in [
            ("http://127.0.0.1:4318", 4318, false),
            ("https://otlp.example/v1", 443, true),
            ("http://user:word@otlp:99/x", 99, true),
            ("http://[::1]:7/x", 7, false),
            ("http://[::1]", 80, false),
        ] {
            let servers = Servers::default().with_http(url);
            assert_eq!(servers, Servers { ports: [port].into(), by_name }, "{url}");
        }
    }
}
