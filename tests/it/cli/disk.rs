//! A data disk that fills up.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use integration_tests::cli::Up;
use integration_tests::{eventually, heavy};
use serde_json::json;
use tempfile::TempDir;

use super::odd_home;

const FILES: usize = 150;

/// A small disk in memory.
struct Disk {
    at: TempDir,
}

impl Disk {
    fn mount(megabytes: u32) -> anyhow::Result<Self> {
        let at = TempDir::new()?;
        let size = format!("size={megabytes}m");
        let arguments = ["-t", "tmpfs", "-o", &size, "none"];
        let done = Command::new("mount").args(arguments).arg(at.path()).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(
            done.status.success(),
            "this test mounts a disk and so runs as root: {said}"
        );
        Ok(Self { at })
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    /// Takes all that is free; returns the file that does.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        let ballast = self.path().join("ballast");
        let mut file = std::fs::File::create(&ballast)?;
        let full = std::io::copy(&mut std::io::repeat(0), &mut file);
        anyhow::ensure!(full.is_err(), "the disk has an end");
        Ok(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a process that is about to die still has files there.
        drop(Command::new("umount").arg("--lazy").arg(self.path()).status());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_loses_nothing_and_the_scan_ends_when_there_is_room()
-> anyhow::Result<()> {
    fills_up(160).await
}

#[tokio::test]
async fn so_is_a_small_one_that_never_has_much_room() -> anyhow::Result<()> {
    // Less is ever free than a large disk must have before the broker is started again.
    fills_up(72).await
}

async fn fills_up(megabytes: u32) -> anyhow::Result<()> {
    let _place = heavy().await?;
    let disk = Disk::mount(megabytes)?;
    let home = odd_home(&["slow", "100"], FILES)?.with_data(disk.path().join("data"));
    let (up, look) = Up::fleet(&home, 1).await?;
    let library = home.file("");
    home.run(&["scan", &library]).await?.ok()?;
    look.records_reach(20).await?;

    let ballast = disk.fill()?;
    let told = eventually("somebody to say that the disk is full", async || {
        let said = up.said();
        Ok(["no space left", "No space left", "nearly full"]
            .iter()
            .any(|words| said.contains(words))
            .then_some(()))
    });
    told.await.with_context(|| up.said())?;
    let before = look.records().await?.len();
    assert!(before < FILES, "it was full before the end");
    std::fs::remove_file(ballast)?;

    look.settled().await.with_context(|| up.said())?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["dead"]), (0, &json!(0)), "{summary}");
    assert_eq!(look.records().await?.len(), FILES);
    // A server keeps streams shut that it could not write to: nobody but the fleet has started it again.
    assert!(up.said().contains("the broker is started again"), "{}", up.said());
    up.stop().await
}
