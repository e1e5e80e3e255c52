//! A file's way through the graph.

use std::collections::BTreeSet;

use broker_config::wire::event::{Fact, Outcome};
use broker_config::{RecordStatus, RunId};
use integration_tests::{Fleet, Script, manifest};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::seed::{GRAPH, six_plugins};

#[tokio::test]
async fn a_file_goes_through_six_plugins_each_after_all_it_needs_and_seeing_what_they_wrote()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _workers = six_plugins(&fleet, &script).await?;

    let settled = fleet.run("film").await?;

    let calls = script.calls();
    let order: Vec<&str> = calls.iter().map(|call| call.plugin.as_str()).collect();
    assert_eq!(order.len(), 6, "{order:?}");
    let at = |plugin: &str| order.iter().position(|&id| id == plugin).unwrap();
    for (id, _, needs) in GRAPH {
        for need in needs {
            assert!(at(need) < at(id), "{need} before {id}: {order:?}");
        }
    }
    for (id, expected) in [
        ("file-info", vec![]),
        ("ffmpeg", vec!["file-info/done"]),
        ("jellyfin-nfo", vec!["file-info/done", "filename-parser/done"]),
        ("tmdb", vec!["anime-detector/done", "file-info/done", "filename-parser/done"]),
    ] {
        let call = calls.iter().find(|call| call.plugin.as_str() == id).unwrap();
        let seen: Vec<&str> = call.existing.keys().map(|key| key.as_str()).collect();
        assert_eq!(seen, expected, "what {id} sees");
    }
    assert_eq!(settled.tasks.completed, 6);
    assert!(settled.plugins.values().all(|&outcome| outcome == Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn many_files_leave_one_record_per_file_and_plugin_one_event_each_and_nothing_else()
-> anyhow::Result<()> {
    let _place = integration_tests::heavy().await?;
    const FILES: usize = 40;
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _workers = six_plugins(&fleet, &script).await?;

    let runs: BTreeSet<RunId> = fleet.submit_many("film", FILES).await?.into_iter().collect();
    for run in &runs {
        assert_eq!(fleet.settled(*run).await?.tasks.completed, 6);
    }
    fleet.quiet().await?;

    let records = fleet.stored(&fleet.names.record_stream()).await?;
    let subjects: BTreeSet<&str> = records.iter().map(|stored| stored.subject.as_str()).collect();
    assert_eq!((records.len(), subjects.len()), (FILES * 6, FILES * 6));
    let last = fleet.state(&fleet.names.record_stream()).await?.1;
    assert_eq!(last, (FILES * 6) as u64, "no record was written twice");
    assert_eq!(script.calls().len(), FILES * 6);
    let facts = fleet.facts().await?;
    let settled: Vec<RunId> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::FileSettled { run_id, .. } => Some(*run_id),
            _ => None,
        })
        .collect();
    assert_eq!(settled.len(), FILES);
    assert_eq!(settled.into_iter().collect::<BTreeSet<_>>(), runs);
    let revisions: BTreeSet<u64> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::TaskSettled { revision, .. } => Some(*revision),
            _ => None,
        })
        .collect();
    assert_eq!(revisions, records.iter().map(|stored| stored.sequence).collect());
    assert_eq!(fleet.dead_letters().await?, []);
    Ok(())
}

#[tokio::test]
async fn one_record_releases_all_that_waited_for_it_at_once() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let gate = CancellationToken::new();
    let held = Script::waits_for(&gate);
    let first = manifest("first", &json!({}))?;
    let _first = fleet.worker(&first, &Script::completes()).await?;
    let mut workers = Vec::new();
    for id in ["left", "right"] {
        let needs = manifest(id, &json!({ "dependencies": ["first"] }))?;
        workers.push(fleet.worker(&needs, &held).await?);
    }

    let run = fleet.submit("film").await?;
    held.begun(2).await?;

    let both: BTreeSet<String> = held.calls().iter().map(|call| call.plugin.to_string()).collect();
    assert_eq!(both, ["left".to_owned(), "right".to_owned()].into());
    gate.cancel();
    assert_eq!(fleet.settled(run).await?.tasks.completed, 3);
    Ok(())
}

#[tokio::test]
async fn a_record_says_what_was_done_by_whom_and_when() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let version = manifest("probe", &json!({ "version": "1.2.3" }))?;
    let worker = fleet.worker(&version, &Script::completes()).await?;

    fleet.run("film").await?;

    let record = fleet.recorded("film", "probe").await?;
    assert_eq!(record.status, RecordStatus::Completed);
    assert_eq!((record.cid.as_str(), record.plugin_id.as_str()), ("film", "probe"));
    assert_eq!((record.attempt, record.plugin_version.as_str()), (1, "1.2.3"));
    assert_eq!(record.instance.map(|id| id.to_string()), Some(worker.instance.clone()));
    assert!(record.finished_at.parse::<jiff::Timestamp>().is_ok(), "{}", record.finished_at);
    assert_eq!(record.meta["probe/done"].as_text(), Some("1.2.3"));
    assert_eq!((record.error, record.reason), (None, None));
    let task_id = fleet
        .fact("the event of the task", |fact| match fact {
            Fact::TaskSettled { task_id, .. } => Some(task_id.clone()),
            _ => None,
        })
        .await?;
    assert_eq!(record.task_id, task_id);
    Ok(())
}

#[tokio::test]
async fn a_plugin_with_nothing_to_say_is_recorded_with_its_reason_and_releases_others()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let silent = Script::new(|_| async { Ok(worker_sdk::Outcome::skipped("no such stream")) });
    let _silent = fleet.worker(&manifest("silent", &json!({}))?, &silent).await?;
    let after = manifest("after", &json!({ "dependencies": ["silent"] }))?;
    let _after = fleet.worker(&after, &Script::completes()).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("silent"), Some(Outcome::Skipped));
    assert_eq!(settled.of("after"), Some(Outcome::Completed));
    let record = fleet.recorded("film", "silent").await?;
    assert_eq!(record.status, RecordStatus::Skipped);
    assert_eq!(record.reason.as_deref(), Some("no such stream"));
    Ok(())
}

#[tokio::test]
async fn any_text_can_be_a_content_id() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
    for cid in ["midhash256:0Aff", "a.b", "two words", "*", ">", "=2A", "ü/\u{1F600}", "$KV"] {
        let settled = fleet.run(cid).await?;
        assert_eq!(settled.of("probe"), Some(Outcome::Completed), "{cid}");
        assert_eq!(fleet.recorded(cid, "probe").await?.cid.as_str(), cid);
    }
    assert_eq!(script.calls().len(), 8);
    Ok(())
}
