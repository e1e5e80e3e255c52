//! PURE: the accounts of a fleet as claims of JWTs.

use std::collections::BTreeMap;

use broker_config::accounts::{ANSWERS_WITHIN, Account, Answers, Export, Import, PluginAccount};
use serde_json::{Map, Value, json};

/// What has no limit.
const WITHOUT: i64 = -1;

/// What is in a JSON object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// Those of an operator.
pub(super) fn operator(system: &str) -> Map<String, Value> {
    object(json!({ "system_account": system, "type": "operator", "version": 2 }))
}

/// Those of the account from which servers are administered.
pub(super) fn system() -> Map<String, Value> {
    let limits = limits(&[]);
    object(json!({ "limits": limits, "type": "account", "version": 2 }))
}

/// Those of a user; what it may do is said by its account.
pub(super) fn user(issuer: Option<&str>) -> Map<String, Value> {
    let mut user = object(json!({
        "pub": {}, "sub": {}, "subs": WITHOUT, "data": WITHOUT, "payload": WITHOUT,
        "type": "user", "version": 2,
    }));
    by_signing_key(&mut user, issuer);
    user
}

/// Those of the leave to use a service.
pub(super) fn activation(subject: &str, issuer: Option<&str>) -> Map<String, Value> {
    let mut leave = object(json!({
        "subject": subject, "kind": "service", "type": "activation", "version": 2,
    }));
    by_signing_key(&mut leave, issuer);
    leave
}

/// What an account signs with a key that is only for signing names the account.
fn by_signing_key(claims: &mut Map<String, Value>, account: Option<&str>) {
    if let Some(account) = account {
        claims.insert("issuer_account".to_owned(), account.into());
    }
}

/// What is known of other accounts while the token of one is made.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// Public keys by name.
    pub(super) keys: BTreeMap<String, String>,
    /// Leave to use a service, by account and subject there.
    pub(super) leave: BTreeMap<(String, String), String>,
    /// Accounts that have no leave any more, by public key, and since when.
    pub(super) gone: Map<String, Value>,
}

/// The fleet's: `old` is what stands there already, which the operator may have limited.
pub(super) fn fleet(
    account: &Account,
    around: &Around,
    old: Map<String, Value>,
) -> Map<String, Value> {
    let mut claims = old;
    claims.entry("limits").or_insert_with(|| {
        let streams = ["mem_storage", "disk_storage", "streams", "consumer"];
        limits(&streams.map(|limit| (limit, WITHOUT)))
    });
    services(&mut claims, account, around);
    claims
}

/// A plugin's: `old` is what stands there already.
pub(super) fn plugin(
    plugin: &PluginAccount,
    around: &Around,
    old: Map<String, Value>,
) -> Map<String, Value> {
    let mut claims = old;
    let payload = match plugin.limits.payload {
        0 => WITHOUT,
        bytes => bytes.into(),
    };
    let mut bounds = object(limits(&[
        ("conn", plugin.limits.connections.into()),
        ("subs", plugin.limits.subscriptions.into()),
        ("payload", payload),
        // A leaf node is no worker, and what is behind it is not counted.
        ("leaf", 0),
    ]));
    bounds.insert("disallow_bearer".to_owned(), true.into());
    claims.insert("limits".to_owned(), bounds.into());
    let permissions =
        json!({ "pub": { "allow": plugin.publish }, "sub": { "allow": plugin.subscribe } });
    claims.insert("default_permissions".to_owned(), permissions);
    services(&mut claims, &plugin.account, around);
    claims
}

fn services(claims: &mut Map<String, Value>, account: &Account, around: &Around) {
    let exports = account.exports.iter().map(|one| export(one, &around.gone)).collect();
    let imports = account.imports.iter().filter_map(|one| import(one, around)).collect();
    claims.insert("exports".to_owned(), Value::Array(exports));
    claims.insert("imports".to_owned(), Value::Array(imports));
    claims.insert("type".to_owned(), "account".into());
    claims.insert("version".to_owned(), 2.into());
}

/// Without limits but for these; no streams unless they say so.
fn limits(these: &[(&str, i64)]) -> Value {
    let mut limits = object(json!({
        "subs": WITHOUT, "data": WITHOUT, "payload": WITHOUT, "imports": WITHOUT,
        "exports": WITHOUT, "wildcards": true, "conn": WITHOUT, "leaf": WITHOUT,
    }));
    limits.extend(these.iter().map(|(name, limit)| ((*name).to_owned(), (*limit).into())));
    limits.into()
}

fn export(export: &Export, gone: &Map<String, Value>) -> Value {
    let mut claims = object(json!({
        "name": export.subject, "subject": export.subject, "type": "service", "token_req": true,
    }));
    match export.answers {
        Answers::One => {}
        Answers::Many => {
            let within = u64::try_from(ANSWERS_WITHIN.as_nanos()).unwrap_or(u64::MAX);
            claims.insert("response_type".to_owned(), "Stream".into());
            claims.insert("response_threshold".to_owned(), within.into());
        }
    }
    if !gone.is_empty() {
        claims.insert("revocations".to_owned(), gone.clone().into());
    }
    claims.into()
}

fn import(import: &Import, around: &Around) -> Option<Value> {
    let key = around.keys.get(&import.account)?;
    let token = around.leave.get(&(import.account.clone(), import.subject.clone()))?;
    let mut claims = object(json!({
        "name": import.here, "subject": import.subject, "account": key, "token": token,
        "type": "service",
    }));
    if import.here != import.subject {
        claims.insert("local_subject".to_owned(), import.here.clone().into());
    }
    Some(claims.into())
}
