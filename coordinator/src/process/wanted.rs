//! PURE: `plugins.yml` + what is on disk → the processes that should run.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::{InstanceId, Lane, PluginId, Prefix};

use super::Instances;
use super::confine::{Confined, Confines, Logins, confined};
use super::discover::{Discovered, Found};
use super::naming::instance_name;
use crate::config::plugins::Protocol;
use crate::config::{BaseUrl, Connection, PluginEntry, PluginsFile, Runtime, Vars};
use crate::exec::Limits;
use crate::sandbox::Sandbox;

/// What of our own environment plugins see.
const INHERITED: [&str; 7] =
    ["PATH", "HOME", "LANG", "TMPDIR", "RUST_LOG", "METAFLEET_LOG", "METAFLEET_LOG_FORMAT"];
/// Tells an instance its name.
pub(super) const INSTANCE: &str = "METAFLEET_INSTANCE";
/// Tells it the route whose tasks it does.
const ROUTE: &str = "METAFLEET_ROUTE";
/// Where it keeps temporary files.
pub(super) const SCRATCH: &str = "TMPDIR";
/// Time a plugin leaves between its own drain and our kill.
const MARGIN: Duration = Duration::from_secs(1);

/// One process that should run.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `plugin-<id>-<n>`.
    pub name: InstanceId,
    /// The plugin.
    pub plugin: PluginId,
    /// Whose tasks it is started for.
    pub lane: Lane,
    /// The version found on disk.
    pub version: Option<String>,
    /// The program: a path, or a name to look for on `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it runs.
    pub dir: Option<PathBuf>,
    /// Its whole environment; holds the password of the broker.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// What it is kept apart by; `None` = it is not.
    pub sandbox: Option<Sandbox>,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

/// What all plugins of a fleet share.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// How plugins reach the broker; the login of each is in the confines where it has its own.
    pub connection: Connection,
    /// The fleet's prefix.
    pub prefix: Prefix,
    /// How long a plugin may take to stop.
    pub grace: Duration,
    /// What plugins are kept apart by.
    pub confines: Confines,
    /// Variables that are passed on.
    inherited: BTreeMap<String, String>,
}

