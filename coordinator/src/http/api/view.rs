//! PURE: what is known of a plugin → what the API shows of it.
//!
//! `id`, `name`, `version`, `status`, `instances`, `containers[].name`, `containers[].status` and
//! `stats.{tasksCompleted, tasksFailed, avgDuration}` are those of the seed's document.

mod instance;

use std::collections::BTreeMap;

use self::instance::{not_started, using};
use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::wire::plugin::PluginEntry as Registered;
use broker_config::{Manifest, PluginId};
use serde::Serialize;

use crate::config::PluginEntry;
use crate::config::plugins::{Protocol, Runtime};
use crate::docker::{ContainerInfo, ContainerState};
use crate::fleet::plugins::Known;
use crate::metrics::PluginMetrics;
use crate::process::{LastExit, ProcessInfo, ProcessState};
use crate::quarantine::Term;
use crate::stats::{Stats, WINDOW};
use crate::store::overview::{PluginNumbers, PluginState, RouteNumbers};
use crate::usage::Usages;

/// Everything that is known of one plugin.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Which.
    pub id: &'a PluginId,
    /// Its entry in the registry.
    pub registered: Option<&'a Registered>,
    /// What a person says of all plugins.
    pub known: &'a Known,
    /// Its numbers at the broker.
    pub numbers: &'a PluginNumbers,
    /// The signs of life of its instances.
    pub signs: &'a [Instance],
    /// The processes of all plugins.
    pub processes: &'a [ProcessInfo],
    /// The containers of all plugins.
    pub containers: &'a [ContainerInfo],
    /// What instances on this machine use.
    pub used: &'a Usages,
    /// What became of its tasks.
    pub stats: &'a Stats,
    /// What the coordinator counts.
    pub counted: PluginMetrics,
    /// Since when, RFC 3339.
    pub since: &'a str,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    id: String,
    name: String,
    version: Option<String>,
    description: Option<String>,
    status: &'static str,
    enabled: bool,
    paused: bool,
    runtime: &'static str,
    protocol: &'static str,
    queue: Option<&'static str>,
    priority: Option<u8>,
    dependencies: Vec<String>,
    /// How many there are to be.
    instances: u64,
    /// How many take tasks.
    ready: u64,
    image: Option<String>,
    image_digest: Option<String>,
    image_id: Option<String>,
    containers: Vec<Container>,
    stats: Shown,
    source: Source,
    errors: Vec<String>,
    /// Its routes and what goes none; empty when it has none.
    routes: Vec<RouteNumbers>,
}

/// One instance, whatever runs it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    status: &'static str,
    runtime: &'static str,
    healthy: Option<bool>,
    in_flight: Option<u64>,
    pid: Option<u32>,
    container_id: Option<String>,
    host: Option<String>,
    started_at: Option<String>,
    restarts: Option<u32>,
    last_exit: Option<Exit>,
    note: Option<String>,
    cpu: Option<f64>,
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    pids: Option<u64>,
    sampled_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Exit {
    at: String,
    code: Option<i32>,
    signal: Option<i32>,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    since: String,
    tasks_completed: u64,
    tasks_failed: u64,
    tasks_skipped: u64,
    avg_duration: u64,
    p50_duration: Option<u64>,
    p95_duration: Option<u64>,
    window: usize,
    retries: u64,
    deferred: u64,
    in_flight: u64,
    pending: u64,
    dead: u64,
    last_error: Option<LastError>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct LastError {
    error: String,
    cid: String,
    at: String,
}

/// Who said what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    enabled: &'static str,
    instances: &'static str,
    /// Settings that were changed through the API.
    config: Vec<String>,
}

