//! What containers use.

use std::time::Duration;

use integration_tests::api::Api;
use integration_tests::cli::Home;
use integration_tests::docker::{Docker, add_odd, boxed};
use integration_tests::{heavy, within};
use serde_json::{Value, json};

use super::fleet;

/// Two looks, ten seconds apart, on a machine that is busy.
const LOOKS: Duration = Duration::from_secs(120);

#[tokio::test]
async fn what_a_container_uses_is_shown_by_instance_and_by_plugin() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("usage").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let mut entry = add_odd(&mut home, "odd", &["burns", "100000"]).await?;
    entry["timeout"] = json!(300_000);
    home.write_many(1)?;
    let (up, look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
    let api = Api::of(&home)?;
    home.run(&["scan", &home.library().to_string_lossy()]).await?.ok()?;

    let mut plugin = Value::Null;
    let shown = within(LOOKS, "what it uses", async || {
        plugin = api.get("/api/plugins/odd").await?;
        let cpu = plugin["containers"][0]["cpu"].as_f64();
        Ok(cpu.is_some_and(|cpu| cpu > 0.1).then_some(()))
    });
    shown.await?;

    let one = &plugin["containers"][0];
    // The engine keeps it to one processor.
    assert!(one["cpu"].as_f64().is_some_and(|cpu| cpu < 1.5), "{one:#}");
    let memory = one["memoryBytes"].as_u64().unwrap_or_default();
    assert!(((64 << 20)..=(256 << 20)).contains(&memory), "{one:#}");
    assert_eq!(one["memoryLimitBytes"], 256 << 20, "{one:#}");
    assert!(one["pids"].as_u64().is_some_and(|pids| pids >= 1), "{one:#}");
    assert!(one["sampledAt"].as_str() >= one["startedAt"].as_str(), "{one:#}");
    // It was made here, so that no registry knows it.
    let image = docker.inspect("plugin-odd-1").await?.unwrap_or_default();
    assert_eq!((&plugin["imageId"], &plugin["imageDigest"]), (&image["Image"], &Value::Null));
    let table = home.run(&["status"]).await?.ok()?.out;
    let line = table.lines().find(|line| line.starts_with("odd ")).unwrap_or_default();
    assert!(table.contains("CPU") && line.contains(" MB"), "{table}");

    std::fs::write(home.plugin_dir("odd", "1.0.0").join("enough"), "")?;
    look.settled().await?;
    up.stop().await?;
    docker.nothing_is_left().await
}
