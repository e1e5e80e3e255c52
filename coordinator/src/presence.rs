//! Who is alive: follows the signs of life that instances keep in their bucket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use broker_config::read::is_deletion;
use broker_config::wire::event::Fact;
use broker_config::wire::instance::{HEARTBEAT_MS, Instance, MISSED_HEARTBEATS};
use broker_config::{InstanceId, Names, PluginId, TaskId};
use tokio::time::{Instant as Moment, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::tail::Tail;
use crate::dispatcher::Event;
use crate::engine::{EngineHandle, Input};

/// Silence after which an instance is taken for lost.
const LOST: Duration = Duration::from_millis(HEARTBEAT_MS * MISSED_HEARTBEATS as u64);
/// How often silence is looked for.
const LOOK: Duration = Duration::from_secs(1);

type Key = (PluginId, InstanceId);
type Table = BTreeMap<Key, (Moment, Instance)>;

/// Reads who is alive; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PresenceHandle(Arc<Mutex<Table>>);

impl PresenceHandle {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an instance of this version of the plugin is alive.
    #[must_use]
    pub fn version_lives(&self, plugin: &PluginId, version: &str) -> bool {
        self.lock().values().any(|(_, i)| i.plugin_id == *plugin && i.version == version)
    }

    /// What the instances of the plugin that are alive said last.
    #[must_use]
    pub fn of(&self, plugin: &PluginId) -> Vec<Instance> {
        let table = self.lock();
        let its = table.iter().filter(|((of, _), _)| of == plugin);
        its.map(|(_, (_, instance))| instance.clone()).collect()
    }

    /// What all instances that are alive said last.
    #[must_use]
    pub fn all(&self) -> Vec<Instance> {
        self.lock().values().map(|(_, instance)| instance.clone()).collect()
    }

    /// Takes out who has been silent for too long. While nobody can be heard (`is_heard` is
    /// `false`), nobody is silent.
    fn take_lost(&self, is_heard: bool) -> Vec<Key> {
        let mut table = self.lock();
        if !is_heard {
            table.values_mut().for_each(|(seen, _)| *seen = Moment::now());
        }
        table.extract_if(.., |_, (seen, _)| seen.elapsed() > LOST).map(|(key, _)| key).collect()
    }

    /// Who said last that it runs this task.
    #[must_use]
    pub fn holder(&self, task: &TaskId) -> Option<InstanceId> {
        let runs = |i: &Instance| i.running.iter().any(|running| running.task_id == *task);
        self.lock().values().find(|(_, i)| runs(i)).map(|(_, i)| i.instance.clone())
    }
}

/// Follows the bucket until `stop`.
pub async fn follow(
    broker: Broker,
    handle: PresenceHandle,
    engine: EngineHandle,
    stop: CancellationToken,
) {
    stop.run_until_cancelled(listen(&broker, &handle, &engine)).await;
}

async fn listen(broker: &Broker, handle: &PresenceHandle, engine: &EngineHandle) {
    let bucket = Names::bucket_stream(&broker.names.instances_bucket());
    let mut tail = Tail::new(broker.clone(), bucket, Vec::new(), 1);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut facts = Vec::new();
        tokio::select! {
            _ = look.tick() => {
                let is_heard = broker.client.connection_state() == State::Connected;
                let lost = handle.take_lost(is_heard).into_iter();
                facts.extend(lost.map(|(plugin_id, instance)| Fact::InstanceLost {
                    plugin_id,
                    instance,
                }));
            }
            sign = tail.next() => {
                let Some((message, _)) = sign else { return };
                let Some(key) = key_of(&message.subject) else { continue };
                if is_deletion(message.headers.as_ref()) {
                    if handle.lock().remove(&key).is_some() {
                        facts.push(Fact::InstanceStopped { plugin_id: key.0, instance: key.1 });
                    }
                } else if let Ok(mut instance) = serde_json::from_slice::<Instance>(&message.payload) {
                    (instance.plugin_id, instance.instance) = key.clone();
                    let busy = !instance.running.is_empty();
                    handle.lock().insert(key, (Moment::now(), instance));
                    if busy {
                        engine.tell(Input::Event(Event::Busy)).await;
                    }
                }
            }
        }
        for fact in facts {
            if broker.tell(fact, None).await.is_err() {
                tracing::debug!("event not stored");
            }
        }
    }
}

/// Identity is what the key says: `<plugin>.<instance>`.
fn key_of(subject: &str) -> Option<Key> {
    let mut tokens = subject.rsplit('.');
    let instance = tokens.next()?.parse().ok()?;
    Some((tokens.next()?.parse().ok()?, instance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_held_against_an_instance_only_while_it_could_be_heard() {
        let handle = PresenceHandle::default();
        let key: Key = ("p".parse().unwrap(), "i".parse().unwrap());
        let sign = serde_json::json!({
            "type": "metafleet.instance.v1", "pluginId": "p", "instance": "i", "state": "ready",
            "version": "1.0.0",
        });
        let sign: Instance = serde_json::from_value(sign).unwrap();
        handle.lock().insert(key.clone(), (Moment::now(), sign));

        for (case, seconds, is_heard, lost) in [
            ("in time", 10, true, false),
            ("the broker is away", 60, false, false),
            ("the broker is back", 10, true, false),
            ("silent", 10, true, true),
        ] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert_eq!(handle.take_lost(is_heard).contains(&key), lost, "{case}");
        }
        assert!(handle.of(&key.0).is_empty());
    }
}
