//! Processes that fail, leak or hang: they are taken out of work, replaced, or told that it took too long.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_config::wire::event::Fact;
use integration_tests::cli::{Home, Up};
use integration_tests::{heavy, within};
use serde_json::{Value, json};

use super::add;

/// Draining alone takes 7 to 12 s, a quarantine half a minute, and the machine may be busy.
const LONG: Duration = Duration::from_secs(180);

fn home(behaviour: &[&str], change: &Value, files: usize, plugins: &str) -> anyhow::Result<Home> {
    let mut home = Home::new()?;
    add(&mut home, "odd", behaviour, change)?;
    home.write_many(files)?;
    std::fs::create_dir_all(home.data())?;
    std::fs::write(home.data().join("plugins.yml"), plugins)?;
    Ok(home)
}

/// How often each instance has announced itself.
async fn starts(home: &Home) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut starts = BTreeMap::new();
    for (_, fact) in home.events(1).await? {
        if let Fact::InstanceStarted { instance, .. } = fact {
            *starts.entry(instance.to_string()).or_default() += 1;
        }
    }
    Ok(starts)
}

/// How often instances were quarantined and released.
async fn quarantines(home: &Home) -> anyhow::Result<(usize, usize)> {
    let (mut out, mut back) = (0, 0);
    for (_, fact) in home.events(1).await? {
        match fact {
            Fact::InstanceQuarantined { instance, .. } => {
                assert_eq!(instance.as_str(), "plugin-odd-2");
                out += 1;
            }
            Fact::InstanceReleased { .. } => back += 1,
            _ => {}
        }
    }
    Ok((out, back))
}

#[tokio::test]
async fn a_process_that_fails_everything_is_quarantined_started_anew_and_free_when_mended()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let retry = json!({"maxAttempts": 30, "delaysMs": [300]});
    let change = json!({"concurrency": 1, "retry": retry});
    let plugins = "plugins:\n  odd:\n    instances: 2\n";
    let home = home(&["lost", "plugin-odd-2"], &change, 40, plugins)?;
    let lost = home.plugin_dir("odd", "1.0.0").join("lost");
    std::fs::write(&lost, "")?;
    let (up, look) = Up::fleet(&home, 1).await?;
    within(LONG, "both to serve", async || Ok((starts(&home).await?.len() == 2).then_some(())))
        .await?;

    let (code, summary) = home.scan(&[]).await?;

    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(40)), "{summary}");
    let quarantined = "to be quarantined and started anew";
    within(LONG, quarantined, async || {
        let again = starts(&home).await?.get("plugin-odd-2").copied() >= Some(2);
        Ok((again && quarantines(&home).await?.0 >= 1).then_some(()))
    })
    .await?;
    assert_eq!(starts(&home).await?.get("plugin-odd-1"), Some(&1), "the other one went on");
    let status = home.run(&["status"]).await?.ok()?;
    assert!(status.out.contains("plugin-odd-2: quarantined"), "{}", status.out);
    assert!(
        status.out.contains("files in a row failed, while plugin-odd-1 works"),
        "{}",
        status.out
    );

    std::fs::remove_file(&lost)?;
    let mut files = 0;
    within(LONG, "it to be free again", async || {
        files += 1;
        home.write(&format!("more-{files}.txt"), format!("more {files}"))?;
        home.scan(&[]).await?;
        Ok((quarantines(&home).await?.1 >= 1).then_some(()))
    })
    .await?;
    let status = home.run(&["status"]).await?.ok()?;
    assert!(!status.out.contains("quarantined"), "{}", status.out);
    look.settled().await?;
    up.stop().await
}

#[tokio::test]
async fn processes_that_have_done_their_tasks_are_replaced_one_by_one_and_nothing_runs_twice()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let plugins = "plugins:\n  odd:\n    instances: 2\n    recycle: {afterTasks: 10}\n";
    let home = home(&["slow", "500"], &json!({"concurrency": 1}), 80, plugins)?;
    let (up, look) = Up::fleet(&home, 1).await?;

    home.run(&["scan", &home.file("")]).await?.ok()?;

    within(LONG, "both to be replaced", async || {
        let starts = starts(&home).await?;
        let again = ["plugin-odd-1", "plugin-odd-2"].map(|name| starts.get(name).copied());
        Ok(again.iter().all(|times| *times >= Some(2)).then_some(()))
    })
    .await?;
    look.settled().await?;
    let calls = home.calls("odd")?;
    assert_eq!(calls.len(), 80);
    assert!(calls.values().all(|times| *times == 1), "executed twice: {calls:?}");
    let records = look.records().await?;
    assert!(records.iter().all(|record| record.attempt == 1), "something was given back");
    up.stop().await
}

#[tokio::test]
async fn a_process_that_reports_no_progress_is_given_up_on_as_plugins_yml_says()
-> anyhow::Result<()> {
    let plugins = "plugins:\n  odd:\n    progressTimeout: 400\n";
    let home = home(&["hangs"], &json!({"timeout": 600_000}), 1, plugins)?;

    let (code, summary) = home.scan(&[]).await?;

    assert_eq!((code, &summary["dead"]), (6, &json!(1)), "{summary}");
    let letters: Vec<Value> = home.json(&["dead", "list", "--plugin", "odd"]).await?;
    let error = letters.first().and_then(|letter| letter["error"].as_str()).unwrap_or_default();
    assert!(error.contains("timed out: no progress for 400 ms"), "{letters:?}");
    Ok(())
}
