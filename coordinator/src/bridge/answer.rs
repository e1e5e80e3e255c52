//! PURE: what an HTTP plugin says, read leniently where plugins in the wild differ.

use std::time::Duration;

use broker_config::{Cid, PluginId, TaskId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::health::Seen;

/// Longest text of a plugin that is kept; the record cuts it further.
const MAX_TEXT: usize = 4_000;
/// Longest wait that a plugin may ask for.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Reads the answer of `GET /health`.
#[must_use]
pub fn health(status: u16, body: &[u8]) -> Seen {
    #[derive(Deserialize)]
    struct Health {
        status: String,
        // The document requires it; without it, healthy is taken for ready.
        ready: Option<bool>,
    }
    if !is_success(status) {
        return Seen::Unhealthy(refusal(status, body));
    }
    match serde_json::from_slice::<Health>(body) {
        Ok(health) if health.status != "healthy" => {
            Seen::Unhealthy(format!("it says that it is `{}`", short(&health.status)))
        }
        Ok(Health { ready: Some(false), .. }) => Seen::NotReady,
        Ok(_) => Seen::Ready,
        Err(error) => Seen::Unhealthy(format!("its answer cannot be understood: {error}")),
    }
}

/// Reads the answer of `POST /configure`: `success: true`, or `status: ok` as some plugins say.
///
/// # Errors
///
/// The plugin's reason, for people.
pub fn configured(status: u16, body: &[u8]) -> Result<(), String> {
    if !is_success(status) {
        return Err(refusal(status, body));
    }
    let Some(answer) = object(body) else {
        return Err("its answer to /configure cannot be understood".to_owned());
    };
    let said = answer.get("status").and_then(Value::as_str);
    match answer.get("success").and_then(Value::as_bool) {
        Some(true) => Ok(()),
        None if said.is_some_and(|said| matches!(said, "ok" | "success" | "configured")) => Ok(()),
        Some(false) => Err(reason(&answer).unwrap_or_else(|| "it gave no reason".to_owned())),
        None => Err(reason(&answer).unwrap_or_else(|| {
            "its answer to /configure says neither `success: true` nor `status: ok`".to_owned()
        })),
    }
}

/// What a plugin says to a task at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It works on it and will call back.
    Accepted,
    /// It does not take it; another attempt may help.
    Refused(String),
    /// It never will.
    Impossible(String),
    /// It asks to wait.
    Later(Duration, String),
}

/// Reads the answer of `POST /process` to the task `task`.
#[must_use]
pub fn reply(status: u16, retry_after: Option<Duration>, body: &[u8], task: &TaskId) -> Reply {
    if !is_success(status) {
        let why = refusal(status, body);
        return match (status, retry_after) {
            (429 | 503, Some(wait)) => Reply::Later(wait.min(MAX_WAIT), why),
            // Too early, too much, too slow: all the others will be the same next time.
            (408 | 425 | 429, _) => Reply::Refused(why),
            (400..=499, _) => Reply::Impossible(why),
            _ => Reply::Refused(why),
        };
    }
    let Some(answer) = object(body) else {
        return Reply::Refused("its answer to /process cannot be understood".to_owned());
    };
    if let Some(named) = answer.get("taskId").and_then(Value::as_str)
        && named != task.as_str()
    {
        return Reply::Refused(format!("it answered for the task `{}`", short(named)));
    }
    match answer.get("status").and_then(Value::as_str) {
        Some("accepted") => Reply::Accepted,
        Some("rejected") => {
            let why = reason(&answer).unwrap_or_else(|| "it gave no reason".to_owned());
            Reply::Refused(format!("the plugin rejected the task: {why}"))
        }
        _ => Reply::Refused("it neither accepted nor rejected the task".to_owned()),
    }
}

/// How a task ended, as the plugin's callback says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it wrote is the file's metadata.
    Completed,
    /// It failed.
    Failed(String),
    /// It has nothing to say about this file.
    Skipped(String),
}

/// A callback; the fields that some plugins leave out are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    task: Option<String>,
    plugin: Option<String>,
    cid: Option<String>,
    /// How the task ended.
    pub verdict: Verdict,
}

impl Callback {
    /// Reads the body of a callback.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the plugin's author.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| format!("no JSON object: {error}"))?;
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("`{name}` must be a text")),
        };
        let said = |fallback: &str| reason(&fields).unwrap_or_else(|| fallback.to_owned());
        let verdict = match text("status")?.as_deref() {
            Some("completed") => Verdict::Completed,
            Some("failed") => Verdict::Failed(said("the plugin failed and gave no error")),
            Some("skipped") => Verdict::Skipped(said("the plugin gave no reason")),
            Some(_) | None => {
                return Err("`status` must be completed, failed or skipped".to_owned());
            }
        };
        Ok(Self { task: text("taskId")?, plugin: text("pluginId")?, cid: text("cid")?, verdict })
    }

    /// Says which field names something else than the attempt that the URL belongs to.
    #[must_use]
    pub fn mismatch(&self, task: &TaskId, plugin: &PluginId, cid: &Cid) -> Option<&'static str> {
        let other = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|s| s != is);
        if other(&self.task, task.as_str()) {
            return Some("taskId");
        }
        if other(&self.plugin, plugin.as_str()) {
            return Some("pluginId");
        }
        other(&self.cid, cid.as_str()).then_some("cid")
    }
}

const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299)
}

