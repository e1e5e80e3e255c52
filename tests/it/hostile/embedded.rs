//! The broker that a fleet brings along, with the accounts and logins that it makes by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use broker_config::{Names, PluginId};
use coordinator::config::connection::Login;
use coordinator::config::{DataDir, Env};
use coordinator::exec::{GUARD_ARGUMENT, Guard};
use coordinator::nats_server::{
    Binary, NatsServer, NatsServerHandle, NatsServerOptions, Plugins, Sync, Tenants,
};
use integration_tests::Server;
use integration_tests::cli::staged;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker_sdk::Credentials;

/// Such a broker; its process dies with it.
#[derive(Debug)]
pub(super) struct Embedded {
    handle: NatsServerHandle,
    _running: JoinSet<()>,
    _home: TempDir,
}

impl Embedded {
    /// One on which these plugins may log in.
    pub(super) async fn start(plugins: &[&str]) -> anyhow::Result<(Self, Server)> {
        let home = TempDir::new()?;
        let data_dir = DataDir::new(home.path());
        let mut ids = Plugins::new();
        for id in plugins {
            ids.insert(id.parse()?, BTreeSet::new());
        }
        let options = NatsServerOptions {
            binary: Binary::find(&Env, &data_dir).await?,
            data_dir,
            names: Names::default(),
            tenants: Tenants::Each { plugins: ids, forgets_others: true },
            guard: Guard::program(staged("bin/metafleet")?, [GUARD_ARGUMENT]),
            sync: Sync::default(),
            grace: Duration::from_secs(20),
        };
        let (server, handle) = NatsServer::start(options).await?;
        let mut running = JoinSet::new();
        running.spawn(server.run(CancellationToken::new()));
        let port = handle.coordinator.url.rsplit(':').next().context("a port")?.parse()?;
        let seen = Server::run_by_another(port, handle.coordinator.login.clone())?;
        Ok((Self { handle, _running: running, _home: home }, seen))
    }

    /// The login that it has made for a plugin.
    pub(super) fn credentials(&self, id: &PluginId) -> anyhow::Result<Credentials> {
        match self.handle.logins.of(id).login {
            Login::User { name, password } => {
                Ok(Credentials::User { name, password: password.reveal().to_owned() })
            }
            other => anyhow::bail!("{other:?} is no login of a plugin here"),
        }
    }
}
