//! The program that a fleet starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker_sdk::run(plugin_still_extractor::StillExtractor::default())
}
