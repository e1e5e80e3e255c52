//! What a plugin makes of a file beside metadata.

use broker_config::wire::signal::What;
use broker_config::{Artifact, Lane, Names, Queue};
use serde_json::json;

use crate::harness::{Fleet, Script, manifest, task};

async fn fleet() -> anyhow::Result<Fleet> {
    Fleet::with(manifest(&json!({"dataSchema": {"still": {"type": "json"}}}))?).await
}

#[tokio::test]
async fn an_artefact_is_in_the_broker_before_the_record_that_speaks_of_it() -> anyhow::Result<()> {
    let fleet = fleet().await?;
    let mut script = Script::completes();
    script.keeps = Some(70_000);
    let worker = fleet.worker(script, |_| {}).await?;
    let mut trial = task("tried")?;
    trial.trial = true;

    fleet.publish(Queue::Fast, &task("x")?).await?;
    fleet.publish(Queue::Fast, &trial).await?;
    let record = fleet.settled("x").await?;
    fleet.all_done().await?;

    let described = serde_json::to_value(&record.meta["still"])?;
    let described: Artifact = serde_json::from_value(described)?;
    assert_eq!((described.size, described.media_type.as_str()), (70_000, "image/jpeg"));
    let stream = Names::bucket_stream(&fleet.names.artifacts_bucket());
    let stream = fleet.js.get_stream(stream).await?;
    for (cid, lane) in [("x", Lane::Main), ("tried", Lane::Next)] {
        let (cid, plugin, name) = (cid.parse()?, "probe".parse()?, "still é.jpg".parse()?);
        let subject = fleet.names.artifact(&cid, &plugin, lane, &name);
        let kept = stream.get_last_raw_message_by_subject(&subject).await?;
        assert!(described.is_of(&kept.payload), "{subject}");
        assert_eq!(
            kept.headers.get("Content-Type").map(|value| value.as_str()),
            Some("image/jpeg")
        );
    }
    worker.stop().await
}

#[tokio::test]
async fn one_that_no_message_holds_fails_for_good_and_says_its_size() -> anyhow::Result<()> {
    let fleet = fleet().await?;
    let mut script = Script::completes();
    script.keeps = Some(64 << 20);
    let worker = fleet.worker(script, |_| {}).await?;

    fleet.publish(Queue::Fast, &task("x")?).await?;

    let signal = fleet.signal("failed", 0).await?;
    let What::Failed { error, permanent, .. } = signal.what else { anyhow::bail!("{signal:?}") };
    assert!(permanent && error.contains("bytes, the server takes"), "{error}");
    worker.stop().await
}
