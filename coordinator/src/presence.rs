//! Who is alive: follows the signs of life that instances keep in their bucket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_config::read::is_deletion;
use broker_config::wire::event::Fact;
use broker_config::wire::instance::{HEARTBEAT_MS, Instance, MISSED_HEARTBEATS};
use broker_config::{InstanceId, Names, PluginId, TaskId};
use tokio::time::{Instant as Moment, interval};
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

    /// How many instances of the plugin are alive.
    #[must_use]
    pub fn alive(&self, plugin: &PluginId) -> usize {
        self.lock().keys().filter(|(of, _)| of == plugin).count()
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
    let bucket = Names::bucket_stream(&broker.names.instances_bucket());
    let mut tail = Tail::new(broker.clone(), bucket, Vec::new(), 1);
    let mut look = interval(LOOK);
    loop {
        let mut facts = Vec::new();
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {
                let mut table = handle.lock();
                let lost: Vec<Key> = table
                    .iter()
                    .filter(|(_, (seen, _))| seen.elapsed() > LOST)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in lost {
                    table.remove(&key);
                    facts.push(Fact::InstanceLost { plugin_id: key.0, instance: key.1 });
                }
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
