//! The plugin archive-listing: a shell script on the shim.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use broker_config::Manifest;
use serde_json::json;

use crate::shim::Bed;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/archive-listing")
}

#[test]
fn the_script_lists_archives_of_every_kind_and_refuses_broken_ones() -> anyhow::Result<()> {
    let output = Command::new(folder().join("test")).output()?;

    let said = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{words}");
    Ok(())
}

#[tokio::test]
async fn an_archive_that_a_fleet_hands_in_is_listed() -> anyhow::Result<()> {
    let manifest = Manifest::from_json(&std::fs::read_to_string(folder().join("manifest.json"))?)?;
    let entry = manifest.entry_point.clone().context("it says how it is started")?;
    // What a fleet starts in the plugin's folder.
    let arguments: Vec<&str> = entry.args.iter().map(String::as_str).collect();
    let bed = Bed::of(manifest, &folder(), &arguments).await?;
    let tree = bed.home.path().join("tree");
    std::fs::create_dir(&tree)?;
    std::fs::write(tree.join("a.txt"), "hello")?;
    let made = Command::new("tar")
        .args(["-czf", "x.tgz", "tree"])
        .current_dir(bed.home.path())
        .status()?;
    anyhow::ensure!(made.success(), "tar");

    bed.hand_in("x", &bed.home.path().join("x.tgz"), |_| {}).await?;
    let record = bed.fleet.settled("x").await?;

    let expected = json!({
        "archive/format": "tar", "archive/entries": "2", "archive/files": "1", "archive/folders": "1",
        "archive/totalSize": "5", "archive/largest": "tree/a.txt", "archive/largestSize": "5",
        "archive/topFolders": ["tree"], "archive/extensions": ["txt"],
        "archive/list": [{"name": "tree", "size": 0}, {"name": "tree/a.txt", "size": 5}],
    });
    assert_eq!(serde_json::to_value(&record.meta)?, expected);
    Ok(())
}
