//! Plugins come, change, wait and go while files are in hand.

use broker_config::AnnounceReply;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::InstanceState;
use broker_config::wire::plugin::PluginEntry;
use broker_config::{Names, PluginId, Queue};
use coordinator::store::Store;
use integration_tests::{Fleet, Script, eventually, manifest};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use worker_sdk::{Manifest, WorkerError};

fn needs(id: &str, dependencies: &[&str]) -> anyhow::Result<Manifest> {
    manifest(id, &json!({ "dependencies": dependencies }))
}

/// The reasons why a plugin may not serve, or nothing if it may.
async fn refusal(fleet: &Fleet, manifest: &Manifest) -> anyhow::Result<String> {
    Ok(match fleet.announce(manifest).await? {
        AnnounceReply::Accepted { .. } => String::new(),
        AnnounceReply::Rejected { reasons } => reasons.join("; "),
    })
}

/// What the registry holds of a plugin.
async fn entry(fleet: &Fleet, plugin: &str) -> anyhow::Result<Option<PluginEntry>> {
    let bucket = fleet.names.plugins_bucket();
    let subject = Names::key_subject(&bucket, plugin);
    let found = fleet.last(&Names::bucket_stream(&bucket), &subject).await?;
    let found = found.filter(|stored| !stored.is_deletion());
    Ok(found.map(|stored| serde_json::from_slice(&stored.payload)).transpose()?)
}

#[tokio::test]
async fn a_plugin_in_a_cycle_or_with_an_unknown_need_is_refused_with_the_way_and_the_rest_works()
-> anyhow::Result<()> {
    // Plugins that are to come may be needed before they are there.
    let expected = ["one", "two", "good"].map(|id| id.parse().unwrap());
    let fleet = Fleet::empty().await?;
    let lead = fleet.coordinator(|options| options.word.expected = expected.into()).await?;
    fleet
        .fact("a leader", |fact| matches!(fact, Fact::CoordinatorLeading { .. }).then_some(()))
        .await?;

    assert_eq!(
        refusal(&fleet, &needs("self", &["self"])?).await?,
        "depends on itself: self → self"
    );
    let unknown = refusal(&fleet, &needs("lost", &["nowhere"])?).await?;
    assert_eq!(unknown, "depends on a plugin that is not known: lost → nowhere");
    assert_eq!(refusal(&fleet, &needs("one", &["two"])?).await?, "", "two may still come");
    let cycle = refusal(&fleet, &needs("two", &["one"])?).await?;
    assert_eq!(cycle, "depends on itself: two → one → two");
    let script = Script::completes();
    let _good = fleet.worker(&needs("good", &[])?, &script).await?;
    lead.leading().await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.plugins, [("good".parse()?, Outcome::Completed)].into());
    let told = fleet
        .fact("the refusal to be told", |fact| match fact {
            Fact::PluginRejected { plugin_id, reasons } if plugin_id.as_str() == "two" => {
                Some(reasons.clone())
            }
            _ => None,
        })
        .await?;
    assert_eq!(told, ["depends on itself: two → one → two"]);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_refused_ends_and_says_why() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let lonely = needs("lonely", &["absent"])?;
    let mut worker = fleet.spawn_worker(&lonely, &Script::completes(), |_| {})?;

    let ended = worker.ended().await?;

    let Err(WorkerError::Rejected { reasons }) = ended else { panic!("{ended:?}") };
    assert_eq!(reasons, ["depends on a plugin that is not known: lonely → absent"]);
    assert!(entry(&fleet, "lonely").await?.is_none(), "it is not kept");
    Ok(())
}

