//! Everything is killed at random moments, as real processes; see the program `metafleet-chaos`.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use integration_tests::{heaviest, heavy};
use serde_json::{Value, json};
use tokio::process::Command;

/// Nothing dies that was not asked for.
const NO_KILLS: [&str; 6] =
    ["--worker-kills", "0", "--coordinator-kills", "0", "--broker-kills", "0"];
/// The whole experiment, start and check included.
const LIMIT: Duration = Duration::from_secs(120);

async fn experiment(arguments: &[&str]) -> anyhow::Result<(bool, Value)> {
    chaos("run", arguments).await
}

async fn chaos(what: &str, arguments: &[&str]) -> anyhow::Result<(bool, Value)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metafleet-chaos"));
    command.arg(what).args(arguments).args(["--output", "json"]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output());
    let output = output.await.context("the experiment goes on")??;
    println!("{}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_slice(&output.stdout).context("no report")?;
    Ok((output.status.success(), report))
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_is_written_twice_whatever_is_killed() -> anyhow::Result<()> {
    // Fifteen processes keep the machine busy enough.
    let _places = heaviest().await?;

    let (good, report) = experiment(&["--seed", "7"]).await?;

    assert!(good, "{report:#}");
    let of = |name: &str| report[name].as_u64();
    assert_eq!((of("files"), of("plugins")), (Some(2_000), Some(6)));
    let kills = json!({ "workers": 20, "coordinator": 5, "broker": 3 });
    assert_eq!(report["kills"], kills);
    assert_eq!((of("lost"), of("duplicates"), of("leftOver")), (Some(0), Some(0), Some(0)));
    assert!(of("executions") >= Some(12_000), "{report:#}");
    assert!(of("recovered") > Some(0), "some worker was killed in the middle of its work");
    Ok(())
}

#[tokio::test]
async fn who_was_stopped_for_longer_than_its_lease_changes_nothing_when_it_goes_on()
-> anyhow::Result<()> {
    let _places = heaviest().await?;
    let kills = ["--worker-kills", "1", "--coordinator-kills", "1", "--broker-kills", "0"];
    let pauses = ["--worker-pauses", "4", "--coordinator-pauses", "1"];

    let (good, report) =
        experiment(&[&["--seed", "3", "--files", "600"][..], &kills, &pauses].concat()).await?;

    assert!(good, "{report:#}");
    let of = |name: &str| report[name].as_u64();
    let faults = &report["faults"];
    assert_eq!((&faults["workerPauses"], &faults["coordinatorPauses"]), (&json!(4), &json!(1)));
    assert_eq!((of("lost"), of("duplicates"), of("leftOver")), (Some(0), Some(0), Some(0)));
    assert!(of("reexecutions") > Some(0), "some worker was stopped in the middle of its work");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_was_stopped_and_writes_without_a_fence_is_found_out() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let few = ["--seed", "1", "--files", "300", "--worker-pauses", "6", "--sabotage", "no-fence"];

    let (good, report) = experiment(&[&few[..], &NO_KILLS].concat()).await?;

    let problems = report["problems"].to_string();
    assert!(!good && problems.contains("replaced another one"), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_loses_nothing_when_its_leaders_are_killed_and_told_to_step_down()
-> anyhow::Result<()> {
    let _places = heaviest().await?;
    let few = ["--seed", "5", "--files", "300", "--leader-kills", "1", "--step-downs", "3"];

    let (good, report) = experiment(&[&few[..], &NO_KILLS].concat()).await?;

    assert!(good, "{report:#}");
    let faults = &report["faults"];
    assert_eq!((&faults["leaderKills"], &faults["stepDowns"]), (&json!(1), &json!(3)));
    assert_eq!((&report["lost"], &report["duplicates"]), (&json!(0), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn nothing_is_lost_while_links_are_cut_and_consumers_and_tasks_deleted() -> anyhow::Result<()>
{
    let _places = heaviest().await?;
    let few = ["--seed", "4", "--files", "400", "--partitions", "4", "--partition-seconds", "1"];
    let more = ["--deletions", "3"];

    let (good, report) = experiment(&[&few[..], &more, &NO_KILLS].concat()).await?;

    assert!(good, "{report:#}");
    let faults = &report["faults"];
    assert_eq!((&faults["links"]["times"], &faults["deletions"]), (&json!(4), &json!(3)));
    assert_eq!((&report["lost"], &report["duplicates"]), (&json!(0), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn a_coordinator_may_die_after_any_message() -> anyhow::Result<()> {
    let _places = heaviest().await?;
    let few = ["--seed", "6", "--files", "300", "--crash-points", "8"];

    let (good, report) = experiment(&[&few[..], &NO_KILLS].concat()).await?;

    assert!(good, "{report:#}");
    assert_eq!(report["readyMs"].as_array().map(Vec::len), Some(8));
    assert_eq!((&report["lost"], &report["toldTwice"]), (&json!(0), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_on_disk_before_it_was_acknowledged()
-> anyhow::Result<()> {
    let _place = heavy().await?;

    let (good, report) =
        chaos("power", &["--seed", "1", "--cuts", "3", "--sync", "always", "--sync", "2m"]).await?;

    assert!(good, "{report:#}");
    let [always, lazy] = [0, 1].map(|row| &report["settings"][row]);
    assert_eq!((&always["cuts"], &always["lost"]), (&json!(3), &json!(0)));
    assert!(always["acknowledged"].as_u64() > Some(1_000), "{report:#}");
    // Else the cuts would cut nothing.
    assert!(lazy["lost"].as_u64() > Some(1_000), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_fleet_loses_nothing_when_its_broker_loses_its_power() -> anyhow::Result<()> {
    let _places = heaviest().await?;
    let few = ["--seed", "8", "--files", "300", "--power-cuts", "2"];

    let (good, report) = experiment(&[&few[..], &NO_KILLS].concat()).await?;

    assert!(good, "{report:#}");
    assert_eq!(report["faults"]["powerCuts"], json!(2));
    assert_eq!((&report["lost"], &report["duplicates"]), (&json!(0), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn clocks_of_workers_that_jump_by_an_hour_or_a_day_change_nothing() -> anyhow::Result<()> {
    let _places = heaviest().await?;
    let few = ["--seed", "9", "--files", "300", "--clock-jumps", "8"];

    let (good, report) = experiment(&[&few[..], &NO_KILLS].concat()).await?;

    assert!(good, "{report:#}");
    let of = |name: &str| report[name].as_u64();
    assert_eq!(report["faults"]["clockJumps"], json!(8));
    assert!(of("wrongTimes") > Some(0), "some worker went by its clock");
    assert_eq!((of("lost"), of("duplicates"), of("reexecutions")), (Some(0), Some(0), Some(0)));
    Ok(())
}

#[tokio::test]
async fn nothing_grows_while_files_come_at_a_steady_rate() -> anyhow::Result<()> {
    let _places = heaviest().await?;
    // A consumer that is away for some seconds would be most of a quarter of so short a time.
    let few = ["--seed", "5", "--minutes", "0.5", "--rate", "60", "--at-least", "30"];
    let kills = ["--worker-kills", "360", "--coordinator-kills", "120", "--broker-kills", "120"];
    let others = ["--worker-pauses", "0", "--partitions", "120", "--deletions", "0"];

    let (good, report) = chaos("soak", &[&few[..], &kills, &others].concat()).await?;

    assert!(good, "{report:#}");
    assert_eq!(report["kills"], json!({ "workers": 3, "coordinator": 1, "broker": 1 }));
    assert_eq!(report["faults"]["links"]["times"], json!(1));
    assert_eq!((&report["files"], &report["lost"]), (&json!(300), &json!(0)));
    let soak = &report["soak"];
    assert!(soak["reachedRate"].as_f64() >= Some(30.0), "{report:#}");
    assert!(soak["samples"].as_u64() > Some(40), "{report:#}");
    let lines = soak["lines"].as_array().context("what was compared")?;
    let of = |what: &str| lines.iter().find(|line| line["what"] == what);
    for what in ["coordinator, descriptors", "nats-server, descriptors", "tmdb, descriptors"] {
        let line = of(what).context(what)?;
        assert!(line["first"].as_u64() > Some(5) && line["most"].is_u64(), "{line}");
    }
    let consumers = of("MF_TASKS, consumers").context("consumers of tasks")?;
    assert!(consumers["last"].as_u64() >= Some(6), "{consumers}");
    Ok(())
}

#[tokio::test]
async fn a_soak_that_is_slower_than_wanted_is_found_out() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let few = ["--seed", "5", "--minutes", "0.2", "--rate", "30", "--at-least", "60"];
    let kills = ["--worker-kills", "0", "--coordinator-kills", "0", "--broker-kills", "0"];
    let others = ["--worker-pauses", "0", "--partitions", "0", "--deletions", "0"];

    let (good, report) = chaos("soak", &[&few[..], &kills, &others].concat()).await?;

    let problems = report["problems"].to_string();
    assert!(!good && problems.contains("tasks a second, less than 60"), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn an_experiment_against_the_rules_is_found_out() -> anyhow::Result<()> {
    for (rule, kills, problem) in [
        ("ignore-order", ["0", "0", "0"], "before what they depend on"),
        ("ack-first", ["6", "0", "0"], "gone without a record"),
        ("forget-files", ["0", "1", "0"], "without a completed record"),
        ("submit-once", ["0", "0", "2"], "without a completed record"),
        ("tell-twice", ["0", "0", "0"], "were told of again"),
    ] {
        let _place = heavy().await?;
        let [workers, coordinator, broker] = kills;
        let few = ["--seed", "1", "--files", "600", "--sabotage", rule];
        let workers = ["--worker-kills", workers];
        let others = ["--coordinator-kills", coordinator, "--broker-kills", broker];

        let (good, report) = experiment(&[&few[..], &workers, &others].concat()).await?;

        let problems = report["problems"].to_string();
        assert!(!good && problems.contains(problem), "{rule}: {report:#}");
    }
    Ok(())
}
