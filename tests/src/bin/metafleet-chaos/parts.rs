//! What an experiment is made of: this program as coordinator and as worker.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use coordinator::config::connection::{Connection, Login, Origin, Tls};
use coordinator::service::{Coordinator, CoordinatorOptions};
use integration_tests::chaos::Sabotage;
use integration_tests::chaos::noop::Noop;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(crate) struct CoordinatorArgs {
    #[arg(long, env = "NATS_URL")]
    nats: String,
    #[arg(long)]
    node: String,
    #[arg(long)]
    replicas: usize,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    plugin: String,
    #[arg(long)]
    ledgers: PathBuf,
    #[arg(long, env = "NATS_URL")]
    nats: String,
    #[arg(long, value_enum)]
    sabotage: Option<Sabotage>,
}

pub(crate) fn work(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    let WorkerArgs { plugin, ledgers, nats, sabotage } = args;
    Noop::new(plugin, ledgers, nats, *sabotage).map(worker_sdk::run)
}

pub(crate) fn coordinate(args: CoordinatorArgs) -> anyhow::Result<ExitCode> {
    let _telemetry = worker_sdk::telemetry::init("coordinator");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let CoordinatorArgs { nats, node, replicas } = args;
        let connection = Connection {
            url: nats,
            login: Login::Anonymous,
            tls: Tls::default(),
            origin: Origin::Flag,
        };
        let connect = connection.connect_options(&node)?.retry_on_initial_connect();
        let client = connect.connect(connection.addresses().as_slice()).await?;
        let options = CoordinatorOptions { node, replicas, ..CoordinatorOptions::default() };
        let (coordinator, _handle) = Coordinator::new(client, options);
        Box::pin(coordinator.run(CancellationToken::new())).await?;
        Ok(ExitCode::SUCCESS)
    })
}
