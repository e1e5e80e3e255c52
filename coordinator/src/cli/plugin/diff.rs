//! `metafleet plugin diff ID [FILE]`

use std::collections::BTreeMap;
use std::ffi::OsString;

use broker_config::{Cid, PluginId};
use clap::Args;
use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::Lines;
use super::super::session;
use super::super::table::{Table, short};
use crate::store::Store;
use crate::transition::diff::{FileDiff, Summary, compare, summary};

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The plugin's id
    pub(crate) id: PluginId,
    /// Only this file: its path or its content id
    pub(crate) file: Option<OsString>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    summary: Summary,
    /// Those that differ, by content id.
    files: BTreeMap<Cid, FileDiff>,
}

pub(crate) async fn run(app: &App, args: &DiffArgs) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let store = &session.store;
        let only = match &args.file {
            None => None,
            Some(file) => Some(store.find(file).await?.ok_or_else(|| {
                Failure::not_found(format!("{} is not known", file.to_string_lossy()))
            })?),
        };
        let mut all = diffs(store, &args.id).await?;
        if let Some(only) = &only {
            all.retain(|cid, _| cid == only);
        }
        if all.is_empty() {
            let what = format!("no outcome of a new version of {} is there to compare", args.id);
            return Err(Failure::not_found(what).advise(
                "`metafleet plugin transition ID --to VERSION --how blue-green --sample N` makes some",
            ));
        }
        let summary = summary(all.values());
        all.retain(|_, diff| !diff.is_empty());
        let shown = Shown { summary, files: all };
        app.out.document(&shown, |lines| show(lines, &shown))?;
        Ok(Exit::Ok)
    })
    .await
}

/// How what the version on trial has said differs, by file.
async fn diffs(store: &Store, id: &PluginId) -> Result<BTreeMap<Cid, FileDiff>, Failure> {
    let mut diffs = BTreeMap::new();
    for (cid, new) in store.trials(id).await? {
        // Without an outcome of the current version there is nothing to compare with yet.
        if let Some((_, old)) = store.records(&cid).await?.remove(id) {
            diffs.insert(cid, compare(&old, &new));
        }
    }
    Ok(diffs)
}

fn show(lines: &mut Lines, shown: &Shown) {
    for (cid, diff) in &shown.files {
        lines.title(cid.as_str());
        if let Some((old, new)) = diff.status {
            let error = diff.error.as_deref().unwrap_or_default();
            lines.line(&format!("! {} → {} {error}", old.as_str(), new.as_str()));
        }
        for (key, value) in &diff.added {
            lines.line(&format!("+ {key} = {}", short(value, 100)));
        }
        for key in diff.removed.keys() {
            lines.line(&format!("- {key}"));
        }
        for (key, (old, new)) in &diff.changed {
            lines.line(&format!("~ {key} = {} → {}", short(old, 60), short(new, 60)));
        }
    }
    if !shown.summary.keys.is_empty() {
        lines.line("");
        let mut table = Table::new(&["KEY", ">ADDED", ">REMOVED", ">CHANGED"]);
        for (key, (added, removed, changed)) in &shown.summary.keys {
            table.row([key.clone(), added.to_string(), removed.to_string(), changed.to_string()]);
        }
        lines.table(&table);
    }
    let Summary { compared, same, different, newly_failed, .. } = shown.summary;
    lines.line(&format!(
        "{compared} files compared: {same} the same, {different} different, {newly_failed} of them failed"
    ));
}
