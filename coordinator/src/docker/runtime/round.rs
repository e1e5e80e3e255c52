//! One round: look, describe, decide, begin what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_config::{Chain, InstanceId};
use tracing::warn;

use super::super::describe::{Doors, Image, Network, Way, bridge_urls, describe, isolation_of};
use super::super::engine::{Engine, EngineError, Look};
use super::super::found::State;
use super::super::info::{ContainerState, board};
use super::super::isolation::Isolation;
use super::super::memory::Moment;
use super::super::naming::network_name;
use super::super::reconcile::{Want, reconcile};
use super::super::wanted::{Instances, Wanted};
use super::networks::NoNetwork;
use super::work::{Worker, pull};
use super::{Actor, Events, Rest};
use crate::config::plugins::Protocol;

/// The longest pause before something is tried again while everything stops.
const LAST_PAUSE: Duration = Duration::from_secs(1);

impl Actor {
    pub(super) async fn round(
        &mut self,
        engine: &mut Option<(Engine, Events)>,
        instances: &Instances,
        is_end: bool,
    ) -> Result<Rest, EngineError> {
        let engine = self.engine(engine).await?;
        let look = engine.look(&self.options.fleet).await?;
        self.tell("engine", None);
        self.has_seen |= !look.found.is_empty();
        let now = self.now();
        self.remember(&look, instances, now);
        let (wants, used) = self.wants(&engine, instances, now).await?;
        self.show(instances, &wants, &look, now);

        let actions = reconcile(&wants, &look.found, &look.foreign, &self.memory, now);
        let worker = Worker {
            engine: engine.clone(),
            fleet: self.options.fleet.clone(),
            grace: self.options.grace,
            log_dir: self.options.log_dir.clone(),
            masks: self.options.masks.clone(),
        };
        let longest = if is_end { LAST_PAUSE } else { Moment::MAX };
        for action in actions {
            let memory = self.memory.get(action.instance());
            if memory.is_some_and(|memory| !memory.may_act(now, longest)) {
                continue;
            }
            if self.busy.insert(action.instance().clone()) {
                self.tasks.spawn(worker.clone().perform(action));
            }
        }
        let found = look.found.iter().map(|found| &found.instance);
        let there: BTreeSet<InstanceId> = found.chain(&self.busy).cloned().collect();
        self.there.send_if_modified(|before| std::mem::replace(before, there.clone()) != there);
        let is_left = self.networks.keep(&engine, &used).await?;
        let due = self.memory.values().chain(self.pulls.values()).filter_map(|m| m.not_before);
        Ok(Rest {
            is_there: !look.found.is_empty() || is_left || !self.busy.is_empty(),
            due: due.chain(is_end.then(|| now + LAST_PAUSE)).filter(|at| *at > now).min(),
        })
    }

    /// Takes in what has happened since the last look.
    fn remember(&mut self, look: &Look, instances: &Instances, now: Moment) {
        let here: BTreeSet<&InstanceId> = look.found.iter().map(|found| &found.instance).collect();
        self.memory.retain(|name, _| instances.contains_key(name) || here.contains(name));
        self.running.clear();
        for found in &look.found {
            let memory = self.memory.entry(found.instance.clone()).or_default();
            // One that was told to stop ends, too.
            if let Some(reason) = memory.look(found, now)
                && instances.contains_key(&found.instance)
            {
                warn!(
                    instance.id = %found.instance, plugin.id = %found.plugin, reason,
                    failures = memory.failures, "a plugin container has ended"
                );
            }
            // The bridge looks after HTTP plugins itself.
            let is_native = |wanted: &Wanted| wanted.protocol == Protocol::Nats;
            if found.state == State::Running
                && instances.get(&found.instance).is_some_and(is_native)
            {
                self.running.insert(found.instance.clone());
            }
        }
        for name in instances.keys() {
            self.memory.entry(name.clone()).or_default();
        }
    }

