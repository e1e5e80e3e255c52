//! How a task of an HTTP plugin can end.

use std::time::Duration;

use broker_config::wire::event::{Fact, Outcome};
use broker_config::{RecordStatus, TaskId};
use coordinator::registry::PluginPolicy;
use integration_tests::bridge::{Bench, Odd, later, manifest, ok};
use integration_tests::{Fleet, LIMIT};
use serde_json::json;
use tokio::time::sleep;

#[tokio::test]
async fn what_a_plugin_writes_and_calls_back_is_its_record() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        later(asked.clone(), async move |asked| {
            asked
                .meta("PATCH", "", r#"{"odd/done":7200,"genres":"Action|Drama","odd/extra":"x"}"#)
                .await?;
            asked.meta("POST", "/_add/genres", "Comedy").await?;
            asked.call_back(&json!({})).await.map(drop)
        });
        asked.accept()
    });
    let (bench, _listening) = Bench::serving(&fleet, &odd).await?;

    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Completed));

    let record = fleet.recorded("film", "odd").await?;
    let meta = serde_json::to_value(&record.meta)?;
    let expected =
        json!({"genres": ["Action", "Comedy", "Drama"], "odd/done": "7200", "odd/extra": "x"});
    assert_eq!(meta, expected);
    assert_eq!((record.status, record.attempt), (RecordStatus::Completed, 1));
    assert_eq!(record.plugin_version, "1.0.0");
    let task = odd.asked().remove(0);
    let id: String = serde_json::from_value(task["taskId"].clone())?;
    assert_eq!(serde_json::from_value::<TaskId>(json!(id))?, record.task_id);
    assert_eq!(task["cid"], "film");
    assert!(task["existingMeta"].is_object() && task["filePath"].is_string(), "{task}");
    assert_eq!(bench.bridge.attempts(), 0);
    Ok(())
}

#[tokio::test]
async fn failed_and_rejected_are_tried_again_and_then_given_up_with_the_plugins_words()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        if asked.text("cid") == "rejects" {
            return ok(&json!({"status": "rejected", "error": "not today"}));
        }
        later(asked.clone(), async move |asked| {
            asked.call_back(&json!({"status": "failed", "error": "no stream"})).await.map(drop)
        });
        asked.accept()
    });
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;

    for (cid, error) in
        [("fails", "no stream"), ("rejects", "the plugin rejected the task: not today")]
    {
        assert_eq!(fleet.run(cid).await?.of("odd"), Some(Outcome::Failed), "{cid}");
        let record = fleet.recorded(cid, "odd").await?;
        assert_eq!((record.attempt, record.error.as_deref()), (2, Some(error)));
    }
    assert_eq!(odd.asked().len(), 4);
    assert_eq!(fleet.dead_letters().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn skipped_is_recorded_with_its_reason_and_what_was_written_before_is_dropped()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::calls_back(json!({"status": "skipped", "reason": "no video"}));
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;

    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Skipped));

    let record = fleet.recorded("film", "odd").await?;
    assert_eq!(record.reason.as_deref(), Some("no video"));
    assert!(record.meta.is_empty(), "{record:?}");
    Ok(())
}

#[tokio::test]
async fn a_callback_that_never_comes_fails_the_attempt_at_its_deadline() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move { asked.accept() });
    odd.set_manifest(ok(&manifest(&json!({"timeout": 3_000}))));
    let (bench, _listening) = Bench::serving(&fleet, &odd).await?;

    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Failed));

    let record = fleet.recorded("film", "odd").await?;
    assert_eq!(record.error.as_deref(), Some("timed out after 3000 ms"));
    assert_eq!(odd.asked().len(), 2, "it was tried as often as the manifest says");
    assert_eq!(bench.bridge.attempts(), 0);
    Ok(())
}

