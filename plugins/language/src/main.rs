//! Runs the language plugin as a worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker_sdk::run(plugin_language::Language)
}
