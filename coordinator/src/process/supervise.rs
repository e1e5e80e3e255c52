//! The life of one instance: started, watched, started again, stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use broker_config::InstanceId;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::ProcessOptions;
use super::info::{LastExit, ProcessInfo, ProcessState};
use super::log::{InstanceLog, Lines};
use super::wanted::Wanted;

/// How long what a process has printed may take to arrive after its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// After a flood and this long without output it is told how much was left out.
const CALM: Duration = Duration::from_millis(500);

/// What is known about all instances; each writes its own entry only.
#[derive(Clone, Debug)]
pub(super) struct Board(watch::Sender<BTreeMap<InstanceId, ProcessInfo>>);

impl Board {
    pub(super) fn new() -> (Self, watch::Receiver<BTreeMap<InstanceId, ProcessInfo>>) {
        let (sender, receiver) = watch::channel(BTreeMap::new());
        (Self(sender), receiver)
    }

    pub(super) fn remove(&self, name: &InstanceId) {
        self.0.send_modify(|all| {
            all.remove(name);
        });
    }

    fn put(&self, info: ProcessInfo) {
        self.0.send_modify(|all| {
            all.insert(info.name.clone(), info);
        });
    }

    fn update(&self, name: &InstanceId, change: impl FnOnce(&mut ProcessInfo)) {
        self.0.send_modify(|all| {
            if let Some(info) = all.get_mut(name) {
                change(info);
            }
        });
    }
}

/// One instance to be run.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) wanted: Wanted,
    pub(super) options: ProcessOptions,
    /// Who is killed at once when told to stop.
    pub(super) hurried: watch::Receiver<BTreeSet<InstanceId>>,
    pub(super) board: Board,
}

/// Why a process is no longer there.
enum End {
    /// It ended by itself, or never began.
    Died(LastExit),
    /// It was stopped because we were told to.
    Stopped,
}

impl Instance {
    /// Runs the program, again and again, until `stop` is cancelled; returns when its process and
    /// all that this has started are gone.
    pub(super) async fn run(self, stop: CancellationToken) {
        let name = self.wanted.name.clone();
        let path = self.options.log_dir.join(format!("{name}.log"));
        let masks = self.options.masks.clone();
        let mut log = InstanceLog::open(path, self.wanted.plugin.clone(), masks);
        self.board.put(ProcessInfo {
            name: name.clone(),
            plugin: self.wanted.plugin.clone(),
            version: self.wanted.version.clone(),
            pid: None,
            isolated: self.wanted.sandbox.is_some(),
            state: ProcessState::Starting,
            restarts: 0,
            started: None,
            next_start: None,
            last_exit: None,
            log: log.path().to_owned(),
        });
        let restart = self.options.restart;
        let mut failures = 0;
        while !stop.is_cancelled() {
            let since = Instant::now();
            let last = match self.run_once(&mut log, &stop).await {
                End::Died(last) => last,
                End::Stopped => break,
            };
            failures = restart.failures(failures, since.elapsed());
            let pause = restart.delay(failures);
            let looping = restart.is_crash_loop(failures);
            warn!(
                instance.id = %name, plugin.id = %self.wanted.plugin, reason = last.reason,
                failures, pause_ms = pause.as_millis(), "a plugin process has ended"
            );
            self.board.update(&name, |info| {
                info.state = if looping { ProcessState::CrashLoop } else { ProcessState::Waiting };
                info.pid = None;
                info.next_start = last.at.checked_add(pause).ok();
                info.last_exit = Some(last);
            });
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
            self.board.update(&name, |info| info.restarts = info.restarts.saturating_add(1));
        }
        if let Some(sandbox) = &self.wanted.sandbox
            && let Err(error) = tokio::fs::remove_dir_all(&sandbox.scratch).await
            && error.kind() != io::ErrorKind::NotFound
        {
            debug!(%error, "temporary files of a plugin are left");
        }
        self.board.update(&name, |info| {
            info.state = ProcessState::Stopped;
            info.pid = None;
            info.next_start = None;
        });
    }

