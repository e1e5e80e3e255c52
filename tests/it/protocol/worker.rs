//! Workers in Python in a real fleet: what PROTOCOL.md promises holds for those who only read it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::header::{ATTEMPTS_USED, TRACE_PARENT};
use broker_config::wire::dead::Cause;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::InstanceState;
use broker_config::{Manifest, PluginId, Queue, RecordStatus, TaskId};
use integration_tests::{Fleet, eventually, json_of};
use serde_json::{Value, json};

use super::document::{code, table};
use super::python::{Home, Python, evaluate, manifest, submission};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_plugin_in_python_counts_the_lines_of_real_files() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let worker = Python::line_counter(&fleet, &home).await?;
    std::fs::write(home.path("poem.txt"), "one\ntwo\nthree\n")?;
    let mut headers = HeaderMap::new();
    headers.insert(TRACE_PARENT, TRACE);

    let poem = json_of(&submission("poem", &home.path("poem.txt"))?)?;
    let poem = fleet.put(fleet.names.submit(Queue::Fast), headers, poem).await?;
    let empty = home.hand_in(&fleet, "empty", "empty.txt", "").await?;
    let broken = home.hand_in(&fleet, "broken", "broken.txt", b"\xff\xfe\xff").await?;

    let settled = fleet.settled(broker_config::RunId(poem)).await?;
    assert_eq!(settled.of("line-counter"), Some(Outcome::Completed));
    let (record, _, headers) = fleet.record("poem", "line-counter").await?.context("a record")?;
    assert_eq!(serde_json::to_value(&record.meta)?, json!({"text/lines": "3"}));
    assert_eq!((record.status, record.attempt), (RecordStatus::Completed, 1));
    assert_eq!(record.plugin_version, "1.0.0");
    assert_eq!(record.instance.map(String::from), Some(worker.instance.clone()));
    assert!(!record.finished_at.is_empty() && !record.fingerprint.is_empty());
    assert_eq!(headers.get(TRACE_PARENT).map(|value| value.as_str()), Some(TRACE));
    assert_eq!(fleet.settled(empty).await?.of("line-counter"), Some(Outcome::Skipped));
    let record = fleet.recorded("empty", "line-counter").await?;
    assert_eq!(record.reason.as_deref(), Some("the file is empty"));
    assert_eq!(fleet.settled(broken).await?.of("line-counter"), Some(Outcome::Failed));
    fleet.quiet().await
}

