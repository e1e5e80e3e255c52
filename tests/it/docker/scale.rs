//! The number of containers follows the work, and changed settings wait for those before.

use std::time::Duration;

use broker_config::wire::event::Fact;
use integration_tests::cli::Home;
use integration_tests::docker::{Docker, add_odd, boxed, id, plugins_file};
use integration_tests::{eventually, heavy, within};
use serde_json::{Value, json};

use super::fleet;

/// A container is stopped after it has drained.
const LONG: Duration = Duration::from_secs(120);

#[tokio::test]
async fn containers_sleep_and_what_waits_wakes_them() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("scale to zero").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?).with_var("METAFLEET_SHRINK_AFTER", "5s");
    let mut entry = add_odd(&mut home, "odd", &["slow", "300"]).await?;
    entry["scale"] = json!({"min": 0, "max": 2});
    let asleep = async || Ok((docker.containers().await?.is_empty()).then_some(()));

    let (up, _look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
    within(LONG, "the one that said its manifest to go", asleep).await?;
    home.write_many(6)?;

    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(6)), "{summary}");
    within(LONG, "no container", asleep).await?;
    assert!(home.calls("odd")?.values().all(|calls| *calls == 1), "executed twice");
    up.stop().await?;
    docker.nothing_is_left().await
}

#[tokio::test]
async fn changed_settings_take_effect_when_the_container_with_those_before_is_gone()
-> anyhow::Result<()> {
    let Some(docker) = Docker::get("changed settings").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let mut entry = add_odd(&mut home, "odd", &["same"]).await?;
    let manifest = home.plugin_dir("odd", "1.0.0").join("manifest.json");
    let mut changed: Value = serde_json::from_slice(&std::fs::read(&manifest)?)?;
    changed["configSchema"] = json!({"key": {"type": "string"}});
    std::fs::write(&manifest, changed.to_string())?;
    entry["config"] = json!({"key": "before"});
    let (up, _look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
    let before: Vec<String> = docker.containers().await?.iter().map(id).collect();
    assert_eq!(before.len(), 1);

    let since = home.next_event().await?;
    entry["config"] = json!({"key": "after"});
    plugins_file(&home, &json!({"odd": entry}))?;
    let applied = async || {
        let facts = home.events(since).await?;
        let is_applied = |fact: &Fact| matches!(fact, Fact::PluginsApplied { .. });
        Ok(facts.iter().any(|(_, fact)| is_applied(fact)).then_some(()))
    };
    eventually("the change to be in effect", applied).await?;

    let now: Vec<String> = docker.containers().await?.iter().map(id).collect();
    assert!(!now.contains(&before[0]), "the one with the settings before still runs");
    up.stop().await?;
    docker.nothing_is_left().await
}
