use std::path::Path;

use broker_config::wire::instance::Instance;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::config::vars::vars;
use crate::config::{Overrides, PluginsFile};
use crate::usage::Usage;

fn known(text: &str, overrides: &Value) -> Known {
    let mut file = PluginsFile::parse(Path::new("p.yml"), text, &vars(&[])).unwrap();
    let written = file.entries.clone();
    let overrides: Overrides = serde_json::from_value(overrides.clone()).unwrap();
    overrides.apply(&mut file, |_| false);
    Known {
        listed: written.keys().cloned().collect(),
        written,
        effective: file.entries,
        overrides,
        manifests: BTreeMap::new(),
        unable: BTreeMap::new(),
        broken: Default::default(),
    }
}

fn process(n: u32, state: ProcessState) -> ProcessInfo {
    ProcessInfo {
        name: format!("plugin-p-{n}").parse().unwrap(),
        plugin: "p".parse().unwrap(),
        version: None,
        pid: Some(n),
        state,
        restarts: 2,
        started: Some(Timestamp::UNIX_EPOCH),
        next_start: None,
        last_exit: Some(LastExit {
            at: Timestamp::UNIX_EPOCH,
            code: Some(3),
            signal: None,
            reason: "ended with exit code 3".to_owned(),
            lines: vec!["hush".to_owned()],
        }),
        isolated: true,
        log: "/log".into(),
    }
}

fn container(n: u32, state: ContainerState, note: Option<&str>) -> ContainerInfo {
    ContainerInfo {
        name: format!("plugin-p-{n}").parse().unwrap(),
        plugin: "p".parse().unwrap(),
        image: "i:1".to_owned(),
        container: Some(format!("c{n}")),
        state,
        note: note.map(str::to_owned),
        restarts: 0,
        started: None,
        last_exit: None,
        place: None,
        image_id: Some("sha256:1".to_owned()),
        image_digest: Some("sha256:d".to_owned()),
        log: "/log".into(),
    }
}

fn sign(name: &str, state: &str, healthy: bool) -> Instance {
    let sign = json!({
        "type": "metafleet.instance.v1", "pluginId": "p", "instance": name, "state": state,
        "version": "1.0.0", "healthy": healthy, "pid": 7, "host": "h",
        "running": [{"taskId": "00000000-0000-4000-8000-000000000001", "cid": "c", "forMs": 1}],
    });
    serde_json::from_value(sign).unwrap()
}

fn numbers(ready: u64, failing: u64, instances: u64) -> PluginNumbers {
    PluginNumbers {
        id: "p".to_owned(),
        version: "1.0.0".to_owned(),
        enabled: true,
        ready,
        failing,
        instances,
        ..PluginNumbers::default()
    }
}

struct Case {
    known: Known,
    numbers: PluginNumbers,
    signs: Vec<Instance>,
    processes: Vec<ProcessInfo>,
    containers: Vec<ContainerInfo>,
    used: Usages,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            known: known("plugins: {p: {command: [x]}}", &json!({})),
            numbers: numbers(0, 0, 0),
            signs: Vec::new(),
            processes: Vec::new(),
            containers: Vec::new(),
            used: Usages::new(),
        }
    }
}

fn shown(case: &Case) -> Value {
    let id = "p".parse().unwrap();
    let plugin = plugin(&Facts {
        id: &id,
        registered: None,
        known: &case.known,
        numbers: &case.numbers,
        signs: &case.signs,
        processes: &case.processes,
        containers: &case.containers,
        used: &case.used,
        stats: &Stats::default(),
        counted: PluginMetrics::default(),
        since: "then",
    });
    serde_json::to_value(plugin).unwrap()
}

