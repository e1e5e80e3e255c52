//! The tables of PROTOCOL.md beside what the code says.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::wire::instance::{HEARTBEAT_MS, MISSED_HEARTBEATS};
use broker_config::wire::signal::{ANNOUNCE, MAX_TEXT_BYTES};
use broker_config::wire::submission::MAX_DEPTH;
use broker_config::{Artifact, Cid, InstanceId, Lane, Manifest, Names, PluginId, Queue};
use broker_config::{codec, header, manifest, meta, midhash, retry, schema, topology};
use serde_json::Value;

use super::document::{TEXT, code, table, tables, tag, variants};

/// Every object of every message: name → field → whether it must be there.
fn objects() -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut objects = BTreeMap::new();
    for (name, schema) in schema::all() {
        objects.insert(name.to_owned(), fields(&schema, ""));
        for (kind, variant) in variants(&schema).filter(|_| name != "event") {
            objects.insert(format!("{name}.{kind}"), fields(variant, tag(&schema)));
        }
        for (part, schema) in schema["$defs"].as_object().into_iter().flatten() {
            // These two are messages themselves.
            if !["Manifest", "Task"].contains(&part.as_str()) {
                objects.insert(part.clone(), fields(schema, ""));
            }
        }
    }
    objects.retain(|_, fields| !fields.is_empty());
    objects
}

fn fields(schema: &Value, without: &str) -> BTreeMap<String, bool> {
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&name.into()));
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .filter(|(name, _)| *name != without)
        .map(|(name, _)| (name.clone(), required(name)))
        .collect()
}