#[tokio::test]
async fn a_retryable_failure_is_tried_again_after_its_delay() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let retry = json!({"retry": {"maxAttempts": 3, "delaysMs": [700]}});
    let _worker = Python::scripted(&fleet, &home, "a", &retry).await?;

    let run = home.hand_in(&fleet, "x", "x", "retry the share is away\ncomplete").await?;

    assert_eq!(fleet.settled(run).await?.of("script"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("x", "script").await?.attempt, 2);
    let calls = home.calls("x")?;
    assert_eq!(calls.iter().map(|call| call.1).collect::<Vec<_>>(), [1, 2]);
    let waited = calls[1].2 - calls[0].2;
    assert!((690..5_000).contains(&waited), "{waited} ms");
    let told = fleet.fact("the failed attempt", |fact| {
        let Fact::TaskRetrying { attempt, delay_ms, error, .. } = fact else { return None };
        Some((*attempt, *delay_ms, error.clone()))
    });
    assert_eq!(told.await?, (1, 700, "OSError: the share is away".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_failure_without_a_further_attempt_is_a_dead_letter() -> anyhow::Result<()> {
    for (script, cause, attempts, error) in [
        ("fail not a film", Cause::Permanent, 1, "not a film"),
        ("retry busy", Cause::Attempts, 2, "OSError: busy"),
        (
            "complete {\"script/other\": \"x\"}",
            Cause::Permanent,
            1,
            "key `script/other` is not in the dataSchema of script",
        ),
    ] {
        let (fleet, _lead) = Fleet::start().await?;
        let home = Home::new()?;
        let retry = json!({"retry": {"maxAttempts": 2, "delaysMs": [50]}});
        let _worker = Python::scripted(&fleet, &home, "a", &retry).await?;

        let run = home.hand_in(&fleet, "x", "x", script).await?;

        assert_eq!(fleet.settled(run).await?.of("script"), Some(Outcome::Failed), "{script}");
        let letter = fleet.dead_letter("script").await?;
        assert_eq!((letter.cause, letter.attempts), (cause, attempts), "{script}");
        assert_eq!((letter.error.as_str(), letter.queue), (error, Queue::Fast));
        assert_eq!(letter.instance.map(String::from).as_deref(), Some("a"));
        assert_eq!(letter.task.cid.as_str(), "x");
        let record = fleet.recorded("x", "script").await?;
        assert_eq!((record.status, record.error.as_deref()), (RecordStatus::Failed, Some(error)));
        fleet.quiet().await?;
    }
    Ok(())
}

#[tokio::test]
async fn retry_later_costs_no_attempt_and_holds_no_delivery() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let once = json!({"retry": {"maxAttempts": 1, "delaysMs": [50]}});
    let _worker = Python::scripted(&fleet, &home, "a", &once).await?;

    let run = home.hand_in(&fleet, "x", "x", "later 1200\ncomplete").await?;

    assert_eq!(fleet.settled(run).await?.of("script"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("x", "script").await?.attempt, 1);
    let calls = home.calls("x")?;
    let waited = calls[1].2 - calls[0].2;
    assert!((1_100..8_000).contains(&waited), "{waited} ms");
    let told = fleet.fact("the deferral", |fact| {
        let Fact::TaskDeferred { delay_ms, reason, .. } = fact else { return None };
        Some((*delay_ms, reason.clone()))
    });
    assert_eq!(told.await?, (1200, "told to wait".to_owned()));
    fleet.quiet().await
}

#[tokio::test]
async fn a_long_delay_waits_in_the_broker_and_its_attempt_counts() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let slow = json!({"retry": {"maxAttempts": 3, "delaysMs": [60_001]}});
    let _worker = Python::scripted(&fleet, &home, "a", &slow).await?;

    home.hand_in(&fleet, "x", "x", "retry busy").await?;

    let plugin: PluginId = "script".parse()?;
    let later = fleet.names.later(&plugin, &"x".parse()?);
    let stored = eventually("the task to be scheduled", async || {
        fleet.last(&fleet.names.task_stream(), &later).await
    });
    let used = stored.await?.headers.get(ATTEMPTS_USED).map(ToString::to_string);
    assert_eq!(used.as_deref(), Some("1"));
    eventually("the task itself to be gone", async || {
        Ok(fleet.task("script", "x").await?.is_none().then_some(()))
    })
    .await
}

#[tokio::test]
async fn attempts_before_a_deferral_are_counted_on() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let _worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;

    let run = home.hand_in(&fleet, "x", "x", "retry busy\nlater 100\ncomplete").await?;

    fleet.settled(run).await?;
    let attempts: Vec<u32> = home.calls("x")?.iter().map(|call| call.1).collect();
    assert_eq!(attempts, [1, 2, 2], "a deferred attempt is made again");
    assert_eq!(fleet.recorded("x", "script").await?.attempt, 2);
    Ok(())
}

#[tokio::test]
async fn fields_nobody_has_heard_of_are_ignored() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let _worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    std::fs::write(home.path("x"), "complete")?;
    let (plugin, cid): (PluginId, broker_config::Cid) = ("script".parse()?, "x".parse()?);
    let task = json!({
        "type": "metafleet.task.v1", "taskId": TaskId::derive(&cid, &plugin, "f", 0), "runId": 1,
        "pluginId": "liar", "cid": "lie", "filePath": home.path("x"), "fingerprint": "f",
        "deadlineMs": 5000, "retry": {"maxAttempts": 3, "delaysMs": [50], "unheard": 1},
        "unheard": {"of": [1, 2]}, "file": {"size": 1, "unheard": null},
    });

    let subject = fleet.names.task(Queue::Fast, &plugin, &cid);
    fleet.put(subject, HeaderMap::new(), json_of(&task)?).await?;

    let record = eventually("the record", async || fleet.record("x", "script").await).await?.0;
    assert_eq!((record.status, record.fingerprint.as_str()), (RecordStatus::Completed, "f"));
    assert_eq!(record.cid, cid, "identity is what the subject says");
    Ok(())
}

#[tokio::test]
async fn content_ids_paths_and_metadata_in_any_script_survive() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let _worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    let cid = "midhash256:ünï.cödé/日本 *>=😀";
    let name = Path::new(OsStr::from_bytes(b"\xe6\x97\xa5 bad \xff\xfe.txt"));
    let user = json!({
        "type": "metafleet.record.v1", "taskId": TaskId::derive(&cid.parse()?, &PluginId::user(), "", 0),
        "pluginId": "user", "cid": cid, "status": "completed", "fingerprint": "",
        "meta": {"título": "Größe 😀", "tags": ["α", "β"], "deep": {"ключ": [1, null, 2.5]}},
    });
    let subject = fleet.names.record(&cid.parse()?, &PluginId::user());
    fleet.put(subject, HeaderMap::new(), json_of(&user)?).await?;

    let meta =
        json!({"script/text/0/naïve/κ": "“漢字” 😀\n\t\u{7f}", "script/set": ["é", "e\u{301}"]});
    let run = home.hand_in(&fleet, cid, name, format!("complete {meta}")).await?;

    assert_eq!(fleet.settled(run).await?.of("script"), Some(Outcome::Completed));
    assert_eq!(home.calls(name)?.len(), 1, "the file was found by its exact bytes");
    let mut found = serde_json::to_value(fleet.recorded(cid, "script").await?.meta)?;
    assert_eq!(found["script/cid"], cid);
    assert_eq!(found["script/existing"], user["meta"]);
    for (key, value) in meta.as_object().context("an object")? {
        // Sets have no order.
        if let Some(set) = found[key].as_array_mut() {
            set.sort_by_key(|member| member != &value[0]);
        }
        assert_eq!(found[key], *value, "{key}");
    }
    Ok(())
}

