use broker_config::wire::file::FilePath;
use broker_config::{FileFacts, Filter, RunId, Submission};
use proptest::prelude::*;

use super::*;
use crate::graph::tests::spec;

mod adopt;

/// `a` feeds `b` and `c`, which both feed `d`.
fn diamond() -> Graph {
    let specs = vec![
        spec("a", 10, &[]),
        spec("b", 20, &["a"]),
        spec("c", 21, &["a"]),
        spec("d", 30, &["b", "c"]),
    ];
    Graph::build(specs).0
}

fn id(text: &str) -> PluginId {
    text.parse().unwrap()
}

fn opening() -> Opening {
    let path = FilePath { file_path: "/f.mkv".into(), file_path_bytes: None };
    Opening {
        id: RunId(1),
        queue: Queue::Fast,
        submitted_at: 100,
        submission: Submission::new("cid".parse().unwrap(), path, FileFacts::default()),
        trace: Trace::default(),
    }
}

fn run_of(opening: Opening, records: BTreeMap<PluginId, KnownRecord>, graph: &Graph) -> Run {
    Run::open(Arc::new(opening), records, graph, 0)
}

/// A record written at time 200, within the run, whose metadata says `value`.
fn record(task: &Task, revision: u64, status: RecordStatus, value: &str) -> KnownRecord {
    let key = format!("{}/value", task.plugin_id).parse().unwrap();
    KnownRecord {
        revision,
        stored_at: 200,
        status,
        fingerprint: task.fingerprint.clone(),
        version: None,
        meta: Arc::new(MetaMap::from([(key, value.into())])),
        hidden: Arc::new([]),
    }
}

/// Publishes what is wanted and answers it, until nothing moves; returns what was published.
fn drive(run: &mut Run, status: impl Fn(&str) -> RecordStatus) -> Vec<String> {
    let mut published = Vec::new();
    loop {
        let wanted = run.advance();
        if wanted.is_empty() {
            return published;
        }
        for plugin in wanted {
            let (_, task) = run.publish(&plugin, 0).unwrap();
            published.push(plugin.to_string());
            let record = record(&task, task.record_revision + 1, status(plugin.as_str()), "v");
            assert_eq!(run.on_record(&plugin, record), Left::Held);
        }
    }
}

fn completed(_: &str) -> RecordStatus {
    RecordStatus::Completed
}

#[test]
fn each_record_releases_exactly_what_it_unblocks() {
    let mut run = run_of(opening(), BTreeMap::new(), &diamond());
    let mut tasks = BTreeMap::new();
    for (step, answer, expected) in [
        ("start", None, vec!["a"]),
        ("nothing new", None, vec![]),
        ("a done", Some("a"), vec!["b", "c"]),
        ("a again", Some("a"), vec![]),
        ("b done", Some("b"), vec![]),
        ("c done", Some("c"), vec!["d"]),
        ("d done", Some("d"), vec![]),
    ] {
        if let Some(plugin) = answer {
            let record = record(&tasks[plugin], 7, RecordStatus::Completed, "v");
            run.on_record(&id(plugin), record);
        }
        let wanted = run.advance();
        for plugin in &wanted {
            let (_, task) = run.publish(plugin, 0).unwrap();
            tasks.insert(plugin.to_string(), task);
        }
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        assert_eq!(wanted, expected, "step `{step}`");
    }
    assert!(run.is_settled());
    assert_eq!(run.outcomes().1, TaskCounts { completed: 4, ..TaskCounts::default() });
}

#[test]
fn a_task_carries_the_metadata_of_all_it_depends_on_and_the_persons() {
    let mut run = run_of(opening(), BTreeMap::new(), &diamond());
    let user = KnownRecord {
        revision: 1,
        stored_at: 1,
        status: RecordStatus::Completed,
        fingerprint: String::new(),
        version: None,
        meta: Arc::new(MetaMap::from([("a/value".parse().unwrap(), "mine".into())])),
        hidden: Arc::new([]),
    };
    run.on_record(&PluginId::user(), user);
    for plugin in ["a", "b", "c"] {
        assert!(run.advance().contains(&id(plugin)) || plugin == "c");
        let (_, task) = run.publish(&id(plugin), 0).unwrap();
        run.on_record(&id(plugin), record(&task, 9, RecordStatus::Completed, plugin));
    }
    assert_eq!(run.advance(), [id("d")]);
    let (_, task) = run.publish(&id("d"), 0).unwrap();
    let seen: Vec<String> =
        task.existing_meta.iter().map(|(k, v)| format!("{k}={}", v.to_flat())).collect();
    assert_eq!(seen, ["a/value=mine", "b/value=b", "c/value=c"]);
}

