//! `metafleet plugin dev`: a plugin that is worked on, inside a fleet that runs.

use integration_tests::cli::Up;
use integration_tests::{eventually, heavy};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Bench;

#[tokio::test]
async fn a_plugin_takes_part_in_the_fleet_until_ctrl_c() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut bench = Bench::new(&json!({"filter": {"extensions": ["txt"]}})).await?;
    super::super::cli::add(&mut bench.home, "odd", &["same"], &json!({}))?;
    let file = bench.file("a.txt", "complete {\"script/text/0/a\": \"one\"}")?;
    let (up, _look) = Up::fleet(&bench.home, 1).await?;
    let folder = bench.folder().display().to_string();
    let command: Vec<&str> = bench.command.iter().map(String::as_str).collect();
    let arguments =
        [&["plugin", "dev", &folder, "--output", "ndjson", "--"], &command[..]].concat();
    let mut dev = Up::start(&bench.home, &arguments)?;
    dev.says("script is ready after").await?;

    bench.home.scan(&[]).await?;

    let records = |dev: &Up| -> Vec<Value> {
        dev.printed().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("its record", async || Ok((records(&dev).len() == 1).then_some(()))).await?;
    let [record] = records(&dev).try_into().unwrap_or_default();
    assert_eq!(record["file"], json!(file));
    assert_eq!(record["record"]["meta"]["script/text/0/a"], "one", "{record:#}");
    std::fs::write(bench.folder().join("another.py"), "")?;
    dev.says("1 file changed, starting anew").await?;
    eventually("it is ready again", async || {
        Ok((dev.said().matches("script is ready after").count() == 2).then_some(()))
    })
    .await?;
    dev.signal(Signal::INT)?;
    assert_eq!(dev.ended().await?, Some(0), "{}", dev.said());
    let nowhere = ["plugin", "dev", &folder, "--data-dir", "/none", "--", "true"];
    bench.home.run(&nowhere).await?.ended(4)?.says("no fleet runs here")?;
    up.stop().await
}
