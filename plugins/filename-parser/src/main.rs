//! Runs the file name parser as a worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker_sdk::run(plugin_filename_parser::FilenameParser)
}