#[test]
fn the_status_follows_the_table() {
    let runs = || vec![process(1, ProcessState::Running)];
    let loops = || vec![process(1, ProcessState::CrashLoop)];
    let off = || known("plugins: {p: {command: [x], enabled: false}}", &json!({}));
    let boxed = || known("plugins: {p: {image: i}}", &json!({}));
    let is = |numbers| Case { numbers, ..Case::default() };
    let paused = PluginNumbers { paused: true, ..numbers(1, 0, 1) };
    let not_yet = PluginNumbers { enabled: false, ..numbers(0, 0, 0) };
    for (name, case, expected) in [
        ("ready", Case { processes: runs(), ..is(numbers(1, 0, 1)) }, "healthy"),
        ("one cannot serve", is(numbers(1, 1, 2)), "degraded"),
        (
            "one is ill",
            Case {
                processes: runs(),
                signs: vec![sign("plugin-p-1", "ready", false)],
                ..is(numbers(1, 0, 1))
            },
            "degraded",
        ),
        ("none can serve", is(numbers(0, 1, 1)), "unhealthy"),
        ("ends soon after each start", Case { processes: loops(), ..Case::default() }, "unhealthy"),
        (
            "is not started",
            Case {
                known: boxed(),
                containers: vec![container(1, ContainerState::Blocked, Some("why"))],
                ..Case::default()
            },
            "unhealthy",
        ),
        ("has announced itself", is(numbers(0, 0, 1)), "starting"),
        ("was just started", Case { processes: runs(), ..Case::default() }, "starting"),
        ("waits", Case { processes: runs(), ..is(paused) }, "paused"),
        ("is off", Case { known: off(), ..is(numbers(1, 0, 1)) }, "disabled"),
        ("is on again", Case { processes: runs(), ..is(not_yet) }, "starting"),
        ("does not run", Case::default(), "stopped"),
    ] {
        assert_eq!(shown(&case)["status"], expected, "{name}");
    }
}

#[test]
fn every_instance_is_shown_once_whatever_runs_it() {
    let signs = vec![sign("plugin-p-1", "ready", true), sign("far-1", "draining", true)];
    let one = shown(&Case {
        processes: vec![process(1, ProcessState::Running), process(2, ProcessState::Waiting)],
        signs,
        ..Case::default()
    });
    let seen = |plugin: &Value| -> Vec<Value> {
        let containers = plugin["containers"].as_array().unwrap();
        containers
            .iter()
            .map(|one| {
                json!([one["name"], one["status"], one["runtime"], one["healthy"], one["inFlight"]])
            })
            .collect()
    };
    assert_eq!(
        seen(&one),
        [
            json!(["plugin-p-1", "running", "process", true, 1]),
            json!(["plugin-p-2", "waiting", "process", null, null]),
            json!(["far-1", "stopping", "remote", true, 1]),
        ]
    );
    assert_eq!(one["containers"][0]["lastExit"]["reason"], "ended with exit code 3");
    assert!(!one.to_string().contains("hush"), "what it printed is in its log only");

    let boxed = shown(&Case {
        known: known("plugins: {p: {image: 'i:1', instances: 2}}", &json!({})),
        containers: vec![
            container(1, ContainerState::Running, None),
            container(2, ContainerState::Unable, Some("no image")),
        ],
        ..Case::default()
    });
    assert_eq!((&boxed["image"], &boxed["imageId"]), (&json!("i:1"), &json!("sha256:1")));
    assert_eq!(boxed["imageDigest"], "sha256:d");
    assert_eq!((&boxed["runtime"], &boxed["instances"]), (&json!("docker"), &json!(2)));
    assert_eq!(boxed["containers"][1]["note"], "no image");
    assert_eq!(boxed["containers"][0]["containerId"], "c1");

    let bridge = vec![sign("bridge-p-1", "ready", true)];
    let http = known("plugins: {p: {protocol: http, command: [x]}}", &json!({}));
    let http = Case {
        known: http,
        signs: bridge,
        processes: vec![process(1, ProcessState::Running)],
        ..Case::default()
    };
    assert_eq!(seen(&shown(&http)).len(), 1, "the bridge is none of its instances");
}

