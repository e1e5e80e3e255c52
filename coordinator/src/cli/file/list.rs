//! `metafleet file list`

use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::{Format, compact};
use super::super::session;
use super::super::table::{Table, bytes};
use super::ListArgs;
use crate::source::index::PathEntry;
use crate::source::root_path;
use crate::store::files::files_of;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    path: String,
    cid: String,
    size: u64,
    mime: String,
}

pub(crate) async fn run(app: &App, args: &ListArgs) -> Result<Exit, Failure> {
    let under = match &args.under {
        Some(dir) => Some(
            root_path(dir)
                .map_err(|error| Failure::usage(format!("{}: {error}", dir.display())))?,
        ),
        None => None,
    };
    let is_wanted =
        |entry: &PathEntry| under.as_ref().is_none_or(|dir| entry.path.starts_with(dir));
    session::with(app, async |session| {
        let mut cursor = session.store.path_cursor(None);
        let mut rows = Vec::new();
        let mut left = args.limit.unwrap_or(usize::MAX);
        while left > 0 {
            let found = cursor.read().await?;
            if found.is_empty() {
                break;
            }
            let wanted = files_of(&found).into_iter().filter(is_wanted);
            let page: Vec<Row> = wanted.filter_map(|entry| row(&entry)).take(left).collect();
            left -= page.len();
            // Lines can be printed as they come; a table and an array need all.
            if app.out.format == Format::Ndjson {
                for row in &page {
                    app.out.line(&compact(row)?)?;
                }
            } else {
                rows.extend(page);
            }
        }
        if app.out.format == Format::Ndjson {
            return Ok(Exit::Ok);
        }
        rows.sort_by(|a, b| a.path.cmp(&b.path));
        app.out.list(&rows, |lines| {
            let mut table = Table::new(&["PATH", ">SIZE", "TYPE", "CID"]);
            for row in &rows {
                table.row([row.path.clone(), bytes(row.size), row.mime.clone(), row.cid.clone()]);
            }
            lines.table(&table);
        })?;
        Ok(Exit::Ok)
    })
    .await
}

fn row(entry: &PathEntry) -> Option<Row> {
    let file = entry.file()?;
    Some(Row {
        path: entry.path.to_string_lossy().into_owned(),
        cid: file.cid.to_string(),
        size: file.size,
        mime: file.mime.clone(),
    })
}
