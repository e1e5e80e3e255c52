//! A plugin whose code hangs where nobody would expect it to.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use broker_config::Queue;
use broker_config::wire::instance::InstanceState;
use broker_config::wire::signal::{AnnounceReply, Control, What};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Fleet, LEASE, Script, completed, eventually, lock, task};
use crate::script::Hangs;

fn hangs_over(what: Hangs) -> Script {
    let mut script = Script::completes();
    script.hangs = Some(what);
    script
}

/// Settings over which a script that hangs over them does.
fn settings() -> worker_sdk::Settings {
    worker_sdk::Settings::from_iter([("hang".to_owned(), true.into())])
}

#[tokio::test]
async fn a_worker_drains_although_its_plugin_never_took_the_first_settings() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    if let AnnounceReply::Accepted { settings: answer, .. } = &mut *lock(&fleet.reply) {
        *answer = settings();
    }

    let worker = fleet.worker(hangs_over(Hangs::Settings), |_| {}).await?;

    worker.stop().await
}

#[tokio::test]
async fn a_worker_drains_although_its_plugin_never_took_later_settings() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = hangs_over(Hangs::Settings);
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.in_state(InstanceState::Ready).await?;
    let mut asked = JoinSet::new();
    let (client, subject) = (fleet.client.clone(), fleet.names.control(&fleet.manifest.id));
    let request = serde_json::to_vec(&Control::Configure { settings: settings() })?;
    asked.spawn(async move { client.request(subject, request.into()).await });
    eventually("the plugin to hang", async || script.hung.load(SeqCst) == 1).await?;

    worker.stop().await
}

#[tokio::test]
async fn a_worker_does_as_told_while_its_plugin_thinks_about_settings() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = hangs_over(Hangs::Settings);
    let mut worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.in_state(InstanceState::Ready).await?;
    let mut asked = JoinSet::new();
    let (client, subject) = (fleet.client.clone(), fleet.names.control(&fleet.manifest.id));
    let request = serde_json::to_vec(&Control::Configure { settings: settings() })?;
    asked.spawn(async move { client.request(subject, request.into()).await });
    eventually("the plugin to hang", async || script.hung.load(SeqCst) == 1).await?;

    assert!(fleet.control(&Control::Pause).await?.success);
    fleet.in_state(InstanceState::Paused).await?;
    assert!(fleet.control(&Control::Drain).await?.success);

    worker.ended().await??;
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_blocks_when_it_is_paused_keeps_its_leases() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (go, gate) = tokio::sync::watch::channel(false);
    let mut script = Script::new(move |_| {
        let mut gate = gate.clone();
        async move {
            drop(gate.wait_for(|open| *open).await);
            Ok(completed())
        }
    });
    script.hangs = Some(Hangs::Pause);
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.publish(Queue::Fast, &task("x")?).await?;
    script.begun(1).await?;

    fleet.control(&Control::Pause).await?;
    sleep(LEASE * 2).await;
    go.send_replace(true);

    assert_eq!(fleet.settled("x").await?.attempt, 1);
    worker.stop().await
}

#[tokio::test]
async fn health_checks_that_hang_do_not_pile_up() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = hangs_over(Hangs::Health);
    let worker = fleet.worker(script.clone(), |_| {}).await?;

    eventually("a third check", async || script.hung.load(SeqCst) >= 3).await?;

    assert_eq!(script.most.load(SeqCst), 1, "checks at once");
    let entry = fleet.presence().await?.ok_or_else(|| anyhow::anyhow!("no entry"))?;
    assert_eq!(entry.error.as_deref(), Some("the health check does not answer"));
    worker.stop().await
}

#[tokio::test]
async fn an_attempt_without_progress_fails_and_one_that_reports_goes_on() -> anyhow::Result<()> {
    let limit = Duration::from_secs(2);
    let fleet = Fleet::start().await?;
    let mut script = Script::new(|call| async move {
        if call.attempt == 1 {
            std::future::pending::<()>().await;
        }
        Ok(completed())
    });
    // For longer than the limit in all.
    script.keeps_reporting = Some((15, limit / 10));
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let mut hangs = task("x")?;
    hangs.progress_timeout_ms = Some(2_000);
    hangs.deadline_ms = 60_000;

    fleet.publish(Queue::Fast, &hangs).await?;

    let What::Retrying { error, duration_ms, .. } = fleet.signal("retrying", 0).await?.what else {
        anyhow::bail!("not failed");
    };
    assert_eq!(error, "timed out: no progress for 2000 ms");
    assert!(duration_ms >= 5_000, "its reports did not count: {duration_ms}");
    assert_eq!(fleet.settled("x").await?.attempt, 2);
    worker.stop().await
}