impl Surroundings {
    /// Takes what is passed on from `vars`: where programs and homes are, log filters and the
    /// `OTEL_*` variables but the service's name, which is ours.
    #[must_use]
    pub fn new(
        connection: Connection,
        prefix: Prefix,
        grace: Duration,
        mut confines: Confines,
        vars: &dyn Vars,
    ) -> Self {
        let mut inherited = vars.with_prefix("OTEL_");
        inherited.remove("OTEL_SERVICE_NAME");
        inherited.extend(
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), vars.get(name)?))),
        );
        for (name, url) in &inherited {
            if name.ends_with("ENDPOINT") {
                confines.servers = std::mem::take(&mut confines.servers).with_http(url);
            }
        }
        Self { connection, prefix, grace, confines, inherited }
    }

    /// The environment of one instance; `port` is that of an HTTP plugin, which has no business
    /// with the broker.
    fn env(
        &self,
        plugin: &PluginId,
        name: &InstanceId,
        port: Option<u16>,
        sandbox: Option<&Sandbox>,
    ) -> BTreeMap<String, String> {
        let mut env = self.inherited.clone();
        if let Some(sandbox) = sandbox {
            env.insert(SCRATCH.to_owned(), sandbox.scratch.display().to_string());
        }
        if let Some(port) = port {
            env.insert("PORT".to_owned(), port.to_string());
        } else if sandbox.is_some() || self.confines.login == Logins::Each {
            env.insert("NATS_URL".to_owned(), self.connection.url.clone());
            env.extend(self.confines.login_of(plugin));
        } else {
            let shared = self.connection.variables();
            env.extend(shared.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        let grace = self.grace.saturating_sub(MARGIN).as_millis();
        let own = [
            ("METAFLEET_PREFIX", self.prefix.to_string()),
            ("METAFLEET_PLUGIN", plugin.to_string()),
            (INSTANCE, name.to_string()),
            ("METAFLEET_GRACE", format!("{grace}ms")),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        env
    }
}

/// What should run, and what of it cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By name.
    pub instances: Instances,
    /// Plugins that should run here and cannot, with the reason.
    pub problems: BTreeMap<PluginId, String>,
}

/// Lists the processes: of every plugin on disk and in the file, unless it is switched off or runs
/// elsewhere.
#[must_use]
pub fn wanted(file: &PluginsFile, found: &Discovered, shared: &Surroundings) -> Plan {
    let mut plan = Plan::default();
    let default = PluginEntry::default();
    let on_disk = found.plugins.keys();
    // An entry that is broken is not run as if it were not there.
    let broken = |id: &PluginId| file.is_broken(id) && !file.entries.contains_key(id);
    let ids = on_disk.filter(|id| !file.entries.contains_key(*id) && !broken(id));
    let extra = ids.map(|id| (id, &default));
    for (id, entry) in file.entries.iter().chain(extra) {
        if !entry.enabled || entry.runtime != Runtime::Process {
            continue;
        }
        match start(entry, found.plugins.get(id)) {
            Ok(start) => {
                let routes = entry.routes.iter().map(|route| Lane::Route(route.name));
                for lane in std::iter::once(Lane::Main).chain(routes) {
                    add(&mut plan.instances, (id, lane), entry, &start, shared);
                }
            }
            Err(reason) => {
                plan.problems.insert(id.clone(), reason);
            }
        }
        // Servers would have to listen at the same ports.
        let next = found.next.get(id).filter(|_| entry.protocol == Protocol::Nats);
        if let Some(next) = next
            && let Ok(start) = start(entry, Some(next))
        {
            add(&mut plan.instances, (id, Lane::Next), entry, &start, shared);
        }
    }
    plan
}

/// Where instance `n` of an HTTP plugin that runs as a process listens, from 1 on: at the address
/// in `plugins.yml`, else at that of the document, and further instances at the ports after it.
#[must_use]
pub fn url_of(entry: &PluginEntry, n: u32) -> Option<BaseUrl> {
    let first = || entry.urls.first().cloned().unwrap_or_else(BaseUrl::usual);
    match entry.protocol {
        Protocol::Http => first().further(n.saturating_sub(1)),
        Protocol::Nats => None,
    }
}

struct Start {
    program: PathBuf,
    args: Vec<String>,
    dir: Option<PathBuf>,
    version: Option<String>,
    confined: Confined,
}

fn start(entry: &PluginEntry, found: Option<&Found>) -> Result<Start, String> {
    let declared = found.map(|found| found.manifest.permissions.as_slice());
    let confined = confined(entry, declared)?;
    let dir = found.map(|found| found.dir.clone()).or_else(|| entry.dir.clone());
    let version = found.map(|found| found.manifest.version.to_string());
    if let Some((program, args)) = entry.command.as_deref().and_then(<[String]>::split_first) {
        let path = Path::new(program);
        let program = match &dir {
            Some(dir) if path.components().count() > 1 => dir.join(path),
            _ => path.to_owned(),
        };
        return Ok(Start { program, args: args.to_vec(), dir, version, confined });
    }
    let found = found.ok_or("it is in no plugin folder, and there is no `command`")?;
    let entry = found.manifest.entry_point.as_ref().ok_or("its manifest has no entryPoint")?;
    Ok(Start {
        program: found.dir.join(&entry.main),
        args: entry.args.clone(),
        dir,
        version,
        confined,
    })
}

fn add(
    instances: &mut Instances,
    (id, lane): (&PluginId, Lane),
    entry: &PluginEntry,
    start: &Start,
    shared: &Surroundings,
) {
    let route = entry.routes.iter().find(|route| lane == Lane::Route(route.name));
    let most = match lane {
        Lane::Main => entry.bounds().max(),
        // It is tried only; what waits does not make it grow.
        Lane::Next => entry.bounds().min().max(1),
        Lane::Route(_) => route.and_then(|route| route.instances).map_or(0, NonZeroU32::get),
    };
    let resources = route.and_then(|route| route.resources).unwrap_or(entry.resources);
    for n in 1..=most {
        let Some(name) = instance_name(id, lane, n) else { continue };
        let port = url_of(entry, n).map(|url| url.endpoint().1);
        let sandbox = {
            let (confines, whose) = (&shared.confines, (id, &name));
            start.confined.sandbox(confines, whose, start.dir.as_ref(), port)
        };
        let mut env = shared.env(id, &name, port, sandbox.as_ref());
        if let Some(concurrency) = entry.concurrency {
            env.insert("METAFLEET_CONCURRENCY".to_owned(), concurrency.to_string());
        }
        if let Some(route) = lane.route() {
            env.insert(ROUTE.to_owned(), route.to_string());
        }
        let wanted = Wanted {
            name: name.clone(),
            plugin: id.clone(),
            lane,
            version: start.version.clone(),
            program: start.program.clone(),
            args: start.args.clone(),
            dir: start.dir.clone(),
            env,
            limits: Limits { memory: start.confined.memory(resources) },
            sandbox,
        };
        instances.insert(name, wanted);
    }
}

#[cfg(test)]
pub(crate) mod tests;
