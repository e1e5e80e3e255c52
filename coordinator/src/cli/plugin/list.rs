//! `metafleet plugin list`

use std::collections::BTreeMap;

use broker_config::{Manifest, PluginId};
use semver::Version;
use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::installed::{before_any_fleet, installed};
use super::super::session;
use super::super::table::{Table, short};
use crate::process::Discovered;
use crate::store::plugins::KnownPlugin;

/// The state of what lies among the installed plugins and never announced itself.
const INSTALLED: &str = "installed";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    name: String,
    version: String,
    /// `installed` when the fleet does not know it, else as in `status`.
    state: &'static str,
    queue: String,
    priority: u8,
    dependencies: Vec<String>,
    enabled: bool,
    paused: bool,
    managed: bool,
    instances: usize,
    description: String,
}

impl Row {
    /// One that nobody has started yet.
    fn installed(manifest: Manifest) -> Self {
        Self {
            id: manifest.id.to_string(),
            name: manifest.name,
            version: manifest.version.to_string(),
            state: INSTALLED,
            queue: manifest.queue.to_string(),
            priority: manifest.priority,
            dependencies: manifest.dependencies.iter().map(ToString::to_string).collect(),
            enabled: false,
            paused: false,
            managed: false,
            instances: 0,
            description: manifest.description.unwrap_or_default(),
        }
    }

    fn known(known: KnownPlugin, state: &'static str, instances: usize) -> Self {
        let entry = known.entry;
        Self {
            state,
            enabled: entry.enabled,
            paused: entry.paused,
            managed: entry.managed,
            instances,
            ..Self::installed(entry.manifest)
        }
    }
}

pub(crate) async fn run(app: &App) -> Result<Exit, Failure> {
    if let Some(found) = before_any_fleet(app)? {
        return show(app, found, Vec::new());
    }
    session::with(app, async |session| {
        let store = &session.store;
        let (plugins, instances, overview) =
            tokio::try_join!(store.plugins(), store.instances(), store.overview())?;
        let states: BTreeMap<_, _> =
            overview.plugins.iter().map(|it| (it.id.as_str(), it.state().as_str())).collect();
        let known = plugins.into_iter().map(|(id, known)| {
            let state = states.get(id.as_str()).copied().unwrap_or_default();
            let instances = instances.get(&id).map_or(0, Vec::len);
            (id, Row::known(known, state, instances))
        });
        show(app, installed(app, session)?, known.collect())
    })
    .await
}

/// Prints what the fleet knows, and of what is installed what it does not know.
fn show(app: &App, found: Discovered, known: Vec<(PluginId, Row)>) -> Result<Exit, Failure> {
    let newer = newer(&found, known.iter().map(|(id, row)| (id, row)));
    let mut rows: BTreeMap<_, _> =
        found.plugins.into_iter().map(|(id, it)| (id, Row::installed(it.manifest))).collect();
    rows.extend(known);
    let rows: Vec<Row> = rows.into_values().collect();
    app.out.list(&rows, |lines| {
        lines.table(&table(&rows));
        for line in &newer {
            lines.line(line);
        }
    })?;
    for problem in &found.problems {
        app.out.say(&format!("warning: passed over: {problem}"));
    }
    Ok(Exit::Ok)
}

/// What to tell of versions on disk that are newer than those that take part.
fn newer<'a>(
    found: &Discovered,
    known: impl Iterator<Item = (&'a PluginId, &'a Row)>,
) -> Vec<String> {
    let newer = known.filter_map(|(id, row)| {
        let on_disk = &found.plugins.get(id)?.manifest.version;
        let is_newer = row.version.parse().is_ok_and(|known: Version| *on_disk > known);
        is_newer.then(|| format!("{id}: {on_disk} is installed, {} takes part", row.version))
    });
    newer.collect()
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "PLUGIN",
        "VERSION",
        "STATE",
        "QUEUE",
        ">PRIORITY",
        ">INSTANCES",
        "NEEDS",
        "DESCRIPTION",
    ]);
    for row in rows {
        table.row([
            row.id.clone(),
            row.version.clone(),
            row.state.to_owned(),
            row.queue.clone(),
            row.priority.to_string(),
            row.instances.to_string(),
            row.dependencies.join(", "),
            short(&row.description, 60),
        ]);
    }
    table
}
