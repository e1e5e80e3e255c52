//! The process of the plugin that is worked on: started, stopped, and started anew under another
//! name, so that no sign of the one before is taken for its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::{InstanceId, Lane, PluginId, Prefix};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::{Connection, Env, Vars as _};
use crate::exec::{Guard, Limits};
use crate::process::restart::RestartPolicy;
use crate::process::{
    Instances, LastExit, ProcessHandle, ProcessOptions, ProcessRuntime, ProcessState, Wanted,
};

/// Time a plugin leaves between its own drain and our kill.
const MARGIN: Duration = Duration::from_secs(1);
/// Of a log that is longer, only the end is read.
const MOST_LOG: u64 = 64 << 10;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Program {
    /// The plugin it is.
    pub plugin: PluginId,
    /// The program and its arguments; the first is a path, or a name on `PATH`.
    pub command: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
    /// How its instances are called, before their number.
    pub name: String,
    /// How it reaches the broker.
    pub connection: Connection,
    /// The fleet's prefix.
    pub prefix: Prefix,
    /// Where what it prints is kept.
    pub log_dir: PathBuf,
    /// How long it may take to stop.
    pub grace: Duration,
}

/// The process, if it runs.
#[derive(Debug)]
pub struct WorkerProcess {
    program: Program,
    env: BTreeMap<String, String>,
    handle: ProcessHandle,
    running: JoinSet<()>,
    drain: CancellationToken,
    starts: u32,
    current: Option<InstanceId>,
    started: Instant,
}

impl WorkerProcess {
    /// Nothing runs yet. Call it on a thread that lives as long as the process; see [`crate::exec`].
    #[must_use]
    pub fn new(program: Program) -> Self {
        let (runtime, handle) = ProcessRuntime::new(ProcessOptions {
            guard: Guard::this_program(),
            log_dir: program.log_dir.clone(),
            masks: crate::process::Masks::default(),
            grace: program.grace,
            // Whoever works on it says when it is started again.
            restart: RestartPolicy {
                first: Duration::from_secs(3600),
                longest: Duration::from_secs(3600),
                ..RestartPolicy::default()
            },
        });
        let drain = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(runtime.run(drain.clone()));
        let env = environment(&program);
        let (starts, current, started) = (0, None, Instant::now());
        Self { program, env, handle, running, drain, starts, current, started }
    }

    /// Runs this from the next start on.
    pub fn run_instead(&mut self, command: Vec<String>) {
        self.program.command = command;
    }

    /// Starts it; `None` if that cannot be a name of an instance.
    pub fn start(&mut self) -> Option<InstanceId> {
        self.starts += 1;
        let name: InstanceId = format!("{}-{}", self.program.name, self.starts).parse().ok()?;
        let (program, args) = self.program.command.split_first()?;
        let mut env = self.env.clone();
        env.insert("METAFLEET_INSTANCE".to_owned(), name.to_string());
        let wanted = Wanted {
            name: name.clone(),
            plugin: self.program.plugin.clone(),
            lane: Lane::Main,
            version: None,
            program: program.into(),
            args: args.to_vec(),
            dir: Some(self.program.dir.clone()),
            env,
            limits: Limits::default(),
            // It is the author's own, and reads what it likes.
            sandbox: None,
        };
        self.started = Instant::now();
        self.current = Some(name.clone());
        self.handle.set_wanted(Instances::from([(name.clone(), wanted)]));
        Some(name)
    }

