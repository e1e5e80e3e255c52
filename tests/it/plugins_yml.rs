//! `plugins.yml`: the decoder, the schema and the document say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use coordinator::config::plugins::schema::schema;
use coordinator::config::{PluginsFile, Vars};
use serde_json::{Value, json};

use self::cases::{bad, beyond, good};

mod cases;

struct NoVars;

impl Vars for NoVars {
    fn get(&self, name: &str) -> Option<String> {
        (name == "N").then(|| "2".to_owned())
    }

    fn with_prefix(&self, _prefix: &str) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the decoder says of a file; JSON is YAML.
fn problems(file: &str) -> Vec<String> {
    match PluginsFile::parse(Path::new("plugins.yml"), file, &NoVars) {
        Ok(file) => file.problems.iter().map(ToString::to_string).collect(),
        Err(problem) => vec![problem.to_string()],
    }
}

/// The fields of a schema, with those below them as `field.part`.
fn fields(schema: &Value, under: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let parts = fields(schema, &format!("{under}{name}."));
        // A map whose names a person chooses.
        let named = &schema["additionalProperties"];
        if named["properties"].is_object() && schema["properties"].is_null() {
            all.extend(fields(named, &format!("{under}{name}.NAME.")));
        } else if parts.is_empty() {
            all.insert(format!("{under}{name}"));
        } else {
            all.extend(parts);
        }
    }
    all
}

fn all_fields() -> BTreeSet<String> {
    let schema = schema();
    let mut all = fields(&schema, "");
    all.extend(fields(&schema["$defs"]["plugin"], ""));
    all
}

#[test]
fn the_schema_on_file_is_that_of_the_program() -> anyhow::Result<()> {
    let path = root().join("broker-config/schema/plugins.schema.json");
    let now = serde_json::to_string_pretty(&schema())? + "\n";
    if std::env::var_os("UPDATE_FILES").is_some() {
        std::fs::write(&path, &now)?;
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(file, now, "run with UPDATE_FILES=1 and look at the difference");
    Ok(())
}

/// The names that a function of the decoder knows: `"name" => …`.
fn arms(source: &str, function: &str) -> anyhow::Result<BTreeSet<String>> {
    let (_, body) = source.split_once(&format!("fn {function}(")).context("a function")?;
    let body = body.split_once("\n}\n").context("its end")?.0;
    let arms = body.lines().filter_map(|line| {
        let (name, _) = line.trim().strip_prefix('"')?.split_once("\" => ")?;
        Some(name.to_owned())
    });
    Ok(arms.collect())
}

#[test]
fn every_field_of_the_decoder_is_in_the_schema_and_no_other() -> anyhow::Result<()> {
    let folder = root().join("coordinator/src/config/plugins");
    let decode = std::fs::read_to_string(folder.join("decode.rs"))?;
    let amounts = std::fs::read_to_string(folder.join("decode/amounts.rs"))?;
    let routes = std::fs::read_to_string(folder.join("decode/routes.rs"))?;
    let mut decoded = arms(&decode, "set")?;
    for (field, source, function) in [
        ("retry", &decode, "set_retry"),
        ("resources", &amounts, "set_resource"),
        ("scale", &amounts, "scale"),
        ("recycle", &amounts, "recycle"),
        ("fleet", &amounts, "fleet"),
        ("routes.NAME", &routes, "set"),
        ("routes.NAME.when", &routes, "condition"),
        ("routes.NAME.resources", &amounts, "set_resource"),
    ] {
        decoded.remove(field);
        let parts = arms(source, function)?;
        assert!(!parts.is_empty(), "{field}: {parts:?}");
        decoded.extend(parts.iter().map(|part| format!("{field}.{part}")));
    }
    // Words of `type`, which are no fields.
    decoded.retain(|name| !["container", "internal"].contains(&name.as_str()));
    decoded.insert("plugins".to_owned());
    decoded.remove("routes");
    assert!(decoded.len() >= 30, "{decoded:?}");
    assert_eq!(decoded, all_fields());
    Ok(())
}

#[test]
fn every_field_has_its_row_in_the_document() -> anyhow::Result<()> {
    let document = std::fs::read_to_string(root().join("plugins/README.md"))?;
    let (_, table) = document.split_once("<!-- plugins.yml -->").context("the table")?;
    let rows = table.trim_start().lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut found = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        let name = cells[0].trim_matches('`').to_owned();
        assert!(found.insert(name), "twice: {row}");
    }
    assert_eq!(found, all_fields());
    Ok(())
}

#[test]
fn the_example_of_the_document_is_valid() -> anyhow::Result<()> {
    let document = std::fs::read_to_string(root().join("plugins/README.md"))?;
    let (_, rest) =
        document.split_once("```yaml\n# yaml-language-server").context("the example")?;
    let example = rest.split_once("```").context("its end")?.0;
    let example = example.replace("${WHISPER_KEY}", "x");
    assert_eq!(problems(&format!("#{example}")), Vec::<String>::new());
    let named = example.split_once("$schema=").and_then(|(_, rest)| rest.split_once('\n'));
    assert!(root().join(named.context("a schema")?.0).exists());
    Ok(())
}

#[test]
fn the_schema_and_the_decoder_judge_alike() -> anyhow::Result<()> {
    let validator = jsonschema::validator_for(&schema())?;
    let file = |entry: &Value| json!({"plugins": {"x": entry}});
    for entry in good() {
        let file = file(&entry);
        assert_eq!(problems(&file.to_string()), Vec::<String>::new(), "{entry}");
        let error = validator.validate(&file).err().map(|error| error.to_string());
        assert_eq!(error, None, "{entry}");
    }
    for (is_in_schema, entries) in [(true, bad()), (false, beyond())] {
        for (entry, rule) in entries {
            let file = file(&entry);
            let told = problems(&file.to_string());
            let is_told = told.iter().any(|problem| {
                problem.starts_with("plugins.yml:1: plugin `x`: ") && problem.contains(rule)
            });
            assert!(is_told && told.len() == 1, "{entry}: {told:?}");
            assert_eq!(validator.is_valid(&file), !is_in_schema, "{entry}");
        }
    }
    Ok(())
}

