//! Instances that die, come back, refuse, or are not what they should be.

use broker_config::wire::event::Outcome;
use coordinator::bridge::Places;
use integration_tests::bridge::{Bench, Odd, later, manifest, ok, places};
use integration_tests::{Fleet, LIMIT, eventually, within};
use serde_json::json;

#[tokio::test]
async fn a_plugin_that_dies_and_comes_back_is_configured_again_and_its_task_runs_again()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        // The first attempt dies with the plugin.
        if asked.number > 0 {
            later(asked.clone(), async move |asked| asked.call_back(&json!({})).await.map(drop));
        }
        asked.accept()
    });
    let (bench, listening) = Bench::serving(&fleet, &odd).await?;
    let (url, port) = (listening.url()?, listening.port);
    let run = fleet.submit("film").await?;
    odd.asked_reach(1).await?;

    // As the process runtime says it: gone, then there again with another process id.
    listening.die().await;
    bench.places.send_replace(Places::new());
    let _again = odd.listen(port).await?;
    bench.places.send_replace(places(&[url], 1)?);
    let settled = fleet.settled_within(LIMIT * 2, run).await?;

    assert_eq!(settled.of("odd"), Some(Outcome::Completed));
    assert_eq!(odd.asked().len(), 2);
    assert_eq!(odd.configured().len(), 2, "once for each life");
    Ok(())
}

#[tokio::test]
async fn a_remote_plugin_that_is_away_costs_no_attempt_and_is_configured_when_it_is_back()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::calls_back(json!({}));
    let (_bench, listening) = Bench::serving(&fleet, &odd).await?;
    let port = listening.port;
    fleet.run("first").await?;
    listening.die().await;

    // Nobody tells the bridge; it finds nobody there.
    let run = fleet.submit("second").await?;
    fleet.task_waits("odd", "second").await?;
    let _again = odd.listen(port).await?;
    let settled = fleet.settled_within(LIMIT * 3, run).await?;

    assert_eq!(settled.of("odd"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("second", "odd").await?.attempt, 1);
    assert_eq!(odd.configured().len(), 2);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_not_ready_gets_no_task_and_the_other_gets_all() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (good, waits) = (Odd::calls_back(json!({})), Odd::calls_back(json!({})));
    waits.set_health(ok(&json!({"status": "healthy", "ready": false})));
    let (one, two) = (good.listen(0).await?, waits.listen(0).await?);
    let bench = Bench::start(&fleet, &[one.url()?, two.url()?]).await?;
    bench.serves(&fleet).await?;

    for run in fleet.submit_many("file", 12).await? {
        assert_eq!(fleet.settled(run).await?.of("odd"), Some(Outcome::Completed));
    }
    assert_eq!((good.asked().len(), waits.asked().len()), (12, 0));
    assert_eq!(waits.configured().len(), 0, "it is not configured before it is ready");

    waits.set_health(ok(&json!({"status": "healthy", "ready": true})));
    eventually("the other one to be configured", async || {
        Ok((!waits.configured().is_empty()).then_some(()))
    })
    .await?;
    let runs = fleet.submit_many("more", 40).await?;
    for run in runs {
        assert_eq!(fleet.settled(run).await?.of("odd"), Some(Outcome::Completed));
    }
    assert!(!waits.asked().is_empty(), "both work now");
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_is_not_ready_within_its_time_is_to_be_started_anew() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::calls_back(json!({}));
    odd.set_health((503, json!({"status": "unhealthy", "error": "no disk"}).to_string()));
    let listening = odd.listen(0).await?;
    let mut bench = Bench::start(&fleet, &[listening.url()?]).await?;

    let asked =
        within(LIMIT * 3, "a restart to be asked for", async || Ok(bench.restarts.try_recv().ok()));
    assert_eq!(asked.await?.as_str(), "plugin-odd-1");

    odd.set_health(ok(&json!({"status": "healthy", "ready": true})));
    bench.serves(&fleet).await?;
    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn a_manifest_that_is_wrong_or_anothers_is_not_served_until_it_is_right() -> anyhow::Result<()>
{
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::calls_back(json!({}));
    let listening = odd.listen(0).await?;
    odd.set_manifest(ok(&manifest(&json!({"priority": 5}))));
    let bench = Bench::start(&fleet, &[listening.url()?]).await?;
    for (said, told) in [
        (ok(&manifest(&json!({"priority": 5}))), "priority: 5 must be"),
        (ok(&manifest(&json!({"id": "another"}))), "it is the plugin `another`, not `odd`"),
        ((404, String::new()), "no manifest: HTTP 404"),
        ((200, "{".to_owned()), "EOF"),
        ((200, "x".repeat(2 << 20)), "more than 1048576 bytes"),
        ((200, format!("{{\"ui\":{}", "[".repeat(100_000))), "recursion limit"),
    ] {
        odd.set_manifest(said);
        within(LIMIT * 2, told, async || {
            let troubles = bench.bridge.troubles();
            Ok(troubles.iter().any(|trouble| trouble.why.contains(told)).then_some(()))
        })
        .await?;
    }
    assert!(odd.configured().is_empty());

    odd.set_manifest(ok(&manifest(&json!({}))));
    bench.serves(&fleet).await?;
    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Completed));
    assert!(bench.bridge.troubles().is_empty());
    Ok(())
}

#[tokio::test]
async fn another_version_of_a_plugin_serves_when_its_instances_were_started_anew()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::calls_back(json!({}));
    let (bench, listening) = Bench::serving(&fleet, &odd).await?;
    fleet.run("film").await?;
    assert_eq!(fleet.recorded("film", "odd").await?.plugin_version, "1.0.0");

    odd.set_manifest(ok(&manifest(&json!({"version": "2.0.0"}))));
    bench.places.send_replace(places(&[listening.url()?], 1)?);
    eventually("the new version to be known", async || {
        let overview = bench.store.overview().await?;
        Ok(overview.plugins.iter().any(|p| p.version == "2.0.0" && p.ready > 0).then_some(()))
    })
    .await?;

    fleet.run("film").await?;
    assert_eq!(fleet.recorded("film", "odd").await?.plugin_version, "2.0.0");
    Ok(())
}

#[tokio::test]
async fn a_stop_waits_for_what_is_in_hand() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (gate, opened) = tokio::sync::watch::channel(false);
    let odd = Odd::new(move |asked| {
        let mut opened = opened.clone();
        async move {
            later(asked.clone(), async move |asked| {
                opened.wait_for(|open| *open).await?;
                asked.call_back(&json!({})).await.map(drop)
            });
            asked.accept()
        }
    });
    let (bench, _listening) = Bench::serving(&fleet, &odd).await?;
    let run = fleet.submit("film").await?;
    odd.asked_reach(1).await?;

    let open = async {
        tokio::task::yield_now().await;
        gate.send_replace(true);
    };
    tokio::join!(bench.bridge.stop(), open);

    assert_eq!(fleet.settled(run).await?.of("odd"), Some(Outcome::Completed));
    assert_eq!(odd.asked().len(), 1);
    Ok(())
}
