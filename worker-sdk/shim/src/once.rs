//! One process for each task.

use std::ffi::OsString;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use worker_sdk::Context;

use crate::answer::Report;
use crate::budget::Budget;
use crate::child::{Kept, Launch, Line, ListenError, Pipes, drain, feed, line};
use crate::words::Tail;

/// How long killing may take.
pub(crate) const LATE: Duration = Duration::from_millis(250);

/// How a run ended, and what was said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) end: End,
    pub(crate) output: Vec<u8>,
    pub(crate) words: Tail,
}

#[derive(Debug)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Its time was over.
    TimedOut,
    /// Its task was taken away.
    Cancelled,
    /// It wrote too much, or its output could not be read.
    Stopped(ListenError),
}

/// What a process gets, and what it may do.
pub(crate) struct Terms<'a> {
    pub(crate) variables: &'a [(String, OsString)],
    pub(crate) line: &'a [u8],
    pub(crate) budget: Budget,
    pub(crate) max_output: usize,
    pub(crate) cancelled: &'a CancellationToken,
    /// Who hears of progress.
    pub(crate) listener: Option<&'a Context>,
}

impl Terms<'_> {
    /// Passes a report of progress on.
    pub(crate) async fn report(&self, said: &Report) {
        if let Some(ctx) = self.listener {
            ctx.progress(said.fraction, &said.note).await;
        }
    }
}

/// Runs the command to its end.
///
/// # Errors
///
/// When no process could be started.
///
/// # Cancel safety
///
/// Dropping the future kills the command and all it has started.
pub(crate) async fn run(launch: &Launch, terms: &Terms<'_>) -> std::io::Result<Run> {
    let launch = Launch { grace: terms.budget.grace, ..launch.clone() };
    let (mut kept, pipes) = launch.start(terms.variables)?;
    let (mut output, mut words) = (Vec::new(), Tail::default());
    let end = {
        let ending = Ending { kept: &mut kept, output: &mut output, words: &mut words };
        talk(ending, pipes, terms).await?
    };
    Ok(Run { end, output, words })
}

/// What a conversation fills.
struct Ending<'a> {
    kept: &'a mut Kept,
    output: &'a mut Vec<u8>,
    words: &'a mut Tail,
}

async fn talk(ending: Ending<'_>, pipes: Pipes, terms: &Terms<'_>) -> std::io::Result<End> {
    let Ending { kept, output, words } = ending;
    let Pipes { mut stdin, mut stdout, stderr } = pipes;
    let listen = async {
        while let Some(said) = line(&mut stdout, terms.max_output - output.len()).await? {
            match said {
                Line::Said(line) => output.extend(line),
                Line::Report(said) => terms.report(&said).await,
            }
        }
        Ok(())
    };
    let hear = async {
        drain(stderr, |said| words.push(said)).await;
        Ok(())
    };
    let fed = async {
        feed(&mut stdin, terms.line).await;
        drop(stdin);
        Ok(())
    };
    let said = async { tokio::try_join!(listen, hear, fed).map(drop) };
    let (mut said, mut over) = (pin!(said), pin!(sleep(terms.budget.run)));
    let listened = tokio::select! {
        biased;
        () = terms.cancelled.cancelled() => return Ok(End::Cancelled),
        listened = &mut said => listened,
        () = &mut over => {
            kept.terminate();
            // What it still says in this time is part of its words.
            drop(timeout(terms.budget.grace + LATE, said).await);
            kept.kill(LATE).await;
            return Ok(End::TimedOut);
        }
    };
    if let Err(error) = listened {
        kept.kill(LATE).await;
        return Ok(End::Stopped(error));
    }
    // It may have closed its pipes long before its end.
    tokio::select! {
        biased;
        () = terms.cancelled.cancelled() => Ok(End::Cancelled),
        status = kept.wait() => status.map(End::Exited),
        () = over => {
            kept.end(terms.budget.grace + LATE).await;
            Ok(End::TimedOut)
        }
    }
}