/// Shows a plugin.
#[must_use]
pub fn plugin(facts: &Facts<'_>) -> Plugin {
    let Facts { id, registered, known, numbers, .. } = facts;
    let entry = known.entry(id);
    let manifest: Option<&Manifest> =
        registered.map(|known| &known.manifest).or_else(|| known.manifests.get(id));
    let containers = containers(facts, &entry);
    let of_image = facts.containers.iter().find(|info| info.plugin == **id);
    Plugin {
        id: id.to_string(),
        name: manifest.map_or_else(|| id.to_string(), |manifest| manifest.name.clone()),
        version: manifest.map(|manifest| manifest.version.to_string()),
        description: manifest.and_then(|manifest| manifest.description.clone()),
        status: status(&entry, numbers, &containers),
        enabled: entry.enabled,
        paused: numbers.paused,
        runtime: runtime(entry.runtime),
        protocol: match entry.protocol {
            Protocol::Nats => "nats",
            Protocol::Http => "http",
        },
        queue: entry.queue.or_else(|| Some(manifest?.queue)).map(|queue| queue.as_str()),
        priority: manifest.map(|manifest| manifest.priority),
        dependencies: manifest
            .map(|manifest| manifest.dependencies.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        instances: wanted(&entry, numbers),
        ready: numbers.ready,
        image: entry.image.as_ref().and_then(|images| {
            images.of(manifest.map(|manifest| &manifest.version)).map(str::to_owned)
        }),
        image_digest: of_image.and_then(|info| info.image_digest.clone()),
        image_id: of_image.and_then(|info| info.image_id.clone()),
        containers,
        stats: shown(facts),
        source: source(known, id),
        errors: numbers.errors.clone(),
        routes: numbers.routes.clone(),
    }
}

fn wanted(entry: &PluginEntry, numbers: &PluginNumbers) -> u64 {
    match entry.runtime {
        _ if !entry.enabled => 0,
        // What the fleet has decided shows itself.
        Runtime::Process | Runtime::Docker if !entry.bounds().is_fixed() => numbers.instances,
        Runtime::Process | Runtime::Docker | Runtime::Internal => u64::from(entry.instances.get()),
        Runtime::Remote if !entry.urls.is_empty() => entry.urls.len() as u64,
        // Nobody but whoever starts them knows.
        Runtime::Remote => numbers.instances,
    }
}

/// In one word; the first two are the seed's.
fn status(entry: &PluginEntry, numbers: &PluginNumbers, all: &[Container]) -> &'static str {
    let is_ill = |one: &Container| {
        one.healthy == Some(false)
            || ["crashLoop", "blocked", "unable", "quarantined"].contains(&one.status)
    };
    match numbers.state() {
        _ if !entry.enabled => "disabled",
        PluginState::Paused => "paused",
        PluginState::Ready if numbers.failing > 0 || all.iter().any(is_ill) => "degraded",
        PluginState::Ready => "healthy",
        PluginState::Failing => "unhealthy",
        _ if all.iter().any(is_ill) => "unhealthy",
        PluginState::Starting => "starting",
        _ if all.iter().any(|one| ["starting", "running"].contains(&one.status)) => "starting",
        // It is enabled again and has not announced itself yet.
        PluginState::Disabled | PluginState::NotRunning | PluginState::Unknown => "stopped",
    }
}

const fn runtime(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Process => "process",
        Runtime::Remote => "remote",
        Runtime::Docker => "docker",
        Runtime::Internal => "internal",
    }
}

fn containers(facts: &Facts<'_>, entry: &PluginEntry) -> Vec<Container> {
    let mut signs: BTreeMap<&str, &Instance> =
        facts.signs.iter().map(|sign| (sign.instance.as_str(), sign)).collect();
    let processes = facts.processes.iter().filter(|info| info.plugin == *facts.id);
    let containers = facts.containers.iter().filter(|info| info.plugin == *facts.id);
    let processes = processes.map(|info| {
        let shown = process(info, signs.remove(info.name.as_str()));
        let usage = info.pid.and_then(|_| facts.used.get(&info.name));
        using(shown, info.started, usage)
    });
    let mut all: Vec<Container> = processes.collect();
    all.extend(containers.map(|info| {
        let shown = container(info, signs.remove(info.name.as_str()));
        let is_running = info.state == ContainerState::Running;
        let usage = facts.used.get(&info.name).filter(|_| is_running);
        using(shown, info.started, usage)
    }));
    let reason = facts.known.unable.get(facts.id);
    if let Some(blocked) = reason.and_then(|reason| not_started(facts.id, entry.runtime, reason)) {
        // The sign was given in its name and says the same.
        signs.remove(blocked.name.as_str());
        all.push(blocked);
    }
    // The bridge speaks for HTTP plugins that run here; it is none of their instances.
    if entry.protocol == Protocol::Nats || all.is_empty() {
        all.extend(signs.into_values().map(remote));
    }
    for term in &facts.numbers.quarantined {
        let its = all.iter_mut().filter(|one| one.name == term.instance.as_str());
        its.for_each(|one| quarantine(one, term));
    }
    all
}

/// What runs and is out of work says so; one that is on trial runs, and says that.
fn quarantine(one: &mut Container, term: &Term) {
    if one.status == "running" && !term.on_trial {
        one.status = "quarantined";
    }
    one.note = Some(term.to_string());
}

