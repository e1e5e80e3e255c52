//! `metafleet-chaos power`: what is lost when a broker loses its power.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use integration_tests::chaos::power::{self, PowerOptions, Setting};

use crate::Form;

#[derive(Debug, Args)]
pub(crate) struct PowerArgs {
    /// Decides when the power is cut [default: made up]
    #[arg(long)]
    seed: Option<u64>,
    /// How often, for each setting
    #[arg(long, default_value_t = 20)]
    cuts: usize,
    /// Writes in a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// How soon the broker has on disk what it is given [default: each setting in turn]
    #[arg(long, value_enum)]
    sync: Vec<Setting>,
    /// The form of what is printed to standard output; a table goes to standard error
    #[arg(long, value_enum, default_value = "table")]
    output: Form,
}

pub(crate) fn run(args: PowerArgs) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    writeln!(io::stderr(), "seed {seed}")?;
    let settings = if args.sync.is_empty() { Setting::ALL.to_vec() } else { args.sync };
    let options = PowerOptions { seed, cuts: args.cuts, rate: args.rate, settings };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(Box::pin(power::run(options)))?;
    write!(io::stderr(), "{}", report.table())?;
    if args.output == Form::Json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
