//! The number of instances follows the work, and nothing is lost or done twice by it.

use std::time::Duration;

use broker_config::wire::event::Fact;
use integration_tests::cli::{Home, Up};
use integration_tests::{eventually, heavy, within};
use serde_json::{Value, json};

use super::add;

/// Draining alone takes 7 to 12 s, and the machine may be busy.
const LONG: Duration = Duration::from_secs(120);

/// A home whose plugin `odd` takes so long for each of its tasks, one at a time.
fn slow(milliseconds: &str, files: usize, plugins: &str) -> anyhow::Result<Home> {
    let mut home = Home::new()?.with_var("METAFLEET_SHRINK_AFTER", "5s");
    add(&mut home, "odd", &["slow", milliseconds], &json!({"concurrency": 1}))?;
    home.write_many(files)?;
    write(&home, plugins)?;
    Ok(home)
}

fn write(home: &Home, plugins: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(home.data())?;
    Ok(std::fs::write(home.data().join("plugins.yml"), plugins)?)
}

/// The processes of plugins, before and after their guard has made way for them.
fn instances(up: &Up) -> anyhow::Result<usize> {
    Ok(up.children("program")?.len() + up.children("odd-plugin")?.len())
}

async fn instances_are(up: &Up, number: usize) -> anyhow::Result<()> {
    let what = format!("{number} instances");
    within(LONG, &what, async || Ok((instances(up)? == number).then_some(()))).await
}

/// From and to of each change of the number.
async fn changes(home: &Home) -> anyhow::Result<Vec<(u32, u32)>> {
    let facts = home.events(1).await?.into_iter();
    let change = |fact: Fact| match fact {
        Fact::PluginScaled { plugin_id, from, to, why } => {
            assert!(plugin_id.as_str() == "odd" && !why.is_empty());
            Some((from, to))
        }
        _ => None,
    };
    Ok(facts.filter_map(|(_, fact)| change(fact)).collect())
}

/// Every file was looked at exactly once, at the first attempt.
async fn each_once(
    home: &Home,
    look: &integration_tests::cli::Look,
    files: usize,
) -> anyhow::Result<()> {
    let calls = home.calls("odd")?;
    assert_eq!(calls.len(), files);
    assert!(calls.values().all(|times| *times == 1), "executed twice: {calls:?}");
    let records = look.records().await?;
    assert_eq!(records.len(), files);
    assert!(records.iter().all(|record| record.attempt == 1), "something was given back");
    Ok(())
}

/// From `from` to one instance and never up again; each ends when it has drained, perhaps not at the
/// same look as another.
fn is_way_down(changes: &[(u32, u32)], from: u32) {
    let mut now = from;
    for (before, after) in changes {
        assert!(*before == now && after < before, "{changes:?}");
        now = *after;
    }
    assert_eq!(now, 1, "{changes:?}");
}

#[tokio::test]
async fn a_backlog_grows_a_plugin_to_its_most_and_then_back_and_each_task_runs_once()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = slow("1200", 40, "plugins:\n  odd:\n    scale: {min: 1, max: 3}\n")?;
    let (up, look) = Up::fleet(&home, 1).await?;
    assert_eq!(instances(&up)?, 1);

    home.run(&["scan", &home.file("")]).await?.ok()?;

    instances_are(&up, 3).await?;
    look.settled().await?;
    instances_are(&up, 1).await?;
    each_once(&home, &look, 40).await?;
    let changes = changes(&home).await?;
    assert_eq!(changes[..2], [(1, 2), (2, 3)]);
    is_way_down(&changes[2..], 3);
    up.stop().await
}

#[tokio::test]
async fn instances_that_are_too_many_finish_their_long_tasks_before_they_end() -> anyhow::Result<()>
{
    let _place = heavy().await?;
    let home = slow("15000", 3, "plugins:\n  odd:\n    scale: {min: 3, max: 4}\n")?;
    let (up, look) = Up::fleet_with(&home, 1, &["--grace", "1s"]).await?;
    instances_are(&up, 3).await?;
    home.run(&["scan", &home.file("")]).await?.ok()?;
    eventually("all to be busy", async || Ok((home.calls("odd")?.len() == 3).then_some(())))
        .await?;

    write(&home, "plugins:\n  odd:\n    scale: {min: 1, max: 1}\n")?;

    instances_are(&up, 1).await?;
    look.settled().await?;
    each_once(&home, &look, 3).await?;
    is_way_down(&changes(&home).await?, 3);
    up.stop().await
}

#[tokio::test]
async fn a_plugin_sleeps_with_no_instance_and_what_waits_wakes_it() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = slow("100", 4, "plugins:\n  odd:\n    scale: {min: 0, max: 2}\n")?;
    let (up, look) = Up::fleet(&home, 0).await?;

    for (round, files) in [(1, 4), (2, 5)] {
        let state = async || {
            let status: Value = home.json(&["status"]).await?;
            let odd = status["plugins"][0].clone();
            Ok((odd["version"] == "1.0.0" && odd["scale"]["number"] == 0).then_some(odd))
        };
        let odd = eventually("the plugin to be known and to sleep", state).await?;
        assert_eq!((&odd["enabled"], instances(&up)?), (&json!(true), 0), "round {round}: {odd}");

        let (code, summary) = home.scan(&[]).await?;

        assert_eq!((code, &summary["tasks"]["failed"]), (0, &json!(0)), "{summary}");
        each_once(&home, &look, files).await?;
        instances_are(&up, 0).await?;
        home.write("one-more.txt", "what wakes it again")?;
    }
    assert_eq!(changes(&home).await?, [(0, 1), (1, 0), (0, 1), (1, 0)]);
    up.stop().await
}

#[tokio::test]
async fn growth_ends_at_the_cap_of_the_fleet_and_status_says_so() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let plugins = "fleet: {maxCpus: 2.5}\nplugins:\n  odd:\n    scale: {min: 1, max: 4}\n";
    let home = slow("1500", 40, plugins)?;
    let (up, look) = Up::fleet(&home, 1).await?;

    home.run(&["scan", &home.file("")]).await?.ok()?;

    let told =
        "4 wanted, 2 allowed by the cap of the fleet: one more takes 1 cpus, 2 of maxCpus 2.5";
    let shown = async || {
        let status = home.run(&["status"]).await?.ok()?;
        Ok(status.out.contains(&format!("odd: {told}")).then_some(()))
    };
    eventually("the reason in `status`", shown).await?;
    look.settled().await?;
    each_once(&home, &look, 40).await?;
    assert_eq!(changes(&home).await?.iter().map(|(_, to)| *to).max(), Some(2));
    up.stop().await
}
