//! The metadata API that HTTP plugins know as meta-core, over the records.
//!
//! Two sorts of callers. An attempt at a task comes with its token (`/t/<token>/meta/…`): it reads
//! the file's merged metadata with its own writes on top, and its writes become its plugin's record
//! when its callback says `completed`. Everybody else (`/meta/…`, from this machine only) reads the
//! merged metadata and writes the person's own layer, which no plugin overwrites.

pub(super) mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use broker_config::manifest::DataType;
use broker_config::meta::MAX_JSON_DEPTH;
use broker_config::{Cid, Manifest, MetaKey, MetaMap, MetaValue, Record};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::target::{Target, Who, tag_of};
use super::problem::Problem;
use crate::bridge::layer::{Changes, Layer, TooMuch, members, value_of};
use crate::bridge::pending::{NoAttempt, Pending};
use crate::bridge::urls::ATTEMPT;
use crate::merge::{Source, view};
use crate::person::{Change, NoSuchKey, replacement};
use crate::store::{Store, StoreError};

/// Edits of different files do not wait for each other, unless their locks happen to be the same.
const LOCKS: usize = 64;

#[derive(Debug)]
struct Api {
    store: Store,
    pending: Arc<Pending>,
    /// Edits of one file by this process come one after the other, so that they do not keep
    /// failing each other's fence; that of other processes is the broker's.
    locks: Vec<Mutex<()>>,
}

type Shared = State<Arc<Api>>;
type Answer = Result<Response, Problem>;

/// The routes of metadata.
pub fn routes(store: Store, pending: Arc<Pending>) -> Router {
    let locks = std::iter::repeat_with(Mutex::default).take(LOCKS).collect();
    let mut router = Router::new();
    for prefix in [String::new(), format!("{ATTEMPT}/{{token}}")] {
        router = router
            .route(
                &format!("{prefix}/meta/{{cid}}"),
                get(get_all).put(put_all).patch(patch).delete(delete_all),
            )
            .route(
                &format!("{prefix}/meta/{{cid}}/{{*key}}"),
                get(get_one).put(put_one).delete(delete_one),
            )
            .route(&format!("{prefix}/meta/{{cid}}/_add/{{*key}}"), post(add));
    }
    router.with_state(Arc::new(Api { store, pending, locks }))
}

async fn get_all(State(api): Shared, target: Target) -> Answer {
    let seen = api.seen(&target).await?;
    let body = flat(&seen);
    Ok(tagged(&target, &body, "application/json", body.clone()))
}

async fn get_one(State(api): Shared, target: Target) -> Answer {
    let key = target.key()?;
    let seen = api.seen(&target).await?;
    let value = seen.get(&key).ok_or_else(|| no_such(&key))?.to_flat();
    Ok(tagged(&target, &value, "text/plain; charset=utf-8", value.clone()))
}

async fn put_all(State(api): Shared, target: Target, body: Bytes) -> Answer {
    let all: MetaMap =
        object(&body)?.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    match &target.who {
        Who::Attempt(token) => {
            api.attempt(&target, token, None, |layer| layer.replace(all)).await?;
        }
        Who::Person => {
            let sets = api.sets().await?;
            let edit = |record: &mut Record, sources: &[Source]| {
                let given = all.iter().map(|(k, v)| (k.clone(), sets.shape(k, v.clone(), sources)));
                apply(&replacement(&given.collect(), sources), record, sources, true)
            };
            api.edit(&target, None, edit).await?;
        }
    }
    Ok(done())
}

async fn patch(State(api): Shared, target: Target, body: Bytes) -> Answer {
    let changes = object(&body)?;
    let updated = changes.len();
    match &target.who {
        Who::Attempt(token) => {
            api.attempt(&target, token, None, |layer| layer.change(changes)).await?;
        }
        Who::Person => {
            let sets = api.sets().await?;
            let edit = |record: &mut Record, sources: &[Source]| {
                let one = |(key, value): (&MetaKey, &Option<MetaValue>)| match value {
                    Some(value) => {
                        Change::Set(key.clone(), sets.shape(key, value.clone(), sources))
                    }
                    None => Change::Hide(key.clone()),
                };
                let all: Vec<Change> = changes.iter().map(one).collect();
                apply(&all, record, sources, true)
            };
            api.edit(&target, None, edit).await?;
        }
    }
    Ok(json_answer(&json!({ "success": true, "updated": updated })))
}

async fn delete_all(State(api): Shared, target: Target) -> Answer {
    match &target.who {
        Who::Attempt(token) => {
            api.attempt(&target, token, None, |layer| layer.replace(MetaMap::new())).await?;
        }
        Who::Person => {
            let edit = |record: &mut Record, sources: &[Source]| {
                apply(&replacement(&MetaMap::new(), sources), record, sources, true)
            };
            api.edit(&target, None, edit).await?;
        }
    }
    Ok(done())
}

