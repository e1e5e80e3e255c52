//! `metafleet plugin show ID`

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
use crate::transition::state::{Ended, Gradual, Tally};
use crate::transition::{Transition, Versions, Way};

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a PluginEntry,
    /// With every secret masked.
    settings: &'a Map<String, Value>,
    instances: &'a [Instance],
    /// What was decided on its versions; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<&'a Versions>,
}

pub(crate) async fn run(app: &App, args: &OnePlugin) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let entry = known(&session.store, &args.id).await?.entry;
        let store = &session.store;
        let (settings, mut instances, mut versions) =
            tokio::try_join!(store.settings(&args.id), store.instances(), store.versions())?;
        let settings = entry.manifest.masked(&settings);
        let instances = instances.remove(&args.id).unwrap_or_default();
        let versions = versions.remove(&args.id).map(|known| known.versions);
        let versions = versions.as_ref();
        let (entry, settings, instances) = (&entry, &settings, &instances[..]);
        let shown = Shown { entry, settings, instances, versions };
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
    lines.field("attempts", format!("{}, delays {:?} ms", retry.max_attempts, retry.delays_ms));
    lines.field("paused", if shown.entry.paused { "yes" } else { "no" });
    lines.field("registered", &shown.entry.registered_at);
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
