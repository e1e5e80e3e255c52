use serde_json::json;

use super::*;

fn manifest(id: &str, version: &str, dependencies: &[&str]) -> Manifest {
    let manifest = json!({
        "id": id, "name": id, "version": version, "priority": 20, "queue": "fast",
        "dataSchema": {}, "dependencies": dependencies,
        "configSchema": {"key": {"type": "string", "secret": true}},
    });
    Manifest::from_json(&manifest.to_string()).unwrap()
}

/// One that works with this version of MetaFleet and newer ones.
fn from(engine: &str) -> Manifest {
    let mut manifest = manifest("x", "1.0.0", &[]);
    manifest.min_engine_version = Some(engine.parse().unwrap());
    manifest
}

fn entry(manifest: Manifest) -> PluginEntry {
    PluginEntry {
        settings_hash: spec(&manifest, &PluginPolicy::default()).settings_hash,
        kind: PluginType::V1,
        manifest,
        enabled: true,
        managed: false,
        paused: false,
        registered_at: "then".into(),
    }
}

fn id(text: &str) -> PluginId {
    text.parse().unwrap()
}

#[test]
fn who_may_serve_and_why_not() {
    let entries = BTreeMap::from([
        (id("base"), entry(manifest("base", "1.0.0", &[]))),
        (id("loop"), entry(manifest("loop", "1.0.0", &["x"]))),
    ]);
    let policies = BTreeMap::from([
        (id("off"), PluginPolicy { disabled: true, ..PluginPolicy::default() }),
        (
            id("odd"),
            PluginPolicy {
                config: json!({"nokey": "hush"}).as_object().unwrap().clone(),
                ..PluginPolicy::default()
            },
        ),
    ]);
    let expected = BTreeSet::from([id("soon")]);
    let known = Known { entries: &entries, policies: &policies, expected: &expected, keeps: false };
    for (case, subject, manifest, reason) in [
        ("new", "x", manifest("x", "1.0.0", &["base"]), None),
        ("another's subject", "y", manifest("x", "1.0.0", &[]), Some("the subject of `y`")),
        ("disabled", "off", manifest("off", "1.0.0", &[]), Some("disabled in plugins.yml")),
        ("bad settings", "odd", manifest("odd", "1.0.0", &[]), Some("settings: nokey")),
        ("too old an engine", "x", from("999.0.0"), Some("needs MetaFleet 999.0.0 or newer, and")),
        ("cycle", "x", manifest("x", "1.0.0", &["loop"]), Some("x → loop → x")),
        ("itself", "x", manifest("x", "1.0.0", &["x"]), Some("x → x")),
        ("unknown", "x", manifest("x", "1.0.0", &["zz"]), Some("x → zz")),
        ("comes later", "x", manifest("x", "1.0.0", &["soon"]), None),
    ] {
        let decision = decide(&id(subject), &manifest, known, "now");
        match (decision, reason) {
            (Ok(_), None) => {}
            (Err(reasons), Some(reason)) => {
                let text = reasons.join("; ");
                assert!(text.contains(reason), "{case}: {text}");
                assert!(!text.contains("hush"), "{case}: {text}");
            }
            (decision, reason) => panic!("{case}: {decision:?}, expected {reason:?}"),
        }
    }
}

#[test]
fn which_version_is_on_record() {
    let at = |version: &str| manifest("p", version, &[]);
    for (case, announced, keeps, expected) in [
        ("the same", "1.1.0", false, None),
        ("newer", "1.2.0", false, Some("1.2.0")),
        ("one that waits", "1.0.0", true, None),
        ("one that is tried", "1.2.0", true, None),
        ("rolled back", "1.0.0", false, Some("1.0.0")),
    ] {
        let entries = BTreeMap::from([(id("p"), entry(at("1.1.0")))]);
        let (policies, expected_plugins) = (Policies::new(), BTreeSet::new());
        let known =
            Known { entries: &entries, policies: &policies, expected: &expected_plugins, keeps };
        let granted = decide(&id("p"), &at(announced), known, "now").unwrap();
        let version = granted.entry.map(|entry| entry.manifest.version.to_string());
        assert_eq!(version.as_deref(), expected, "{case}");
    }
}

#[test]
fn a_plugin_that_takes_part_again_is_registered_anew() {
    for (case, enabled, version, expected) in [
        ("the same", true, "1.0.0", None),
        ("another version", true, "2.0.0", Some("now")),
        ("was switched off", false, "1.0.0", Some("now")),
    ] {
        let present = PluginEntry { enabled, ..entry(manifest("p", "1.0.0", &[])) };
        let entries = BTreeMap::from([(id("p"), present)]);
        let (policies, expected_plugins) = (Policies::new(), BTreeSet::new());
        let known = Known {
            entries: &entries,
            policies: &policies,
            expected: &expected_plugins,
            keeps: false,
        };
        let granted = decide(&id("p"), &manifest("p", version, &[]), known, "now").unwrap();
        let registered = granted.entry.map(|entry| entry.registered_at);
        assert_eq!(registered.as_deref(), expected, "{case}");
    }
}

#[test]
fn settings_change_the_hash_and_limits_do_not() {
    let manifest = manifest("p", "1.0.0", &[]);
    let hash = |policy: PluginPolicy| spec(&manifest, &policy).settings_hash;
    let base = hash(PluginPolicy::default());
    let limited = PluginPolicy { timeout_ms: Some(1), ..PluginPolicy::default() };
    let set = PluginPolicy {
        config: json!({"key": "k"}).as_object().unwrap().clone(),
        ..PluginPolicy::default()
    };
    assert_eq!(base, hash(limited));
    assert_ne!(base, hash(set));
}

#[test]
fn the_operator_limits_the_time_without_progress_whatever_the_manifest_says() {
    let (own, operators) = (Some(7), Some(9));
    for (manifests, policys, expected) in [
        (None, None, None),
        (own, None, own),
        (None, operators, operators),
        (own, operators, operators),
    ] {
        let mut manifest = manifest("p", "1.0.0", &[]);
        manifest.progress_timeout = manifests;
        let policy = PluginPolicy { progress_timeout_ms: policys, ..PluginPolicy::default() };
        assert_eq!(spec(&manifest, &policy).progress_timeout_ms, expected);
    }
}