    /// When it was started last.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Has it finish what it holds and waits until it is gone.
    pub async fn stop(&mut self) {
        self.current = None;
        self.handle.set_wanted(Instances::new());
        let mut board = self.handle.watch();
        let gone = board.wait_for(std::collections::BTreeMap::is_empty);
        // It is killed when its grace is over; the rest is a reserve.
        if timeout(self.program.grace + MARGIN * 5, gone).await.is_err() {
            tracing::warn!("the process of the plugin is not gone");
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> LastExit {
        let mut board = self.handle.watch();
        loop {
            let exit = self.current.as_ref().and_then(|name| {
                let board = board.borrow_and_update();
                let info = board.get(name)?;
                match info.state {
                    ProcessState::Waiting | ProcessState::CrashLoop => info.last_exit.clone(),
                    ProcessState::Starting
                    | ProcessState::Running
                    | ProcessState::Stopping
                    | ProcessState::Stopped => None,
                }
            });
            if let Some(exit) = exit {
                return exit;
            }
            if board.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Where what it prints is kept.
    #[must_use]
    pub fn log(&self) -> Option<PathBuf> {
        let name = self.current.as_ref()?;
        Some(self.program.log_dir.join(format!("{name}.log")))
    }

    /// Stops it and whatever looks after it.
    pub async fn close(mut self) {
        self.drain.cancel();
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the keeper of the plugin failed");
            }
        }
    }
}

/// All that the author has set, and how the fleet is reached; nothing of another fleet.
fn environment(program: &Program) -> BTreeMap<String, String> {
    const OURS: [&str; 6] = [
        "METAFLEET_ROUTE",
        "METAFLEET_QUEUES",
        "METAFLEET_INSTANCE",
        "METAFLEET_PLUGIN",
        "METAFLEET_PREFIX",
        "METAFLEET_GRACE",
    ];
    let mut env = Env.with_prefix("");
    env.retain(|name, _| !name.starts_with("NATS_") && !OURS.contains(&name.as_str()));
    let connection = program.connection.variables();
    env.extend(connection.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let grace = program.grace.saturating_sub(MARGIN).as_millis();
    env.insert("METAFLEET_PLUGIN".to_owned(), program.plugin.to_string());
    env.insert("METAFLEET_PREFIX".to_owned(), program.prefix.to_string());
    env.insert("METAFLEET_GRACE".to_owned(), format!("{grace}ms"));
    env
}

/// New lines of a log.
#[derive(Debug)]
pub struct LogTail {
    path: PathBuf,
    from: u64,
    rest: String,
}

impl LogTail {
    /// Begins at the beginning.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, from: 0, rest: String::new() }
    }

    /// What has come since; a log that is not there yet has nothing.
    pub async fn read(&mut self) -> Vec<String> {
        let Ok((text, to)) = read_from(&self.path, self.from).await else { return Vec::new() };
        self.from = to;
        self.rest.push_str(&text);
        let Some((whole, rest)) = self.rest.rsplit_once('\n') else { return Vec::new() };
        let lines = whole.lines().filter(|line| !is_note(line)).map(str::to_owned).collect();
        self.rest = rest.to_owned();
        lines
    }
}

/// What the keeper of a log wrote into it, not the plugin.
fn is_note(line: &str) -> bool {
    line.starts_with("--- ")
}

async fn read_from(path: &Path, from: u64) -> io::Result<(String, u64)> {
    use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
    let mut file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    // A log that was moved aside begins anew.
    let from = if length < from { 0 } else { from.max(length.saturating_sub(MOST_LOG)) };
    file.seek(io::SeekFrom::Start(from)).await?;
    let mut bytes = Vec::new();
    file.take(MOST_LOG).read_to_end(&mut bytes).await?;
    let to = from + u64::try_from(bytes.len()).unwrap_or_default();
    Ok((String::from_utf8_lossy(&bytes).into_owned(), to))
}

/// The last lines of a log.
pub async fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let text = read_from(path, 0).await.map(|(text, _)| text).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !is_note(line)).collect();
    let skipped = lines.len().saturating_sub(count);
    lines.into_iter().skip(skipped).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_told_line_by_line_without_the_notes_of_its_keeper() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("p.log");
        let mut tail = LogTail::new(path.clone());
        assert!(tail.read().await.is_empty(), "it is not there yet");

        std::fs::write(&path, "--- now started, process 7\none\ntw")?;
        assert_eq!(tail.read().await, ["one"]);
        std::fs::write(&path, "--- now started, process 7\none\ntwo\n\nthree\n")?;
        assert_eq!(tail.read().await, ["two", "", "three"]);
        assert!(tail.read().await.is_empty());
        std::fs::write(&path, "anew\n")?;
        assert_eq!(tail.read().await, ["anew"], "it was moved aside");
        assert_eq!(last_lines(&path, 5).await, ["anew"]);
        Ok(())
    }
}
