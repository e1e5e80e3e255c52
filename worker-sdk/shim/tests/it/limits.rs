//! What a command may use, and what it may see.

use crate::harness::eventually;
use crate::shim::Bed;

#[tokio::test]
async fn limits_reach_the_command_and_hold() -> anyhow::Result<()> {
    let bed = Bed::start(&[
        "--max-memory",
        "64M",
        "--max-cpu-seconds",
        "1",
        "--max-open-files",
        "32",
        "--max-file-size",
        "64K",
        "--nice",
        "3",
    ])
    .await?;

    let told = "echo \"a=$(ulimit -d) $(ulimit -t) $(ulimit -n) $(ulimit -c) $(nice)\"";
    let record = bed.record("told", told).await?;
    assert_eq!(record.meta["a"].as_text(), Some("65536 1 32 0 3"));

    let (for_good, error) = bed.failure("computes", "while :; do :; done").await?;
    assert!(!for_good && error.contains("signal"), "{error}");
    let big = "head -c 100000 /dev/zero > big; echo a=$? $(wc -c < big)";
    let record = bed.record("writes", big).await?;
    assert!(
        record.meta["a"].as_text().is_some_and(|it| it.ends_with(" 65536")),
        "{:?}",
        record.meta
    );
    let eats = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done";
    let (for_good, error) = bed.failure("eats", eats).await?;
    assert!(!for_good, "{error}");
    bed.nothing_left("eats").await
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_before_there_are_tasks() -> anyhow::Result<()> {
    use broker_config::wire::instance::InstanceState;
    let bed = Bed::start(&["--", "/no/such/program"]).await?;

    bed.fleet.in_state(InstanceState::Failed).await?;

    let error = bed.fleet.presence().await?.and_then(|entry| entry.error).unwrap_or_default();
    assert!(error.contains("no program /no/such/program"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_command_may_end_the_worker_where_that_is_said() -> anyhow::Result<()> {
    for options in [&["--fatal-codes", "9"][..], &["--fatal-codes", "9", "--persistent"]] {
        let mut bed = Bed::with(options, "exit 9").await?;
        let path = bed.file("x", "")?;

        bed.hand_in("x", &path, |_| {}).await?;

        assert_eq!(bed.ended().await?, Some(9), "{options:?}");
        assert_eq!(bed.fleet.open_tasks().await?, 1, "another worker is to do it");
    }
    Ok(())
}

#[tokio::test]
async fn as_many_tasks_run_at_once_as_is_said() -> anyhow::Result<()> {
    let bed = Bed::start(&[]).await?;
    let path = bed.file("x", "echo >> begun; while [ ! -e go ]; do sleep 0.05; done")?;
    let begun = || std::fs::read_to_string(bed.home.path().join("begun")).map_or(0, |it| it.len());

    for n in 0..6 {
        bed.hand_in(&format!("t{n}"), &path, |_| {}).await?;
    }
    eventually("four tasks to run", async || begun() == 4).await?;
    bed.file("go", "")?;

    bed.fleet.all_done().await?;
    assert_eq!(begun(), 6);
    Ok(())
}
