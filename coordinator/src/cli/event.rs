//! `metafleet event …`

mod tail;

use clap::{Args, Subcommand};

use super::App;
use super::exit::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Print events as they happen, and what has happened before
    Tail(TailArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Begin with this sequence, this time (RFC 3339) or this long ago, e.g. 15m; default: now
    #[arg(long, value_name = "SEQ|TIME")]
    since: Option<String>,
    /// Only events whose name matches, e.g. `file.*` or `*.dead`; may be given several times
    #[arg(long = "type", value_name = "GLOB", value_delimiter = ',')]
    types: Vec<String>,
    /// End after so many
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after what has happened so far
    #[arg(long)]
    no_follow: bool,
}

pub(crate) async fn run(app: &App, command: EventCommand) -> Result<Exit, Failure> {
    match command {
        EventCommand::Tail(args) => tail::run(app, &args).await,
    }
}
