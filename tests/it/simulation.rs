//! The core in a simulated world, and whether that world is like the real one.

mod mirror;

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum as _;
use integration_tests::heavy;
use integration_tests::simulation::{Breach, play, sweep, worlds};

/// Seeds of every run of the tests.
const SEEDS: u64 = 20_000;
/// Threads that play them.
const THREADS: usize = 2;
/// Seeds in which each rule that is broken on purpose must be noticed.
const NOTICED_IN: u64 = 1_000;
/// How long all seeds may take.
const LIMIT: Duration = Duration::from_secs(300);

fn commit() -> String {
    // Only what was told; nobody guesses.
    option_env!("METAFLEET_COMMIT").unwrap_or("unknown").to_owned()
}

#[tokio::test]
async fn nothing_goes_wrong_in_twenty_thousand_worlds_and_those_that_calm_down_settle()
-> anyhow::Result<()> {
    let _place = heavy().await?;

    let played = tokio::task::spawn_blocking(|| sweep(0..SEEDS, THREADS, None));
    let report = tokio::time::timeout(LIMIT, played).await??;

    println!("{}", report.text(&commit()));
    assert!(report.failures.is_empty(), "{}", report.text(&commit()));
    assert_eq!(report.seeds, SEEDS);
    Ok(())
}

#[tokio::test]
async fn every_rule_that_is_broken_on_purpose_is_noticed() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut unnoticed = Vec::new();
    for breach in Breach::value_variants() {
        let played = tokio::task::spawn_blocking(|| sweep(0..NOTICED_IN, 1, Some(*breach)));
        let report = played.await?;
        match report.failures.first() {
            Some(failure) => println!(
                "{breach:?}: seed {}, {} ({} seeds played)",
                failure.world.seed, failure.wrong, report.seeds
            ),
            None => unnoticed.push(breach),
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
    Ok(())
}

#[test]
fn worlds_that_went_wrong_once_go_well() -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation/regressions");
    let worlds = worlds(&std::fs::read_to_string(file)?)?;
    for world in worlds {
        let played = play(&world, None, false);
        assert_eq!(played.wrong, None, "seed {} {:?}\n{}", world.seed, world.without, world.tell());
    }
    Ok(())
}

#[test]
fn the_same_seed_is_the_same_world_step_by_step() {
    let world = integration_tests::simulation::World::of(7);
    let (one, other) = (play(&world, None, true), play(&world, None, true));
    assert!(one.steps > 100 && !one.trace.is_empty());
    assert_eq!((one.steps, one.trace), (other.steps, other.trace));
}
