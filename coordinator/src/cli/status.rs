//! `metafleet status`

mod used;

use std::collections::BTreeMap;

use clap::Args;

use self::used::{Used, cells, used};
use super::App;
use super::exit::{Exit, Failure};
use super::installed::installed;
use super::output::Lines;
use super::session;
use super::table::Table;
use crate::config::Problem;
use crate::store::overview::Overview;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {}

pub(crate) async fn run(app: &App, _args: &StatusArgs) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let overview = session.store.overview().await?;
        let is_here = session.is_of_data_dir && !session.is_private();
        let usage = if is_here { used(app).await } else { BTreeMap::new() };
        let problems = installed(app, session)?.problems;
        let running = !session.is_private();
        let status = Status { running, overview: &overview, usage, problems };
        app.out.document(&status, |lines| show(lines, &status))?;
        Ok(Exit::Ok)
    })
    .await
}

#[derive(serde::Serialize)]
struct Status<'a> {
    /// Whether a fleet runs, as opposed to: only its data is there.
    running: bool,
    #[serde(flatten)]
    overview: &'a Overview,
    /// What the instances on this machine use, by plugin.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    usage: BTreeMap<String, Used>,
    /// Installed plugins, or versions of them, that break a rule and so are not started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

fn show(lines: &mut Lines, status: &Status<'_>) {
    let Status { running, overview, usage, problems } = status;
    if !running {
        lines.line("No fleet is running; this is what the last one left.");
    }
    let files = overview.files;
    lines.field("files", format!("{} waiting, {} in flight", files.waiting, files.in_flight));
    let tasks = overview.tasks;
    lines.field(
        "tasks",
        format!("{} pending, {} running, {} delayed", tasks.pending, tasks.running, tasks.delayed),
    );
    lines.field("dead letters", overview.dead.to_string());
    lines.field("records", overview.records.to_string());
    lines.field("coordinator", overview.coordinator.as_deref().unwrap_or("none so far"));
    for problem in problems {
        lines.line(&format!("passed over: {problem}"));
    }
    if overview.plugins.is_empty() {
        lines.line("No plugin has announced itself yet.");
        return;
    }
    lines.line("");
    let numbers = ["PLUGIN", "VERSION", "STATE", ">INSTANCES", ">PENDING", ">RUNNING", ">DEAD"];
    let of_usage: &[&str] = if usage.is_empty() { &[] } else { &[">CPU", ">MEMORY"] };
    let mut table = Table::new(&[&numbers, of_usage].concat());
    for plugin in &overview.plugins {
        let row = [
            plugin.id.clone(),
            plugin.version.clone(),
            plugin.state().as_str().to_owned(),
            plugin.instances.to_string(),
            plugin.pending.to_string(),
            plugin.running.to_string(),
            plugin.dead.to_string(),
        ];
        let used = cells(usage.get(&plugin.id));
        table.row(row.into_iter().chain(used.into_iter().take(of_usage.len())));
    }
    lines.table(&table);
    for (plugin, reason) in overview.plugins.iter().filter_map(refusal) {
        lines.line(&format!("{plugin}: {reason}"));
    }
    let unserved = overview.plugins.iter().flat_map(|plugin| {
        plugin.routes.iter().filter_map(|it| Some((&plugin.id, it.reason.as_ref()?)))
    });
    for (plugin, reason) in unserved {
        lines.line(&format!("{plugin}: {reason}"));
    }
    for error in overview.plugins.iter().flat_map(|plugin| &plugin.errors) {
        lines.line(error);
    }
    for term in overview.plugins.iter().flat_map(|plugin| &plugin.quarantined) {
        lines.line(&term.to_string());
    }
}

/// Why a plugin has fewer instances than it should.
fn refusal(plugin: &crate::store::overview::PluginNumbers) -> Option<(&str, &str)> {
    Some((plugin.id.as_str(), plugin.scale.as_ref()?.refused.as_deref()?))
}
