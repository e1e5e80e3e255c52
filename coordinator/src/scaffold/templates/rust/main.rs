//! The program that a fleet starts.

use std::process::ExitCode;

use @LIBRARY@::TextStats;

fn main() -> ExitCode {
    worker_sdk::run(TextStats::default())
}
