//! Folders that are not what they were.

use integration_tests::cli::{Done, Home};
use serde_json::Value;

use super::odd_home;

const FILES: usize = 30;

async fn scan(home: &Home) -> anyhow::Result<Done> {
    home.run(&["scan", &home.file(""), "--wait", "--output", "json"]).await
}

async fn known(home: &Home) -> anyhow::Result<usize> {
    Ok(home.json::<Vec<Value>>(&["file", "list"]).await?.len())
}

#[tokio::test]
async fn a_root_that_is_missing_or_empty_is_an_error_and_deletes_nothing() -> anyhow::Result<()> {
    let home = odd_home(&["completes"], FILES)?;
    scan(&home).await?.ok()?;
    let away = home.root().join("away");
    std::fs::rename(home.library(), &away)?;

    scan(&home).await?.ended(3)?.says("is missing")?;
    assert_eq!(known(&home).await?, FILES);
    std::fs::create_dir(home.library())?;
    let empty = scan(&home).await?.ended(1)?;
    empty.says("is empty where files are known (not mounted?)")?;
    assert_eq!(known(&home).await?, FILES);

    std::fs::remove_dir(home.library())?;
    std::fs::rename(&away, home.library())?;
    let back: Value = scan(&home).await?.ok()?.json()?;
    assert_eq!((&back["tasks"]["cached"], &back["tasks"]["completed"]), (&30.into(), &0.into()));
    let events = home.events(1).await?;
    assert!(!events.iter().any(|(_, fact)| fact.name() == "file.deleted"), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn a_few_deletions_are_believed_and_a_lost_disk_is_not() -> anyhow::Result<()> {
    let home = odd_home(&["completes"], FILES)?;
    scan(&home).await?.ok()?;
    for n in [0, 7, 14] {
        std::fs::remove_file(home.library().join(format!("0/{n:04}.txt")))?;
    }
    scan(&home).await?.ok()?;
    assert_eq!(known(&home).await?, FILES - 3);

    for folder in 1..7 {
        std::fs::remove_dir_all(home.library().join(folder.to_string()))?;
    }
    let lost = scan(&home).await?.ended(1)?;
    lost.says("of the 27 known files")?;
    lost.says("nothing counts as deleted")?;
    lost.says("--allow-mass-deletion")?;
    assert_eq!(known(&home).await?, FILES - 3);

    let meant = ["scan", &home.file(""), "--wait", "--allow-mass-deletion"];
    home.run(&meant).await?.ok()?;
    let left = std::fs::read_dir(home.library())?.count();
    assert!(left > 0 && known(&home).await? < FILES - 3, "only what is there is known");
    let events = home.events(1).await?;
    let deleted = events.iter().filter(|(_, fact)| fact.name() == "file.deleted").count();
    assert_eq!(known(&home).await?, FILES - deleted);
    Ok(())
}

#[tokio::test]
async fn a_root_that_was_never_there_is_not_found() -> anyhow::Result<()> {
    let home = odd_home(&["completes"], 1)?;
    let missing = home.root().join("nowhere");
    let missing = missing.to_string_lossy();
    home.run(&["scan", &missing]).await?.ended(3)?.says("nowhere")?;

    let both = home.run(&["scan", &missing, &home.file(""), "--wait"]).await?.ended(6)?;
    both.says("is missing")?;
    assert_eq!(home.calls("odd")?.len(), 1, "the other one was scanned");
    Ok(())
}