#[tokio::test]
async fn a_manifest_on_the_subject_of_another_plugin_is_refused() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    fleet.announce(&needs("victim", &[])?).await?;
    let before = entry(&fleet, "victim").await?;

    let reply = fleet.announce_as(&"victim".parse()?, &needs("forger", &[])?).await?;

    let AnnounceReply::Rejected { reasons } = reply else { panic!("{reply:?}") };
    assert!(reasons[0].contains("the manifest is of `forger`"), "{reasons:?}");
    assert_eq!(entry(&fleet, "victim").await?, before);
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_appears_while_a_file_is_in_hand_takes_part() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let gate = CancellationToken::new();
    let slow = Script::waits_for(&gate);
    let _slow = fleet.worker(&needs("slow", &[])?, &slow).await?;
    let run = fleet.submit("film").await?;
    slow.begun(1).await?;

    let late = Script::completes();
    let _late = fleet.worker(&needs("late", &["slow"])?, &late).await?;
    gate.cancel();
    let settled = fleet.settled(run).await?;

    assert_eq!(settled.of("late"), Some(Outcome::Completed));
    assert_eq!(late.calls()[0].existing["slow/done"].as_text(), Some("1.0.0"));
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_changes_its_version_while_a_file_is_in_hand_settles_it_once()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let gate = CancellationToken::new();
    let script = Script::waits_for(&gate);
    let old = fleet.worker(&needs("probe", &[])?, &script).await?;
    let run = fleet.submit("film").await?;
    script.begun(1).await?;

    let new = manifest("probe", &json!({ "version": "2.0.0" }))?;
    let waits = fleet.spawn_worker(&new, &script, |_| {})?;
    fleet.instance_is(&new.id, &waits.instance, InstanceState::Paused).await?;
    gate.cancel();

    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("film", "probe").await?.plugin_version, "1.0.0");
    fleet.instance_is(&new.id, &waits.instance, InstanceState::Ready).await?;
    old.stop().await?;
    assert_eq!(fleet.run("film").await?.of("probe"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("film", "probe").await?.plugin_version, "2.0.0");
    assert_eq!(script.calls().len(), 2);
    Ok(())
}

#[tokio::test]
async fn files_go_on_without_a_plugin_that_is_removed() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let gone = needs("gone", &[])?;
    fleet.announce(&gone).await?;
    let after = Script::completes();
    let _after = fleet.worker(&needs("after", &[])?, &after).await?;
    let run = fleet.submit("film").await?;
    fleet.task_waits("gone", "film").await?;

    let bucket = fleet.names.plugins_bucket();
    fleet.delete_key(Names::key_subject(&bucket, "gone")).await?;
    let settled = fleet.settled(run).await?;

    assert_eq!(settled.of("gone"), Some(Outcome::Gone));
    assert_eq!(settled.of("after"), Some(Outcome::Completed));
    let removed = |fact: &Fact| matches!(fact, Fact::PluginRemoved { .. }).then_some(());
    fleet.fact("the removal to be told", removed).await?;
    let consumers = fleet.js.get_stream(fleet.names.task_stream()).await?;
    for queue in Queue::ALL {
        let name = Names::consumer(&gone.id, queue);
        assert!(consumers.consumer_info(&name).await.is_err(), "{name} is left");
    }
    fleet.quiet().await
}

