//! Secrets in settings reach the plugin and nobody else.

use std::sync::{Arc, Mutex};

use broker_config::AnnounceReply;
use broker_config::wire::event::Fact;
use coordinator::registry::PluginPolicy;
use integration_tests::{Call, Fleet, Script, manifest};
use serde_json::json;
use worker_sdk::{Failure, Outcome};

const CANARY: &str = "canary-5f1d2e";

/// Every stored message of the server that holds the canary anywhere.
async fn leaks(fleet: &Fleet) -> anyhow::Result<Vec<String>> {
    let mut leaks = Vec::new();
    let mut looked_at = 0;
    for stream in fleet.all_streams().await? {
        for stored in fleet.stored(&stream).await? {
            looked_at += 1;
            let headers = format!("{:?}", stored.headers);
            let body = String::from_utf8_lossy(&stored.payload);
            if [stored.subject.as_str(), &headers, &body].iter().any(|text| text.contains(CANARY)) {
                leaks.push(format!("{stream}: {} {body}", stored.subject));
            }
        }
    }
    anyhow::ensure!(looked_at > 10, "only {looked_at} messages were there to look at");
    Ok(leaks)
}

#[tokio::test]
async fn a_secret_setting_is_in_no_stream_bucket_or_event() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| {
        let mut policy = PluginPolicy::default();
        policy.config.insert("apiKey".to_owned(), json!(CANARY));
        options.word.policies.insert("keyed".parse().unwrap(), policy);
    })
    .await?;
    let seen = Arc::new(Mutex::new(String::new()));
    let script = Script::new(|call: Call| async move {
        match call.cid.as_str() {
            "fails" => Err(Failure::permanent("no access")),
            "retries" if call.attempt == 1 => Err(Failure::retryable("busy")),
            "waits" => Ok(Outcome::retry_later(std::time::Duration::from_secs(90), "quota")),
            _ => Ok(call.done()),
        }
    })
    .configured({
        let seen = seen.clone();
        move |settings| {
            *seen.lock().unwrap() = settings["apiKey"].as_str().unwrap_or_default().to_owned();
            Ok(())
        }
    });
    let secret = json!({ "configSchema": {"apiKey": {"secret": true, "required": true}} });
    let _worker = fleet.worker(&manifest("keyed", &secret)?, &script).await?;
    fleet.submit("waits").await?;
    for cid in ["works", "fails", "retries"] {
        fleet.run(cid).await?;
    }
    let deferred = |fact: &Fact| matches!(fact, Fact::TaskDeferred { .. }).then_some(());
    fleet.fact("a deferral", deferred).await?;

    assert_eq!(*seen.lock().unwrap(), CANARY, "the plugin has it");
    assert_eq!(leaks(&fleet).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn settings_that_are_refused_are_named_without_their_values() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| {
        let mut policy = PluginPolicy::default();
        policy.config.insert("limit".to_owned(), json!(CANARY));
        policy.config.insert("unheard-of".to_owned(), json!(CANARY));
        options.word.policies.insert("typed".parse().unwrap(), policy);
    })
    .await?;
    let schema =
        json!({ "configSchema": {"limit": {"type": "number"}, "key": {"required": true}} });

    let reply = fleet.announce(&manifest("typed", &schema)?).await?;

    let AnnounceReply::Rejected { mut reasons } = reply else { panic!("{reply:?}") };
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "settings: key: is required",
            "settings: limit: must be a number",
            "settings: unheard-of: typed has no such setting",
        ]
    );
    let told = |fact: &Fact| matches!(fact, Fact::PluginRejected { .. }).then_some(());
    fleet.fact("the refusal to be told", told).await?;
    for n in 0..10 {
        fleet.put(fleet.names.event("test"), Default::default(), n.to_string().into()).await?;
    }
    assert_eq!(leaks(&fleet).await?, Vec::<String>::new());
    Ok(())
}
