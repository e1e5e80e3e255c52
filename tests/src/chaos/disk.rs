//! A small file system of our own for the broker's store, that can be full or lose its power.
//!
//! It lies in a file and is mounted from there, which only root may do. A power cut shuts the file
//! system down without writing its journal out: what was written and not synced is gone when it is
//! mounted again, and what was synced is there.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// Its size: a few experiments' worth.
const BYTES: u64 = 96 << 20;
/// The file that it lies in.
const IMAGE: &str = "image";
/// What takes up the room.
const BALLAST: &str = "ballast";
/// Shuts the file system at a path down (`EXT4_IOC_SHUTDOWN`, its journal not flushed). The call is an `ioctl`, for
/// which Rust needs unsafe code.
const CUT: &str = "import fcntl, os, struct, sys\n\
                   folder = os.open(sys.argv[1], os.O_RDONLY)\n\
                   fcntl.ioctl(folder, 0x8004587D, struct.pack('I', 2))\n";
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
            bail!("this needs root: a file system of its own has to be mounted");
        }
        let home = TempDir::with_prefix("metafleet-disk-")?;
        let (image, point) = (home.path().join(IMAGE), home.path().join("mount"));
        File::create(&image)?.set_len(BYTES)?;
        std::fs::create_dir(&point)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        mount(&image, &point)?;
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

impl Disk {
    /// Has all that was written so far be on it.
    pub fn settle(&self) -> anyhow::Result<()> {
        Ok(rustix::fs::syncfs(File::open(self.path())?)?)
    }

    /// Cuts the power: nothing can be written any more, and what was not synced is lost.
    pub fn cut(&self) -> anyhow::Result<()> {
        run(Command::new("python3").args(["-c", CUT]).arg(self.path())).context("cut the power")
    }

    /// Mounts it again after a cut, as a machine does that starts; nobody may have files there.
    pub fn mount_again(&self) -> anyhow::Result<()> {
        run(Command::new("umount").arg(self.path()))?;
        mount(&self.home.path().join(IMAGE), &self.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(run(Command::new("umount").arg("--lazy").arg(Path::new(&self.path()))));
    }
}

fn mount(image: &Path, point: &Path) -> anyhow::Result<()> {
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(point))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