/// The manifest's schema lets everything be absent, so that its checks can name all that is.
fn required_in_a_manifest() -> BTreeSet<String> {
    let missing = Manifest::from_json("{}").err().map(|error| error.reasons).unwrap_or_default();
    missing
        .iter()
        .filter_map(|reason| reason.strip_suffix(": is required"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_field_of_every_message_has_its_row() -> anyhow::Result<()> {
    let documented = tables("fields");
    for (object, mut expected) in objects() {
        let rows = documented.get(object.as_str()).cloned().unwrap_or_default();
        let mut found = BTreeMap::new();
        for row in rows {
            assert_eq!(row.len(), 4, "{object}: {row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{object}: {row:?}");
            found.insert(code(row[0])?.to_owned(), row[3] == "required");
        }
        if object == "manifest" {
            let required = required_in_a_manifest();
            assert_eq!(required.len(), 6);
            expected.iter_mut().for_each(|(name, must)| *must = required.contains(name));
        }
        assert_eq!(found, expected, "{object}: field → required");
    }
    let objects = objects();
    for object in documented.keys() {
        assert!(objects.contains_key(*object), "there is no {object}");
    }
    Ok(())
}

#[test]
fn every_event_has_its_row_and_its_fields() -> anyhow::Result<()> {
    let mut expected = BTreeMap::new();
    for (name, schema) in schema::all().iter().filter(|(name, _)| *name == "event") {
        for (event, variant) in variants(schema) {
            expected.insert(event.to_owned(), fields(variant, tag(schema)));
        }
        assert_eq!(*name, "event");
    }
    let mut found = BTreeMap::new();
    for row in table("events")? {
        let fields =
            row[2].split(", ").map(|field| Ok((code(field)?.to_owned(), !field.ends_with('?'))));
        found.insert(code(row[0])?.to_owned(), fields.collect::<anyhow::Result<_>>()?);
    }
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn every_action_has_its_row() -> anyhow::Result<()> {
    let schemas = schema::all();
    let control = schemas.iter().find(|(name, _)| *name == "control").map(|(_, schema)| schema);
    let expected: BTreeSet<&str> = control.into_iter().flat_map(variants).map(|(k, _)| k).collect();
    let rows = table("control")?;
    let found: BTreeSet<&str> = rows.iter().map(|row| code(row[0])).collect::<Result<_, _>>()?;
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn the_codec_makes_the_tokens_that_are_listed() -> anyhow::Result<()> {
    let rows = table("codec")?;
    assert!(rows.len() >= 8);
    for row in rows {
        let (text, token) = (code(row[0])?, code(row[1])?);
        let text = if text == "(empty)" { "" } else { text };
        assert_eq!(codec::encode(text.as_bytes()), token, "{text}");
        assert_eq!(codec::decode_text(token)?, text, "{token}");
    }
    for row in table("codec-refused")? {
        let token = code(row[0])?;
        assert!(codec::decode(token).is_err(), "{token}");
    }
    Ok(())
}

#[test]
fn content_ids_are_those_that_are_listed() -> anyhow::Result<()> {
    let rows = table("midhash")?;
    assert_eq!(rows.len(), 5);
    for row in rows {
        let size: usize = row[1].parse()?;
        let content: Vec<u8> = match row[0] {
            "nothing" => Vec::new(),
            "zeros" => vec![0; size],
            "`hello`" => b"hello".to_vec(),
            _ => (0..251).cycle().take(size).collect(),
        };
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), content)?;
        assert_eq!(midhash::of_file(file.path())?.as_str(), code(row[2])?, "{row:?}");
    }
    Ok(())
}

#[test]
fn names_are_those_that_are_listed() -> anyhow::Result<()> {
    let plugin: PluginId = "ffmpeg".parse()?;
    let instance: InstanceId = "ffmpeg-1".parse()?;
    let cid: Cid = "midhash256:ab".parse()?;
    let all = |prefix: &str| -> anyhow::Result<Vec<String>> {
        let names = Names::new(prefix.parse()?);
        Ok(vec![
            names.submit_stream(),
            names.task_stream(),
            names.signal_stream(),
            names.event_stream(),
            names.dead_stream(),
            names.advisory_stream(),
            names.records_bucket(),
            names.artifacts_bucket(),
            names.plugins_bucket(),
            names.instances_bucket(),
            names.config_bucket(),
            names.paths_bucket(),
            names.lease_bucket(),
            names.submit(Queue::Fast),
            names.task(Queue::Fast, &plugin, &cid),
            names.later(&plugin, &cid),
            Names::consumer(&plugin, Queue::Fast),
            names.task_in(Lane::Next, Queue::Fast, &plugin, &cid),
            names.later_in(Lane::Next, &plugin, &cid),
            Names::consumer_in(Lane::Next, &plugin, Queue::Fast),
            names.trial(&cid, &plugin),
            names.record(&cid, &plugin),
            names.records_of(&cid),
            names.artifact(&cid, &plugin, Lane::Main, &"still.jpg".parse()?),
            names.signal(&plugin, ANNOUNCE),
            names.signal(&plugin, "failed"),
            names.instance(&plugin, &instance),
            names.control(&plugin),
            names.control_instance(&plugin, &instance),
            names.event("file.settled"),
            names.dead(Queue::Fast, &plugin),
        ])
    };
    let rows = tables("names").remove("mf my-fleet").unwrap_or_default();
    for (column, prefix) in [(1, "mf"), (2, "my-fleet")] {
        let found: Vec<&str> =
            rows.iter().map(|row| code(row[column])).collect::<Result<_, _>>()?;
        assert_eq!(found, all(prefix)?, "{prefix}");
    }
    Ok(())
}

#[test]
fn an_artefact_is_described_as_listed() -> anyhow::Result<()> {
    let described = Artifact::of("still.jpg".parse()?, "image/jpeg", b"abc");

    let described = serde_json::to_value(described)?;

    let listed: Vec<&str> =
        table("artifact")?.iter().map(|row| code(row[0])).collect::<Result<_, _>>()?;
    let fields: BTreeSet<&str> =
        described.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), fields);
    // The example of FIPS 180-2.
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((&described["size"], &described["sha256"]), (&3.into(), &sum.into()));
    Ok(())
}

#[test]
fn headers_and_limits_are_those_of_the_code() -> anyhow::Result<()> {
    let headers = table("headers")?;
    for name in [
        header::EXPECTED_LAST_SUBJECT_SEQUENCE,
        header::EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT,
        header::MESSAGE_ID,
        header::ATTEMPTS_USED,
        header::DEAD_LETTER,
        header::SCHEDULE,
        header::SCHEDULE_TARGET,
        header::CONTENT_TYPE,
        header::KV_OPERATION,
        header::STATUS,
        header::TRACE_PARENT,
        header::TRACE_STATE,
    ] {
        let listed = headers.iter().any(|row| row[0].contains(&format!("`{name}`")));
        assert!(listed, "{name} is not in the table of headers");
    }
    let limits = table("limits")?;
    let lease_ms = topology::LEASE.as_millis();
    for (what, value) in [
        ("texts", format!("{MAX_TEXT_BYTES} bytes")),
        ("metadata key", format!("{} bytes", meta::MAX_KEY_BYTES)),
        ("attempt", format!("{} ms", manifest::DEFAULT_TIMEOUT_MS)),
        ("`-NAK`", format!("{} ms", retry::LONGEST_NAK.as_millis())),
        ("lease", format!("{lease_ms} ms")),
        ("sign of life", format!("every {HEARTBEAT_MS} ms")),
        ("sign of life", format!("after {} ms", HEARTBEAT_MS * u64::from(MISSED_HEARTBEATS))),
        ("files made", format!("{MAX_DEPTH} deep")),
    ] {
        let row = limits.iter().find(|row| row[0].contains(what) && row[1].contains(&value));
        assert!(row.is_some(), "{what}: {value}");
    }
    assert!(TEXT.contains(&format!("**{}**", header::WRONG_LAST_SEQUENCE)));
    Ok(())
}
