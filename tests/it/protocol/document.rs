//! Reads PROTOCOL.md: its examples and its tables, each marked by a comment in front of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use broker_config::wire::instance::Instance;
use broker_config::wire::plugin::PluginEntry;
use broker_config::wire::signal::ControlReply;
use broker_config::wire::{event::Event, record::Record};
use broker_config::{
    Announce, AnnounceReply, Control, DeadLetter, Manifest, Signal, Submission, Task, schema,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The text of the protocol.
pub(super) const TEXT: &str = include_str!("../../../broker-config/PROTOCOL.md");

/// Tables by the comment in front of them; several may have the same one.
pub(super) fn tables(kind: &str) -> BTreeMap<&'static str, Vec<Vec<&'static str>>> {
    let mut found = BTreeMap::new();
    let lines: Vec<&str> = TEXT.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(marked) = comment(line) else { continue };
        let (what, name) = marked.split_once(": ").unwrap_or((marked, ""));
        if what != kind {
            continue;
        }
        let rows = lines[at + 1..].iter().take_while(|line| line.starts_with('|'));
        // The first row names the columns, the second is a line.
        found.insert(name, rows.skip(2).map(|row| cells(row)).collect());
    }
    found
}

/// The one table of this kind.
pub(super) fn table(kind: &str) -> anyhow::Result<Vec<Vec<&'static str>>> {
    let mut found = tables(kind);
    anyhow::ensure!(found.len() == 1, "{} tables are marked `{kind}`", found.len());
    found.pop_first().map(|(_, rows)| rows).context("no table")
}

fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// What stands between the first pair of backticks.
pub(super) fn code(cell: &str) -> anyhow::Result<&str> {
    cell.split('`').nth(1).with_context(|| format!("no `code` in {cell}"))
}

/// Every JSON block with the schema that it names.
fn examples() -> anyhow::Result<Vec<(&'static str, &'static str)>> {
    let mut examples = Vec::new();
    let mut before = "";
    let mut parts = TEXT.split("```json\n");
    for (number, part) in parts.by_ref().enumerate() {
        if number > 0 {
            let (body, _) = part.split_once("\n```").context("a block has no end")?;
            let name = before.trim_end().lines().last().and_then(comment);
            let name = name.and_then(|marked| marked.strip_prefix("example: "));
            examples.push((name.with_context(|| format!("no schema is named for {body}"))?, body));
        }
        before = part;
    }
    Ok(examples)
}

fn reads<T: DeserializeOwned>(body: &str) -> anyhow::Result<()> {
    serde_json::from_str::<T>(body).map(drop).context("it does not deserialise")
}

fn deserialises(name: &str, body: &str) -> anyhow::Result<()> {
    match name {
        "announce" => reads::<Announce>(body),
        "announce-reply" => reads::<AnnounceReply>(body),
        "control" => reads::<Control>(body),
        "control-reply" => reads::<ControlReply>(body),
        "dead" => reads::<DeadLetter>(body),
        "event" => reads::<Event>(body),
        "instance" => reads::<Instance>(body),
        "manifest" => reads::<Manifest>(body),
        "plugin" => reads::<PluginEntry>(body),
        "record" => reads::<Record>(body),
        "signal" => reads::<Signal>(body),
        "submission" => reads::<Submission>(body),
        "task" => reads::<Task>(body),
        other => bail!("there is no message {other}"),
    }
}

#[test]
fn every_example_fits_its_schema_and_its_type() -> anyhow::Result<()> {
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, body) in examples()? {
        let path =
            format!("{}/../broker-config/schema/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let schema = std::fs::read(&path).with_context(|| path.clone())?;
        let validator = jsonschema::validator_for(&serde_json::from_slice(&schema)?)?;
        let value: Value = serde_json::from_str(body).with_context(|| body.to_owned())?;

        let problems: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();

        assert!(problems.is_empty(), "{name}: {problems:?} in {body}");
        deserialises(name, body).with_context(|| format!("{name}: {body}"))?;
        *shown.entry(name).or_default() += 1;
    }
    for (name, _) in schema::all() {
        assert!(shown.contains_key(name), "there is no example of {name}");
    }
    Ok(())
}

#[test]
fn every_kind_of_signal_and_answer_has_an_example() -> anyhow::Result<()> {
    for (name, schema) in schema::all() {
        // Events have a table, most controls nothing but their name.
        for (kind, _) in variants(&schema).filter(|_| ["signal", "announce-reply"].contains(&name))
        {
            let shown = examples()?.into_iter().any(|(of, body)| {
                of == name && body.contains(&format!("\"{}\": \"{kind}\"", tag(&schema)))
            });
            assert!(shown, "there is no example of {name} {kind}");
        }
    }
    Ok(())
}

/// The variants of a message that has several, by name.
pub(super) fn variants(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let tag = tag(schema);
    let all = schema["oneOf"].as_array().into_iter().flatten();
    all.filter_map(move |variant| Some((variant["properties"][tag]["const"].as_str()?, variant)))
}

/// The field that tells variants apart.
pub(super) fn tag(schema: &Value) -> &'static str {
    let first = &schema["oneOf"][0]["properties"];
    ["kind", "status", "action", "event"]
        .into_iter()
        .find(|tag| first[tag]["const"].is_string())
        .unwrap_or("kind")
}
