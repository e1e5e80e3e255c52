//! Runs the NFO reader as a worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker_sdk::run(plugin_jellyfin_nfo::JellyfinNfo)
}
