//! Looks at what instances use, at a calm pace.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_config::{Chain, InstanceId};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::proc::Processes;
use super::{Reading, Usage, Usages};
use crate::docker::engine::{Engine, EngineError};
use crate::docker::{ContainerState, DockerHandle};
use crate::process::ProcessHandle;

/// How often they are looked at.
pub const EVERY: Duration = Duration::from_secs(10);
/// Containers that the engine is asked about at once.
const AT_ONCE: usize = 4;
/// How long one look at all containers may take; those that were not reached are not shown.
const LOOK: Duration = Duration::from_secs(8);

/// A container that runs: its instance, the engine's name for it, and when it was started.
type Running = (InstanceId, String, Option<Timestamp>);

/// Looks at what instances use; see [`UsageWatch::run`].
#[derive(Debug)]
pub struct UsageWatch {
    processes: ProcessHandle,
    containers: DockerHandle,
    engine: String,
    shown: watch::Sender<Usages>,
}

impl UsageWatch {
    /// One that has looked at nothing yet, and what it shows; `engine` is where containers run.
    #[must_use]
    pub fn new(
        processes: ProcessHandle,
        containers: DockerHandle,
        engine: String,
    ) -> (Self, watch::Receiver<Usages>) {
        let (shown, receiver) = watch::channel(Usages::new());
        (Self { processes, containers, engine, shown }, receiver)
    }

    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        let mut engine: Option<Engine> = None;
        let mut before: BTreeMap<InstanceId, Reading> = BTreeMap::new();
        let look = async {
            loop {
                due.tick().await;
                let (processes, containers) = tokio::join!(
                    self.look_at_processes(begun),
                    self.look_at_containers(&mut engine)
                );
                let at = Timestamp::now();
                let now: BTreeMap<InstanceId, Reading> =
                    processes.into_iter().chain(containers).collect();
                let usages = now.iter().map(|(name, reading)| {
                    (name.clone(), Usage::of(before.get(name), reading, at))
                });
                self.shown.send_replace(usages.collect());
                before = now;
            }
        };
        stop.run_until_cancelled(look).await;
    }

    async fn look_at_processes(&self, begun: Instant) -> Vec<(InstanceId, Reading)> {
        let running: Vec<(InstanceId, u32)> = self
            .processes
            .list()
            .into_iter()
            .filter_map(|info| Some((info.name, info.pid?)))
            .collect();
        if running.is_empty() {
            return Vec::new();
        }
        let read = spawn_blocking(move || {
            let processes = Processes::look(begun.elapsed());
            let read = |(name, pid)| Some((name, processes.reading(pid)?));
            running.into_iter().filter_map(read).collect()
        });
        read.await.unwrap_or_else(|error| {
            debug!(%error, "processes could not be looked at");
            Vec::new()
        })
    }

    async fn look_at_containers(&self, engine: &mut Option<Engine>) -> Vec<(InstanceId, Reading)> {
        let running: Vec<Running> = self
            .containers
            .list()
            .into_iter()
            .filter(|info| info.state == ContainerState::Running)
            .filter_map(|info| Some((info.name, info.container?, info.started)))
            .collect();
        if running.is_empty() {
            return Vec::new();
        }
        let mut readings = Vec::new();
        let look = async {
            let reached = match engine.take() {
                Some(reached) => reached,
                None => Engine::connect(&self.engine).await?,
            };
            let again = reached.clone();
            let ask = |(name, id, started): Running| {
                let engine = reached.clone();
                async move {
                    let reading = engine.usage(&id).await?.map(|reading: Reading| {
                        // A container that is started again counts from nothing.
                        (name, Reading { life: format!("{id} {started:?}"), ..reading })
                    });
                    Ok::<_, EngineError>(reading)
                }
            };
            let mut answers = stream::iter(running).map(ask).buffer_unordered(AT_ONCE);
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(reading) => readings.extend(reading),
                    Err(error) if error.is_away() => return Err(error),
                    Err(error) => debug!(error = %Chain(&error), "a container is not looked at"),
                }
            }
            // It is asked again only while it answers.
            *engine = Some(again);
            Ok::<(), EngineError>(())
        };
        match timeout(LOOK, look).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(error = %Chain(&error), "containers are not looked at"),
            Err(_) => debug!("the engine is slow to say what containers use"),
        }
        readings
    }
}