    /// Describes every container as far as it can be; returns the networks in use as well.
    async fn wants(
        &mut self,
        engine: &Engine,
        instances: &Instances,
        now: Moment,
    ) -> Result<(BTreeMap<InstanceId, Want>, BTreeSet<String>), EngineError> {
        let mut wants = BTreeMap::new();
        let mut used = BTreeSet::new();
        let mut images: BTreeMap<&str, Result<Image, Want>> = BTreeMap::new();
        let mut networks: BTreeMap<String, Result<Network, Want>> = BTreeMap::new();
        for (name, wanted) in instances {
            if !images.contains_key(wanted.image.as_str()) {
                let image = self.image(engine, &wanted.image, now).await?;
                images.insert(&wanted.image, image);
            }
            let image = match images.get(wanted.image.as_str()) {
                Some(Ok(image)) => image,
                Some(Err(what)) => {
                    // What is there keeps its network.
                    for is_open in [false, true] {
                        let fleet = &self.options.fleet;
                        used.insert(network_name(fleet, &wanted.plugin, is_open));
                    }
                    wants.insert(name.clone(), what.clone());
                    continue;
                }
                None => continue,
            };
            let isolation = match isolation_of(wanted, image, self.options.user) {
                Ok(isolation) => isolation,
                Err(reason) => {
                    wants.insert(name.clone(), Want::Refused(reason));
                    continue;
                }
            };
            let key = network_name(&self.options.fleet, &wanted.plugin, isolation.is_open);
            used.insert(key.clone());
            if !networks.contains_key(&key) {
                let network = self.network(engine, wanted, &isolation).await?;
                networks.insert(key.clone(), network);
            }
            let want = match networks.get(&key) {
                Some(Ok(network)) => self.describe(wanted, image, isolation, network),
                Some(Err(instead)) => instead.clone(),
                None => continue,
            };
            wants.insert(name.clone(), want);
        }
        Ok((wants, used))
    }

    fn describe(
        &self,
        wanted: &Wanted,
        image: &Image,
        isolation: Isolation,
        network: &Network,
    ) -> Want {
        let ready = |way| Want::Ready(Box::new(describe(wanted, image, isolation, network, way)));
        let port = match network.doors {
            Doors::Bridge { api, kv } => return ready(Way::Bridge(&bridge_urls(api, kv))),
            Doors::Broker { port } => port,
        };
        let broker = match &self.options.broker {
            Ok(broker) => broker,
            Err(reason) => return Want::Refused(reason.clone()),
        };
        match self.secrets_of(&wanted.plugin, broker) {
            Ok(secrets) => ready(Way::Broker { broker, port, secrets: &secrets }),
            Err(problem) => Want::Unable(problem),
        }
    }

    /// The image, or what is done to have it.
    async fn image(
        &mut self,
        engine: &Engine,
        name: &str,
        now: Moment,
    ) -> Result<Result<Image, Want>, EngineError> {
        match engine.image(name).await {
            Ok(Some(image)) => {
                self.pulls.remove(name);
                return Ok(Ok(image));
            }
            Ok(None) => {}
            Err(error) if error.is_away() => return Err(error),
            Err(error) => return Ok(Err(Want::Unable(Chain(&error).to_string()))),
        }
        let memory = self.pulls.entry(name.to_owned()).or_default();
        let problem = memory.problem.clone();
        if memory.is_due(now) && self.pulling.insert(name.to_owned()) {
            let config = self.options.registry_config.clone();
            self.tasks.spawn(pull(engine.clone(), config, name.to_owned()));
        }
        let pulled = || Want::Preparing(format!("the image {name} is being pulled"));
        Ok(Err(problem.map_or_else(pulled, Want::Unable)))
    }

    async fn network(
        &mut self,
        engine: &Engine,
        wanted: &Wanted,
        isolation: &Isolation,
    ) -> Result<Result<Network, Want>, EngineError> {
        let behind = match self.options.behind(wanted.protocol) {
            Ok(behind) => behind,
            Err(reason) => return Ok(Err(Want::Refused(reason))),
        };
        let plugin = &wanted.plugin;
        match self.networks.ensure(engine, plugin, isolation.is_open, &behind).await {
            Ok(network) => Ok(Ok(network)),
            Err(NoNetwork::Engine(error)) if error.is_away() => Err(error),
            Err(NoNetwork::Engine(error)) => Ok(Err(Want::Unable(Chain(&error).to_string()))),
            Err(NoNetwork::Other(problem)) => Ok(Err(Want::Unable(problem))),
        }
    }

    fn show(
        &mut self,
        instances: &Instances,
        wants: &BTreeMap<InstanceId, Want>,
        look: &Look,
        now: Moment,
    ) {
        let all = (instances, self.options.log_dir.as_path());
        let board = board(all, (wants, look), &self.memory, (&self.board.borrow(), now));
        for (name, info) in &board {
            // What only takes its time is no problem.
            let is_problem = info.state != ContainerState::Starting;
            self.tell(name.as_str(), info.note.clone().filter(|_| is_problem));
        }
        self.board.send_if_modified(|old| {
            let is_new = *old != board;
            *old = board;
            is_new
        });
    }
}
