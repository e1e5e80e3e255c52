//! Which fleet a command has to do with, also while fleets start and end.

use std::path::PathBuf;
use std::time::Duration;

use broker_config::{Names, Prefix};
use tokio::time::{Instant, sleep};

use super::super::App;
use super::super::exit::{Exit, Failure};
use crate::config::connection::{Origin, resolve};
use crate::config::context::ContextFiles;
use crate::config::{Connection, DataDir, Env, FleetFile};

/// For so long a fleet that is about to start or to end is waited for.
const BUSY: Duration = Duration::from_secs(10);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(100);

/// A fleet, or at least a broker, that runs whatever this command does.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) connection: Connection,
    pub(crate) names: Names,
    /// Whether it is the fleet of another command and ends with that.
    pub(crate) temporary: bool,
    /// What its plugin processes read of people's files; empty = everywhere, or it is not known.
    pub(crate) roots: Vec<PathBuf>,
}

/// Reaches what runs, or does what is to be done otherwise; and does so again while a fleet of the
/// data folder starts or ends.
pub(crate) async fn running_or<T>(
    app: &App,
    data_dir: &DataDir,
    reach: impl AsyncFn(Running) -> Result<T, Failure>,
    otherwise: impl AsyncFn() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let until = Instant::now() + BUSY;
    loop {
        let (ended, passes) = match running(app, data_dir)? {
            Some(running) => {
                // It ends, or has died, which the next look at the folder tells.
                let passes = running.is_of_data_dir().then_some(Exit::Unreachable);
                (Box::pin(reach(running)).await, passes)
            }
            // Another command looks at the data, or a fleet starts or ends.
            None => (Box::pin(otherwise()).await, Some(Exit::Conflict)),
        };
        match ended {
            Err(failure) if passes == Some(failure.exit) && Instant::now() < until => {
                sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Waits until a temporary fleet is gone, for which it is not enough that its broker is away.
///
/// # Cancel safety
///
/// Cancel safe.
pub(crate) async fn gone(data_dir: &DataDir, running: &Running) {
    while !has_gone(data_dir, running) {
        sleep(PAUSE).await;
    }
}

/// Whether a temporary fleet is gone; any other is expected to come back.
pub(crate) fn has_gone(data_dir: &DataDir, running: &Running) -> bool {
    let is_there = |fleet: FleetFile| fleet.connection == running.connection;
    running.temporary && data_dir.running().is_ok_and(|fleet| !fleet.is_some_and(is_there))
}

/// A broker that the command line, the environment or a context names, whatever runs over the
/// data folder.
pub(crate) fn existing_broker(app: &App) -> Result<Option<(Connection, Names)>, Failure> {
    Ok(named(app, None)?.map(|running| (running.connection, running.names)))
}

/// The fleet that runs, by the command line, the environment, a context or the data folder.
pub(crate) fn running(app: &App, data_dir: &DataDir) -> Result<Option<Running>, Failure> {
    let fleet = data_dir.running()?;
    named(app, fleet.as_ref())
}

fn named(app: &App, fleet: Option<&FleetFile>) -> Result<Option<Running>, Failure> {
    let flags = app.connection_flags();
    let contexts = ContextFiles::load(&Env, flags.context.as_deref());
    let Some(connection) = resolve(&flags, &Env, &contexts, fleet)? else { return Ok(None) };
    let fleet = fleet.filter(|_| connection.origin == Origin::Fleet);
    let told = app.globals.prefix.clone();
    let prefix: Prefix = told.or_else(|| Some(fleet?.prefix.clone())).unwrap_or_default();
    let (temporary, roots) =
        fleet.map(|fleet| (fleet.temporary, fleet.roots.clone())).unwrap_or_default();
    Ok(Some(Running { connection, names: Names::new(prefix), temporary, roots }))
}

impl Running {
    /// Whether it is the fleet of the data folder.
    pub(crate) fn is_of_data_dir(&self) -> bool {
        self.connection.origin == Origin::Fleet
    }
}
