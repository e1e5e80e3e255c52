//! `metafleet-chaos simulate`: seeds of the simulated world.

use std::io::{self, Write as _};
use std::ops::Range;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use integration_tests::simulation::{Breach, Part, World, play, sweep};

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// The seeds, the last one left out
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Range<u64>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What the program was built from; printed with a seed that goes wrong
    #[arg(long, env = "METAFLEET_COMMIT", default_value = "unknown")]
    commit: String,
    /// Leave a part out, for example `fault-2`; plays the first seed only
    #[arg(long, value_name = "PART")]
    without: Vec<Part>,
    /// Print all that happens; plays the first seed only
    #[arg(long)]
    trace: bool,
    /// Break a rule, to see whether that is noticed
    #[arg(long, hide = true, value_enum)]
    breach: Option<Breach>,
}

pub(crate) fn run(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if args.trace || !args.without.is_empty() {
        let world = World::without(args.seeds.start, args.without.into_iter().collect());
        let played = play(&world, args.breach, args.trace);
        writeln!(out, "{}\n{}", world.tell(), played.trace.join("\n"))?;
        let wrong = played.wrong.as_deref().unwrap_or("nothing");
        writeln!(out, "{} steps, {} ms, wrong: {wrong}", played.steps, played.lasted)?;
        return Ok(if played.wrong.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let report = sweep(args.seeds, args.threads, args.breach);
    writeln!(out, "{}", report.text(&args.commit))?;
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seeds(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("two numbers with `..` between them")?;
    Ok(from.parse()?..to.parse()?)
}