#[tokio::test]
async fn the_lease_is_renewed_while_the_plugin_works() -> anyhow::Result<()> {
    // Three times the lease of two seconds.
    const WORK: Duration = Duration::from_secs(6);
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        later(asked.clone(), async move |asked| {
            sleep(WORK).await;
            asked.call_back(&json!({})).await.map(drop)
        });
        asked.accept()
    });
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;

    let run = fleet.submit("film").await?;
    let settled = fleet.settled_within(LIMIT * 2, run).await?;

    assert_eq!(settled.of("odd"), Some(Outcome::Completed));
    let record = fleet.recorded("film", "odd").await?;
    assert_eq!((record.attempt, odd.asked().len()), (1, 1));
    assert!(record.duration_ms >= 6_000, "{record:?}");
    Ok(())
}

#[tokio::test]
async fn odd_answers_to_a_task_are_failures_that_say_what_is_wrong() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        match asked.text("cid").as_str() {
            "huge" => (200, "x".repeat(1 << 20)),
            "deep" => (200, format!("{}{}", "[".repeat(20_000), "]".repeat(20_000))),
            "other" => ok(&json!({"status": "accepted", "taskId": "another"})),
            "impossible" => (422, json!({"error": "no such codec"}).to_string()),
            "breaks" => (500, String::new()),
            _ => {
                sleep(Duration::from_secs(3600)).await;
                asked.accept()
            }
        }
    });
    odd.set_manifest(ok(&manifest(&json!({"timeout": 3_000}))));
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;

    for (cid, attempts, error) in [
        ("huge", 2, "answered with more than 65536 bytes"),
        ("deep", 2, "its answer to /process cannot be understood"),
        ("other", 2, "it answered for the task `another`"),
        ("impossible", 1, "HTTP 422: no such codec"),
        ("breaks", 2, "HTTP 500"),
        ("slow", 2, "timed out after 3000 ms"),
    ] {
        assert_eq!(fleet.run(cid).await?.of("odd"), Some(Outcome::Failed), "{cid}");
        let record = fleet.recorded(cid, "odd").await?;
        let said = record.error.unwrap_or_default();
        assert!(said.contains(error), "{cid}: {said}");
        assert_eq!(record.attempt, attempts, "{cid}");
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_is_busy_is_asked_again() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        if asked.number == 0 {
            // Without `Retry-After`, which this server cannot send, it is a failed attempt.
            return (503, json!({"error": "busy"}).to_string());
        }
        later(asked.clone(), async move |asked| asked.call_back(&json!({})).await.map(drop));
        asked.accept()
    });
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;

    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Completed));

    let told = |fact: &Fact| match fact {
        Fact::TaskRetrying { error, .. } => Some(error.clone()),
        _ => None,
    };
    assert_eq!(fleet.fact("the busy answer to be told", told).await?, "HTTP 503: busy");
    Ok(())
}

#[tokio::test]
async fn settings_reach_the_plugin_before_its_first_task_and_a_refusal_is_shown()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| {
        let config = json!({"apiKey": "hush"}).as_object().cloned().unwrap_or_default();
        let policy = PluginPolicy { config, ..PluginPolicy::default() };
        options.word.policies.insert("odd".parse().unwrap(), policy);
    })
    .await?;
    let schema = json!({"apiKey": {"type": "string", "required": true, "secret": true},
                        "language": {"type": "string", "default": "en"}});
    let odd = Odd::calls_back(json!({}));
    odd.set_manifest(ok(&manifest(&json!({"configSchema": schema}))));
    odd.set_configure(ok(&json!({"status": "ok"})));
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;
    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Completed));
    assert_eq!(odd.configured(), [json!({"apiKey": "hush", "language": "en"})]);

    let refuses = Odd::calls_back(json!({}));
    refuses.set_manifest(ok(&manifest(&json!({"configSchema": schema, "version": "2.0.0"}))));
    refuses.set_configure(ok(&json!({"success": false, "error": "apiKey is wrong"})));
    let listening = refuses.listen(0).await?;
    let bench = Bench::start(&fleet, &[listening.url()?]).await?;
    let told = integration_tests::eventually("the refusal to be shown", async || {
        let errors = bench.errors().await?;
        Ok(errors.into_iter().find(|error| error.contains("apiKey is wrong")))
    });
    assert!(!told.await?.contains("hush"));
    assert!(refuses.asked().is_empty());
    Ok(())
}
