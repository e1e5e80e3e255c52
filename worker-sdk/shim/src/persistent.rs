//! Processes that live on from task to task, each with one task at a time.
//!
//! A process gets a line for each task and answers with a line. One that does anything else (ends,
//! closes its output, takes too long, says more than was asked, answers another request) is killed, and
//! another one is started for the next task: one that is out of step would say of each file what it
//! found out about the one before.

use std::ffi::OsString;
use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::child::{Kept, Launch, Line, ListenError, Pipes, drain, feed, line};
use crate::once::{End, LATE, Run, Terms};
use crate::words::Tail;

/// Processes that wait for a task, and those that end.
#[derive(Debug)]
pub(crate) struct Pool {
    launch: Launch,
    recycle_after: Option<NonZeroU32>,
    idle: Mutex<Idle>,
    ending: TaskTracker,
    ids: AtomicU64,
}

#[derive(Debug, Default)]
struct Idle {
    processes: Vec<Process>,
    /// What the processes of today are told when they start.
    variables: Arc<Vec<(String, OsString)>>,
    /// Rises when that changes.
    generation: u64,
    closed: bool,
}

#[derive(Debug)]
struct Process {
    kept: Kept,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    words: Arc<Mutex<Tail>>,
    /// Takes what it says on its standard error.
    hearing: JoinSet<()>,
    served: u32,
    generation: u64,
}

/// What came of a task.
#[derive(Debug)]
pub(crate) enum Reply<A> {
    /// The answer.
    Said(A),
    /// There is none.
    Silent(Run),
}

impl Pool {
    pub(crate) fn new(launch: Launch, recycle_after: Option<NonZeroU32>) -> Self {
        Self {
            launch,
            recycle_after,
            idle: Mutex::default(),
            ending: TaskTracker::new(),
            ids: AtomicU64::new(1),
        }
    }

    /// A number for the next request.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells processes that are started from now on these variables, and lets the others end.
    pub(crate) fn configure(&self, variables: Vec<(String, OsString)>) {
        let idle = {
            let mut idle = self.lock();
            idle.variables = Arc::new(variables);
            idle.generation += 1;
            std::mem::take(&mut idle.processes)
        };
        idle.into_iter().for_each(|process| self.retire(process));
    }

    /// Has a process answer one request; `read` reads the answer, and says whether it is one to this
    /// request. The process of another one is killed.
    ///
    /// # Errors
    ///
    /// When no process could be started.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process that has the task.
    pub(crate) async fn run<A>(
        &self,
        terms: &Terms<'_>,
        read: impl FnOnce(&[u8]) -> (A, bool),
    ) -> io::Result<Reply<A>> {
        let mut process = match self.take() {
            Some(process) => process,
            None => self.start()?,
        };
        *process.words.lock().unwrap_or_else(PoisonError::into_inner) = Tail::default();
        let end = match process.exchange(terms).await? {
            Ok(said) => {
                let (answer, in_step) = read(&said);
                if in_step {
                    self.put_back(process);
                } else {
                    process.kept.kill(LATE).await;
                }
                return Ok(Reply::Said(answer));
            }
            Err(end) => end,
        };
        // What it said last may still be on its way.
        let heard = async { while process.hearing.join_next().await.is_some() {} };
        drop(timeout(LATE, heard).await);
        let words =
            std::mem::take(&mut *process.words.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Reply::Silent(Run { end, output: vec![], words }))
    }

    /// Ends all processes that have no task, and waits for that.
    pub(crate) async fn close(&self, patience: Duration) {
        let idle = {
            let mut idle = self.lock();
            idle.closed = true;
            std::mem::take(&mut idle.processes)
        };
        idle.into_iter().for_each(|process| self.retire(process));
        self.ending.close();
        if timeout(patience, self.ending.wait()).await.is_err() {
            debug!("some processes are killed, for they do not end");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that waits, and is in step.
    fn take(&self) -> Option<Process> {
        loop {
            let mut process = self.lock().processes.pop()?;
            if process.is_in_step() {
                return Some(process);
            }
            debug!("a process that waited has ended or said something unasked");
        }
    }

    fn start(&self) -> io::Result<Process> {
        let (variables, generation) = {
            let idle = self.lock();
            (idle.variables.clone(), idle.generation)
        };
        let (kept, Pipes { stdin, stdout, stderr }) = self.launch.start(&variables)?;
        let words: Arc<Mutex<Tail>> = Arc::default();
        let mut hearing = JoinSet::new();
        let heard = words.clone();
        hearing.spawn(async move {
            let keep =
                |said: &[u8]| heard.lock().unwrap_or_else(PoisonError::into_inner).push(said);
            drain(stderr, keep).await;
        });
        Ok(Process { kept, stdin, stdout, words, hearing, served: 0, generation })
    }

    fn put_back(&self, mut process: Process) {
        process.served += 1;
        let tired = self.recycle_after.is_some_and(|most| process.served >= most.get());
        let surplus = {
            let mut idle = self.lock();
            if tired || idle.closed || process.generation != idle.generation {
                Some(process)
            } else {
                idle.processes.push(process);
                None
            }
        };
        if let Some(process) = surplus {
            self.retire(process);
        }
    }

    /// Lets a process end in good order, without anybody waiting.
    fn retire(&self, process: Process) {
        let grace = self.launch.grace;
        self.ending.spawn(process.retire(grace));
    }
}

impl Process {
    /// Whether it runs and has said nothing since its last answer.
    fn is_in_step(&mut self) -> bool {
        // Something to read: words that nobody asked for, or the end.
        self.kept.is_running() && self.stdout.fill_buf().now_or_never().is_none()
    }

    /// One request and its answer, or why there is none.
    async fn exchange(&mut self, terms: &Terms<'_>) -> io::Result<Result<Vec<u8>, End>> {
        let Self { kept, stdin, stdout, .. } = self;
        let answer = async {
            loop {
                match line(stdout, terms.max_output).await? {
                    Some(Line::Report(said)) => terms.report(&said).await,
                    Some(Line::Said(line)) if line.trim_ascii().is_empty() => {}
                    Some(Line::Said(line)) => return Ok::<_, ListenError>(Some(line)),
                    None => return Ok(None),
                }
            }
        };
        // An answer counts even if the request was not read to its end.
        let fed = async {
            feed(stdin, terms.line).await;
            std::future::pending::<()>().await;
        };
        let answered = tokio::select! {
            biased;
            () = terms.cancelled.cancelled() => return Ok(Err(End::Cancelled)),
            answered = answer => answered,
            () = fed => Ok(None),
            () = sleep(terms.budget.run) => {
                kept.end(terms.budget.grace + LATE).await;
                return Ok(Err(End::TimedOut));
            }
        };
        match answered {
            Ok(Some(line)) => Ok(Ok(line)),
            Ok(None) => Ok(Err(match timeout(terms.budget.grace, kept.wait()).await {
                Ok(status) => End::Exited(status?),
                Err(_) => {
                    kept.kill(LATE).await;
                    End::Stopped(ListenError::Closed)
                }
            })),
            Err(error) => {
                kept.kill(LATE).await;
                Ok(Err(End::Stopped(error)))
            }
        }
    }

    /// Closes its input, which tells it that there is no more, and sees that it ends.
    async fn retire(self, grace: Duration) {
        let Self { mut kept, stdin, stdout, mut hearing, .. } = self;
        drop(stdin);
        if timeout(grace, kept.wait()).await.is_err() {
            kept.end(grace + LATE).await;
        }
        drop(stdout);
        hearing.shutdown().await;
    }
}
