//! Which versions of its plugins a fleet runs: what was decided, and what `plugins.yml` has begin by
//! itself when a new version is found.

use std::collections::BTreeMap;

use broker_config::wire::event::Fact;
use broker_config::{Chain, PluginId};
use tracing::{info, warn};

use super::plugins::PluginPlan;
use crate::store::versions::KnownVersions;
use crate::store::{Store, StoreError};
use crate::transition::state::Moment;
use crate::transition::{How, Plan, Versions, Way};

/// What was decided on each plugin's versions.
pub(super) type Decided = BTreeMap<PluginId, Versions>;

/// Reads what was decided.
pub(super) async fn decided(store: &Store) -> Result<Decided, StoreError> {
    let all = store.versions().await?;
    Ok(all.into_iter().map(|(id, known)| (id, known.versions)).collect())
}

/// Begins the transitions that `plugins.yml` asks for where a new version was found; says whether
/// there was one.
pub(super) async fn begin_new(store: &Store, plan: &PluginPlan) -> Result<bool, StoreError> {
    let asked: Vec<(&PluginId, &Plan)> = plan
        .policies
        .iter()
        .filter_map(|(id, policy)| Some((id, policy.transition.as_ref()?)))
        // The usual way needs no word: the version that announces itself last takes over.
        .filter(|(_, asked)| asked.how != How::Graceful)
        .collect();
    if asked.is_empty() {
        return Ok(false);
    }
    let (plugins, known) = tokio::try_join!(store.plugins(), store.versions())?;
    let mut has_begun = false;
    for (id, asked) in asked {
        let (Some(recorded), Some(on_disk)) = (plugins.get(id), plan.on_disk.get(id)) else {
            continue;
        };
        let recorded = &recorded.entry.manifest.version;
        let mut before = known.get(id).cloned().unwrap_or_else(|| KnownVersions {
            versions: Versions::new(recorded.clone()),
            revision: 0,
        });
        if let Some(aligned) = before.versions.aligned(recorded) {
            before.versions = aligned;
        }
        let highest = on_disk.last().filter(|highest| {
            **highest > before.versions.decided && *highest > recorded && on_disk.contains(recorded)
        });
        let Some(to) = highest else { continue };
        let now = jiff::Timestamp::now();
        let ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let now = Moment { ms, text: now.to_string() };
        let Ok(versions) = before.versions.begin(to.clone(), asked, &now) else { continue };
        let next = KnownVersions { versions, revision: before.revision };
        match store.put_versions(id, &next).await {
            Ok(_) => {
                has_begun = true;
                info!(plugin.id = %id, %to, how = %asked.how, "a new version was found");
                let (plugin_id, how) = (id.clone(), asked.how.to_string());
                let (from, to) = (recorded.to_string(), to.to_string());
                let fact = Fact::TransitionStarted { plugin_id, how, from, to };
                if let Err(error) = store.tell(fact).await {
                    warn!(error = %Chain(&error), "event not stored");
                }
            }
            // Somebody else has decided meanwhile.
            Err(StoreError::Conflict { .. }) => has_begun = true,
            Err(error) => return Err(error),
        }
    }
    Ok(has_begun)
}

/// Plugins whose old version is to stop at once.
pub(super) fn hurried(decided: &Decided) -> impl Iterator<Item = &PluginId> {
    decided.iter().filter_map(|(id, versions)| {
        let way = &versions.transition.as_ref()?.way;
        matches!(way, Way::Immediate).then_some(id)
    })
}
