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

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a PluginEntry,
    /// With every secret masked.
    settings: &'a Map<String, Value>,
    instances: &'a [Instance],
}

pub(crate) async fn run(app: &App, args: &OnePlugin) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let entry = known(&session.store, &args.id).await?.entry;
        let (settings, mut instances) =
            tokio::try_join!(session.store.settings(&args.id), session.store.instances())?;
        let settings = entry.manifest.masked(&settings);
        let instances = instances.remove(&args.id).unwrap_or_default();
        let shown = Shown { entry: &entry, settings: &settings, instances: &instances };
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