async fn put_one(State(api): Shared, target: Target, headers: HeaderMap, body: Bytes) -> Answer {
    let (key, value) = (target.key()?, single(&headers, &body)?);
    match &target.who {
        Who::Attempt(token) => {
            let changes = Changes::from([(key.clone(), Some(value))]);
            api.attempt(&target, token, Some(&key), |layer| layer.change(changes)).await?;
        }
        Who::Person => {
            let sets = api.sets().await?;
            let edit = |record: &mut Record, sources: &[Source]| {
                let value = sets.shape(&key, value.clone(), sources);
                apply(&[Change::Set(key.clone(), value)], record, sources, true)
            };
            api.edit(&target, Some(&key), edit).await?;
        }
    }
    Ok(done())
}

async fn delete_one(State(api): Shared, target: Target) -> Answer {
    let key = target.key()?;
    match &target.who {
        Who::Attempt(token) => {
            let changes = Changes::from([(key.clone(), None)]);
            api.attempt(&target, token, Some(&key), |layer| layer.change(changes)).await?;
        }
        Who::Person => {
            let edit = |record: &mut Record, sources: &[Source]| {
                apply(&[Change::Hide(key.clone())], record, sources, false)
            };
            api.edit(&target, Some(&key), edit).await?;
        }
    }
    Ok(done())
}

async fn add(State(api): Shared, target: Target, headers: HeaderMap, body: Bytes) -> Answer {
    let (key, value) = (target.key()?, single(&headers, &body)?.to_flat());
    if value.is_empty() || value.contains('|') {
        return Err(Problem::bad_request("one value without `|`, which separates values"));
    }
    match &target.who {
        Who::Attempt(token) => {
            let name = key.clone();
            api.attempt(&target, token, Some(&key), |layer| layer.add(name, value)).await?;
        }
        Who::Person => {
            let edit = |record: &mut Record, sources: &[Source]| {
                apply(&[Change::Add(key.clone(), vec![value.clone()])], record, sources, true)
            };
            api.edit(&target, Some(&key), edit).await?;
        }
    }
    Ok(done())
}

impl Api {
    /// What the caller sees of a file.
    async fn seen(&self, target: &Target) -> Result<MetaMap, Problem> {
        match &target.who {
            Who::Person => Ok(merged(&self.store.sources(&target.cid).await?)),
            Who::Attempt(token) => {
                let below = self.below(token, &target.cid).await?;
                self.within(token, &target.cid, |layer| layer.over(below))
            }
        }
    }

    /// What others wrote about the file of an attempt; what its plugin wrote before is about to be
    /// replaced and does not count.
    async fn below(&self, token: &str, cid: &Cid) -> Result<MetaMap, Problem> {
        let plugin = self.pending.with(token, |facts, _| facts.plugin.clone()).map_err(ended)?;
        let mut sources = self.store.sources(cid).await?;
        sources.retain(|source| source.plugin != plugin);
        Ok(merged(&sources))
    }

    fn within<T>(
        &self,
        token: &str,
        cid: &Cid,
        work: impl FnOnce(&mut Layer) -> T,
    ) -> Result<T, Problem> {
        let done =
            self.pending.with(token, |facts, layer| (facts.cid == *cid).then(|| work(layer)));
        let detail = "a task reads and writes the metadata of its own file only";
        done.map_err(ended)?.ok_or_else(|| Problem::forbidden(detail))
    }