#[tokio::test]
async fn the_workers_of_a_removed_plugin_end_and_one_that_is_started_then_brings_it_back()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (manifest, script) = (needs("probe", &[])?, Script::completes());
    let mut worker = fleet.worker(&manifest, &script).await?;
    fleet.run("film").await?;

    let bucket = fleet.names.plugins_bucket();
    fleet.delete_key(Names::key_subject(&bucket, "probe")).await?;
    let ended = worker.ended().await?;

    let Err(WorkerError::Rejected { reasons }) = ended else { panic!("{ended:?}") };
    assert_eq!(reasons, ["probe was removed while this worker served; start it anew"]);
    assert!(entry(&fleet, "probe").await?.is_none(), "it does not come back by itself");
    let _new = fleet.worker(&manifest, &script).await?;
    assert_eq!(fleet.run("other").await?.of("probe"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn an_older_version_beside_a_newer_one_that_lives_waits_and_changes_nothing()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let version = |text: &str| manifest("probe", &json!({ "version": text }));
    let _new = fleet.worker(&version("2.0.0")?, &script).await?;
    let old = version("1.0.0")?;
    let waits = fleet.spawn_worker(&old, &script, |_| {})?;
    fleet.instance_is(&old.id, &waits.instance, InstanceState::Paused).await?;

    fleet.run("film").await?;
    let again = fleet.run("film").await?;

    let kept = entry(&fleet, "probe").await?.unwrap();
    assert_eq!(kept.manifest.version.to_string(), "2.0.0");
    assert_eq!(again.of("probe"), Some(Outcome::Cached), "the two do not undo each other");
    let versions: Vec<_> = script.calls().into_iter().map(|call| call.version).collect();
    assert_eq!(versions, ["2.0.0"]);
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_refuses_its_settings_pulls_nothing_until_they_are_right()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes().configured(|settings| match settings.get("apiKey") {
        Some(_) => Ok(()),
        None => Err("apiKey is required".to_owned()),
    });
    let picky = manifest("picky", &json!({ "configSchema": {"apiKey": {"secret": true}} }))?;
    let worker = fleet.spawn_worker(&picky, &script, |_| {})?;
    let said = fleet.instance_is(&picky.id, &worker.instance, InstanceState::Failed).await?;
    assert_eq!(said.error.as_deref(), Some("apiKey is required"));
    let run = fleet.submit("film").await?;
    fleet.task_waits("picky", "film").await?;
    assert_eq!(script.calls().len(), 0);

    let settings = json!({ "action": "configure", "settings": {"apiKey": "k"} });
    let subject = fleet.names.control(&picky.id);
    fleet.client.request(subject, settings.to_string().into()).await?;

    assert_eq!(fleet.settled(run).await?.of("picky"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn a_paused_plugin_gets_no_task_until_it_is_resumed_and_the_others_go_on()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (paused, other) = (Script::completes(), Script::completes());
    let probe: PluginId = "paused".parse()?;
    let _paused = fleet.worker(&needs("paused", &[])?, &paused).await?;
    let _other = fleet.worker(&needs("other", &[])?, &other).await?;
    let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;

    store.hold_tasks(&probe, true).await?;
    let run = fleet.submit("film").await?;
    other.begun(1).await?;
    fleet.task_waits("paused", "film").await?;
    let held = store.consumers(&fleet.names.task_stream()).await?;
    assert!(held["paused_fast"].paused && held["paused_fast"].num_pending == 1, "{held:?}");
    assert_eq!(paused.calls().len(), 0);
    store.hold_tasks(&probe, false).await?;

    assert_eq!(fleet.settled(run).await?.of("paused"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_an_earlier_fleet_started_and_this_one_does_not_takes_no_part()
-> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let script = Script::completes();
    let (kept, dropped) = (needs("kept", &[])?, needs("dropped", &[])?);
    let expects = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
    let lead =
        fleet.coordinator(|options| options.word.expected = expects(&["kept", "dropped"])).await?;
    let _kept = fleet.worker(&kept, &script).await?;
    let leaves = fleet.worker(&dropped, &script).await?;
    lead.leading().await?;
    leaves.stop().await?;
    lead.stop().await?;

    let lead = fleet
        .coordinator(|options| {
            options.word.expected = expects(&["kept"]);
            options.drop_unexpected = true;
        })
        .await?;
    let _again = fleet.worker(&kept, &script).await?;
    lead.leading().await?;

    let settled = fleet.run("film").await?;
    assert_eq!(settled.plugins, [(kept.id, Outcome::Completed)].into());
    Ok(())
}

#[tokio::test]
async fn an_instance_that_starts_and_one_that_leaves_are_told() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let worker = fleet.worker(&needs("probe", &[])?, &Script::completes()).await?;
    let name = worker.instance.clone();
    worker.stop().await?;

    for life in ["instance.started", "instance.stopped"] {
        let told = |fact: &Fact| match fact {
            Fact::InstanceStarted { instance, .. } | Fact::InstanceStopped { instance, .. }
                if fact.name() == life =>
            {
                Some(instance.to_string())
            }
            _ => None,
        };
        assert_eq!(fleet.fact(life, told).await?, name);
    }
    eventually("the sign of life to be gone", async || {
        let stream = Names::bucket_stream(&fleet.names.instances_bucket());
        let subject = fleet.names.instance(&"probe".parse()?, &name.parse()?);
        let last = fleet.last(&stream, &subject).await?;
        Ok(last.is_none_or(|stored| stored.is_deletion()).then_some(()))
    })
    .await
}