fn object(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

/// The text under one of the names that plugins use for it.
fn reason(fields: &Map<String, Value>) -> Option<String> {
    let texts =
        ["error", "reason", "message"].iter().filter_map(|name| fields.get(*name)?.as_str());
    texts.map(short).find(|text| !text.trim().is_empty())
}

fn refusal(status: u16, body: &[u8]) -> String {
    match object(body).as_ref().and_then(reason) {
        Some(why) => format!("HTTP {status}: {why}"),
        None => format!("HTTP {status}"),
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (TaskId, PluginId, Cid) {
        let (plugin, cid): (PluginId, Cid) = ("p".parse().unwrap(), "c".parse().unwrap());
        (TaskId::derive(&cid, &plugin, "", 0), plugin, cid)
    }

    #[test]
    fn health_follows_the_table() {
        let unhealthy = |text: &str| Seen::Unhealthy(text.to_owned());
        for (status, body, expected) in [
            (200, r#"{"status":"healthy","ready":true,"version":"1.0.0"}"#, Seen::Ready),
            (200, r#"{"status":"healthy"}"#, Seen::Ready),
            (200, r#"{"status":"healthy","ready":false}"#, Seen::NotReady),
            (
                200,
                r#"{"status":"unhealthy","ready":true}"#,
                unhealthy("it says that it is `unhealthy`"),
            ),
            (503, r#"{"error":"no disk"}"#, unhealthy("HTTP 503: no disk")),
            (404, "<html>", unhealthy("HTTP 404")),
        ] {
            assert_eq!(health(status, body.as_bytes()), expected, "{body}");
        }
        assert!(matches!(health(200, b"ok"), Seen::Unhealthy(why) if why.contains("understood")));
    }

    #[test]
    fn both_shapes_of_the_configure_answer_are_read() {
        for (status, body, expected) in [
            (200, r#"{"success":true}"#, Ok(())),
            (200, r#"{"status":"ok"}"#, Ok(())),
            (200, r#"{"status":"configured"}"#, Ok(())),
            (200, r#"{"success":false,"error":"apiKey is required"}"#, Err("apiKey is required")),
            (200, r#"{"success":false,"status":"ok"}"#, Err("it gave no reason")),
            (200, r#"{"status":"error","message":"no key"}"#, Err("no key")),
            (
                200,
                "{}",
                Err("its answer to /configure says neither `success: true` nor `status: ok`"),
            ),
            (200, "", Err("its answer to /configure cannot be understood")),
            (400, r#"{"error":"bad"}"#, Err("HTTP 400: bad")),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(configured(status, body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn the_answer_to_a_task_follows_the_table() {
        let (task, ..) = ids();
        let wait = Some(Duration::from_secs(7));
        let own = format!(r#"{{"status":"accepted","taskId":"{task}"}}"#);
        let refused = |why: &str| Reply::Refused(why.to_owned());
        for (status, after, body, expected) in [
            (200, None, own.as_str(), Reply::Accepted),
            (202, None, r#"{"status":"accepted"}"#, Reply::Accepted),
            (
                200,
                None,
                r#"{"status":"accepted","taskId":"x"}"#,
                refused("it answered for the task `x`"),
            ),
            (
                200,
                None,
                r#"{"status":"rejected","error":"not configured"}"#,
                refused("the plugin rejected the task: not configured"),
            ),
            (
                200,
                None,
                r#"{"status":"done"}"#,
                refused("it neither accepted nor rejected the task"),
            ),
            (200, None, "[]", refused("its answer to /process cannot be understood")),
            (500, None, "", refused("HTTP 500")),
            (503, None, "", refused("HTTP 503")),
            (503, wait, "", Reply::Later(Duration::from_secs(7), "HTTP 503".into())),
            (429, wait, "", Reply::Later(Duration::from_secs(7), "HTTP 429".into())),
            (429, None, "", refused("HTTP 429")),
            (422, None, r#"{"error":"no"}"#, Reply::Impossible("HTTP 422: no".into())),
        ] {
            assert_eq!(reply(status, after, body.as_bytes(), &task), expected, "{status} {body}");
        }
    }

    #[test]
    fn callbacks_are_read_also_when_fields_are_left_out() {
        let (task, plugin, cid) = ids();
        let read = |body: &str| Callback::read(body.as_bytes());
        let full = format!(
            r#"{{"taskId":"{task}","pluginId":"p","cid":"c","status":"completed","duration":1.5}}"#
        );
        for (body, verdict) in [
            (full.as_str(), Verdict::Completed),
            (r#"{"status":"completed"}"#, Verdict::Completed),
            (r#"{"status":"completed","pluginId":null}"#, Verdict::Completed),
            (r#"{"status":"failed","error":"boom"}"#, Verdict::Failed("boom".into())),
            (
                r#"{"status":"failed"}"#,
                Verdict::Failed("the plugin failed and gave no error".into()),
            ),
            (r#"{"status":"skipped","reason":"text"}"#, Verdict::Skipped("text".into())),
        ] {
            let callback = read(body).unwrap();
            assert_eq!(callback.verdict, verdict, "{body}");
            assert_eq!(callback.mismatch(&task, &plugin, &cid), None, "{body}");
        }
        for (body, field) in [
            (r#"{"status":"completed","taskId":"x"}"#, "taskId"),
            (r#"{"status":"completed","pluginId":"x"}"#, "pluginId"),
            (r#"{"status":"completed","cid":"x"}"#, "cid"),
        ] {
            assert_eq!(read(body).unwrap().mismatch(&task, &plugin, &cid), Some(field));
        }
        let deep = format!("{{\"status\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        for body in ["", "[]", "{}", r#"{"status":"done"}"#, r#"{"status":1}"#, &deep] {
            assert!(read(body).is_err(), "{body:.40}");
        }
        assert!(read(r#"{"status":"completed","taskId":7}"#).is_err());
    }
}
