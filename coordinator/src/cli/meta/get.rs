//! `metafleet meta get CID|PATH`

use std::collections::BTreeMap;

use broker_config::meta::matches_pattern;
use broker_config::{MetaKey, MetaValue};
use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::{Format, compact};
use super::super::session;
use super::super::table::Table;
use super::GetArgs;
use crate::merge::{Merged, Provenance, view};

#[derive(Serialize)]
struct Told<'a> {
    value: &'a MetaValue,
    from: &'a [Provenance],
}

#[derive(Serialize)]
struct Line<'a> {
    key: &'a MetaKey,
    value: &'a MetaValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a [Provenance]>,
}

pub(crate) async fn run(app: &App, args: &GetArgs) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let cid = args.file.cid(&session.store).await?;
        let mut merged = view(&session.store.sources(&cid).await?);
        if let Some(wanted) = &args.key {
            merged.retain(|key, _| key.as_str() == wanted || matches_pattern(wanted, key.as_str()));
            if merged.is_empty() {
                let what = format!("`{}` has no key `{wanted}`", args.file.shown());
                return Err(Failure::not_found(what).advise("without --key all keys are shown"));
            }
        }
        if app.out.format == Format::Ndjson {
            for (key, Merged { value, from }) in &merged {
                let from = args.provenance.then_some(from.as_slice());
                app.out.line(&compact(&Line { key, value, from })?)?;
            }
        } else if args.provenance {
            with_provenance(app, &merged)?;
        } else {
            plain(app, &merged, args.key.as_deref())?;
        }
        Ok(Exit::Ok)
    })
    .await
}

fn plain(
    app: &App,
    merged: &BTreeMap<MetaKey, Merged>,
    wanted: Option<&str>,
) -> Result<(), Failure> {
    let flat: BTreeMap<_, _> = merged.iter().map(|(key, merged)| (key, &merged.value)).collect();
    app.out.document(&flat, |lines| {
        // One key was asked for by name: its value alone, for scripts.
        if let (1, Some((key, value))) = (flat.len(), flat.first_key_value())
            && wanted == Some(key.as_str())
        {
            lines.line(&value.to_flat());
            return;
        }
        let mut table = Table::new(&["KEY", "VALUE"]);
        for (key, value) in &flat {
            table.row([key.to_string(), shown(value)]);
        }
        lines.table(&table);
    })
}

fn with_provenance(app: &App, merged: &BTreeMap<MetaKey, Merged>) -> Result<(), Failure> {
    let told: BTreeMap<_, _> = merged
        .iter()
        .map(|(key, merged)| (key, Told { value: &merged.value, from: &merged.from }))
        .collect();
    app.out.document(&told, |lines| {
        let mut table = Table::new(&["KEY", "VALUE", "FROM", "VERSION", ">REVISION", "TIME"]);
        for (key, merged) in merged {
            for (at, from) in merged.from.iter().enumerate() {
                let (key, value) = match at {
                    0 => (key.to_string(), shown(&merged.value)),
                    _ => (String::new(), String::new()),
                };
                let version = from.version.clone();
                let (plugin, at) = (from.plugin.to_string(), from.at.clone());
                table.row([key, value, plugin, version, from.revision.to_string(), at]);
            }
        }
        lines.table(&table);
    })
}

/// A value for people.
fn shown(value: &MetaValue) -> String {
    match value {
        MetaValue::Text(text) => text.clone(),
        MetaValue::Set(values) => values.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        MetaValue::Json(json) => json.to_string(),
    }
}
