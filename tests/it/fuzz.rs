//! The fuzz targets on what is kept of them and on mutations; `make fuzz` drives them further.

use std::collections::BTreeSet;

use integration_tests::fuzz::replay::{Ran, corpus, replay};
use integration_tests::fuzz::{self, TARGETS, Target};

/// Another one finds other things; a finding names it.
const SEED: u64 = 20_260_102;

fn hold(name: &str, target: Target) -> anyhow::Result<()> {
    println!("seed {SEED}");
    let Ran { kept, mutations } = replay(name, target, SEED)?;
    println!("{name}: {kept} inputs and {mutations} mutations");
    anyhow::ensure!(kept > 4 && mutations > 0, "{kept} inputs and {mutations} mutations");
    Ok(())
}

macro_rules! targets {
    ($($test:ident: $name:ident),+ $(,)?) => {
        $(#[test]
        fn $test() -> anyhow::Result<()> {
            hold(stringify!($name), fuzz::$name)
        })+

        const TESTED: &[&str] = &[$(stringify!($name)),+];
    };
}

targets! {
    any_answer_of_ffprobe_is_described_or_refused: ffprobe,
    any_request_is_answered_and_opens_nothing: http,
    any_manifest_is_read_or_refused_in_words: manifest,
    any_message_that_is_read_means_the_same_when_written: message,
    any_name_has_one_spelling: names,
    any_package_is_laid_out_inside_or_refused: package,
    any_list_of_plugins_is_read_or_refused_in_words: plugins_yml,
    any_query_asks_for_what_there_is: query,
}

#[test]
fn every_target_is_tested_and_driven_by_the_fuzzer() -> anyhow::Result<()> {
    let targets: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(targets, TESTED.iter().copied().collect());
    let folder = corpus("").join("../fuzz_targets");
    let mut driven = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        driven.insert(entry?.file_name().to_string_lossy().replace(".rs", ""));
    }
    assert_eq!(driven, targets.iter().map(|name| (*name).to_owned()).collect());
    Ok(())
}
