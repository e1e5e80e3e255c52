//! `metafleet plugin show ID`

use std::num::NonZeroU32;

use broker_config::Chain;
use broker_config::wire::instance::Instance;
use broker_config::wire::plugin::PluginEntry;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::Lines;
use super::super::session;
use super::super::table::Table;
use super::super::time::ago;
use super::{OnePlugin, known};
use crate::config::Overrides;
use crate::config::overrides::Override;
use crate::transition::state::{Ended, Gradual, Tally};
use crate::transition::{Transition, Versions, Way};

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a PluginEntry,
    /// With every secret masked.
    settings: &'a Map<String, Value>,
    /// What was changed through the API of the fleet on this machine.
    #[serde(skip_serializing_if = "Changed::is_empty")]
    changed: Changed,
    instances: &'a [Instance],
    /// What was decided on its versions; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<&'a Versions>,
}

#[derive(Serialize)]
struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<u32>,
    /// The names of settings.
    config: Vec<String>,
}

impl Changed {
    fn of(changed: Override) -> Self {
        Self {
            enabled: changed.enabled,
            instances: changed.instances.map(NonZeroU32::get),
            config: changed.config.0.into_keys().collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.enabled.is_none() && self.instances.is_none() && self.config.is_empty()
    }

    /// In words.
    fn words(&self) -> Vec<String> {
        let enabled = self.enabled.map(|is| if is { "enabled" } else { "disabled" }.to_owned());
        let instances = self.instances.map(|count| format!("instances {count}"));
        let settings = self.config.iter().map(|key| format!("setting {key}"));
        enabled.into_iter().chain(instances).chain(settings).collect()
    }
}

pub(crate) async fn run(app: &App, args: &OnePlugin) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let entry = known(&session.store, &args.id).await?.entry;
        let store = &session.store;
        let (settings, mut instances, mut versions) =
            tokio::try_join!(store.settings(&args.id), store.instances(), store.versions())?;
        let settings = entry.manifest.masked(&settings);
        let instances = instances.remove(&args.id).unwrap_or_default();
        // A fleet elsewhere keeps its changes there.
        let overrides = if session.is_of_data_dir {
            Overrides::read(&app.data_dir()?.overrides())
                .map_err(|error| Failure::usage(Chain(&error).to_string()))?
        } else {
            Overrides::default()
        };
        let changed = Changed::of(overrides.of(&args.id));
        let versions = versions.remove(&args.id).map(|known| known.versions);
        let versions = versions.as_ref();
        let (entry, settings, instances) = (&entry, &settings, &instances[..]);
        let shown = Shown { entry, settings, changed, instances, versions };
        app.out.document(&shown, |lines| show(lines, &shown))?;
        Ok(Exit::Ok)
    })
    .await
}

fn show_versions(lines: &mut Lines, versions: &Versions) {
    if let Some(previous) = &versions.previous {
        lines.field("before", previous.to_string());
    }
    if let Some(Transition { from, to, way, candidate, .. }) = &versions.transition {
        let is_there = if candidate.is_some() { "" } else { ", which is not there yet" };
        lines.field("transition", format!("{}, from {from} to {to}{is_there}", way.how()));
        if let Way::Gradual(gradual) = way {
            let Gradual { done, tasks, old, new, .. } = gradual;
            let share = gradual.percent();
            lines.field("share", format!("{share} % of the files, {done} of {tasks} tasks done"));
            let of = |tally: &Tally| format!("{} of {} tasks", tally.failed, tally.done);
            lines.field("failed", format!("{from}: {}, {to}: {}", of(old), of(new)));
        }
    }
    if let Some(Ended { from, to, how, reverted, at }) = &versions.last {
        let ended = reverted.as_ref().map_or_else(
            || "done".to_owned(),
            |reason| format!("ended with {from}, because {reason}"),
        );
        lines.field("last", format!("{how}, from {from} to {to}: {ended} ({at})"));
    }
}

fn show(lines: &mut Lines, shown: &Shown<'_>) {
    let manifest = &shown.entry.manifest;
    lines.title(&format!("{} {}", manifest.id, manifest.version));
    lines.field("name", &manifest.name);
    if let Some(description) = &manifest.description {
        lines.field("description", description);
    }
    lines.field("queue", manifest.queue.as_str());
    lines.field("priority", manifest.priority.to_string());
    let needs: Vec<&str> = manifest.dependencies.iter().map(AsRef::as_ref).collect();
    lines.field("needs", if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") });
    let retry = manifest.retry_policy();
    lines.field("timeout", format!("{} ms", manifest.timeout));
    if let Some(limit) = manifest.progress_timeout {
        lines.field("progress timeout", format!("{limit} ms"));
    }
    lines.field("attempts", format!("{}, delays {:?} ms", retry.max_attempts, retry.delays_ms));
    lines.field("paused", if shown.entry.paused { "yes" } else { "no" });
    lines.field("registered", &shown.entry.registered_at);
    let changed = shown.changed.words();
    if !changed.is_empty() {
        let how = "over plugins.yml; `metafleet plugin reset` forgets it";
        lines.field("changed", format!("{} ({how})", changed.join(", ")));
    }
    if let Some(versions) = shown.versions {
        show_versions(lines, versions);
    }
    for (key, value) in shown.settings {
        lines.field("setting", format!("{key} = {value}"));
    }
    for (key, field) in &manifest.data_schema {
        lines.field("writes", format!("{key}  {}", field.label));
    }
    if shown.instances.is_empty() {
        return;
    }
    lines.line("");
    let mut table =
        Table::new(&["INSTANCE", "STATE", "HOST", ">PID", ">RUNNING", ">DONE", "STARTED", "ERROR"]);
    let now = Timestamp::now();
    for instance in shown.instances {
        let totals = instance.totals;
        table.row([
            instance.instance.to_string(),
            format!("{:?}", instance.state).to_lowercase(),
            instance.host.clone(),
            instance.pid.to_string(),
            instance.running.len().to_string(),
            (totals.completed + totals.skipped + totals.failed).to_string(),
            ago(&instance.started_at, now),
            instance.error.clone().unwrap_or_default(),
        ]);
    }
    lines.table(&table);
}
