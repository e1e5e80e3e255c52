//! `GET` and `PUT /api/plugins/{id}/config`.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use broker_config::{Manifest, PluginId};
use serde_json::{Map, Value, json};

use super::super::meta::json_answer;
use super::super::meta::target::{Condition, tag_of};
use super::super::problem::{FieldProblem, Problem};
use super::{Answer, Api, Shared};
use crate::config::overrides::{Change, Settings};
use crate::fleet::steer::Order;

pub(super) async fn read(State(api): Shared, Path(id): Path<String>) -> Answer {
    let (id, manifest) = api.manifest(&id).await?;
    let known = api.options.steering.known();
    let given = known.entry(&id).config.0;
    // What is wrong is shown as it is; the plugin does not serve then, and its status says why.
    let settings = manifest.settings(&given).unwrap_or(given);
    let changed: Vec<String> = known.overrides.of(&id).config.0.into_keys().collect();
    let mut answer = json_answer(&json!({
        "config": manifest.masked(&settings),
        "schema": manifest.config_schema,
        "changed": changed,
    }));
    if let Ok(tag) = api.tag(&known.entry(&id).config.0).parse() {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

pub(super) async fn write(
    State(api): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (id, manifest) = api.manifest(&id).await?;
    let (manifest, settings) = (Box::new(manifest), settings(&body)?);
    let condition = Condition::of(&headers);
    let present = api.options.steering.known().entry(&id).config.0;
    condition.allows(Some(&api.tag(&present)))?;
    // Whoever keeps the settings looks again: others may be faster.
    let seen = (!condition.is_none()).then_some(Settings(present));
    let change = Change::Configure { manifest, settings, seen };
    api.order(&id, Order::Change(id.clone(), change)).await
}

/// Reads `{"config": {…}}`; whatever else a reading has shown may come back and says nothing.
fn settings(body: &[u8]) -> Result<Settings, Problem> {
    // The library's message would quote the body.
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!("no JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let config: Option<&Map<String, Value>> = body.get("config").and_then(Value::as_object);
    config.cloned().map(Settings).ok_or_else(|| {
        let pointer = "/config".to_owned();
        let field = FieldProblem { pointer, detail: "must be an object of settings".to_owned() };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "a JSON object with `config` is needed")
            .with_fields(vec![field])
    })
}

impl Api {
    /// Tells settings from others.
    fn tag(&self, settings: &Map<String, Value>) -> String {
        let salt = self.options.salt.reveal();
        tag_of(&format!("{salt}{}", json!(settings)))
    }

    /// What a plugin asks for: as it has announced, else as it is on disk.
    async fn manifest(&self, id: &str) -> Result<(PluginId, Manifest), Problem> {
        let (id, entry) = self.known(id).await?;
        let announced = entry.map(|known| known.entry.manifest);
        let on_disk = || self.options.steering.known().manifests.get(&id).cloned();
        match announced.or_else(on_disk) {
            Some(manifest) => Ok((id, manifest)),
            None => {
                let detail = format!("{id} has not announced yet which settings it has");
                Err(Problem::new(StatusCode::CONFLICT, detail))
            }
        }
    }
}
