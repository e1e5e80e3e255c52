//! Rules about the sources themselves.

mod features;
mod planted;
mod sources;

use std::collections::BTreeMap;

use sources::{Source, all, root, text};

/// Longest source file, tests included.
const LONGEST: usize = 400;

/// Modules that decide and so hold no clock, no connection and no runtime, whether or not they say
/// so themselves.
const PURE: &[&str] = &[
    "broker-config/src/accounts.rs",
    "broker-config/src/accounts/plugin.rs",
    "broker-config/src/codec.rs",
    "broker-config/src/delivery.rs",
    "broker-config/src/filter.rs",
    "broker-config/src/id.rs",
    "broker-config/src/manifest.rs",
    "broker-config/src/manifest/data.rs",
    "broker-config/src/manifest/settings.rs",
    "broker-config/src/mask.rs",
    "broker-config/src/meta.rs",
    "broker-config/src/mime.rs",
    "broker-config/src/names.rs",
    "broker-config/src/queue.rs",
    "broker-config/src/retry.rs",
    "broker-config/src/topology.rs",
    "coordinator/src/conformance/judge.rs",
    "coordinator/src/conformance/report.rs",
    "coordinator/src/conformance/report/junit.rs",
    "coordinator/src/conformance/seen.rs",
    "coordinator/src/config/overrides.rs",
    "coordinator/src/config/overrides/change.rs",
    "coordinator/src/config/plugins/decode.rs",
    "coordinator/src/config/plugins/decode/amounts.rs",
    "coordinator/src/config/plugins/decode/routes.rs",
    "coordinator/src/config/plugins/routes.rs",
    "coordinator/src/config/plugins/schema.rs",
    "coordinator/src/config/substitute.rs",
    "coordinator/src/dispatcher.rs",
    "coordinator/src/doctor/broker.rs",
    "coordinator/src/docker/describe.rs",
    "coordinator/src/docker/digest.rs",
    "coordinator/src/docker/isolation.rs",
    "coordinator/src/docker/memory.rs",
    "coordinator/src/docker/naming.rs",
    "coordinator/src/docker/reconcile.rs",
    "coordinator/src/docker/wanted.rs",
    "coordinator/src/engine/judge.rs",
    "coordinator/src/engine/replies.rs",
    "coordinator/src/fingerprint.rs",
    "coordinator/src/fleet/scaling/mind.rs",
    "coordinator/src/fleet/scaling/pools.rs",
    "coordinator/src/graph.rs",
    "coordinator/src/graph/candidate.rs",
    "coordinator/src/http/api/query.rs",
    "coordinator/src/http/api/view.rs",
    "coordinator/src/http/api/view/instance.rs",
    "coordinator/src/limits.rs",
    "coordinator/src/merge.rs",
    "coordinator/src/nats_server/render.rs",
    "coordinator/src/operator/claims.rs",
    "coordinator/src/operator/conf.rs",
    "coordinator/src/operator/desk.rs",
    "coordinator/src/operator/issue.rs",
    "coordinator/src/operator/token.rs",
    "coordinator/src/process/reconcile.rs",
    "coordinator/src/process/restart.rs",
    "coordinator/src/process/wanted.rs",
    "coordinator/src/quarantine.rs",
    "coordinator/src/quarantine/ward.rs",
    "coordinator/src/registry.rs",
    "coordinator/src/route.rs",
    "coordinator/src/run.rs",
    "coordinator/src/run/adopt.rs",
    "coordinator/src/scale.rs",
    "coordinator/src/scale/cap.rs",
    "coordinator/src/scale/drain.rs",
    "coordinator/src/scale/number.rs",
    "coordinator/src/scale/recycle.rs",
    "coordinator/src/source/diff.rs",
    "coordinator/src/source/glob.rs",
    "coordinator/src/source/sidecar.rs",
    "coordinator/src/stats.rs",
    "coordinator/src/transition/admit.rs",
    "coordinator/src/transition/diff.rs",
    "coordinator/src/transition/judge.rs",
    "coordinator/src/transition/pick.rs",
    "coordinator/src/transition/plan.rs",
    "coordinator/src/transition/share.rs",
    "coordinator/src/transition/state.rs",
    "coordinator/src/transition/step.rs",
    "coordinator/src/usage.rs",
    "coordinator/src/usage/tree.rs",
    "plugins/audio-tags/src/tags.rs",
    "plugins/still-extractor/src/frame.rs",
    "plugins/still-extractor/src/plan.rs",
    "plugins/subtitle-extractor/src/settings.rs",
    "plugins/subtitle-extractor/src/stream.rs",
    "worker-sdk/shim/src/answer.rs",
    "worker-sdk/shim/src/answer/meta.rs",
    "worker-sdk/shim/src/budget.rs",
    "worker-sdk/shim/src/request.rs",
    "worker-sdk/shim/src/verdict.rs",
    "worker-sdk/shim/src/words.rs",
    "worker-sdk/src/share.rs",
    "worker-sdk/src/standing.rs",
];

/// What a module that decides does not mention.
const IMPURE: [&str; 9] = [
    "tokio::",
    "async_nats",
    "async fn",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "fastrand::u",
    "std::fs",
    "std::env",
];

