//! `metafleet file show CID|PATH`

use std::collections::BTreeMap;

use broker_config::PluginId;
use jiff::Timestamp;
use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::Lines;
use super::super::session;
use super::super::table::{Table, bytes, short};
use super::super::time::ago;
use super::OneFile;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    cid: String,
    /// Absent when no path of it is known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime: Option<String>,
    paths: Vec<String>,
    plugins: BTreeMap<PluginId, Outcome>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    status: &'static str,
    version: String,
    revision: u64,
    finished_at: String,
    duration_ms: u64,
    attempt: u32,
    keys: usize,
    /// Why it failed or had nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

pub(crate) async fn run(app: &App, args: &OneFile) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let cid = args.cid(&session.store).await?;
        let (paths, records) =
            tokio::try_join!(session.store.paths_of(&cid), session.store.records(&cid))?;
        let file = paths.iter().find_map(|entry| entry.file());
        let shown = Shown {
            cid: cid.to_string(),
            size: file.map(|file| file.size),
            mime: file.map(|file| file.mime.clone()),
            paths: paths.iter().map(|entry| entry.path.to_string_lossy().into_owned()).collect(),
            plugins: records
                .into_iter()
                .map(|(plugin, (revision, record))| {
                    let outcome = Outcome {
                        status: record.status.as_str(),
                        version: record.plugin_version,
                        revision,
                        finished_at: record.finished_at,
                        duration_ms: record.duration_ms,
                        attempt: record.attempt,
                        keys: record.meta.len(),
                        note: record.error.or(record.reason),
                    };
                    (plugin, outcome)
                })
                .collect(),
        };
        app.out.document(&shown, |lines| show(lines, &shown))?;
        Ok(Exit::Ok)
    })
    .await
}

fn show(lines: &mut Lines, shown: &Shown) {
    lines.field("cid", &shown.cid);
    if let Some(size) = shown.size {
        lines.field("size", bytes(size));
    }
    if let Some(mime) = &shown.mime {
        lines.field("type", mime);
    }
    for path in &shown.paths {
        lines.field("path", path);
    }
    if shown.paths.is_empty() {
        lines.field("path", "none any more");
    }
    if shown.plugins.is_empty() {
        lines.line("No plugin has written about it yet.");
        return;
    }
    lines.line("");
    let mut table = Table::new(&[
        "PLUGIN", "STATUS", "VERSION", ">KEYS", ">ATTEMPT", ">MS", "FINISHED", "NOTE",
    ]);
    let now = Timestamp::now();
    for (plugin, outcome) in &shown.plugins {
        table.row([
            plugin.to_string(),
            outcome.status.to_owned(),
            outcome.version.clone(),
            outcome.keys.to_string(),
            outcome.attempt.to_string(),
            outcome.duration_ms.to_string(),
            ago(&outcome.finished_at, now),
            short(outcome.note.as_deref().unwrap_or_default(), 80),
        ]);
    }
    lines.table(&table);
}