#[test]
fn a_second_scan_runs_nothing_and_a_new_version_runs_what_reads_changed_output() {
    let mut first = run_of(opening(), BTreeMap::new(), &diamond());
    assert_eq!(drive(&mut first, completed), ["a", "b", "c", "d"]);
    let records = first.records.clone();
    let later = || Opening { submitted_at: 300, ..opening() };

    let mut second = run_of(later(), records.clone(), &diamond());
    assert_eq!(drive(&mut second, completed), Vec::<String>::new());
    assert_eq!(second.outcomes().1, TaskCounts { cached: 4, ..TaskCounts::default() });

    let mut newer = diamond();
    let node = newer.nodes.get_mut(&id("b")).unwrap();
    let mut changed = (*node.spec).clone();
    changed.manifest.version = "2.0.0".parse().unwrap();
    node.spec = Arc::new(changed);
    let mut third = run_of(later(), records.clone(), &newer);
    // `b` writes what it wrote before, so `d` need not run.
    assert_eq!(drive(&mut third, completed), ["b"]);

    let mut fourth = run_of(later(), records, &newer);
    assert_eq!(fourth.advance(), [id("b")]);
    let (_, task) = fourth.publish(&id("b"), 0).unwrap();
    let mut other = record(&task, 99, RecordStatus::Completed, "other");
    other.stored_at = 400;
    fourth.on_record(&id("b"), other);
    assert_eq!(fourth.advance(), [id("d")], "it reads what b writes");
}

#[test]
fn a_failed_need_releases_its_dependents_or_skips_them_as_they_say() {
    let fail_b = |plugin: &str| match plugin {
        "b" => RecordStatus::Failed,
        _ => RecordStatus::Completed,
    };
    let mut run = run_of(opening(), BTreeMap::new(), &diamond());
    assert_eq!(drive(&mut run, fail_b), ["a", "b", "c", "d"]);

    let mut graph = diamond();
    let node = graph.nodes.get_mut(&id("d")).unwrap();
    let mut skipping = (*node.spec).clone();
    skipping.on_dependency_failure = OnDependencyFailure::Skip;
    node.spec = Arc::new(skipping);
    let mut run = run_of(opening(), BTreeMap::new(), &graph);
    assert_eq!(drive(&mut run, fail_b), ["a", "b", "c"]);
    assert_eq!(run.outcomes().0[&id("d")], Outcome::Skipped);
}

#[test]
fn a_plugin_that_does_not_want_the_file_counts_as_satisfied() {
    let mut graph = diamond();
    let node = graph.nodes.get_mut(&id("b")).unwrap();
    let mut picky = (*node.spec).clone();
    picky.manifest.filter = Filter { min_size: Some(1), ..Filter::default() };
    node.spec = Arc::new(picky);
    let mut run = run_of(opening(), BTreeMap::new(), &graph);
    assert_eq!(drive(&mut run, completed), ["a", "c", "d"]);
}

#[test]
fn only_and_force_choose_what_runs() {
    let mut first = run_of(opening(), BTreeMap::new(), &diamond());
    drive(&mut first, completed);
    let with = |edit: fn(&mut Submission)| {
        let mut opening = Opening { submitted_at: 150, ..opening() };
        edit(&mut opening.submission);
        opening
    };
    let mut old = first.records.clone();
    old.values_mut().for_each(|record| record.stored_at = 120);
    type Edit = fn(&mut Submission);
    let table: [(&str, bool, Edit, Vec<&str>); 6] = [
        ("only, fresh", false, |s| s.only = vec![id("b")], vec!["a", "b"]),
        ("only, recorded", true, |s| s.only = vec![id("b")], vec![]),
        ("force", true, |s| s.force = true, vec!["a", "b", "c", "d"]),
        (
            "only and force",
            true,
            |s| {
                s.only = vec![id("b")];
                s.force = true;
            },
            vec!["b"],
        ),
        ("rerun", true, |s| s.rerun = vec![id("c")], vec!["c"]),
        ("unknown", true, |s| s.only = vec![id("zz")], vec![]),
    ];
    for (case, recorded, edit, expected) in table {
        let records = if recorded { old.clone() } else { BTreeMap::new() };
        let mut run = run_of(with(edit), records, &diamond());
        assert_eq!(drive(&mut run, completed), expected, "{case}");
        assert!(run.is_settled(), "{case}");
    }
}

#[test]
fn a_forced_run_that_is_opened_again_does_not_repeat_what_it_did() {
    let mut opening = opening();
    opening.submission.force = true;
    let mut run = run_of(opening.clone(), BTreeMap::new(), &diamond());
    assert_eq!(run.advance(), [id("a")]);
    let (_, task) = run.publish(&id("a"), 0).unwrap();
    let records = BTreeMap::from([(id("a"), record(&task, 5, RecordStatus::Completed, "v"))]);

    let mut again = run_of(opening, records, &diamond());

    assert_eq!(drive(&mut again, completed), ["b", "c", "d"]);
    assert_eq!(again.outcomes().1.completed, 4);
}

