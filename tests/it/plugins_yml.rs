//! `plugins.yml`: the decoder, the schema and the document say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use coordinator::config::plugins::schema::schema;
use coordinator::config::{PluginsFile, Vars};
use serde_json::{Value, json};

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
        ("fleet", &amounts, "fleet"),
        ("routes.NAME", &routes, "set"),
        ("routes.NAME.when", &routes, "condition"),
        ("routes.NAME.resources", &amounts, "set_resource"),
    ] {
        decoded.remove(field);
        let parts = arms(source, function)?;
        assert!(parts.len() > 1, "{field}: {parts:?}");
        decoded.extend(parts.iter().map(|part| format!("{field}.{part}")));
    }
    // Words of `type`, which are no fields.
    decoded.retain(|name| !["container", "internal"].contains(&name.as_str()));
    decoded.extend(["plugins", "routes.NAME"].map(str::to_owned));
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

/// Entries that are right.
fn good() -> Vec<Value> {
    vec![
        json!(null),
        json!({}),
        json!({"enabled": false}),
        json!({"runtime": "remote"}),
        json!({"runtime": "internal"}),
        json!({"type": "internal"}),
        json!({"type": "container", "image": "i"}),
        json!({"isolation": "off"}),
        json!({"runtime": "docker", "image": "i"}),
        json!({"protocol": "http", "command": ["x"], "url": "http://127.0.0.1:81"}),
        json!({"protocol": "http", "runtime": "remote", "urls": ["http://h:1", "http://h:2"]}),
        json!({"command": ["x", "-v"], "dir": "../x"}),
        json!({"instances": 1000}),
        json!({"runtime": "internal"}),
        json!({"type": "internal"}),
        json!({"type": "container", "image": "i"}),
        json!({"isolation": "off"}),
        json!({"mounts": ["/a:/a:rw"], "permissions": ["filesystem.write"]}),
        json!({"scale": {"max": 3}}),
        json!({"scale": {"min": 0, "max": 4}}),
        json!({"image": "i", "scale": {"min": 2, "max": 2}}),
        json!({"concurrency": 4, "maxInFlight": 9, "queue": "background", "timeout": 1}),
        json!({"retry": {}}),
        json!({"retry": {"maxAttempts": 1, "backoff": "fixed", "initialDelay": 0, "maxDelay": 5}}),
        json!({"retry": {"delaysMs": [1, 2]}}),
        json!({"onDependencyFailure": "skip", "permissions": ["root"]}),
        json!({"resources": {"memory": "512m"}}),
        json!({"image": "i", "resources": {"memory": 1024, "cpus": 0.5}}),
        json!({"resources": null, "config": null}),
        json!({"config": {"a": {"b": [1, null]}}}),
        json!({"image": "i", "mounts": ["/a:/b", "m:/n:rw", "/c:/d:ro"], "labels": {"a": "b"}}),
        json!({"transition": "blue-green"}),
        json!({"transition": {"how": "gradual", "steps": [5, 50], "minTasks": 0, "minSeconds": 9}}),
        json!({"routes": null}),
        json!({"transition": "graceful", "routes": {"gpu": {"when": {"minSize": "4g"}}}}),
        json!({"routes": {
            "gpu": {"runtime": "remote", "when": {"libraries": ["/m"], "mimeTypes": ["video/*"]}},
            "big": {"instances": 2, "resources": {"memory": "8g"}, "when": {"minSize": 1, "maxSize": 9}},
            "e-1": {"when": {"extensions": ["mkv"]}},
        }}),
    ]
}