#[test]
fn what_stands_beside_the_plugins_is_judged_alike() -> anyhow::Result<()> {
    let validator = jsonschema::validator_for(&schema())?;
    for (file, rule) in [
        (json!({}), None),
        (json!(null), None),
        (json!({"plugins": null, "x-own": [1]}), None),
        (json!({"fleet": {"maxCpus": 1.5, "maxMemory": "2g"}}), None),
        (json!({"fleet": null, "plugins": {}}), None),
        (
            json!({"plugins": {}, "fleet": 3}),
            Some("`fleet` must be a map of fields (maxCpus, maxMemory)"),
        ),
        (
            json!({"plugins": {}, "fleet": {"maxCpus": 0}}),
            Some("`maxCpus` must be a number above 0"),
        ),
        (json!({"plugins": {}, "fleet": {"maxMemory": "much"}}), Some("`maxMemory` must be bytes")),
        (json!({"plugins": {}, "fleet": {"cpus": 1}}), Some("unknown field `cpus`")),
        (json!({"plugins": {}, "fleets": {}}), Some("unknown field `fleets`")),
        (json!({"plugins": []}), Some("`plugins` must map")),
        (json!([]), Some("must begin with `plugins:`")),
        (json!({"plugins": {"Bad": {}}}), Some("the id must be 1 to 64 characters")),
        (json!({"plugins": {"-a": {}}}), Some("the id must be 1 to 64 characters")),
        (json!({"plugins": {"user": {}}}), Some("kept for the person's own edits")),
        (json!({"plugins": {"coordinator": {}}}), Some("kept for the coordinator's login")),
    ] {
        let told = problems(&file.to_string());
        match rule {
            None => assert!(told.is_empty(), "{file}: {told:?}"),
            Some(rule) => {
                assert!(matches!(&told[..], [one] if one.contains(rule)), "{file}: {told:?}");
            }
        }
        assert_eq!(validator.is_valid(&file), rule.is_none(), "{file}");
    }
    Ok(())
}

#[test]
fn a_variable_may_stand_where_no_text_may() -> anyhow::Result<()> {
    let validator = jsonschema::validator_for(&schema())?;
    for (line, value) in [
        ("instances: ${N}", json!({"instances": "${N}"})),
        ("enabled: ${OFF:-false}", json!({"enabled": "${OFF:-false}"})),
        ("queue: ${Q:-fast}", json!({"queue": "${Q:-fast}"})),
        (
            "scale:\n      min: ${LEAST:-0}\n      max: ${N}",
            json!({"scale": {"min": "${LEAST:-0}", "max": "${N}"}}),
        ),
        ("resources:\n      memory: ${N}g", json!({"resources": {"memory": "${N}g"}})),
        ("timeout: ${N}000", json!({"timeout": "${N}000"})),
    ] {
        assert_eq!(problems(&format!("plugins:\n  x:\n    {line}\n")), Vec::<String>::new());
        assert!(validator.is_valid(&json!({"plugins": {"x": value}})), "{line}");
    }
    assert_eq!(problems("fleet:\n  maxCpus: ${N}\n"), Vec::<String>::new());
    assert!(validator.is_valid(&json!({"fleet": {"maxCpus": "${N}"}})));
    Ok(())
}

#[test]
fn each_rule_is_told_with_file_and_line() {
    for (text, told) in [
        (
            "plugins:\n  x:\n    scale:\n      min: 3\n      max: 2\n",
            "plugins.yml:3: plugin `x`: `scale`: `min`",
        ),
        (
            "plugins:\n  x:\n    scale:\n      min: few\n      max: 2\n",
            "plugins.yml:4: plugin `x`: `scale`: `min`",
        ),
        ("plugins:\n  x:\n    scale: {}\n", "plugins.yml:3: plugin `x`: `scale` needs a `max`"),
        (
            "plugins:\n  x:\n    instances: 1\n    scale: {max: 2}\n",
            "plugins.yml:4: plugin `x`: `instances` and",
        ),
        ("plugins: {}\n\nfleet:\n  maxCpus: none\n", "plugins.yml:4: `fleet`: `maxCpus` must be"),
        ("plugins: {}\nfleet:\n  maxMemory: ${NOT_SET}\n", "plugins.yml:3: the variable `NOT_SET`"),
        ("fleet: []\n", "plugins.yml:1: `fleet` must be a map"),
        (
            "plugins:\n  x:\n    retry:\n      delaysMs: 5\n",
            "plugins.yml:4: plugin `x`: `retry`: `delaysMs`",
        ),
        (
            "plugins:\n  x:\n    resources:\n      cpus: 0\n",
            "plugins.yml:4: plugin `x`: `resources`: `cpus`",
        ),
        (
            "plugins:\n  x:\n    routes:\n      gpu:\n        when:\n          minSize: soon\n",
            "plugins.yml:6: plugin `x`: `routes`: `gpu`: `when`: `minSize` must be bytes",
        ),
        (
            "plugins:\n  x: {}\n  y:\n    nope: 1\n",
            "plugins.yml:4: plugin `y`: unknown field `nope`",
        ),
    ] {
        let found = problems(text);
        assert!(matches!(&found[..], [one] if one.starts_with(told)), "{text}: {found:?}");
    }
}