#[test]
fn a_record_by_an_older_task_makes_ours_be_published_against_it() {
    let mut run = run_of(opening(), BTreeMap::new(), &diamond());
    assert_eq!(run.advance(), [id("a")]);
    let (_, task) = run.publish(&id("a"), 0).unwrap();
    let mut stale = record(&task, 77, RecordStatus::Completed, "old");
    stale.fingerprint = "of another version".into();

    assert_eq!(run.on_record(&id("a"), stale), Left::Held);

    assert_eq!(run.advance(), [id("a")]);
    let (_, again) = run.publish(&id("a"), 0).unwrap();
    assert_eq!(again.record_revision, 77);
    assert_ne!(again.task_id, task.task_id);
}

#[test]
fn a_plugin_that_leaves_or_comes_in_mid_run_is_handled() {
    let mut run = run_of(opening(), BTreeMap::new(), &diamond());
    assert_eq!(run.advance(), [id("a")]);
    let (_, task) = run.publish(&id("a"), 0).unwrap();
    let without_b = vec![
        spec("a", 10, &[]),
        spec("c", 21, &["a"]),
        spec("e", 22, &["a"]),
        spec("d", 30, &["c"]),
    ];
    run.adopt(&Graph::build(without_b).0);
    run.on_record(&id("a"), record(&task, 5, RecordStatus::Completed, "v"));
    assert_eq!(drive(&mut run, completed), ["c", "e", "d"]);
    assert!(run.is_settled());
    assert_eq!(run.outcomes().0[&id("b")], Outcome::Gone);
}

#[test]
fn a_run_that_waits_for_a_time_only_is_parked() {
    let mut run = run_of(opening(), BTreeMap::new(), &diamond());
    assert_eq!(run.advance(), [id("a")]);
    assert!(!run.is_parked());
    let (_, task) = run.publish(&id("a"), 0).unwrap();
    run.on_deferred(&id("a"));
    assert!(run.is_parked());
    run.on_record(&id("a"), record(&task, 5, RecordStatus::Completed, "v"));
    assert!(!run.advance().is_empty());
    assert!(!run.is_parked());
}

proptest! {
    /// Whatever is repeated, late or lost: no plugin before what it needs, and all get done.
    #[test]
    fn order_holds_under_repetition_and_loss(steps in prop::collection::vec((0_usize..4, 0_u8..4), 0..60)) {
        let names = ["a", "b", "c", "d"];
        let mut run = run_of(opening(), BTreeMap::new(), &diamond());
        let mut tasks: BTreeMap<usize, Task> = BTreeMap::new();
        let mut done: Vec<&str> = Vec::new();
        let mut revision = 10;
        let publish = |run: &mut Run, tasks: &mut BTreeMap<usize, Task>, done: &[&str]| {
            for plugin in run.advance() {
                let at = names.iter().position(|n| *n == plugin.as_str()).unwrap();
                for needed in run.parts[&plugin].spec.manifest.dependencies.clone() {
                    assert!(done.contains(&needed.as_str()), "{plugin} before {needed}");
                }
                tasks.insert(at, run.publish(&plugin, 0).unwrap().1);
            }
        };
        publish(&mut run, &mut tasks, &done);
        for (at, what) in steps {
            let plugin = id(names[at]);
            match (what, tasks.get(&at)) {
                (0 | 1, Some(task)) => {
                    revision += 1;
                    if run.on_record(&plugin, record(task, revision, RecordStatus::Completed, "v")) == Left::Held
                        && !done.contains(&names[at]) { done.push(names[at]); }
                }
                (2, _) => { run.on_lost(&plugin); }
                (_, Some(task)) => { run.on_record(&plugin, record(task, 1, RecordStatus::Completed, "v")); }
                (_, None) => {}
            }
            for (at, name) in names.iter().enumerate() {
                if tasks.contains_key(&at) && matches!(run.parts[&id(name)].state, State::Settled { .. }) && !done.contains(name) {
                    done.push(name);
                }
            }
            publish(&mut run, &mut tasks, &done);
        }
        for _ in 0..8 {
            for (at, name) in names.iter().enumerate() {
                if let Some(task) = tasks.get(&at).cloned() {
                    revision += 1;
                    run.on_record(&id(name), record(&task, revision, RecordStatus::Completed, "v"));
                    if !done.contains(name) { done.push(name); }
                }
            }
            publish(&mut run, &mut tasks, &done);
        }
        prop_assert!(run.is_settled());
    }
}
