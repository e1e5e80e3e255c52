//! Replaces instances by fresh ones when they have done as many tasks as `plugins.yml` says.
//!
//! Looks every second while there is such a plugin; what is decided is in [`crate::scale::recycle`]. While the
//! broker does not answer, nothing is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::wire::signal::Control;
use broker_config::{Chain, InstanceId, Manifest, PluginId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::renew::Renewer;
use super::scaling::pools::Pool;
use super::scaling::selection::{Now, Selection, name};
use crate::broker::instruct::instruct;
use crate::scale::Sign;
use crate::scale::recycle::{Act, Recycler, Worn};
use crate::store::Store;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Replaces them.
#[derive(Debug)]
pub(super) struct Recycling {
    pub(super) store: Store,
    pub(super) selection: Selection,
    pub(super) renewer: Renewer,
}

impl Recycling {
    /// Replaces until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let begun = Instant::now();
        let mut all: BTreeMap<PluginId, Recycler> = BTreeMap::new();
        let mut changes = self.selection.changes();
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            changes.mark_unchanged();
            let now = self.selection.now();
            let is_at_rest =
                all.is_empty() && now.planned.pools.values().all(|pool| pool.recycle.is_none());
            if !is_at_rest {
                let round = Box::pin(timeout(ANSWER, self.round(&now, &mut all, begun.elapsed())));
                if stop.run_until_cancelled(round).await.is_none() {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick(), if !is_at_rest => {}
                // An error cannot be: the sender is ours, too.
                Ok(()) = changes.changed() => {}
            }
        }
    }

    async fn round(&self, now: &Now, all: &mut BTreeMap<PluginId, Recycler>, at: Duration) {
        let (signs, known) = match tokio::try_join!(self.store.instances(), self.store.plugins()) {
            Ok(found) => found,
            Err(error) => {
                debug!(error = %Chain(&error), "nothing is recycled: the broker does not say how it is");
                return;
            }
        };
        all.retain(|id, _| now.planned.pools.contains_key(id));
        for (id, pool) in &now.planned.pools {
            if pool.recycle.is_none() && !all.contains_key(id) {
                continue;
            }
            let ours: BTreeSet<InstanceId> =
                now.numbers.get(id).into_iter().flatten().filter_map(|n| name(id, *n)).collect();
            let entry = known.get(id).map(|known| &known.entry.manifest);
            let version = entry.map(|manifest| manifest.version.to_string());
            let its = signs.get(id).map(Vec::as_slice).unwrap_or_default();
            let serves = |sign: &&Instance| version.as_ref().is_none_or(|v| *v == sign.version);
            let worn: Vec<Worn<'_>> =
                its.iter().filter(serves).map(|sign| worn(sign, &ours)).collect();
            let limit = pool.drain_limit(entry.map(Manifest::deadline));
            let act = all.entry(id.clone()).or_default().look(&worn, pool.recycle, limit, at);
            match act {
                Some(Act::Pause(name)) => self.tell(id, &name, &Control::Pause).await,
                Some(Act::Resume(name)) => self.tell(id, &name, &Control::Resume).await,
                Some(Act::Renew { name, is_idle }) => {
                    info!(plugin.id = %id, instance.id = %name, "it has done its tasks and is replaced");
                    if !is_idle {
                        warn!(instance.id = %name, "it does not get done and is stopped");
                    }
                    self.renewer.renew(&name);
                }
                None => {}
            }
        }
        let keeps = |pool: Option<&Pool>| pool.is_some_and(|pool| pool.recycle.is_some());
        all.retain(|id, _| keeps(now.planned.pools.get(id)));
    }

    async fn tell(&self, plugin: &PluginId, instance: &InstanceId, control: &Control) {
        instruct((self.store.client(), self.store.names()), plugin, instance, control).await;
    }
}

/// Those that somebody else starts serve as well, but are not replaced here.
fn worn<'a>(sign: &'a Instance, ours: &BTreeSet<InstanceId>) -> Worn<'a> {
    let is_ours = ours.contains(&sign.instance);
    Worn {
        name: &sign.instance,
        started_at: &sign.started_at,
        is_ready: sign.state == InstanceState::Ready,
        done: if is_ours { sign.totals.started } else { 0 },
        sign: Sign::of(sign),
    }
}