fn process(info: &ProcessInfo, sign: Option<&Instance>) -> Container {
    let status = match info.state {
        ProcessState::Starting => "starting",
        ProcessState::Running => "running",
        ProcessState::Waiting => "waiting",
        ProcessState::CrashLoop => "crashLoop",
        ProcessState::Stopping => "stopping",
        ProcessState::Stopped => "stopped",
    };
    Container {
        pid: info.pid,
        started_at: info.started.map(|at| at.to_string()),
        restarts: Some(info.restarts),
        last_exit: info.last_exit.as_ref().map(exit),
        ..signed(info.name.as_str(), (status, "process"), sign)
    }
}

fn container(info: &ContainerInfo, sign: Option<&Instance>) -> Container {
    let status = match info.state {
        ContainerState::Starting => "starting",
        ContainerState::Running => "running",
        ContainerState::Waiting => "waiting",
        ContainerState::CrashLoop => "crashLoop",
        ContainerState::Unable => "unable",
        ContainerState::Blocked => "blocked",
    };
    let of_sign = signed(info.name.as_str(), (status, "docker"), sign);
    Container {
        container_id: info.container.clone(),
        started_at: info.started.map(|at| at.to_string()),
        restarts: Some(info.restarts),
        last_exit: info.last_exit.as_ref().map(exit),
        note: info.note.clone().or_else(|| of_sign.note.clone()),
        ..of_sign
    }
}

fn remote(sign: &Instance) -> Container {
    let status = match sign.state {
        InstanceState::Starting => "starting",
        InstanceState::Ready | InstanceState::Paused => "running",
        InstanceState::Draining => "stopping",
        InstanceState::Failed => "failed",
    };
    let pid = (sign.pid != 0).then_some(sign.pid);
    let started_at = (!sign.started_at.is_empty()).then(|| sign.started_at.clone());
    let host = (!sign.host.is_empty()).then(|| sign.host.clone());
    let signed = signed(sign.instance.as_str(), (status, "remote"), Some(sign));
    Container { pid, started_at, host, ..signed }
}

/// What the sign of life says of an instance.
fn signed(
    name: &str,
    (status, runtime): (&'static str, &'static str),
    sign: Option<&Instance>,
) -> Container {
    let is_well = |sign: &Instance| sign.healthy && sign.state != InstanceState::Failed;
    Container {
        name: name.to_owned(),
        status,
        runtime,
        healthy: sign.map(is_well),
        in_flight: sign.map(|sign| sign.running.len() as u64),
        pid: None,
        container_id: None,
        host: None,
        started_at: None,
        restarts: None,
        last_exit: None,
        note: sign.and_then(|sign| sign.error.clone()),
        cpu: None,
        memory_bytes: None,
        memory_limit_bytes: None,
        pids: None,
        sampled_at: None,
    }
}

/// Not what it printed: that is in its log.
fn exit(last: &LastExit) -> Exit {
    let LastExit { at, code, signal, reason, .. } = last;
    Exit { at: at.to_string(), code: *code, signal: *signal, reason: reason.clone() }
}

fn shown(facts: &Facts<'_>) -> Shown {
    let Facts { stats, numbers, counted, .. } = facts;
    let durations = stats.durations();
    Shown {
        since: facts.since.to_owned(),
        tasks_completed: stats.completed,
        tasks_failed: stats.failed,
        tasks_skipped: stats.skipped,
        avg_duration: durations.average.unwrap_or_default(),
        p50_duration: durations.p50,
        p95_duration: durations.p95,
        window: WINDOW,
        retries: counted.retries,
        deferred: counted.deferred,
        in_flight: numbers.running,
        pending: numbers.pending,
        dead: numbers.dead,
        last_error: stats.last_error.as_ref().map(|last| LastError {
            error: last.error.clone(),
            cid: last.cid.to_string(),
            at: last.at.clone(),
        }),
    }
}

fn source(known: &Known, id: &PluginId) -> Source {
    let changed = known.overrides.of(id);
    let file = if known.listed.contains(id) { "plugins.yml" } else { "default" };
    let of = |is_changed: bool| if is_changed { "api" } else { file };
    Source {
        enabled: of(changed.enabled.is_some()),
        instances: of(changed.instances.is_some()),
        config: changed.config.0.into_keys().collect(),
    }
}

#[cfg(test)]
mod tests;
