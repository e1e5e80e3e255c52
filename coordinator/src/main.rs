//! The program `metafleet`.

use std::process::ExitCode;

use coordinator::{cli, exec};

mod builtin;

/// A fifth of a busy coordinator's time went into allocation; this one takes a third of that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    // Children are started through this program, so that they die with it.
    if std::env::args_os().nth(1).is_some_and(|first| first == exec::GUARD_ARGUMENT) {
        return exec::exec_main(args.by_ref().skip(2));
    }
    cli::main(args, builtin::all)
}