    async fn run_once(&self, log: &mut InstanceLog, stop: &CancellationToken) -> End {
        log.forget();
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => {
                let reason = format!("could not start: {error}");
                log.note(&reason);
                let at = Timestamp::now();
                let lines = Vec::new();
                return End::Died(LastExit { at, code: None, signal: None, reason, lines });
            }
        };
        let id = child.id().unwrap_or_default();
        info!(instance.id = %self.wanted.name, pid = id, "a plugin process was started");
        log.note(&format!("started, process {id}"));
        self.board.update(&self.wanted.name, |info| {
            info.state = ProcessState::Running;
            info.pid = Some(id);
            info.started = Some(Timestamp::now());
            info.next_start = None;
        });
        let mut output = Output::of(&mut child);
        let group = Pid::from_raw(id.cast_signed());
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            status = ended(&mut child, &mut output, log) => Some(status),
        };
        let (status, stopped) = match ended {
            Some(status) => (status, false),
            None => (self.stop(&mut child, &mut output, log, group).await, true),
        };
        // Whatever it has started goes with it, also when it died without looking after them.
        signal_group(group);
        if timeout(LAST_WORDS, output.rest(log)).await.is_err() {
            debug!(instance.id = %self.wanted.name, "somebody still holds its output");
        }
        log.tell_dropped();
        let last = last_exit(status, log.tail());
        log.note(&last.reason);
        if stopped { End::Stopped } else { End::Died(last) }
    }

    fn spawn(&self) -> io::Result<Child> {
        let Wanted { program, args, dir, env, limits, sandbox, .. } = &self.wanted;
        let mut command = self.options.guard.command_in(sandbox.as_ref(), program, *limits);
        command.args(args).env_clear().envs(env);
        if let Some(dir) = dir {
            command.current_dir(dir);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }

    /// Asks the process to stop, and kills it and all it has started when it takes too long.
    async fn stop(
        &self,
        child: &mut Child,
        output: &mut Output,
        log: &mut InstanceLog,
        group: Option<Pid>,
    ) -> io::Result<ExitStatus> {
        self.board.update(&self.wanted.name, |info| info.state = ProcessState::Stopping);
        // The process alone: it may still need what it has started to finish its tasks.
        if let Some(pid) = group
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            debug!(%error, "a plugin process cannot be asked to stop");
        }
        let name = &self.wanted.name;
        let mut hurried = self.hurried.clone();
        let hurry = async {
            // An error says that nobody will hurry it any more.
            let told = hurried.wait_for(|names| names.contains(name)).await.map(drop);
            if told.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let patience = async {
            tokio::select! {
                biased;
                () = hurry => {}
                () = sleep(self.options.grace) => {}
            }
        };
        tokio::select! {
            biased;
            status = ended(child, output, log) => status,
            () = patience => {
                let grace_ms = self.options.grace.as_millis();
                warn!(instance.id = %self.wanted.name, grace_ms, "it does not stop, killing it");
                log.note("killed: it did not stop in time");
                signal_group(group);
                child.wait().await
            }
        }
    }
}

/// Kills what is left of a process group.
fn signal_group(group: Option<Pid>) {
    if let Some(group) = group
        && let Err(error) = kill_process_group(group, Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        debug!(%error, "could not kill the rest of a process group");
    }
}

/// Waits for the end of the process, and keeps what it prints meanwhile.
async fn ended(
    child: &mut Child,
    output: &mut Output,
    log: &mut InstanceLog,
) -> io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => status,
        // Never ends: a process may close its output and go on.
        () = async { output.rest(log).await; std::future::pending().await } => {
            Err(io::Error::other("unreachable"))
        }
    }
}

fn last_exit(status: io::Result<ExitStatus>, lines: Vec<String>) -> LastExit {
    let at = Timestamp::now();
    match status {
        Ok(status) => {
            let (code, signal) = (status.code(), status.signal());
            let reason = match (code, signal) {
                (Some(code), _) => format!("ended with exit code {code}"),
                (None, Some(signal)) => format!("ended by signal {signal}"),
                (None, None) => "ended".to_owned(),
            };
            LastExit { at, code, signal, reason, lines }
        }
        Err(error) => {
            LastExit { at, code: None, signal: None, reason: format!("lost: {error}"), lines }
        }
    }
}

/// What a process prints, on both ways.
struct Output {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    out: (Lines, Vec<u8>),
    err: (Lines, Vec<u8>),
}

impl Output {
    fn of(child: &mut Child) -> Self {
        let buffer = || (Lines::default(), vec![0; 16 << 10]);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Self { stdout, stderr, out: buffer(), err: buffer() }
    }

    /// Keeps all that still comes; ends when nobody can print any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing that was read is lost.
    async fn rest(&mut self, log: &mut InstanceLog) {
        while self.stdout.is_some() || self.stderr.is_some() {
            tokio::select! {
                count = read(&mut self.stdout, &mut self.out.1) => {
                    keep(count, &mut self.stdout, &mut self.out, log);
                }
                count = read(&mut self.stderr, &mut self.err.1) => {
                    keep(count, &mut self.stderr, &mut self.err, log);
                }
                () = sleep(CALM), if log.owes_a_note() => log.tell_dropped(),
            }
        }
    }
}

/// Reads from a pipe that is still open; waits for ever on one that is not.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match pipe {
        // An error of a pipe is its end.
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

fn keep<P>(
    count: usize,
    pipe: &mut Option<P>,
    (lines, buffer): &mut (Lines, Vec<u8>),
    log: &mut InstanceLog,
) {
    let now = Instant::now();
    if count == 0 {
        lines.finish(|line| log.line(line, now));
        *pipe = None;
    } else {
        lines.feed(&buffer[..count.min(buffer.len())], |line| log.line(line, now));
    }
}
