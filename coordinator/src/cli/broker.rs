//! `metafleet broker …`: preparing a NATS of one's own.

mod apply;
mod check;
mod render;

use std::path::PathBuf;

use broker_config::Names;
use broker_config::topology::Topology;
use clap::{Args, Subcommand};

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