#[tokio::test]
async fn it_obeys_control_requests() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let mut worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    let done = |answer: &Value| answer["success"].as_bool();

    for (request, success, state) in [
        (json!({"action": "ping"}), true, InstanceState::Ready),
        (json!({"action": "dance"}), false, InstanceState::Ready),
        (json!({"action": "pause"}), true, InstanceState::Paused),
        (json!({"action": "resume"}), true, InstanceState::Ready),
        (json!({"action": "configure", "settings": {"mode": "bad"}}), false, InstanceState::Failed),
        (json!({"action": "configure", "settings": {"mode": "good"}}), true, InstanceState::Ready),
    ] {
        let answer = worker.control(&fleet, &request).await?;
        assert_eq!(done(&answer), Some(success), "{request}: {answer}");
        assert_eq!(answer["error"].is_string(), !success, "{request}: {answer}");
        assert_eq!(answer["instance"], "a");
        worker.is(&fleet, state).await.with_context(|| request.to_string())?;
    }
    worker.control(&fleet, &json!({"action": "pause"})).await?;
    // A request that waits may still be answered; none waits longer than this.
    worker.is(&fleet, InstanceState::Paused).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let run = home.hand_in(&fleet, "x", "x", "complete").await?;
    eventually("the task", async || fleet.task("script", "x").await).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(home.calls("x")?.is_empty(), "it pulls nothing in a pause");
    worker.control(&fleet, &json!({"action": "resume"})).await?;
    fleet.settled(run).await?;

    worker.control(&fleet, &json!({"action": "announce"})).await?;
    eventually("the second announcement", async || {
        let facts = fleet.facts().await?;
        let started = facts.iter().filter(|fact| matches!(fact, Fact::InstanceStarted { .. }));
        Ok((started.count() == 2).then_some(()))
    })
    .await?;

    worker.control(&fleet, &json!({"action": "drain"})).await?;
    assert_eq!(worker.ended().await?.code(), Some(0), "{}", worker.said());
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_is_not_accepted_says_why_and_ends_with_5() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let change = json!({"priority": 5, "dependencies": ["nobody"]});
    let mut worker = Python::spawn_scripted(&fleet, &home, "a", &change, &[]).await?;

    assert_eq!(worker.ended().await?.code(), Some(5), "{}", worker.said());

    assert!(worker.said().contains("priority: 5 must be a whole number"), "{}", worker.said());
    Ok(())
}

#[tokio::test]
async fn both_queues_are_served_and_background_gets_its_share() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    // The plugin is known before anybody pulls.
    fleet.announce(&Manifest::from_json(&manifest(&json!({}))?.to_string())?).await?;
    let mut runs = Vec::new();
    for queue in [Queue::Background, Queue::Fast] {
        for number in 0..12 {
            let name = format!("{queue}-{number}");
            std::fs::write(home.path(&name), "complete")?;
            let mut file = submission(&name, &home.path(&name))?;
            file.override_queue = true;
            runs.push(fleet.hand_in(queue, &file).await?);
        }
    }
    eventually("all tasks to be published", async || {
        Ok((fleet.state(&fleet.names.task_stream()).await?.0 == 24).then_some(()))
    })
    .await?;

    let _worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    for run in runs {
        fleet.settled(run).await?;
    }

    let mut order = Vec::new();
    for queue in [Queue::Background, Queue::Fast] {
        for number in 0..12 {
            let calls = home.calls(format!("{queue}-{number}"))?;
            assert_eq!(calls.len(), 1);
            order.push((calls[0].2, queue));
        }
    }
    order.sort();
    let early = order[..12].iter().filter(|(_, queue)| *queue == Queue::Background).count();
    assert!((2..=4).contains(&early), "{early} of the first 12 are background");
    Ok(())
}

#[tokio::test]
async fn the_codec_in_python_makes_the_tokens_that_are_listed() -> anyhow::Result<()> {
    let program = "import sys, json, contract\n\
                   print(json.dumps([[contract.encode(t), contract.decode(contract.encode(t))] \
                   for t in json.loads(sys.argv[1])]))";
    let mut texts = Vec::new();
    let mut expected = Vec::new();
    for row in table("codec")? {
        let text = code(row[0])?;
        let text = if text == "(empty)" { "" } else { text };
        texts.push(text);
        expected.push(json!([code(row[1])?, text]));
    }

    let made: Value = serde_json::from_str(&evaluate(program, &json!(texts).to_string()).await?)?;

    assert_eq!(made, json!(expected));
    for row in table("codec-refused")? {
        let token = code(row[0])?;
        let decode = "import sys, contract; contract.decode(sys.argv[1])";
        assert!(evaluate(decode, token).await.is_err(), "{token}");
    }
    Ok(())
}
