//! The process of a plugin: environment, runtime, signals, exit code.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use broker_config::Chain;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::connect::ConnectError;
use crate::options::WorkerOptions;
use crate::plugin::Plugin;
use crate::worker::{Worker, WorkerError};
use crate::{guard, telemetry};

/// Ended otherwise than by one of the reasons below.
const FAILED: u8 = 1;
/// The environment makes no sense.
const USAGE: u8 = 2;
/// The broker does not let us in, or its address makes no sense.
const UNREACHABLE: u8 = 4;
/// The fleet does not accept the plugin.
const REJECTED: u8 = 5;
/// Threads for handlers at least, also in a container with one processor: one that hangs and blocks
/// its thread leaves another one to the rest.
const THREADS: usize = 2;
/// A second signal came during the drain.
const INTERRUPTED: u8 = 130;

/// Serves a plugin until the process is told to stop; the one line of a plugin's `main`.
///
/// Reads `NATS_*` and `METAFLEET_*` from the environment. The first SIGTERM or SIGINT drains, a
/// second one ends at once. Exit codes: 0 drained, 1 failed, 2 the environment is wrong, 4 the
/// broker does not let us in, 5 the coordinator does not accept the plugin, 130 ended at once.
///
/// Called as a [`Guard`](crate::Guard), it becomes the program that is guarded.
pub fn run<P: Plugin>(plugin: P) -> ExitCode {
    if let Some(code) = guard::exec_if_asked(std::env::args_os()) {
        return code;
    }
    let _telemetry = telemetry::init(plugin.manifest().id.as_str());
    let options = match WorkerOptions::from_environment() {
        Ok(options) => options,
        Err(error) => return explain(&error.into()),
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(processors.max(THREADS)).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return explain(&WorkerError::Thread(error)),
    };
    let code = match runtime.block_on(until_signalled(Worker::new(plugin, options))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INTERRUPTED),
        Err(error) => explain(&error),
    };
    // A handler that blocks its thread must not keep the process alive.
    runtime.shutdown_background();
    code
}

/// Runs until drained; false if a second signal cut that short.
async fn until_signalled<P: Plugin>(worker: Worker<P>) -> Result<bool, WorkerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(WorkerError::Thread)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkerError::Thread)?;
    let drain = CancellationToken::new();
    let mut running = std::pin::pin!(worker.run(drain.clone()));
    loop {
        tokio::select! {
            biased;
            result = &mut running => return result.map(|()| true),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if drain.is_cancelled() {
            info!("told to stop a second time, ending at once");
            return Ok(false);
        }
        info!("told to stop, draining");
        drain.cancel();
    }
}

fn explain(error: &WorkerError) -> ExitCode {
    error!(error = %Chain(error), "the worker cannot serve");
    ExitCode::from(match error {
        WorkerError::Options(_) | WorkerError::OtherPlugin { .. } => USAGE,
        WorkerError::Connect(
            ConnectError::Refused { .. }
            | ConnectError::Credentials { .. }
            | ConnectError::Address { .. },
        ) => UNREACHABLE,
        WorkerError::Rejected { .. } => REJECTED,
        WorkerError::Closed(_) | WorkerError::Thread(_) => FAILED,
    })
}
