//! A small file system of our own for the broker's store, that can be full.
//!
//! It lies in a file and is mounted from there, which only root may do.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// Its size: a few experiments' worth.
const BYTES: u64 = 96 << 20;
/// What takes up the room.
const BALLAST: &str = "ballast";
/// Written at once.
const CHUNK: usize = 64 * 1024;

/// A file system, mounted until this is dropped.
#[derive(Debug)]
pub struct Disk {
    home: TempDir,
}

impl Disk {
    /// Makes and mounts it.
    pub fn mount() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("a full disk needs root: a file system has to be mounted for it");
        }
        let home = TempDir::with_prefix("metafleet-disk-")?;
        let (image, point) = (home.path().join("image"), home.path().join("mount"));
        File::create(&image)?.set_len(BYTES)?;
        std::fs::create_dir(&point)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point))?;
        Ok(Self { home })
    }

    /// The folder on it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.home.path().join("mount")
    }

    /// Takes up all the room that is left.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.path().join(BALLAST))
            .context("fill the disk")?;
        let mut size = CHUNK;
        while size > 0 {
            match ballast.write(vec![1; size].as_slice()) {
                Ok(0) | Err(_) => size /= 2,
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.path().join(BALLAST)).context("free the disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(run(Command::new("umount").arg("--lazy").arg(Path::new(&self.path()))));
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
