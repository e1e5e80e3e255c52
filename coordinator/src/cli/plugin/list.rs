//! `metafleet plugin list`

use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::super::table::{Table, short};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    name: String,
    version: String,
    queue: String,
    priority: u8,
    dependencies: Vec<String>,
    enabled: bool,
    paused: bool,
    managed: bool,
    instances: usize,
    description: String,
}

pub(crate) async fn run(app: &App) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let (plugins, instances) =
            tokio::try_join!(session.store.plugins(), session.store.instances())?;
        let rows: Vec<Row> = plugins
            .into_iter()
            .map(|(id, known)| {
                let manifest = known.entry.manifest;
                Row {
                    name: manifest.name,
                    version: manifest.version.to_string(),
                    queue: manifest.queue.to_string(),
                    priority: manifest.priority,
                    dependencies: manifest.dependencies.iter().map(ToString::to_string).collect(),
                    enabled: known.entry.enabled,
                    paused: known.entry.paused,
                    managed: known.entry.managed,
                    instances: instances.get(&id).map_or(0, Vec::len),
                    description: manifest.description.unwrap_or_default(),
                    id: id.to_string(),
                }
            })
            .collect();
        app.out.list(&rows, |lines| {
            let mut table = Table::new(&[
                "PLUGIN",
                "VERSION",
                "QUEUE",
                ">PRIORITY",
                ">INSTANCES",
                "NEEDS",
                "DESCRIPTION",
            ]);
            for row in &rows {
                table.row([
                    row.id.clone(),
                    row.version.clone(),
                    row.queue.clone(),
                    row.priority.to_string(),
                    row.instances.to_string(),
                    row.dependencies.join(", "),
                    short(&row.description, 60),
                ]);
            }
            lines.table(&table);
        })?;
        Ok(Exit::Ok)
    })
    .await
}
