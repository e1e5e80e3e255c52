//! `metafleet dead …`: tasks given up on.

mod act;
mod list;
mod show;

use broker_config::PluginId;
use clap::{Args, Subcommand};

use super::App;
use super::exit::{Exit, Failure};
use crate::store::Store;
use crate::store::dead::DeadEntry;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them
    List(ListArgs),
    /// Show one with its last error and the task itself
    Show(ShowArgs),
    /// Try them again
    Requeue(Selection),
    /// Throw them away; the failed records stay
    Drop(Selection),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this plugin
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<PluginId>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its number in the list
    id: u64,
}

/// Which dead letters a command is about.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Their numbers in the list
    #[arg(required_unless_present_any = ["plugin", "all"], conflicts_with_all = ["plugin", "all"])]
    ids: Vec<u64>,
    /// All of this plugin
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<PluginId>,
    /// All
    #[arg(long, conflicts_with = "plugin")]
    all: bool,
}

pub(crate) async fn run(app: &App, command: DeadCommand) -> Result<Exit, Failure> {
    match command {
        DeadCommand::List(args) => list::run(app, &args).await,
        DeadCommand::Show(args) => show::run(app, &args).await,
        DeadCommand::Requeue(selection) => act::run(app, &selection, act::Act::Requeue).await,
        DeadCommand::Drop(selection) => act::run(app, &selection, act::Act::Drop).await,
    }
}

/// A dead letter that must exist.
async fn existing(store: &Store, id: u64) -> Result<DeadEntry, Failure> {
    store.dead_letter(id).await?.ok_or_else(|| {
        Failure::not_found(format!("there is no dead letter {id}"))
            .advise("`metafleet dead list` shows all of them")
    })
}
