//! What a process prints: kept line by line, in files of bounded size, however much it prints.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use broker_config::PluginId;
use tokio::time::Instant;
use tracing::warn;

use super::masks::Masks;

/// Bytes of one log file; there is one older file beside it.
const FILE_BYTES: u64 = 8 << 20;
/// Bytes of a line; the rest of it is cut.
const LINE_BYTES: usize = 8 << 10;
/// Bytes that may come at once, and per second in the long run; more is left out.
const BURST_BYTES: u64 = 2 << 20;
const BYTES_PER_SECOND: u64 = 256 << 10;
/// Lines that are kept for status, and characters of each.
const TAIL_LINES: usize = 20;
const TAIL_CHARS: usize = 400;

/// The log of one instance, without the secrets among its settings.
#[derive(Debug)]
pub(crate) struct InstanceLog {
    plugin: PluginId,
    masks: Masks,
    path: PathBuf,
    file: RotatingFile,
    budget: Budget,
    dropped: u64,
    tail: VecDeque<String>,
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    cut: bool,
}

impl InstanceLog {
    /// Continues the log at `path`.
    pub(crate) fn open(path: PathBuf, plugin: PluginId, masks: Masks) -> Self {
        let file = RotatingFile::new(path.clone(), FILE_BYTES);
        let budget = Budget::new(BURST_BYTES, BYTES_PER_SECOND, Instant::now());
        Self { plugin, masks, path, file, budget, dropped: 0, tail: VecDeque::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line of our own, between those of the process.
    pub(crate) fn note(&mut self, text: &str) {
        self.file.write(format!("--- {} {text}\n", jiff::Timestamp::now()).as_bytes());
    }

    /// Forgets the last lines: a new process begins.
    pub(crate) fn forget(&mut self) {
        self.tail.clear();
    }

    /// The last lines, for people.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// Takes a line without its end.
    pub(crate) fn line(&mut self, line: &[u8], now: Instant) {
        let mask = self.masks.of(&self.plugin);
        // Without a secret it is kept byte by byte, as it came.
        let masked = (!mask.is_empty()).then(|| mask.line(line));
        let line = masked.as_ref().map_or(line, |masked| masked.as_bytes());
        let text = String::from_utf8_lossy(line);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        // Control characters would play with the terminal of whoever asks for the status.
        self.tail.push_back(text.chars().filter(|c| !c.is_control()).take(TAIL_CHARS).collect());
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX).saturating_add(1);
        if !self.budget.take(bytes, now) {
            self.dropped += 1;
            return;
        }
        self.tell_dropped();
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        self.file.write(&whole);
    }

    /// Whether lines were left out and nothing says so yet.
    pub(crate) fn owes_a_note(&self) -> bool {
        self.dropped > 0
    }

    /// Says how many lines were left out, if any were.
    pub(crate) fn tell_dropped(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.note(&format!("{dropped} lines left out: too much at once"));
        }
    }
}

impl Lines {
    /// Gives every line that `bytes` ends to `take`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = LINE_BYTES - self.line.len();
            self.cut |= text.len() > room;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end(&mut take);
            }
        }
    }

    /// Gives what has no end yet.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end(&mut take);
        }
    }

    fn end(&mut self, take: &mut impl FnMut(&[u8])) {
        if self.cut {
            self.line.extend_from_slice(" […]".as_bytes());
        }
        take(&self.line);
        self.line.clear();
        self.cut = false;
    }
}

/// PURE: so many bytes at once, and so many per second.
#[derive(Debug)]
struct Budget {
    left: u64,
    burst: u64,
    per_second: u64,
    since: Instant,
}

impl Budget {
    fn new(burst: u64, per_second: u64, now: Instant) -> Self {
        Self { left: burst, burst, per_second, since: now }
    }

    fn take(&mut self, bytes: u64, now: Instant) -> bool {
        let millis = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let gained = millis.saturating_mul(self.per_second) / 1_000;
        if gained > 0 {
            self.since = now;
            self.left = self.left.saturating_add(gained).min(self.burst);
        }
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// A file that is moved aside when it is full.
///
/// It is written without waiting for the disk, so the few microseconds are not worth a thread.
#[derive(Debug)]
struct RotatingFile {
    path: PathBuf,
    limit: u64,
    open: Option<(File, u64)>,
    failed: bool,
}

impl RotatingFile {
    fn new(path: PathBuf, limit: u64) -> Self {
        Self { path, limit, open: None, failed: false }
    }

    /// Writes, or goes on without: a full disk must not stop a plugin.
    fn write(&mut self, bytes: &[u8]) {
        match self.try_write(bytes) {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(%error, path = %self.path.display(), "could not write a log");
                }
                self.open = None;
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (mut file, mut size) = match self.open.take() {
            Some(open) => open,
            None => self.append()?,
        };
        if size > 0 && size.saturating_add(length) > self.limit {
            drop(file);
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, old)?;
            (file, size) = self.append()?;
        }
        file.write_all(bytes)?;
        self.open = Some((file, size + length));
        Ok(())
    }

    fn append(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_are_cut_where_they_end_and_where_they_are_too_long() {
        let mut lines = Lines::default();
        let mut got: Vec<String> = Vec::new();
        let long = "x".repeat(LINE_BYTES + 5);
        for chunk in ["a", "b\nc\n\n", &long, "y\nlast"] {
            lines.feed(chunk.as_bytes(), |line| got.push(String::from_utf8_lossy(line).into()));
        }
        lines.finish(|line| got.push(String::from_utf8_lossy(line).into()));
        let cut = format!("{} […]", "x".repeat(LINE_BYTES));
        assert_eq!(got, ["ab", "c", "", &cut, "last"]);
    }

    #[test]
    fn a_budget_is_used_up_and_comes_back() {
        let start = Instant::now();
        let mut budget = Budget::new(100, 10, start);
        assert!(budget.take(100, start));
        assert!(!budget.take(1, start + Duration::from_millis(99)));
        assert!(budget.take(1, start + Duration::from_millis(100)));
        assert!(!budget.take(101, start + Duration::from_secs(1_000)), "no more than the burst");
        assert!(budget.take(100, start + Duration::from_secs(1_000)));
    }

    #[test]
    fn a_flood_is_bounded_on_disk_and_its_last_lines_are_known() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("p.log");
        let mut log = InstanceLog::open(path.clone(), "p".parse()?, Masks::default());
        let now = Instant::now();
        let line = [b'z'; 1_000];
        for _ in 0..20_000 {
            log.line(&line, now);
        }
        log.line(b"the \x1b[31mend", now);
        log.tell_dropped();

        let written = std::fs::read_to_string(&path)?;
        assert!(u64::try_from(written.len())? < BURST_BYTES + 1_000);
        assert!(written.contains("lines left out: too much at once\n"));
        assert_eq!(log.tail().len(), TAIL_LINES);
        assert_eq!(log.tail().last().map(String::as_str), Some("the [31mend"));
        Ok(())
    }

    #[test]
    fn a_full_file_is_moved_aside() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("p.log");
        std::fs::write(&path, "12345")?;
        let mut file = RotatingFile::new(path.clone(), 10);
        for text in ["67890", "a", "bcdefghijklmn", "o"] {
            file.write(text.as_bytes());
        }
        assert_eq!(std::fs::read_to_string(&path)?, "o");
        assert_eq!(std::fs::read_to_string(home.path().join("p.log.1"))?, "bcdefghijklmn");
        assert_eq!(std::fs::read_dir(home.path())?.count(), 2);
        Ok(())
    }
}
