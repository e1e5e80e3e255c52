//! The HTTP plugins of a fleet: what the bridge is told of them, and where they listen.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroUsize};

use broker_config::{InstanceId, PluginId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bridge::{Addresses, Bridged, Place, Places};
use crate::config::plugins::Protocol;
use crate::config::{PluginEntry, PluginsFile, Runtime};
use crate::docker::describe::BRIDGE_HOST;
use crate::docker::{ContainerInfo, DockerHandle};
use crate::process::wanted::url_of;
use crate::process::{ProcessHandle, ProcessInfo, ProcessState};

/// The HTTP plugins of `plugins.yml` that the bridge serves.
#[derive(Clone, Debug, Default)]
pub(super) struct HttpPlugins(BTreeMap<PluginId, PluginEntry>);

/// The instances of one plugin, and who wants to know where they listen.
#[derive(Debug)]
pub(super) struct Followed {
    plugin: PluginId,
    entry: PluginEntry,
    places: watch::Sender<Places>,
}

impl HttpPlugins {
    pub(super) fn of(file: &PluginsFile) -> Self {
        let served = |entry: &PluginEntry| entry.enabled && entry.protocol == Protocol::Http;
        let entries = file.entries.iter().filter(|(_, entry)| served(entry));
        Self(entries.map(|(id, entry)| (id.clone(), entry.clone())).collect())
    }

    /// Those that the bridge would have to serve otherwise than `before`.
    pub(super) fn differs_for(&self, before: &Self) -> BTreeSet<PluginId> {
        let of = |plugins: &Self, id: &PluginId| {
            let entry = plugins.0.get(id)?;
            Some((entry.runtime, entry.urls.clone(), entry.instances, entry.concurrency))
        };
        let both = self.ids().chain(before.ids());
        both.filter(|id| of(self, id) != of(before, id)).cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &PluginId> {
        self.0.keys()
    }

    /// Whether some of them run in containers, which know this machine by a name of its own.
    pub(super) fn any_in_containers(&self) -> bool {
        self.0.values().any(|entry| entry.runtime == Runtime::Docker)
    }

    /// What the bridge is told, and what is to be kept up to date from processes and containers.
    pub(super) fn split(
        self,
        processes: &ProcessHandle,
        containers: &DockerHandle,
    ) -> (Vec<Bridged>, Vec<Followed>) {
        let (mut bridged, mut followed) = (Vec::new(), Vec::new());
        for (plugin, entry) in self.0 {
            let (places, receiver) = watch::channel(remote(&plugin, &entry));
            let (restarts, instances) = match entry.runtime {
                Runtime::Process => (Some(processes.restarts()), entry.instances.get()),
                Runtime::Docker => (Some(containers.restarts()), entry.instances.get()),
                Runtime::Remote | Runtime::Internal => (None, count(&entry)),
            };
            bridged.push(Bridged {
                plugin: plugin.clone(),
                places: receiver,
                restarts,
                concurrency: entry.concurrency.and_then(usize_of),
                instances: NonZeroU32::new(instances)
                    .and_then(usize_of)
                    .unwrap_or(NonZeroUsize::MIN),
            });
            followed.push(Followed { plugin, entry, places });
        }
        (bridged, followed)
    }
}

/// Lets containers speak to the bridge under the name that they have for this machine.
pub(super) fn know_containers(addresses: &mut Addresses) {
    for options in [&mut addresses.api, &mut addresses.kv] {
        options.hosts.insert(BRIDGE_HOST.to_owned());
    }
}

/// Tells the bridge where processes and containers listen, whenever one is started or ends, until
/// `stop`.
pub(super) async fn follow(
    followed: Vec<Followed>,
    mut processes: watch::Receiver<BTreeMap<InstanceId, ProcessInfo>>,
    mut containers: watch::Receiver<BTreeMap<InstanceId, ContainerInfo>>,
    stop: CancellationToken,
) {
    // Without containers there is no runtime that could say more of them.
    let mut has_containers = true;
    loop {
        {
            let running = processes.borrow_and_update();
            let boxed = containers.borrow_and_update();
            for Followed { plugin, entry, places } in &followed {
                let now = match entry.runtime {
                    Runtime::Process => listening(plugin, entry, &running),
                    Runtime::Docker => listening_in_containers(plugin, &boxed),
                    Runtime::Remote | Runtime::Internal => continue,
                };
                places.send_if_modified(|before| {
                    let changed = *before != now;
                    *before = now;
                    changed
                });
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = processes.changed() => if changed.is_err() { return },
            changed = containers.changed(), if has_containers => has_containers = changed.is_ok(),
        }
    }
}

/// Where the containers of a plugin listen.
fn listening_in_containers(plugin: &PluginId, all: &BTreeMap<InstanceId, ContainerInfo>) -> Places {
    let its = all.iter().filter(|(_, info)| info.plugin == *plugin);
    its.filter_map(|(name, info)| Some((name.clone(), info.place.clone()?))).collect()
}

/// Where the processes of a plugin listen; each start of one is another incarnation.
fn listening(
    plugin: &PluginId,
    entry: &PluginEntry,
    all: &BTreeMap<InstanceId, ProcessInfo>,
) -> Places {
    let place = |n: u32| {
        let name: InstanceId = name_of(plugin, n)?;
        let info = all.get(&name).filter(|info| info.state == ProcessState::Running)?;
        let started = info.started.map_or(0, |at| at.as_microsecond().unsigned_abs());
        let incarnation = (started << 22) ^ u64::from(info.pid?);
        Some((name, Place { url: url_of(entry, n)?, incarnation, bridge: None }))
    };
    (1..=entry.instances.get()).filter_map(place).collect()
}

/// Where the instances listen that somebody else runs.
fn remote(plugin: &PluginId, entry: &PluginEntry) -> Places {
    if entry.runtime != Runtime::Remote {
        return Places::new();
    }
    let urls = (1..).zip(&entry.urls);
    let place = |(n, url): (u32, &crate::config::BaseUrl)| {
        Some((name_of(plugin, n)?, Place { url: url.clone(), incarnation: 0, bridge: None }))
    };
    urls.filter_map(place).collect()
}

fn name_of(plugin: &PluginId, n: u32) -> Option<InstanceId> {
    format!("plugin-{plugin}-{n}").parse().ok()
}

fn count(entry: &PluginEntry) -> u32 {
    u32::try_from(entry.urls.len()).unwrap_or(u32::MAX)
}

fn usize_of(number: NonZeroU32) -> Option<NonZeroUsize> {
    NonZeroUsize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;

    use super::*;
    use crate::config::vars::vars;

    fn plugins(text: &str) -> HttpPlugins {
        HttpPlugins::of(&PluginsFile::parse(Path::new("/p.yml"), text, &vars(&[])).unwrap())
    }

    fn info(n: u32, pid: u32, state: ProcessState) -> (InstanceId, ProcessInfo) {
        let name: InstanceId = format!("plugin-p-{n}").parse().unwrap();
        let info = ProcessInfo {
            name: name.clone(),
            plugin: "p".parse().unwrap(),
            version: None,
            pid: Some(pid),
            isolated: true,
            state,
            restarts: 0,
            started: Some(Timestamp::UNIX_EPOCH),
            next_start: None,
            last_exit: None,
            log: "/log".into(),
        };
        (name, info)
    }

    #[test]
    fn only_http_plugins_that_are_wanted_are_served() {
        let all = plugins(
            "plugins:\n  a: {protocol: http, command: [x]}\n  b: {command: [x]}\n  \
             c: {protocol: http, enabled: false}\n  \
             d: {protocol: http, runtime: remote, urls: ['http://h:1', 'http://h:2']}\n",
        );
        let ids: Vec<&str> = all.ids().map(PluginId::as_str).collect();
        assert_eq!(ids, ["a", "d"]);
        let d = &all.0[&"d".parse::<PluginId>().unwrap()];
        let places = remote(&"d".parse().unwrap(), d);
        let shown: Vec<String> = places.values().map(|place| place.url.to_string()).collect();
        assert_eq!(shown, ["http://h:1", "http://h:2"]);
        assert!(plugins("plugins: {}").is_empty());
    }

    #[test]
    fn a_process_that_was_started_anew_is_another_incarnation() {
        let all = plugins("plugins: {p: {protocol: http, command: [x], instances: 3}}");
        let (id, entry) = all.0.first_key_value().unwrap();
        let places = |infos: [(InstanceId, ProcessInfo); 2]| listening(id, entry, &infos.into());
        let one = places([info(1, 7, ProcessState::Running), info(2, 8, ProcessState::Waiting)]);
        let two = places([info(1, 9, ProcessState::Running), info(3, 8, ProcessState::Running)]);
        let urls = |places: &Places| places.values().map(|p| p.url.to_string()).collect::<Vec<_>>();
        assert_eq!(urls(&one), ["http://127.0.0.1:8080"]);
        assert_eq!(urls(&two), ["http://127.0.0.1:8080", "http://127.0.0.1:8082"]);
        let first: InstanceId = "plugin-p-1".parse().unwrap();
        assert_ne!(one[&first].incarnation, two[&first].incarnation);
    }
}
