//! An instance that fails everything is taken out of work, and comes back when it is mended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use broker_config::InstanceId;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::{Instance, InstanceState};
use coordinator::quarantine::{Rules, Term};
use coordinator::store::Store;
use futures_util::StreamExt as _;
use integration_tests::{Call, Fleet, LIMIT, Script, eventually, manifest};
use serde_json::json;
use tokio::time::{sleep, timeout};
use worker_sdk::Failure;

/// Rules under which a test need not wait for minutes.
fn soon() -> Rules {
    Rules { enough: 5, first: Duration::from_secs(3), ..Rules::default() }
}

/// The node of one worker has lost its files until it is mended; all others work.
fn one_is_broken(broken: &'static str, is_mended: &Arc<AtomicBool>) -> Script {
    let is_mended = is_mended.clone();
    Script::new(move |call: Call| {
        let fails = call.instance == broken && !is_mended.load(Ordering::SeqCst);
        async move {
            if fails {
                return Err(Failure::retryable("the library is not mounted here"));
            }
            // Work takes a moment, so that who fails at once gets tasks as well.
            sleep(Duration::from_millis(20)).await;
            Ok(call.done())
        }
    })
}

async fn terms(
    store: &Store,
    wanted: &str,
    holds: impl Fn(&[Term]) -> bool,
) -> anyhow::Result<Vec<Term>> {
    eventually(wanted, async || Ok(Some(store.quarantined().await?).filter(|terms| holds(terms))))
        .await
}

#[tokio::test]
async fn a_worker_that_fails_everything_is_quarantined_and_comes_back_when_it_is_mended()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| options.quarantine = soon()).await?;
    let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;
    let is_mended = Arc::new(AtomicBool::new(false));
    let script = one_is_broken("w0", &is_mended);
    let retry = json!({ "retry": { "maxAttempts": 20, "initialDelay": 200, "maxDelay": 200 } });
    let probe = manifest("probe", &retry)?;
    let broken = fleet.worker(&probe, &script).await?;
    let _works = fleet.worker(&probe, &script).await?;
    let other = manifest("other", &json!({}))?;
    let _other = fleet.worker(&other, &Script::completes()).await?;

    let mut runs = Vec::new();
    for number in 0..60 {
        runs.push(fleet.submit(&format!("film-{number}")).await?);
    }

    let why = fleet
        .fact("the broken worker to be quarantined", |fact| match fact {
            Fact::InstanceQuarantined { instance, why, .. } => {
                Some((instance.to_string(), why.clone()))
            }
            _ => None,
        })
        .await?;
    assert_eq!(why.0, broken.instance);
    assert!(why.1.contains("while w1 works"), "{why:?}");
    fleet.instance_is(&probe.id, &broken.instance, InstanceState::Paused).await?;
    for run in runs {
        let settled = fleet.settled(run).await?;
        assert_eq!(settled.of("probe"), Some(Outcome::Completed), "{script:?}");
        assert_eq!(settled.of("other"), Some(Outcome::Completed));
    }
    let writer = fleet.recorded("film-7", "probe").await?.instance;
    assert_eq!(writer, Some("w1".parse::<InstanceId>()?));
    let overview = store.overview().await?;
    let shown = overview.plugins.iter().find(|plugin| plugin.id == "probe");
    let shown = shown.map(|plugin| (plugin.quarantined.len(), plugin.state().as_str()));
    assert_eq!(shown, Some((1, "ready")));

    // It is tried with what comes next, fails, and is out for longer.
    terms(&store, "its first trial", |terms| terms.iter().any(|term| term.on_trial)).await?;
    let mut files = 0_u32;
    let again = eventually("it to fail its trial", async || {
        fleet.submit(&format!("more-{files}")).await?;
        files += 1;
        let terms = store.quarantined().await?;
        Ok(terms.into_iter().find(|term| !term.on_trial && term.times == 2))
    })
    .await?;
    let out = again.until.duration_since(again.since);
    assert_eq!(out.unsigned_abs(), soon().first * 2);

    is_mended.store(true, Ordering::SeqCst);
    eventually("it to be free again", async || {
        fleet.submit(&format!("more-{files}")).await?;
        files += 1;
        Ok(store.quarantined().await?.is_empty().then_some(()))
    })
    .await?;
    let released = |fact: &Fact| match fact {
        Fact::InstanceReleased { instance, .. } => Some(instance.to_string()),
        _ => None,
    };
    assert_eq!(fleet.fact("its release to be told", released).await?, broken.instance);
    fleet.instance_is(&probe.id, &broken.instance, InstanceState::Ready).await?;
    Ok(())
}

