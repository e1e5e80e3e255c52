//! Only what is missing or outdated runs.

use broker_config::wire::event::{Outcome, TaskCounts};
use broker_config::{MetaMap, Queue, RecordStatus, Submission};
use coordinator::registry::PluginPolicy;
use integration_tests::{Fleet, Script, done, file, json_of, manifest};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use worker_sdk::Manifest;

/// Needs `first` and notes what it sees.
fn second() -> anyhow::Result<Manifest> {
    manifest("second", &json!({ "dependencies": ["first"] }))
}

#[tokio::test]
async fn the_same_file_again_publishes_no_task_and_writes_no_record() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _first = fleet.worker(&manifest("first", &json!({}))?, &script).await?;
    let _second = fleet.worker(&second()?, &script).await?;
    fleet.run("film").await?;
    let published = fleet.tasks_published().await?;
    let written = fleet.state(&fleet.names.record_stream()).await?.1;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.tasks, TaskCounts { cached: 2, ..TaskCounts::default() });
    assert_eq!(fleet.tasks_published().await?, published);
    assert_eq!(fleet.state(&fleet.names.record_stream()).await?.1, written);
    fleet.quiet().await
}

#[tokio::test]
async fn a_new_version_runs_again_and_then_only_what_reads_changed_output() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    // What the plugin writes changes with its major version only.
    let script = Script::new(|call| async move {
        let major = call.version.split('.').next().unwrap_or_default().to_owned();
        Ok(done(&call.plugin, &major))
    });
    let version = |text: &str| manifest("first", &json!({ "version": text }));
    let mut worker = fleet.worker(&version("1.0.0")?, &script).await?;
    let _second = fleet.worker(&second()?, &script).await?;
    fleet.run("film").await?;

    for (to, first, second) in [
        ("1.1.0", Outcome::Completed, Outcome::Cached),
        ("2.0.0", Outcome::Completed, Outcome::Completed),
    ] {
        worker.stop().await?;
        worker = fleet.worker(&version(to)?, &script).await?;
        let settled = fleet.run("film").await?;
        assert_eq!(
            (settled.of("first"), settled.of("second")),
            (Some(first), Some(second)),
            "{to}"
        );
        assert_eq!(fleet.recorded("film", "first").await?.plugin_version, to);
    }
    let seen = script.calls().pop().unwrap();
    assert_eq!(seen.existing["first/done"].as_text(), Some("2"));
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_reads_other_keys_does_not_run_again_for_a_change() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let version = |text: &str| manifest("first", &json!({ "version": text }));
    let worker = fleet.worker(&version("1.0.0")?, &script).await?;
    let narrow = json!({ "dependencies": ["first"], "reads": ["title"] });
    let _narrow = fleet.worker(&manifest("narrow", &narrow)?, &script).await?;
    fleet.run("film").await?;
    worker.stop().await?;
    let _worker = fleet.worker(&version("2.0.0")?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("first"), Some(Outcome::Completed));
    assert_eq!(settled.of("narrow"), Some(Outcome::Cached));
    let seen = script.calls().into_iter().find(|call| call.plugin.as_str() == "narrow").unwrap();
    assert_eq!(seen.existing, MetaMap::new(), "it sees only what it reads");
    Ok(())
}

#[tokio::test]
async fn changed_settings_run_a_plugin_again() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let script = Script::completes();
    let asks = manifest("asks", &json!({ "configSchema": {"lang": {"default": "en"}} }))?;
    let other = manifest("other", &json!({}))?;
    let mut outcomes = Vec::new();
    for lang in [None, None, Some("de")] {
        let lead = fleet
            .coordinator(|options| {
                let mut policy = PluginPolicy::default();
                policy.config.extend(lang.map(|lang| ("lang".to_owned(), json!(lang))));
                options.word.policies.insert("asks".parse().unwrap(), policy);
            })
            .await?;
        lead.leading().await?;
        let _asks = fleet.worker(&asks, &script).await?;
        let _other = fleet.worker(&other, &script).await?;
        let settled = fleet.run("film").await?;
        outcomes.push((settled.of("asks").unwrap(), settled.of("other").unwrap()));
        lead.stop().await?;
    }
    let (done, cached) = (Outcome::Completed, Outcome::Cached);
    assert_eq!(outcomes, [(done, done), (cached, cached), (done, cached)]);
    Ok(())
}

