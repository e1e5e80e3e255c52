//! `GET /api/plugins` and `GET /api/plugins/{id}`.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use broker_config::PluginId;
use broker_config::wire::instance::Instance;
use serde_json::json;

use super::super::meta::json_answer;
use super::view::{self, Facts, Plugin};
use super::{Answer, Api, Shared};
use crate::store::StoreError;
use crate::store::overview::PluginNumbers;
use crate::store::plugins::KnownPlugin;

pub(super) async fn all(State(api): Shared) -> Answer {
    let plugins = api.look().await?.plugins(&api);
    Ok(json_answer(&json!({ "plugins": plugins })))
}

pub(super) async fn one(State(api): Shared, Path(id): Path<String>) -> Answer {
    let (id, _) = api.known(&id).await?;
    let plugin = api.look().await?.plugin(&api, &id);
    Ok(json_answer(&json!(plugin)))
}

/// What the broker says of all plugins.
struct Look {
    registered: BTreeMap<PluginId, KnownPlugin>,
    signs: BTreeMap<PluginId, Vec<Instance>>,
    numbers: BTreeMap<String, PluginNumbers>,
}

impl Api {
    async fn look(&self) -> Result<Look, StoreError> {
        let store = &self.options.store;
        let (registered, signs, overview) =
            tokio::try_join!(store.plugins(), store.instances(), store.overview())?;
        let numbers = overview.plugins.into_iter().map(|of| (of.id.clone(), of));
        Ok(Look { registered, signs, numbers: numbers.collect() })
    }
}

impl Look {
    fn plugins(&self, api: &Api) -> Vec<Plugin> {
        let known = api.options.steering.known();
        let all: BTreeSet<&PluginId> =
            self.registered.keys().chain(known.effective.keys()).collect();
        all.into_iter().map(|id| self.plugin(api, id)).collect()
    }

    fn plugin(&self, api: &Api, id: &PluginId) -> Plugin {
        let none = || PluginNumbers { id: id.to_string(), ..PluginNumbers::default() };
        let metrics = api.options.coordinator.metrics();
        view::plugin(&Facts {
            id,
            registered: self.registered.get(id).map(|known| &known.entry),
            known: &api.options.steering.known(),
            numbers: &self.numbers.get(id.as_str()).cloned().unwrap_or_else(none),
            signs: self.signs.get(id).map(Vec::as_slice).unwrap_or_default(),
            processes: &api.options.processes.list(),
            containers: &api.options.containers.list(),
            used: &api.options.used.borrow(),
            stats: &metrics.stats(id),
            counted: metrics.plugins().remove(id).unwrap_or_default(),
            since: metrics.since(),
        })
    }
}
