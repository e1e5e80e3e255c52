//! The same attempts where nothing stands in the way: they do harm, so that a test which finds none
//! elsewhere has looked at the right places.

use integration_tests::heavy;

use super::attack;
use super::stage::{Stage, Walls};

/// Kinds of attempts that must have an effect within one account; of the others it is told whether they had.
const KINDS: [&str; 9] = [
    "publish as another",
    "delete a key",
    "acknowledge",
    "end for good",
    "have the answer sent",
    "look",
    "read",
    "pull",
    "manage",
];

#[tokio::test]
async fn the_same_attempts_hit_where_all_share_one_account() -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    let mut stage = Stage::start(Walls::None).await?;

    let outcome = attack(&mut stage).await?;

    println!("{} attempts, {} effects", outcome.attempts, outcome.effects.len());
    for (kind, hits) in &outcome.kinds {
        println!("{kind}: {hits}");
    }
    let all = outcome.effects.join("\n");
    let missed =
        KINDS.into_iter().filter(|kind| outcome.kinds.get(kind).is_none_or(|hits| *hits == 0));
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "nothing came of {missed:?}: {all}");
    assert!(outcome.effects.len() > 60, "{all}");
    assert!(!outcome.overheard.is_empty());
    Ok(())
}
