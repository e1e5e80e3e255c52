//! Processes that are killed in the middle of a scan.

use std::collections::BTreeSet;

use broker_config::wire::event::Fact;
use integration_tests::cli::{Home, Look, Up};
use integration_tests::{eventually, heavy};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{add, odd_home};

const FILES: usize = 200;

/// Two plugins, one after the other, that take their time, and many files.
fn busy() -> anyhow::Result<Home> {
    let mut home = odd_home(&["slow", "15"], FILES)?;
    add(&mut home, "next", &["slow", "5"], &json!({"dependencies": ["odd"]}))?;
    Ok(home)
}

/// Every file has exactly one record of each plugin and nothing is left over.
async fn all_settled(home: &Home, look: &Look) -> anyhow::Result<()> {
    look.settled().await?;
    let records = look.records().await?;
    let completed: BTreeSet<(String, String)> = records
        .iter()
        .filter(|record| record.status == broker_config::RecordStatus::Completed)
        .map(|record| (record.cid.to_string(), record.plugin_id.to_string()))
        .collect();
    assert_eq!((records.len(), completed.len()), (2 * FILES, 2 * FILES));
    let status: Value = home.json(&["status"]).await?;
    assert_eq!(status["dead"], 0, "{status}");
    Ok(())
}

fn begun(home: &Home) -> anyhow::Result<usize> {
    let calls = |id| home.calls(id).map(|calls| calls.values().sum::<usize>());
    Ok(calls("odd")? + calls("next")?)
}

#[tokio::test]
async fn nothing_outlives_a_killed_fleet_and_the_next_one_finishes_its_scan() -> anyhow::Result<()>
{
    let _place = heavy().await?;
    let home = busy()?;
    let (mut up, look) = Up::fleet(&home, 2).await?;
    home.run(&["scan", &home.file("")]).await?.ok()?;
    look.records_reach(60).await?;
    let mut children = up.children("nats-server")?;
    children.extend(up.children("program")?);
    children.extend(up.children("odd-plugin")?);
    assert_eq!(children.len(), 3, "a broker and two plugins: {children:?}");

    up.signal(Signal::KILL)?;
    assert_eq!(up.ended().await?, None);
    for child in &children {
        child.gone().await?;
    }
    let before = begun(&home)?;
    assert!(before < 2 * FILES, "it was killed before the end");

    // A scan finds everything handed in and still waits for what others left open.
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!(code, 0, "{summary}");
    let (up, look) = Up::fleet(&home, 2).await?;
    all_settled(&home, &look).await?;
    let twice = begun(&home)? - 2 * FILES;
    assert!(twice <= 4, "{twice} ran twice, more than were running when it was killed");
    up.stop().await
}

#[tokio::test]
async fn a_killed_fleet_goes_on_by_itself_when_it_is_started_again() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = busy()?;
    let (mut up, look) = Up::fleet(&home, 2).await?;
    home.run(&["scan", &home.file("")]).await?.ok()?;
    look.records_reach(60).await?;

    up.signal(Signal::KILL)?;
    up.ended().await?;
    let (up, look) = Up::fleet(&home, 2).await?;

    all_settled(&home, &look).await?;
    up.stop().await
}

#[tokio::test]
async fn a_killed_plugin_or_broker_is_started_again_and_the_scan_goes_on() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = busy()?;
    let (up, look) = Up::fleet(&home, 2).await?;
    let library = home.file("");
    let mut scan = Up::start(&home, &["scan", &library, "--wait", "--output", "json"])?;
    look.records_reach(40).await?;

    let plugins = up.children("program")?;
    assert_eq!(plugins.len(), 2);
    plugins.iter().try_for_each(|plugin| plugin.kill())?;
    eventually("both plugins to run again", async || {
        let again = up.children("program")?;
        Ok((again.len() == 2 && again.iter().all(|p| !plugins.contains(p))).then_some(()))
    })
    .await?;
    let reached = look.records().await?.len();
    look.records_reach(reached + 40).await?;

    let broker = up.children("nats-server")?;
    assert_eq!(broker.len(), 1);
    broker[0].kill()?;
    eventually("the broker to run again", async || {
        let again = up.children("nats-server")?;
        Ok((again.len() == 1 && again != broker).then_some(()))
    })
    .await?;

    assert_eq!(scan.ended().await?, Some(0), "{}", scan.said());
    let summary: Value = serde_json::from_str(&scan.printed())?;
    assert_eq!((&summary["settled"], &summary["dead"]), (&json!(FILES), &json!(0)), "{summary}");
    up.says("a plugin process has ended").await?;
    up.says("the broker is started again").await?;
    all_settled(&home, &look).await?;
    up.stop().await
}

#[tokio::test]
async fn a_scan_in_the_fleet_of_another_one_goes_on_when_that_is_killed() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = busy()?;
    let library = home.file("");
    let arguments = ["scan", &library, "--wait", "--output", "json"];
    let mut first = Up::start(&home, &arguments)?;
    let some_have_begun = async || Ok((begun(&home)? > 40).then_some(()));
    eventually("the first scan to be under way", some_have_begun).await?;
    let mut second = Up::start(&home, &arguments)?;
    let scans = async || {
        let events = home.events(1).await?;
        let of_scans = events.iter().filter(|(_, fact)| matches!(fact, Fact::ScanStarted { .. }));
        Ok((of_scans.count() == 2).then_some(()))
    };
    eventually("the second scan to be in it too", scans).await?;

    first.signal(Signal::KILL)?;
    assert_eq!(first.ended().await?, None);

    second.says("going on").await?;
    assert_eq!(second.ended().await?, Some(0), "{}", second.said());
    let summary: Value = serde_json::from_str(&second.printed())?;
    assert_eq!(summary["settled"], FILES, "{summary}");
    Ok(())
}
