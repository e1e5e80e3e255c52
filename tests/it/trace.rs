//! The trace of a file's run travels in headers.

use async_nats::HeaderMap;
use broker_config::Queue;
use broker_config::header::{TRACE_PARENT, TRACE_STATE};
use broker_config::read::Stored;
use integration_tests::{Fleet, Script, eventually, file, json_of, manifest};
use serde_json::json;
use worker_sdk::Failure;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The trace id and the state in a message's headers.
fn trace(headers: &HeaderMap) -> (String, String) {
    let text = |name: &str| headers.get(name).map(|v| v.as_str().to_owned()).unwrap_or_default();
    let parent = text(TRACE_PARENT);
    (parent.split('-').nth(1).unwrap_or_default().to_owned(), text(TRACE_STATE))
}

#[tokio::test]
async fn the_trace_of_a_submission_is_in_its_tasks_records_signals_and_dead_letters()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let bad = Script::new(|_| async { Err(Failure::permanent("no")) });
    let _good = fleet.worker(&manifest("good", &json!({}))?, &Script::completes()).await?;
    let _bad = fleet.worker(&manifest("bad", &json!({}))?, &bad).await?;
    let absent = manifest("absent", &json!({}))?;
    fleet.announce(&absent).await?;
    let mut headers = HeaderMap::new();
    headers.insert(TRACE_PARENT, format!("00-{TRACE}-b7ad6b7169203331-01"));
    headers.insert(TRACE_STATE, "shop=1");

    let body = json_of(&file("film")?)?;
    fleet.put(fleet.names.submit(Queue::Fast), headers, body).await?;

    let expected = (TRACE.to_owned(), "shop=1".to_owned());
    let (_, task) = fleet.task_waits("absent", "film").await?;
    assert_eq!(trace(&task.headers), expected, "task");
    fleet.dead_letter("bad").await?;
    for plugin in ["good", "bad"] {
        let (_, _, headers) =
            eventually("a record", async || fleet.record("film", plugin).await).await?;
        assert_eq!(trace(&headers), expected, "record of {plugin}");
    }
    for stream in [fleet.names.signal_stream(), fleet.names.dead_stream()] {
        let stored: Vec<Stored> = fleet.stored(&stream).await?;
        assert_eq!(stored.len(), 1, "{stream}");
        assert_eq!(trace(&stored[0].headers), expected, "{stream}");
    }
    Ok(())
}
