//! `metafleet plugin …`

mod bench;
mod check;
mod config;
mod conformance;
mod dev;
mod diff;
mod list;
mod login;
mod logs;
mod new;
mod package;
mod pause;
mod remove;
mod sample;
mod show;
mod steer;
mod test;
mod transition;

use broker_config::PluginId;
use clap::{Args, Subcommand};

use super::App;
use super::exit::{Exit, Failure};
use crate::store::Store;
use crate::store::plugins::KnownPlugin;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Begin a plugin of your own, with tests that pass
    New(new::NewArgs),
    /// Look over a manifest, alone and beside the plugins that are installed
    Check(check::CheckArgs),
    /// Run a plugin on files, in a fleet of its own that goes with the command
    Test(test::TestArgs),
    /// Run a plugin as one more instance in the fleet that runs, and anew after each change
    Dev(dev::DevArgs),
    /// Have the fleet's own broker let in a worker of a plugin that you start yourself
    Login(login::LoginArgs),
    /// List all known plugins, and those that are installed and were never started
    List,
    /// Show one plugin: manifest, settings, instances
    Show(OnePlugin),
    /// Let the tasks of a plugin wait, in the whole fleet
    Pause(OnePlugin),
    /// Let the tasks of a plugin go on
    Resume(OnePlugin),
    /// Let a plugin take part, whatever plugins.yml says
    Enable(OnePlugin),
    /// Stop a plugin and settle files without it, whatever plugins.yml says
    Disable(OnePlugin),
    /// Stop the instances of a plugin on this machine and start them anew
    Restart(OnePlugin),
    /// Run so many instances of a plugin, whatever plugins.yml says
    Scale(steer::ScaleArgs),
    /// Forget what was changed of a plugin by these commands or the API
    Reset(OnePlugin),
    /// Read and change the settings of a plugin
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Show what the instances of a plugin on this machine print
    Logs(logs::LogsArgs),
    /// Begin to put another version of a plugin in the place of the current one
    Transition(transition::Begin),
    /// Show what a version that is tried says otherwise than the current one
    Diff(diff::DiffArgs),
    /// Make the version that is tried the current one now
    Switch(OnePlugin),
    /// End a transition, or go back to the version before
    Rollback(OnePlugin),
    /// Try whether a worker, in whatever language, does what PROTOCOL.md says
    Conformance(conformance::ConformanceArgs),
    /// Forget a plugin; its records stay, and it comes back when an instance of it is started anew
    Remove(remove::RemoveArgs),
    /// Make a package of a plugin's folder
    Pack(package::PackArgs),
    /// Check a package and put it where a fleet finds it; nothing of it is run
    Install(package::InstallArgs),
}

impl PluginCommand {
    /// Whether it ends in order when it is interrupted, and so hears signals itself.
    pub(crate) const fn drains(&self) -> bool {
        matches!(self, Self::Conformance(_) | Self::Test(_) | Self::Dev(_))
    }
}

#[derive(Debug, Args)]
pub(crate) struct OnePlugin {
    /// The plugin's id
    pub(crate) id: PluginId,
}

pub(crate) async fn run(app: &App, command: PluginCommand) -> Result<Exit, Failure> {
    match command {
        PluginCommand::New(args) => new::run(app, &args),
        PluginCommand::Check(args) => check::run(app, &args).await,
        PluginCommand::Test(args) => Box::pin(test::run(app, &args)).await,
        PluginCommand::Dev(args) => Box::pin(dev::run(app, &args)).await,
        PluginCommand::Login(args) => login::run(app, &args).await,
        PluginCommand::List => list::run(app).await,
        PluginCommand::Show(args) => show::run(app, &args).await,
        PluginCommand::Pause(args) => pause::run(app, &args, true).await,
        PluginCommand::Resume(args) => pause::run(app, &args, false).await,
        PluginCommand::Enable(args) => {
            let done = format!("{} takes part", args.id);
            steer::order(app, &args.id, "enable", None, &done).await
        }
        PluginCommand::Disable(args) => {
            let done = format!("{} takes no part any more", args.id);
            steer::order(app, &args.id, "disable", None, &done).await
        }
        PluginCommand::Restart(args) => {
            let done = format!("the instances of {} were started anew", args.id);
            steer::order(app, &args.id, "restart", None, &done).await
        }
        PluginCommand::Scale(args) => steer::scale(app, &args).await,
        PluginCommand::Reset(args) => {
            let done = format!("{} is as plugins.yml says", args.id);
            steer::order(app, &args.id, "reset", None, &done).await
        }
        PluginCommand::Config(command) => config::run(app, command).await,
        PluginCommand::Logs(args) => logs::run(app, &args).await,
        PluginCommand::Transition(args) => transition::begin(app, &args).await,
        PluginCommand::Diff(args) => diff::run(app, &args).await,
        PluginCommand::Switch(args) => transition::switch(app, &args).await,
        PluginCommand::Rollback(args) => transition::rollback(app, &args).await,
        PluginCommand::Conformance(args) => Box::pin(conformance::run(app, args)).await,
        PluginCommand::Remove(args) => Box::pin(remove::run(app, args)).await,
        PluginCommand::Pack(args) => package::make(app, args).await,
        PluginCommand::Install(args) => Box::pin(package::install(app, args)).await,
    }
}

/// The entry of a plugin that must be known.
pub(crate) async fn known(store: &Store, id: &PluginId) -> Result<KnownPlugin, Failure> {
    store.plugin(id).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: &PluginId) -> Failure {
    Failure::not_found(format!("no plugin `{id}` is known"))
        .advise("`metafleet plugin list` shows all that have announced themselves")
}
