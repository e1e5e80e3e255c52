//! The core in a simulated world, and whether that world is like the real one.

mod mirror;

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum as _;
use integration_tests::heavy;
use integration_tests::simulation::{Breach, Failure, World, play, shortest, sweep, worlds};

/// Seeds of every run of the tests.
const SEEDS: u64 = 20_000;
/// Threads that play them.
const THREADS: usize = 2;
/// Seeds in which each rule that is broken on purpose must be noticed.
const NOTICED_IN: u64 = 5_000;
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
        let noticed = (0..NOTICED_IN).find_map(|seed| {
            let wrong = play(&World::of(seed), Some(*breach), false).wrong?;
            Some(format!("{breach:?}: seed {seed}, {wrong}"))
        });
        match noticed {
            Some(noticed) => println!("{noticed}"),
            None => unnoticed.push(breach),
        }
        tokio::task::yield_now().await;
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
    Ok(())
}

#[test]
fn a_world_that_goes_wrong_is_made_smaller_until_every_part_of_it_is_needed() {
    let breach = Some(Breach::ChildFirst);
    let world = World::of(1);
    assert!(play(&world, breach, false).wrong.is_some());

    let shortest = shortest(&world, breach);

    assert!(shortest.parts().len() < world.parts().len());
    assert!(play(&shortest, breach, false).wrong.is_some());
    for part in shortest.parts() {
        let mut without = shortest.without.clone();
        without.insert(part);
        let less = World::without(shortest.seed, without);
        assert_eq!(play(&less, breach, false).wrong, None, "{part}");
    }
    let failure = Failure { wrong: String::new(), last: String::new(), world: shortest };
    let again = worlds(&failure.line()).unwrap();
    assert_eq!(again.first().map(|world| &world.without), Some(&failure.world.without));
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
    let world = World::of(7);
    let (one, other) = (play(&world, None, true), play(&world, None, true));
    assert!(one.steps > 100 && !one.trace.is_empty());
    assert_eq!((one.steps, one.trace), (other.steps, other.trace));
}
