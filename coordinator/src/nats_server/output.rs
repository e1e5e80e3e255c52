//! What the server says, for messages about its end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of what a server that failed has said is told, in bytes.
const TAIL: u64 = 2_000;

/// Where the server writes: its log, and what goes to standard error before there is a log or when
/// it crashes.
#[derive(Debug)]
pub(super) struct Output {
    log: PathBuf,
    /// Where in the log this server begins.
    from: u64,
    errors: PathBuf,
}

impl Output {
    pub(super) fn begin(dir: &Path) -> Self {
        let log = dir.join("nats-server.log");
        let from = std::fs::metadata(&log).map_or(0, |meta| meta.len());
        Self { log, from, errors: dir.join("nats-server.err") }
    }

    /// The file for standard error.
    pub(super) fn errors(&self) -> &Path {
        &self.errors
    }

    /// What it said about its end: what went to standard error, else the errors in its log.
    pub(super) fn tail(&self) -> String {
        let errors = tail(&self.errors, 0);
        if !errors.is_empty() {
            return errors;
        }
        let log = tail(&self.log, self.from);
        let told: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once("[FTL] ").or_else(|| line.split_once("[ERR] ")))
            .map(|(_, text)| text)
            .collect();
        told.join("; ")
    }
}

/// The last of the file, as text on one line.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        // A shorter file is a new one.
        let from = if length < from { 0 } else { from };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