/// Beginnings of names on the wire, and where they may be spelled; everything else asks
/// `broker_config::Names`.
const SPELLED: [(&str, &[&str]); 7] = [
    ("mf.", &["broker-config/src/names.rs"]),
    ("mf-", &["broker-config/src/names.rs"]),
    ("MF_", &["broker-config/src/names.rs"]),
    ("$KV.", &["broker-config/src/names.rs", "broker-config/src/topology.rs"]),
    ("KV_", &["broker-config/src/names.rs"]),
    (
        "$JS.ACK",
        &[
            "broker-config/src/accounts.rs",
            "broker-config/src/delivery.rs",
            "coordinator/src/conformance/stage/scene.rs",
            "coordinator/src/nats_server/render.rs",
        ],
    ),
    (
        "$JS.",
        &[
            "broker-config/src/accounts.rs",
            "broker-config/src/delivery.rs",
            "broker-config/src/names.rs",
            "broker-config/src/pull.rs",
            "broker-config/src/read.rs",
            "coordinator/src/conformance/stage/scene.rs",
            "coordinator/src/nats_server/child.rs",
            "coordinator/src/nats_server/render.rs",
            "coordinator/src/broker/api.rs",
            "coordinator/src/store/cursor.rs",
            "worker-sdk/src/pull.rs",
        ],
    ),
];

#[test]
fn no_source_file_is_longer_than_four_hundred_lines() -> anyhow::Result<()> {
    let long: Vec<String> = all(&["rs", "py", "sh", "go", "ts"])?
        .iter()
        .filter(|source| !source.is_generated())
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, path)| format!("{path}: {lines}"))
        .collect();
    assert_eq!(long, Vec::<String>::new());
    Ok(())
}

#[test]
fn modules_that_decide_have_no_clock_no_connection_and_no_runtime() -> anyhow::Result<()> {
    let sources = all(&["rs"])?;
    let missing: Vec<&&str> =
        PURE.iter().filter(|path| !sources.iter().any(|source| source.path == **path)).collect();
    assert!(missing.is_empty(), "moved or gone: {missing:?}");
    let says_so = |source: &&Source| {
        PURE.contains(&source.path.as_str())
            || source.text.lines().any(|line| {
                line.starts_with("//!") && (line.contains("PURE") || line.contains("; pure"))
            })
    };
    let mut found = Vec::new();
    for source in sources.iter().filter(says_so) {
        for word in IMPURE {
            if source.code().contains(word) {
                found.push(format!("{}: {word}", source.path));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
    Ok(())
}

#[test]
fn names_on_the_wire_are_spelled_in_one_place() -> anyhow::Result<()> {
    let mut found = Vec::new();
    for source in all(&["rs"])?.iter().filter(|source| source.is_product()) {
        for (beginning, places) in SPELLED {
            if places.contains(&source.path.as_str()) {
                continue;
            }
            let literal = format!("\"{beginning}");
            for line in source.code().lines().filter(|line| line.contains(&literal)) {
                found.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
    Ok(())
}

#[test]
fn modules_are_files_beside_their_folder() -> anyhow::Result<()> {
    let old: Vec<String> = all(&["rs"])?
        .into_iter()
        .map(|source| source.path)
        .filter(|path| path.ends_with("/mod.rs"))
        .collect();
    assert_eq!(old, Vec::<String>::new());
    Ok(())
}

#[test]
fn every_schema_is_a_json_schema_with_a_title() -> anyhow::Result<()> {
    let folder = root().join("broker-config/schema");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let schema: serde_json::Value = serde_json::from_str(&text(&path)?)?;
        assert!(jsonschema::validator_for(&schema).is_ok(), "{}", path.display());
        assert!(schema["title"].is_string(), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 12, "{seen}");
    Ok(())
}

#[test]
fn every_link_in_a_document_leads_to_a_file() -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for document in all(&["md"])? {
        let folder = root().join(&document.path);
        for link in links(&document.text) {
            let target = link.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:");
            if !target.is_empty()
                && !outside
                && !folder.parent().unwrap().join(target.replace("%20", " ")).exists()
            {
                broken.push(format!("{}: {link}", document.path));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
    Ok(())
}

/// The targets of `[text](target)`, code blocks left out.
fn links(document: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in document.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            links.extend(rest.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    links
}

#[test]
fn every_feature_is_shown_by_a_test_or_a_command_that_exists() -> anyhow::Result<()> {
    let features = features::read(&text(&root().join("tests/FEATURES.md"))?);
    let listed: BTreeMap<&str, usize> =
        features.iter().fold(BTreeMap::new(), |mut listed, feature| {
            *listed.entry(feature.id.as_str()).or_default() += 1;
            listed
        });
    let wanted = features::wanted()?;
    let missing: Vec<&String> =
        wanted.iter().filter(|id| !listed.contains_key(id.as_str())).collect();
    let twice: Vec<&&str> = listed.iter().filter(|(_, n)| **n > 1).map(|(id, _)| id).collect();
    assert!(missing.is_empty() && twice.is_empty(), "missing {missing:?}, twice {twice:?}");

    let known = features::Known::look()?;
    let mut problems = Vec::new();
    for feature in &features {
        if feature.shown_by.is_empty() {
            problems.push(format!("{}: nothing shows it", feature.id));
        }
        for evidence in &feature.shown_by {
            if let Err(problem) = known.check(evidence) {
                problems.push(format!("{}: {problem}", feature.id));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

#[test]
fn every_guarantee_and_every_control_is_shown_by_a_test_or_a_command_that_exists()
-> anyhow::Result<()> {
    let known = features::Known::look()?;
    let mut problems = Vec::new();
    for (document, least) in [("GUARANTEES.md", 15), ("SECURITY.md", 15)] {
        let text = text(&root().join(document))?;
        let mut shown = 0;
        for (what, evidence) in features::promises(&text) {
            if evidence.is_empty() {
                problems.push(format!("{document}: nothing shows `{what}`"));
            }
            shown += 1;
            for piece in evidence {
                if let Err(problem) = known.check(&piece) {
                    problems.push(format!("{document}: {what}: {problem}"));
                }
            }
        }
        assert!(shown >= least, "{document} has only {shown} rows");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}
