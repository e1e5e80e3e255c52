//! The program that makes a command a plugin.

use std::io::{self, Write as _};
use std::process::ExitCode;

use broker_config::Chain;
use clap::Parser as _;
use metafleet_shim::{Options, Shim, run_if_asked};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// The command line, or what it names, is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    if let Some(code) = run_if_asked(std::env::args_os()) {
        return code;
    }
    // The environment of the worker holds credentials: no other process of the same user may look.
    // It is a precaution, and not worth an end where the system does not have it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
    let plan = Options::parse().plan("/proc/self/exe".into(), std::env::vars_os());
    match plan {
        Ok(plan) => worker_sdk::run(Shim::new(plan)),
        Err(error) => {
            // Whoever reads our standard error is all there is to tell.
            writeln!(io::stderr(), "metafleet-shim: {}", Chain(&error)).ok();
            ExitCode::from(USAGE)
        }
    }
}
