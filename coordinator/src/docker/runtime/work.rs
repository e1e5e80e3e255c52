//! One step, done beside the others.

use std::path::PathBuf;
use std::time::Duration;

use broker_config::{Chain, InstanceId};
use tokio::task::JoinError;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::super::credentials;
use super::super::engine::{Engine, EngineError};
use super::super::found::{Found, State};
use super::super::info::log_of;
use super::super::naming::FleetId;
use super::super::reconcile::Action;
use super::Actor;
use crate::process::Masks;
use crate::process::log::{InstanceLog, Lines};

/// What a task has done.
pub(super) enum Done {
    /// A step; the error says whether it was a start that failed.
    Step {
        instance: InstanceId,
        is_start: bool,
        is_again: bool,
        result: Result<(), (EngineError, bool)>,
    },
    /// A pull.
    Pull { image: String, result: Result<(), String> },
}

/// What a step needs.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) fleet: FleetId,
    pub(super) grace: Duration,
    pub(super) log_dir: PathBuf,
    pub(super) masks: Masks,
}

impl Worker {
    pub(super) async fn perform(self, action: Action) -> Done {
        let instance = action.instance().clone();
        let is_start = matches!(action, Action::Create(_) | Action::Start(_) | Action::Restart(_));
        let is_again = matches!(action, Action::Start(_) | Action::Restart(_));
        info!(instance.id = %instance, "{action}");
        let result = self.act(action).await;
        Done::Step { instance, is_start, is_again, result }
    }

    async fn act(&self, action: Action) -> Result<(), (EngineError, bool)> {
        let engine = &self.engine;
        let plain = |error| (error, false);
        let start = |error| (error, true);
        match action {
            Action::Create(wanted) => {
                let id = engine.create(&wanted, &self.fleet).await.map_err(plain)?;
                engine.start(&id).await.map_err(start)
            }
            Action::Start(found) => engine.start(&found.id).await.map_err(start),
            Action::Restart(found) => {
                engine.stop(&found.id, self.grace).await.map_err(plain)?;
                engine.start(&found.id).await.map_err(start)
            }
            Action::Unpause(found) => engine.unpause(&found.id).await.map_err(plain),
            Action::Rename(found) => {
                engine.rename(&found.id, found.instance.as_str()).await.map_err(plain)
            }
            Action::Remove(found, _) => {
                if matches!(found.state, State::Running | State::Paused) {
                    engine.stop(&found.id, self.grace).await.map_err(plain)?;
                }
                self.keep_output(&found).await;
                engine.remove(&found.id).await.map_err(plain)
            }
        }
    }

    /// What it has printed goes with the container, so the end of it is kept.
    async fn keep_output(&self, found: &Found) {
        if found.state == State::Created {
            return;
        }
        let Ok(output) = self.engine.output(&found.id).await else { return };
        let path = log_of(&self.log_dir, &found.instance);
        let mut log = InstanceLog::open(path, found.plugin.clone(), self.masks.clone());
        log.note(&format!("the last of the container {}", found.id));
        let mut lines = Lines::default();
        let now = Instant::now();
        lines.feed(&output, |line| log.line(line, now));
        lines.finish(|line| log.line(line, now));
        log.tell_dropped();
    }
}

/// Pulls an image with the login that the person has for it.
pub(super) async fn pull(engine: Engine, config: Option<PathBuf>, image: String) -> Done {
    let result = match credentials::login(config.as_ref(), &image).await {
        Ok(login) => engine.pull(&image, login).await.map_err(|error| Chain(&error).to_string()),
        Err(problem) => Err(problem),
    };
    Done::Pull { image, result }
}

impl Actor {
    /// Takes in what a task has done.
    pub(super) fn done(&mut self, done: Result<Done, JoinError>) {
        let now = self.now();
        match done {
            Ok(Done::Step { instance, is_start, is_again, result }) => {
                self.busy.remove(&instance);
                let memory = self.memory.entry(instance.clone()).or_default();
                match result {
                    Ok(()) => {
                        memory.refused_at = None;
                        if is_start {
                            memory.started(is_again);
                        }
                    }
                    Err((error, was_start)) => {
                        let problem = Chain(&error).to_string();
                        warn!(instance.id = %instance, "{problem}");
                        memory.refused(problem, was_start, now);
                    }
                }
            }
            Ok(Done::Pull { image, result }) => {
                self.pulling.remove(&image);
                match result {
                    Ok(()) => drop(self.pulls.remove(&image)),
                    Err(problem) => {
                        // Told with the instances that wait for it.
                        debug!(image, "{problem}");
                        self.pulls.entry(image).or_default().refused(problem, false, now);
                    }
                }
            }
            Err(failed) => {
                // Nobody knows which: all are looked at anew.
                error!(error = %failed, "a step with a container failed");
                self.busy.clear();
                self.pulling.clear();
            }
        }
    }
}
