//! A wall clock of its own for a process, which can be turned while that runs.
//!
//! The library `libfaketime` answers the process instead of the kernel, and reads from a file how far
//! the clock is off. The clock that only measures spans of time stays right, as it does when somebody
//! sets the time of a machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Names the library; else it is looked for where Debian and Ubuntu have it.
const LIBRARY: &str = "METAFLEET_FAKETIME";
/// Where the library keeps what it shares with the children of its process, which it leaves there when that is
/// killed.
const SHARED: &str = "/dev/shm";

/// Finds the library.
pub fn library() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os(LIBRARY) {
        return Ok(named.into());
    }
    let folder = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
    let found = Path::new(&folder).join("libfaketime.so.1");
    let found = Some(found).filter(|path| path.is_file());
    found.with_context(|| {
        format!("no libfaketime: apt-get install libfaketime, or name it in {LIBRARY}")
    })
}

/// The clock of a process.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    /// Whose it is, once that is known.
    pid: Option<u32>,
}

impl Clock {
    /// A clock that is right, and which `file` is going to turn.
    pub fn right(file: PathBuf) -> anyhow::Result<Self> {
        let clock = Self { file, pid: None };
        clock.turn(0)?;
        Ok(clock)
    }

    /// What a process has to find in its environment to go by it.
    #[must_use]
    pub fn environment(&self, library: &Path) -> [(&'static str, OsString); 4] {
        [
            ("LD_PRELOAD", library.into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Says whose clock it is.
    pub const fn belongs_to(&mut self, pid: u32) {
        self.pid = Some(pid);
    }

    /// Has it show so many seconds more than the right time.
    pub fn turn(&self, seconds: i64) -> anyhow::Result<()> {
        // Never half written: it is read at any moment.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}")).context("turn a clock")?;
        std::fs::rename(&new, &self.file).context("turn a clock")
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let Some(pid) = self.pid else { return };
        for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
            // The process may have taken it along.
            std::fs::remove_file(Path::new(SHARED).join(name)).ok();
        }
    }
}
