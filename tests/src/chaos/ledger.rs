//! What workers note when they begin and end, and reading it.
//!
//! A line is in the page cache as soon as it is written, so it outlives a kill -9 of its writer;
//! nothing waits for a disk. `begin <number> <time> <pid> <attempt> <plugin> <cid> <task>`, then
//! `end <number> <time>` once the handler is through, before its record is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use broker_config::{PluginId, Task};
use tokio::time::Instant;

use super::now;

const EXTENSION: &str = "ledger";
/// What has not ended is among so many executions of a process that began last.
const NEWEST: usize = 64;

/// Writes the ledger of one process.
#[derive(Debug)]
pub struct Pen {
    file: File,
    /// When it was opened. From then on only spans of time count: the clock of its process may be turned.
    opened: (i64, Instant),
    next: AtomicU64,
}

impl Pen {
    /// Begins a ledger in `folder`.
    pub fn open(folder: &Path, plugin: &PluginId) -> io::Result<Self> {
        let name = format!("{plugin}-{}.{EXTENSION}", std::process::id());
        let file = File::options().create_new(true).append(true).open(folder.join(name))?;
        Ok(Self { file, opened: (now(), Instant::now()), next: AtomicU64::new(1) })
    }

    /// Notes that an execution begins; returns its number in this process.
    pub fn begin(&self, plugin: &PluginId, task: &Task, attempt: u32) -> io::Result<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (pid, Task { cid, task_id, .. }) = (std::process::id(), task);
        let at = self.now();
        let line = format!("begin {number} {at} {pid} {attempt} {plugin} {cid} {task_id}\n");
        (&self.file).write_all(line.as_bytes())?;
        Ok(number)
    }

    /// Notes that it ends.
    pub fn end(&self, number: u64) -> io::Result<()> {
        (&self.file).write_all(format!("end {number} {}\n", self.now()).as_bytes())
    }

    fn now(&self) -> i64 {
        let (at, since) = self.opened;
        at.saturating_add(i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// One execution of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The plugin.
    pub plugin: String,
    /// The file.
    pub cid: String,
    /// The task.
    pub task: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// The process.
    pub pid: u32,
    /// When it began.
    pub began: i64,
    /// When it ended, if it did.
    pub ended: Option<i64>,
}

/// All ledgers of a folder, read as they grow.
#[derive(Debug)]
pub struct Ledgers {
    folder: PathBuf,
    pages: BTreeMap<PathBuf, Page>,
}

#[derive(Debug)]
struct Page {
    file: File,
    unread: String,
    executions: BTreeMap<u64, Execution>,
}

impl Ledgers {
    /// The ledgers in `folder`.
    #[must_use]
    pub const fn of(folder: PathBuf) -> Self {
        Self { folder, pages: BTreeMap::new() }
    }

    /// Reads what is new; returns how many executions have begun so far.
    pub fn read(&mut self) -> anyhow::Result<usize> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_ledger = path.extension().is_some_and(|extension| extension == EXTENSION);
            if is_ledger && !self.pages.contains_key(&path) {
                let file = File::open(&path)?;
                let page = Page { file, unread: String::new(), executions: BTreeMap::new() };
                self.pages.insert(path, page);
            }
        }
        let mut begun = 0;
        for (path, page) in &mut self.pages {
            page.read().with_context(|| path.display().to_string())?;
            begun += page.executions.len();
        }
        Ok(begun)
    }

    /// Whether this process is in the middle of an execution, as far as was read.
    #[must_use]
    pub fn is_busy(&self, pid: u32) -> bool {
        let is_of = |page: &&Page| page.executions.values().next().is_some_and(|e| e.pid == pid);
        let page = self.pages.values().find(is_of);
        page.is_some_and(|page| {
            page.executions.values().rev().take(NEWEST).any(|execution| execution.ended.is_none())
        })
    }

    /// Everything read so far.
    #[must_use]
    pub fn executions(&self) -> Vec<Execution> {
        self.pages.values().flat_map(|page| page.executions.values().cloned()).collect()
    }
}

impl Page {
    fn read(&mut self) -> anyhow::Result<()> {
        self.file.read_to_string(&mut self.unread)?;
        // A line without an end was cut by a kill: what it was to note has not happened.
        let Some(whole) = self.unread.rfind('\n') else { return Ok(()) };
        let rest = self.unread.split_off(whole + 1);
        let lines = std::mem::replace(&mut self.unread, rest);
        for line in lines.lines() {
            self.note(line).with_context(|| format!("line `{line}`"))?;
        }
        Ok(())
    }

    fn note(&mut self, line: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["begin", number, began, pid, attempt, plugin, cid, task] => {
                let execution = Execution {
                    plugin: (*plugin).to_owned(),
                    cid: (*cid).to_owned(),
                    task: (*task).to_owned(),
                    attempt: attempt.parse()?,
                    pid: pid.parse()?,
                    began: began.parse()?,
                    ended: None,
                };
                self.executions.insert(number.parse()?, execution);
            }
            ["end", number, ended] => {
                let begun = self.executions.get_mut(&number.parse()?);
                begun.context("an end without a beginning")?.ended = Some(ended.parse()?);
            }
            _ => anyhow::bail!("not a line of a ledger"),
        }
        Ok(())
    }
}