/// Entries that are wrong, and the rule they break.
fn bad() -> Vec<(Value, &'static str)> {
    vec![
        (json!(7), "must be a map of fields"),
        (json!([]), "must be a map of fields"),
        (json!({"enabled": 1}), "`enabled` must be"),
        (json!({"enabled": "maybe"}), "`enabled` must be"),
        (json!({"runtime": "vm"}), "`runtime` must be"),
        (json!({"protocol": "grpc"}), "`protocol` must be"),
        (json!({"url": 5}), "an address must be"),
        (json!({"urls": "http://h:1"}), "`urls` must be"),
        (
            json!({"protocol": "http", "runtime": "remote", "url": "http://h:1", "urls": ["http://h:1"]}),
            "only one of them",
        ),
        (json!({"command": "x"}), "`command` must be"),
        (json!({"command": []}), "`command` must be"),
        (json!({"dir": 5}), "`dir` must be"),
        (json!({"instances": 0}), "`instances` must be"),
        (json!({"instances": 1001}), "`instances` must be"),
        (json!({"instances": "2"}), "`instances` must be"),
        (json!({"instances": 1, "scale": {"max": 2}}), "only one of them"),
        (json!({"scale": 3}), "`scale` must be a map of fields (min, max)"),
        (json!({"scale": {"min": -1, "max": 2}}), "`scale`: `min` must be"),
        (json!({"scale": {"min": 1.5, "max": 2}}), "`scale`: `min` must be"),
        (json!({"scale": {"max": 0}}), "`scale`: `max` must be"),
        (json!({"scale": {"max": 1001}}), "`scale`: `max` must be"),
        (json!({"scale": {"max": 2, "most": 3}}), "`scale`: unknown field `most`"),
        (json!({"concurrency": 0}), "`concurrency` must be"),
        (json!({"maxInFlight": "many"}), "`maxInFlight` must be"),
        (json!({"queue": "slow"}), "`queue` must be"),
        (json!({"timeout": 0}), "`timeout` must be"),
        (json!({"timeout": 604_800_001}), "`timeout` must be"),
        (json!({"retry": 3}), "`retry` must be"),
        (json!({"retry": {"maxAttempts": 0}}), "`retry`: `maxAttempts` must be"),
        (json!({"retry": {"backoff": "linear"}}), "`retry`: `backoff` must be"),
        (json!({"retry": {"initialDelay": -1}}), "`retry`: `initialDelay` must be"),
        (json!({"retry": {"maxDelay": "1s"}}), "`retry`: `maxDelay` must be"),
        (json!({"retry": {"delaysMs": 5}}), "`retry`: `delaysMs` must be"),
        (json!({"retry": {"times": 5}}), "`retry`: unknown field `times`"),
        (json!({"onDependencyFailure": "stop"}), "`onDependencyFailure` must be"),
        (json!({"resources": {"memory": "1.5g"}}), "`resources`: `memory` must be"),
        (json!({"resources": {"memory": 0}}), "`resources`: `memory` must be"),
        (json!({"resources": {"cpus": 0}}), "`resources`: `cpus` must be"),
        (json!({"resources": {"gpus": 1}}), "`resources`: unknown field `gpus`"),
        (json!({"image": 5}), "`image` must be"),
        (json!({"config": "x"}), "`config` must be"),
        (json!({"permissions": "all"}), "`permissions` must be"),
        (json!({"image": "i", "mounts": ["/a"]}), "`mounts` must be"),
        (json!({"image": "i", "mounts": ["/a:/b:x"]}), "`mounts` must be"),
        (json!({"image": "i", "labels": {"metafleet.id": "x"}}), "`labels` must be"),
        (json!({"transition": "slowly"}), "`transition` must be"),
        (json!({"transition": ["gradual"]}), "`transition` must be"),
        (json!({"transition": {"how": "slowly"}}), "`transition`: `how` must be"),
        (json!({"transition": {"how": "gradual", "steps": [0]}}), "`transition`: `steps` must be"),
        (json!({"transition": {"how": "gradual", "minTasks": -1}}), "`minTasks` must be"),
        (json!({"transition": {"stages": [50]}}), "`transition`: unknown field `stages`"),
        (json!({"routes": ["gpu"]}), "`routes` must be a map"),
        (json!({"routes": {"gpu": 1}}), "`gpu` must be a map of fields"),
        (json!({"routes": {"gpu": {}}}), "`gpu` needs a `when`"),
        (json!({"routes": {"gpu": {"when": {}}}}), "`gpu` needs a `when`"),
        (json!({"routes": {"next": {"when": {"minSize": 1}}}}), "the name must be"),
        (json!({"routes": {"a_b": {"when": {"minSize": 1}}}}), "the name must be"),
        (json!({"routes": {"gpu": {"when": {"size": 1}}}}), "unknown field `size`"),
        (json!({"routes": {"gpu": {"when": {"minSize": 0}}}}), "`minSize` must be"),
        (json!({"routes": {"gpu": {"when": {"extensions": []}}}}), "`extensions` must be"),
        (json!({"routes": {"gpu": {"when": {"libraries": [""]}}}}), "`libraries` must be"),
        (json!({"routes": {"gpu": {"if": {}, "when": {"minSize": 1}}}}), "unknown field `if`"),
        (
            json!({"routes": {"gpu": {"runtime": "docker", "when": {"minSize": 1}}}}),
            "`runtime` must",
        ),
        (json!({"routes": {"gpu": {"instances": 0, "when": {"minSize": 1}}}}), "`instances` must"),
        (json!({"isolation": "maybe"}), "`isolation` must be"),
        (json!({"type": "vm"}), "`type` must be"),
        (json!({"runtime": "internal", "type": "internal"}), "only one of them"),
        (json!({"instance": 2}), "unknown field `instance`"),
    ]
}

/// What only the decoder finds.
fn beyond() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"scale": {"min": 3, "max": 2}}), "`scale`: `min` must not be above `max`"),
        (json!({"scale": {}}), "`scale` needs a `max`"),
        (json!({"runtime": "remote", "scale": {"max": 2}}), "`scale` is for processes and"),
        (
            json!({"protocol": "http", "command": ["x"], "scale": {"max": 2}}),
            "`scale` is not for `protocol: http`",
        ),
        (
            json!({"transition": {"how": "gradual", "steps": [50, 10]}}),
            "`transition`: `steps` must be rising",
        ),
        (json!({"transition": {"how": "graceful", "steps": [50]}}), "is for `how: gradual`"),
        (
            json!({"transition": "gradual", "routes": {"gpu": {"when": {"minSize": 1}}}}),
            "`routes` and `transition: gradual` cannot be had together",
        ),
        (
            json!({"image": "i", "routes": {"gpu": {"instances": 1, "when": {"minSize": 1}}}}),
            "`instances` are for plugins that run as processes",
        ),
        (
            json!({"routes": {"gpu": {"instances": 1, "runtime": "remote", "when": {"minSize": 1}}}}),
            "only one of them",
        ),
        (json!({"runtime": "docker"}), "needs an `image`"),
        (json!({"runtime": "internal", "command": ["x"]}), "a built-in plugin is none"),
        (json!({"runtime": "remote", "isolation": "off"}), "`isolation` is for processes"),
        (json!({"mounts": ["/a:/b"]}), "a process sees folders where they are"),
        (json!({"labels": {"a": "b"}}), "are for containers"),
        (json!({"image": "${NOT_SET}"}), "the variable `NOT_SET` is not set"),
        (json!({"resources": {"cpus": 1}}), "`cpus` does not limit a process"),
        (json!({"url": "http://127.0.0.1:1"}), "`url` is for `protocol: http`"),
        (json!({"protocol": "http", "runtime": "remote"}), "`url` is needed"),
    ]
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