#[tokio::test]
async fn a_filter_that_does_not_match_publishes_nothing_and_counts_as_satisfied()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (music, after) = (Script::completes(), Script::completes());
    let filter = json!({ "filter": {"mimeTypes": ["audio/*"]} });
    let _music = fleet.worker(&manifest("music", &filter)?, &music).await?;
    let needs = manifest("after", &json!({ "dependencies": ["music"] }))?;
    let _after = fleet.worker(&needs, &after).await?;

    let settled = fleet.run("film").await?;

    assert_eq!((settled.of("music"), settled.of("after")), (None, Some(Outcome::Completed)));
    assert_eq!(fleet.tasks_published().await?, 1);
    assert_eq!((music.calls().len(), after.calls().len()), (0, 1));
    assert!(fleet.record("film", "music").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn only_force_and_rerun_choose_what_runs() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _first = fleet.worker(&manifest("first", &json!({}))?, &script).await?;
    let _second = fleet.worker(&second()?, &script).await?;
    let _third = fleet.worker(&manifest("third", &json!({}))?, &script).await?;
    let ids = |text: &str| vec![text.parse().unwrap()];
    let new = file("film")?;
    let steps = [
        ("only, with what it needs", Submission { only: ids("second"), ..new.clone() }, "11-"),
        ("the rest", new.clone(), "001"),
        ("everything again", Submission { force: true, ..new.clone() }, "111"),
        ("one again", Submission { rerun: ids("third"), ..new.clone() }, "001"),
        ("only one again", Submission { only: ids("second"), force: true, ..new }, "01-"),
    ];
    for (step, submission, expected) in steps {
        let run = fleet.hand_in(Queue::Fast, &submission).await?;
        let settled = fleet.settled(run).await?;
        let ran: String = ["first", "second", "third"]
            .map(|id| match settled.of(id) {
                Some(Outcome::Completed) => '1',
                Some(Outcome::Cached) => '0',
                None => '-',
                Some(_) => '?',
            })
            .iter()
            .collect();
        assert_eq!(ran, expected, "{step}");
    }
    Ok(())
}

#[tokio::test]
async fn the_manifest_names_the_queue_unless_the_submission_overrides_it() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let gate = CancellationToken::new();
    let script = Script::waits_for(&gate);
    let slow = manifest("slow", &json!({ "queue": "background" }))?;
    let _slow = fleet.worker(&slow, &script).await?;
    let new = file("as-the-manifest-says")?;
    let over = Submission { override_queue: true, ..file("as-the-submission-says")? };
    for (submission, queue) in [(new, Queue::Background), (over, Queue::Fast)] {
        let cid = submission.cid.clone();
        fleet.hand_in(Queue::Fast, &submission).await?;
        let subject = fleet.names.task(queue, &"slow".parse()?, &cid);
        let stream = fleet.names.task_stream();
        integration_tests::eventually(&format!("a task on {subject}"), async || {
            fleet.last(&stream, &subject).await
        })
        .await?;
    }
    gate.cancel();
    fleet.quiet().await
}

#[tokio::test]
async fn a_record_deleted_or_overwritten_by_hand_is_made_again() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _first = fleet.worker(&manifest("first", &json!({}))?, &script).await?;
    fleet.run("film").await?;
    let subject = fleet.names.record(&"film".parse()?, &"first".parse()?);

    fleet.delete_key(subject.clone()).await?;
    assert_eq!(fleet.run("film").await?.of("first"), Some(Outcome::Completed), "deleted");
    fleet.put(subject.clone(), Default::default(), "no record".into()).await?;
    assert_eq!(fleet.run("film").await?.of("first"), Some(Outcome::Completed), "junk");
    let mut forged = fleet.recorded("film", "first").await?;
    forged.fingerprint = "made up".to_owned();
    fleet.put(subject, Default::default(), json_of(&forged)?).await?;
    assert_eq!(fleet.run("film").await?.of("first"), Some(Outcome::Completed), "of another input");

    let record = fleet.recorded("film", "first").await?;
    assert_eq!(record.status, RecordStatus::Completed);
    assert_ne!(record.fingerprint, "made up");
    Ok(())
}

#[tokio::test]
async fn what_a_person_writes_is_seen_by_plugins_and_never_overwritten() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _first = fleet.worker(&manifest("first", &json!({}))?, &script).await?;
    let _second = fleet.worker(&second()?, &script).await?;
    fleet.run("film").await?;
    let mut edit = fleet.recorded("film", "first").await?;
    edit.plugin_id = "user".parse()?;
    edit.fingerprint = String::new();
    edit.meta = [("first/done".parse()?, "by hand".into())].into();
    let subject = fleet.names.record(&"film".parse()?, &"user".parse()?);
    let revision = fleet.put(subject, Default::default(), json_of(&edit)?).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("second"), Some(Outcome::Completed));
    let seen = script.calls().into_iter().rfind(|call| call.plugin.as_str() == "second").unwrap();
    assert_eq!(seen.existing["first/done"].as_text(), Some("by hand"));
    let (_, kept, _) = fleet.record("film", "user").await?.unwrap();
    assert_eq!(kept, revision);
    Ok(())
}
