//! `plugins.yml` is changed while a fleet runs.

use broker_config::wire::event::Fact;
use integration_tests::cli::{Home, Up};
use integration_tests::{eventually, heavy};
use rustix::process::Signal;
use serde_json::json;

use super::add;

/// Changes the file and waits for what comes of it.
async fn change(home: &Home, text: &str) -> anyhow::Result<Fact> {
    let since = home.next_event().await?;
    std::fs::write(home.data().join("plugins.yml"), text)?;
    comes_of_it(home, since).await
}

async fn comes_of_it(home: &Home, since: u64) -> anyhow::Result<Fact> {
    eventually("the changed file to be judged", async || {
        let mut facts = home.events(since).await?.into_iter().map(|(_, fact)| fact);
        Ok(facts
            .find(|fact| matches!(fact, Fact::PluginsApplied { .. } | Fact::PluginsRefused { .. })))
    })
    .await
}

fn is_applied_for(fact: &Fact, plugins: &[&str]) -> bool {
    let Fact::PluginsApplied { plugin_ids } = fact else { return false };
    plugin_ids.iter().map(ToString::to_string).eq(plugins.iter().map(ToString::to_string))
}

/// The processes of plugins, before and after their guard has made way for them.
fn instances(up: &Up) -> anyhow::Result<usize> {
    Ok(up.children("program")?.len() + up.children("odd-plugin")?.len())
}

#[tokio::test]
async fn a_changed_file_takes_effect_without_a_restart_and_an_invalid_one_does_not()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut home = Home::new()?;
    home.write_many(3)?;
    let manifest = json!({"configSchema": {"key": {"type": "string"}}});
    add(&mut home, "odd", &["needs", "key"], &manifest)?;
    let (up, look) = Up::fleet(&home, 1).await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["failed"]), (6, &json!(3)), "the key is not set");

    let set = "plugins:\n  odd:\n    config: {key: x}\n";
    let fact = change(&home, set).await?;
    assert!(is_applied_for(&fact, &["odd"]), "{fact:?}");
    look.ready(1).await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(3)), "{summary}");

    let fact = change(&home, "plugins:\n  odd:\n    config: {key: x}\n    timeout: soon\n").await?;
    let Fact::PluginsRefused { reasons } = fact else { anyhow::bail!("{fact:?}") };
    assert!(reasons.iter().any(|reason| reason.contains("plugins.yml:4")), "{reasons:?}");
    let fact = change(&home, "plugins: [\n").await?;
    assert!(matches!(fact, Fact::PluginsRefused { .. }), "{fact:?}");
    up.says("the one before stays in effect").await?;
    home.write("new.txt", "after the invalid file")?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(1)), "{summary}");

    let fact = change(&home, "plugins:\n  odd:\n    enabled: false\n").await?;
    assert!(is_applied_for(&fact, &["odd"]), "{fact:?}");
    home.write("newer.txt", "while it is off")?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(0)), "{summary}");
    let none = async || Ok((instances(&up)? == 0).then_some(()));
    eventually("its process to stop", none).await?;

    let since = home.next_event().await?;
    std::fs::write(home.data().join("plugins.yml"), format!("{set}    instances: 2\n"))?;
    up.signal(Signal::HUP)?;
    let fact = comes_of_it(&home, since).await?;
    assert!(is_applied_for(&fact, &["odd"]), "{fact:?}");
    let two = async || Ok((instances(&up)? == 2).then_some(()));
    eventually("two instances", two).await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(1)), "{summary}");
    up.stop().await
}