#[test]
fn what_an_instance_uses_is_shown_while_it_is_the_one_that_was_looked_at() {
    let usage = |seconds, cpu| Usage {
        cpu,
        memory_bytes: 5,
        memory_limit_bytes: Some(9),
        pids: 3,
        sampled_at: Timestamp::from_second(seconds).unwrap(),
    };
    let name = |n: u32| format!("plugin-p-{n}").parse().unwrap();
    let gone = ProcessInfo { pid: None, ..process(3, ProcessState::Waiting) };
    let one = shown(&Case {
        processes: vec![
            process(1, ProcessState::Running),
            process(2, ProcessState::Running),
            gone,
            process(4, ProcessState::Running),
        ],
        containers: vec![
            container(5, ContainerState::Running, None),
            container(6, ContainerState::CrashLoop, None),
        ],
        used: Usages::from([
            (name(1), usage(10, Some(0.5))),
            // From the life before, which ended at the epoch.
            (name(2), usage(-1, Some(0.5))),
            (name(3), usage(10, Some(0.5))),
            (name(5), usage(10, None)),
            (name(6), usage(10, None)),
        ]),
        ..Case::default()
    });
    let at = "1970-01-01T00:00:10Z";
    for (n, expected) in [
        (0, json!([0.5, 5, 9, 3, at])),
        (1, json!([null, null, null, null, null])),
        (2, json!([null, null, null, null, null])),
        (3, json!([null, null, null, null, null])),
        (4, json!([null, 5, 9, 3, at])),
        (5, json!([null, null, null, null, null])),
    ] {
        let one = &one["containers"][n];
        let fields = ["cpu", "memoryBytes", "memoryLimitBytes", "pids", "sampledAt"];
        assert_eq!(json!(fields.map(|field| one[field].clone())), expected, "{one:#}");
    }
}

#[test]
fn one_that_is_not_started_is_shown_once_with_its_reason() {
    let mut known = known("plugins: {p: {command: [x]}}", &json!({}));
    known.unable.insert("p".parse().unwrap(), "it wants `root`".to_owned());
    let signs = vec![sign("plugin-p-1", "failed", false)];
    for (numbers, signs) in [(numbers(0, 1, 1), signs), (numbers(0, 0, 0), Vec::new())] {
        let one = shown(&Case { known: known.clone(), numbers, signs, ..Case::default() });
        assert_eq!(one["status"], "unhealthy");
        let all = one["containers"].as_array().unwrap();
        assert_eq!(all.len(), 1, "{one:#}");
        let seen = (&all[0]["name"], &all[0]["status"], &all[0]["runtime"], &all[0]["note"]);
        let note = "not started: it wants `root`";
        assert_eq!(
            seen,
            (&json!("plugin-p-1"), &json!("blocked"), &json!("process"), &json!(note))
        );
    }
}

#[test]
fn who_is_quarantined_is_shown_with_the_reason_and_one_on_trial_runs() {
    let term = |n: u32, on_trial: bool| Term {
        plugin_id: "p".parse().unwrap(),
        instance: format!("plugin-p-{n}").parse().unwrap(),
        version: "1.0.0".to_owned(),
        why: "10 files in a row failed".to_owned(),
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
        until: "2026-01-02T03:04:35Z".parse().unwrap(),
        times: 2,
        on_trial,
    };
    let quarantined = vec![term(1, false), term(2, true)];
    let running = |n| process(n, ProcessState::Running);
    let one = shown(&Case {
        numbers: PluginNumbers { quarantined, ..numbers(2, 0, 3) },
        processes: vec![running(1), running(2), running(3)],
        ..Case::default()
    });

    let of = |n: usize| {
        let one = &one["containers"][n];
        (one["status"].clone(), one["note"].as_str().unwrap_or_default().to_owned())
    };
    let (status, note) = of(0);
    assert_eq!((&one["status"], &status), (&json!("degraded"), &json!("quarantined")));
    let told = "quarantined, 2 times by now: 10 files in a row failed; it is tried again at 2026-";
    assert!(note.contains(told), "{note}");
    let (status, note) = of(1);
    assert!(status == "running" && note.contains("on trial"), "{note}");
    assert_eq!(of(2), (json!("running"), String::new()));
}

#[test]
fn who_has_said_what_is_told() {
    for (text, overrides, expected) in [
        ("plugins: {p: {command: [x]}}", json!({}), json!(["plugins.yml", "plugins.yml", []])),
        ("plugins: {}", json!({}), json!(["default", "default", []])),
        (
            "plugins: {p: {command: [x]}}",
            json!({"plugins": {"p": {"instances": 2, "config": {"k": "hush"}}}}),
            json!(["plugins.yml", "api", ["k"]]),
        ),
        (
            "plugins: {}",
            json!({"plugins": {"p": {"enabled": false}}}),
            json!(["api", "default", []]),
        ),
    ] {
        let case = Case { known: known(text, &overrides), ..Case::default() };
        let shown = shown(&case);
        let source = &shown["source"];
        assert_eq!(json!([source["enabled"], source["instances"], source["config"]]), expected);
        assert!(!shown.to_string().contains("hush"));
    }
}
