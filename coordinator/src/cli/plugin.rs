//! `metafleet plugin …`

mod diff;
mod list;
mod pause;
mod remove;
mod sample;
mod show;
mod transition;

use broker_config::PluginId;
use clap::{Args, Subcommand};

use super::App;
use super::exit::{Exit, Failure};
use crate::store::Store;
use crate::store::plugins::KnownPlugin;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List all known plugins
    List,
    /// Show one plugin: manifest, settings, instances
    Show(OnePlugin),
    /// Let the tasks of a plugin wait, in the whole fleet
    Pause(OnePlugin),
    /// Let the tasks of a plugin go on
    Resume(OnePlugin),
    /// Begin to put another version of a plugin in the place of the current one
    Transition(transition::Begin),
    /// Show what a version that is tried says otherwise than the current one
    Diff(diff::DiffArgs),
    /// Make the version that is tried the current one now
    Switch(OnePlugin),
    /// End a transition, or go back to the version before
    Rollback(OnePlugin),
    /// Forget a plugin; its records stay, and it comes back when an instance of it is started anew
    Remove(OnePlugin),
}

#[derive(Debug, Args)]
pub(crate) struct OnePlugin {
    /// The plugin's id
    pub(crate) id: PluginId,
}

pub(crate) async fn run(app: &App, command: PluginCommand) -> Result<Exit, Failure> {
    match command {
        PluginCommand::List => list::run(app).await,
        PluginCommand::Show(args) => show::run(app, &args).await,
        PluginCommand::Pause(args) => pause::run(app, &args, true).await,
        PluginCommand::Resume(args) => pause::run(app, &args, false).await,
        PluginCommand::Transition(args) => transition::begin(app, &args).await,
        PluginCommand::Diff(args) => diff::run(app, &args).await,
        PluginCommand::Switch(args) => transition::switch(app, &args).await,
        PluginCommand::Rollback(args) => transition::rollback(app, &args).await,
        PluginCommand::Remove(args) => remove::run(app, &args).await,
    }
}

/// The entry of a plugin that must be known.
pub(crate) async fn known(store: &Store, id: &PluginId) -> Result<KnownPlugin, Failure> {
    store.plugin(id).await?.ok_or_else(|| {
        Failure::not_found(format!("no plugin `{id}` is known"))
            .advise("`metafleet plugin list` shows all that have announced themselves")
    })
}
