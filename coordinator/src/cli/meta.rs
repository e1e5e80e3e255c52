//! `metafleet meta …`: metadata, and the person's own layer on top of it.

mod edit;
mod get;

use broker_config::MetaKey;
use clap::{Args, Subcommand};

use super::App;
use super::exit::{Exit, Failure};
use super::file::OneFile;
use crate::person::Change;

#[derive(Debug, Subcommand)]
pub(crate) enum MetaCommand {
    /// Show what is known of a file
    Get(GetArgs),
    /// Set a key; no plugin can change it then
    Set(SetArgs),
    /// Take back what you set, or hide what plugins say
    Unset(UnsetArgs),
    /// Add to a set of values
    Add(AddArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    file: OneFile,
    /// Only this key, or those that match: `*` stands for one part, at the end for all that follow
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Say who wrote each value, in which version, and when
    #[arg(long)]
    provenance: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    file: OneFile,
    key: MetaKey,
    /// One value is a text; several are a set in place of all that plugins say
    #[arg(required = true, value_name = "VALUE")]
    values: Vec<String>,
    /// The value is JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UnsetArgs {
    #[command(flatten)]
    file: OneFile,
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<MetaKey>,
    /// Forget all that you said about it: what plugins say is seen again
    #[arg(long)]
    reset: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    file: OneFile,
    key: MetaKey,
    #[arg(required = true, value_name = "VALUE")]
    values: Vec<String>,
}

pub(crate) async fn run(app: &App, command: MetaCommand) -> Result<Exit, Failure> {
    match command {
        MetaCommand::Get(args) => get::run(app, &args).await,
        MetaCommand::Set(args) => {
            let value = edit::value(args.values, args.json)?;
            let change = Change::Set(args.key, value);
            edit::run(app, &args.file, vec![change]).await
        }
        MetaCommand::Unset(args) => {
            let of = if args.reset { Change::Reset } else { Change::Unset };
            edit::run(app, &args.file, args.keys.into_iter().map(of).collect()).await
        }
        MetaCommand::Add(args) => {
            let change = Change::Add(args.key, args.values);
            edit::run(app, &args.file, vec![change]).await
        }
    }
}