    /// Changes what an attempt writes, if the request's condition holds.
    async fn attempt(
        &self,
        target: &Target,
        token: &str,
        key: Option<&MetaKey>,
        change: impl FnOnce(&mut Layer) -> Result<(), TooMuch>,
    ) -> Result<(), Problem> {
        let below = match target.condition.is_none() {
            true => None,
            false => Some(self.below(token, &target.cid).await?),
        };
        self.within(token, &target.cid, |layer| {
            if let Some(below) = below {
                target.condition.allows(tag_in(&layer.over(below), key).as_deref())?;
            }
            change(layer)
                .map_err(|error| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
        })?
    }

    /// Changes the person's layer, if the request's condition holds.
    async fn edit(
        &self,
        target: &Target,
        key: Option<&MetaKey>,
        edit: impl Fn(&mut Record, &[Source]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let number = target
            .cid
            .as_str()
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let _in_turn = match self.locks.get(number % LOCKS) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let now = Timestamp::now().to_string();
        self.store
            .edit_user(&target.cid, &now, |record, sources| {
                if !target.condition.is_none() {
                    target.condition.allows(tag_in(&merged(sources), key).as_deref())?;
                }
                edit(record, sources)
            })
            .await
    }

    async fn sets(&self) -> Result<Sets, StoreError> {
        let plugins = self.store.plugins().await?;
        Ok(Sets(plugins.into_values().map(|known| known.entry.manifest).collect()))
    }
}

/// Which keys hold sets, as plugins declare them.
struct Sets(Vec<Manifest>);

impl Sets {
    /// A text for a key that holds a set is one with `|` between its values.
    fn shape(&self, key: &MetaKey, value: MetaValue, sources: &[Source]) -> MetaValue {
        let declared = || {
            let fields = self.0.iter().filter_map(|manifest| manifest.data_field(key.as_str()));
            fields.into_iter().any(|field| field.kind == DataType::Set)
        };
        let holds =
            |source: &Source| matches!(source.record.meta.get(key), Some(MetaValue::Set(_)));
        match value {
            MetaValue::Text(_) if sources.iter().any(holds) || declared() => {
                MetaValue::Set(members(&value))
            }
            MetaValue::Text(_) | MetaValue::Set(_) | MetaValue::Json(_) => value,
        }
    }
}

/// Makes changes one after the other; `lenient` passes over keys that are not there.
fn apply(
    changes: &[Change],
    record: &mut Record,
    sources: &[Source],
    lenient: bool,
) -> Result<(), Problem> {
    for change in changes {
        match change.apply(record, sources) {
            Err(NoSuchKey(key)) if !lenient => return Err(no_such(&key)),
            Ok(()) | Err(NoSuchKey(_)) => {}
        }
    }
    Ok(())
}

fn merged(sources: &[Source]) -> MetaMap {
    view(sources).into_iter().map(|(key, merged)| (key, merged.value)).collect()
}

/// All values as the texts that the seed's clients know.
fn flat(meta: &MetaMap) -> String {
    let flat: BTreeMap<&str, String> =
        meta.iter().map(|(key, value)| (key.as_str(), value.to_flat())).collect();
    json!(flat).to_string()
}

/// The tag of a key, or of the whole file; `None` where nothing is there.
fn tag_in(meta: &MetaMap, key: Option<&MetaKey>) -> Option<String> {
    match key {
        Some(key) => meta.get(key).map(|value| tag_of(&value.to_flat())),
        None => (!meta.is_empty()).then(|| tag_of(&flat(meta))),
    }
}

fn tagged(target: &Target, content: &str, kind: &'static str, body: String) -> Response {
    let tag = tag_of(content);
    let status =
        if target.condition.is_fresh(&tag) { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let body = if status == StatusCode::OK { body } else { String::new() };
    (status, [(header::CONTENT_TYPE, kind.to_owned()), (header::ETAG, tag)], body).into_response()
}

fn done() -> Response {
    json_answer(&json!({ "success": true }))
}

pub(super) fn json_answer(body: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body.to_string()).into_response()
}

fn no_such(key: &MetaKey) -> Problem {
    Problem::not_found(format!("the file has no `{key}`"))
}

fn ended(no: NoAttempt) -> Problem {
    match no {
        NoAttempt::Over => Problem::new(StatusCode::GONE, "the attempt is over"),
        NoAttempt::Unknown => Problem::not_found("there is no such task"),
    }
}

/// Reads the keys and values of a body.
fn object(body: &[u8]) -> Result<Changes, Problem> {
    let fields: BTreeMap<String, Value> = serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("no JSON object of values: {error}")))?;
    let key = |key: String| {
        key.parse::<MetaKey>().map_err(|error| Problem::bad_request(error.to_string()))
    };
    fields.into_iter().map(|(name, value)| Ok((key(name)?, read(value)?))).collect()
}

/// A value as it stands in JSON; `None` for null.
fn read(json: Value) -> Result<Option<MetaValue>, Problem> {
    let value = value_of(json);
    // The record would be stored, and nobody could read it again.
    if value.as_ref().is_some_and(MetaValue::is_too_deep) {
        return Err(Problem::bad_request(format!("a value nests deeper than {MAX_JSON_DEPTH}")));
    }
    Ok(value)
}

/// Reads one value: a text, or JSON if it says so.
fn single(headers: &HeaderMap, body: &[u8]) -> Result<MetaValue, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/json")) {
        let json = serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(format!("no JSON: {error}")))?;
        return read(json)?.ok_or_else(|| Problem::bad_request("null is no value; use DELETE"));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::bad_request(format!("no UTF-8: {error}")))?;
    Ok(MetaValue::Text(text.to_owned()))
}
