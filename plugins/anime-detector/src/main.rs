//! Runs the anime detector as a worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker_sdk::run(plugin_anime_detector::AnimeDetector)
}