#[tokio::test]
async fn a_quarantine_survives_a_new_coordinator_a_reconnect_and_a_resume_by_hand()
-> anyhow::Result<()> {
    let rules = Rules { first: Duration::from_secs(600), ..soon() };
    let (fleet, lead) = Fleet::start_with(|options| options.quarantine = rules).await?;
    let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;
    let script = one_is_broken("w0", &Arc::new(AtomicBool::new(false)));
    let retry = json!({ "retry": { "maxAttempts": 20, "initialDelay": 200, "maxDelay": 200 } });
    let probe = manifest("probe", &retry)?;
    let broken = fleet.worker(&probe, &script).await?;
    let _works = fleet.worker(&probe, &script).await?;
    for number in 0..40 {
        fleet.submit(&format!("film-{number}")).await?;
    }
    terms(&store, "the broken worker to be out", |terms| terms.len() == 1).await?;
    fleet.instance_is(&probe.id, &broken.instance, InstanceState::Paused).await?;

    lead.kill();
    let lead = fleet.coordinator(|options| options.quarantine = rules).await?;
    lead.leading().await?;
    let id: InstanceId = broken.instance.parse()?;
    for action in ["announce", "resume"] {
        let mut signs = fleet.client.subscribe(fleet.names.instance(&probe.id, &id)).await?;
        let subject = fleet.names.control_instance(&probe.id, &id);
        let body = json!({ "action": action }).to_string();
        fleet.client.request(subject, body.into()).await?;
        let mut seen = Vec::new();
        let goes_on = timeout(LIMIT, async {
            while let Some(message) = signs.next().await {
                let Ok(sign) = serde_json::from_slice::<Instance>(&message.payload) else {
                    continue;
                };
                seen.push(sign.state);
                let is_over = action == "announce" || seen.contains(&InstanceState::Ready);
                if is_over && sign.state == InstanceState::Paused {
                    return;
                }
            }
        });
        goes_on.await.with_context(|| format!("{action}: {seen:?}"))?;
        let resumed = seen.contains(&InstanceState::Ready);
        assert_eq!(resumed, action == "resume", "{seen:?}");
    }

    assert_eq!(store.quarantined().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn nobody_is_quarantined_for_files_that_fail_everywhere() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| options.quarantine = soon()).await?;
    let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;
    // Only what is called so is good.
    let script = Script::new(|call: Call| async move {
        if call.cid.starts_with("good") {
            Ok(call.done())
        } else {
            Err(Failure::retryable("broken"))
        }
    });
    let retry = json!({ "retry": { "maxAttempts": 2, "initialDelay": 50, "maxDelay": 50 } });
    let probe = manifest("probe", &retry)?;
    let _one = fleet.worker(&probe, &script).await?;
    let _two = fleet.worker(&probe, &script).await?;

    for number in 0..30 {
        fleet.run(&format!("bad-{number}")).await?;
    }
    // Both have failed at everything so far; what ends well now says nothing against the other.
    let last = fleet.run("good").await?;

    assert_eq!(last.of("probe"), Some(Outcome::Completed));
    assert_eq!(store.quarantined().await?, Vec::new());
    Ok(())
}
