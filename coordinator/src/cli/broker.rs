//! `metafleet broker …`: preparing a NATS of one's own.

mod apply;
mod check;
mod operator;
mod render;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use broker_config::id::InvalidId;
use broker_config::topology::Topology;
use broker_config::{Names, PluginId, RouteName};
use clap::{Args, Subcommand, ValueEnum};

use super::App;
use super::exit::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// Say what is missing or different on the broker; change nothing
    Check(TopologyArgs),
    /// Create or update streams and buckets; refuse what would lose messages
    Apply(TopologyArgs),
    /// Print the topology, or a server configuration, without a broker
    Render(RenderArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    /// Copies of each stream in a cluster
    #[arg(long, default_value_t = 1, value_parser = replicas)]
    replicas: usize,
}

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    topology: TopologyArgs,
    /// Print a configuration for nats-server in place of the topology
    #[arg(long)]
    server: bool,
    /// Where that server keeps its data
    #[arg(long, value_name = "DIR", default_value = "/var/lib/nats", requires = "server")]
    store_dir: PathBuf,
    /// With an account for each plugin
    #[arg(long, requires = "server")]
    accounts: bool,
    /// A plugin that gets an account, and its routes; may be repeated
    #[arg(long = "plugin", value_name = "ID[:ROUTE,…]", requires = "accounts")]
    plugins: Vec<PluginArg>,
    /// Users log in by keys: their public parts are `coordinator.pub` and `<plugin>.pub` in this folder
    #[arg(long, value_name = "DIR", requires = "accounts")]
    keys: Option<PathBuf>,
    /// For operator mode: keys, JWTs and creds files are kept in this folder, laid out as nsc does; those that are there stay
    #[arg(long, value_name = "DIR", requires = "accounts", conflicts_with = "keys")]
    operator: Option<PathBuf>,
    /// A seed that signs for the operator or an account whose key is not in that folder; may be repeated
    #[arg(short = 'K', long = "private-key", value_name = "FILE", requires = "operator")]
    private_keys: Vec<PathBuf>,
    /// Give this plugin, or `coordinator`, a new creds file and revoke the old one; may be repeated
    #[arg(long, value_name = "ID", requires = "operator")]
    rotate: Vec<String>,
    /// Where servers have the JWTs of accounts from
    #[arg(long, value_enum, default_value_t, requires = "operator")]
    resolver: ResolverArg,
}

/// Where servers have the JWTs of accounts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ResolverArg {
    /// A folder of their own, and whoever pushes
    #[default]
    Full,
    /// Their configuration alone
    Memory,
}

/// A plugin and the names of its routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PluginArg {
    id: PluginId,
    routes: BTreeSet<RouteName>,
}

impl FromStr for PluginArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, routes) = text.split_once(':').unwrap_or((text, ""));
        let id: PluginId = id.parse().map_err(|error: InvalidId| error.to_string())?;
        if let Some(whom) = id.kept_for() {
            return Err(format!("`{id}` is kept for {whom}"));
        }
        let routes = routes.split(',').filter(|route| !route.is_empty());
        let routes = routes.map(str::parse).collect::<Result<_, InvalidId>>();
        Ok(Self { id, routes: routes.map_err(|error| error.to_string())? })
    }
}

/// How many copies a cluster can keep.
pub(super) fn replicas(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(replicas @ (1 | 3 | 5)) => Ok(replicas),
        _ => Err("must be 1, 3 or 5".to_owned()),
    }
}

pub(crate) async fn run(app: &App, command: BrokerCommand) -> Result<Exit, Failure> {
    match command {
        BrokerCommand::Check(args) => check::run(app, &args).await,
        BrokerCommand::Apply(args) => apply::run(app, &args).await,
        BrokerCommand::Render(args) => render::run(app, &args),
    }
}

impl TopologyArgs {
    fn topology(&self, names: &Names) -> Topology {
        Topology::of(names, self.replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_with_its_routes() {
        for (text, routes) in [
            ("ffmpeg", Some(vec![])),
            ("ffmpeg:gpu", Some(vec!["gpu"])),
            ("ffmpeg:gpu,big-files", Some(vec!["big-files", "gpu"])),
            ("ffmpeg:main", None),
            ("FFmpeg", None),
            ("user", None),
            ("coordinator", None),
            ("", None),
        ] {
            let read: Option<PluginArg> = text.parse().ok();
            let read = read.map(|arg| arg.routes.iter().map(ToString::to_string).collect());
            let expected: Option<Vec<String>> =
                routes.map(|routes| routes.into_iter().map(str::to_owned).collect());
            assert_eq!(read, expected, "{text}");
        }
    }
}
