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
        let (settings, mut instances) =
            tokio::try_join!(session.store.settings(&args.id), session.store.instances())?;
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
        let shown = Shown { entry: &entry, settings: &settings, changed, instances: &instances };
        app.out.document(&shown, |lines| show(lines, &shown))?;
        Ok(Exit::Ok)
    })
    .await
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
    let changed = shown.changed.words();
    if !changed.is_empty() {
        let how = "over plugins.yml; `metafleet plugin reset` forgets it";
        lines.field("changed", format!("{} ({how})", changed.join(", ")));
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
