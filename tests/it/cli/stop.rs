//! One fleet per data folder, and its end.

use integration_tests::cli::Up;
use integration_tests::eventually;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::odd_home;

#[tokio::test]
async fn a_second_fleet_over_the_same_data_is_refused() -> anyhow::Result<()> {
    let home = odd_home(&["completes"], 1)?;
    let (up, _look) = Up::fleet(&home, 1).await?;

    let second = home.run(&["up"]).await?.ended(5)?;

    second.says("another fleet runs over")?;
    second.says(&format!("(process {})", up.pid()?))?;
    assert_eq!(home.scan(&[]).await?.0, 0, "the first one is not disturbed");
    up.stop().await
}

#[tokio::test]
async fn one_ctrl_c_ends_a_fleet_in_good_order() -> anyhow::Result<()> {
    let home = odd_home(&["slow", "300"], 8)?;
    let (mut up, look) = Up::fleet(&home, 1).await?;
    home.run(&["scan", &home.file("")]).await?.ok()?;
    look.records_reach(1).await?;
    let plugin = up.children("program")?;

    up.signal(Signal::INT)?;

    assert_eq!(up.ended().await?, Some(0), "{}", up.said());
    assert!(plugin.iter().all(|plugin| !plugin.is_alive()));
    let begun: usize = home.calls("odd")?.values().sum();
    let status: Value = home.json(&["status"]).await?;
    assert_eq!(status["records"], json!(begun), "what had begun was finished: {status}");
    assert_eq!(home.scan(&[]).await?.0, 0);
    let begun: usize = home.calls("odd")?.values().sum();
    assert_eq!(begun, 8, "nothing ran twice");
    Ok(())
}

#[tokio::test]
async fn a_second_ctrl_c_ends_everything_at_once() -> anyhow::Result<()> {
    let home = odd_home(&["hangs"], 2)?;
    let (mut up, _look) = Up::fleet_with(&home, 1, &["--grace", "60s"]).await?;
    home.run(&["scan", &home.file("")]).await?.ok()?;
    eventually("a task to begin", async || Ok((!home.calls("odd")?.is_empty()).then_some(())))
        .await?;
    let mut children = up.children("program")?;
    children.extend(up.children("nats-server")?);
    assert_eq!(children.len(), 2);

    up.signal(Signal::INT)?;
    up.says("a second time stops at once").await?;
    assert!(children.iter().all(|child| child.is_alive()), "the first one waits for the plugin");
    up.signal(Signal::INT)?;

    assert_eq!(up.ended().await?, Some(130), "{}", up.said());
    for child in &children {
        child.gone().await?;
    }
    Ok(())
}

#[tokio::test]
async fn ctrl_c_in_a_scan_says_how_to_go_on_and_the_same_command_does() -> anyhow::Result<()> {
    let home = odd_home(&["slow", "100"], 30)?;
    let library = home.file("");
    let mut scan = Up::start(&home, &["scan", &library])?;
    eventually("tasks to begin", async || Ok((home.calls("odd")?.len() > 3).then_some(()))).await?;

    scan.signal(Signal::INT)?;

    assert_eq!(scan.ended().await?, Some(130), "{}", scan.said());
    scan.says("the same command goes on where this one ended").await?;
    assert!(home.calls("odd")?.len() < 30);
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!(code, 0, "{summary}");
    let status: Value = home.json(&["status"]).await?;
    assert_eq!((&status["records"], &status["dead"]), (&json!(30), &json!(0)), "{status}");
    Ok(())
}
