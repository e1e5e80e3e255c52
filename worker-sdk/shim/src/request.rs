//! PURE. A task as a command gets it: the environment, and a JSON line on standard input.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use broker_config::{Manifest, Task};
use data_encoding::BASE64;
use serde_json::{Value, json};
use worker_sdk::Settings;

/// The system takes no longer variable from us.
const LONGEST: usize = 64 * 1024;
/// Says what a command is asked, when that is not a task.
pub(crate) const EVENT: &str = "METAFLEET_EVENT";
/// What the shim tells a command by its environment begins so.
const OURS: &str = "METAFLEET_";
/// What of it is no secret and of use.
const INSTANCE: &str = "METAFLEET_INSTANCE";
/// What the worker is told by its own environment, which is no business of a command.
const PRIVATE: [&str; 3] = ["NATS_", "OTEL_", OURS];

/// What a command is told about one attempt at a task.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// As it came.
    pub(crate) task: &'a Task,
    /// Where the file is on this machine.
    pub(crate) file: &'a Path,
    /// From 1.
    pub(crate) attempt: u32,
    /// How long the command has, in milliseconds.
    pub(crate) deadline_ms: u64,
    /// Secrets included.
    pub(crate) settings: &'a Settings,
}

/// What of a process's own environment a command inherits: nothing that is meant for the worker.
pub(crate) fn inherited(
    own: impl IntoIterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    own.into_iter().filter(|(name, _)| {
        let bytes = name.as_encoded_bytes();
        name == INSTANCE || !PRIVATE.iter().any(|prefix| bytes.starts_with(prefix.as_bytes()))
    })
}

impl Request<'_> {
    /// The variables that tell the task.
    #[must_use]
    pub(crate) fn variables(&self, manifest: &Manifest, secrets: bool) -> Vec<(String, OsString)> {
        let Task { cid, task_id, file, .. } = self.task;
        let mut variables: Vec<(String, OsString)> = vec![
            (EVENT.to_owned(), "task".into()),
            ("METAFLEET_FILE".to_owned(), self.file.into()),
            ("METAFLEET_CID".to_owned(), cid.to_string().into()),
            ("METAFLEET_TASK_ID".to_owned(), task_id.to_string().into()),
            ("METAFLEET_ATTEMPT".to_owned(), self.attempt.to_string().into()),
            ("METAFLEET_DEADLINE_MS".to_owned(), self.deadline_ms.to_string().into()),
            ("METAFLEET_SIZE".to_owned(), file.size.to_string().into()),
            ("METAFLEET_MIME".to_owned(), file.mime.clone().into()),
            ("METAFLEET_NAME".to_owned(), file.name.clone().into()),
            ("METAFLEET_EXTENSION".to_owned(), file.extension.clone().into()),
        ];
        variables.extend(settings_variables(self.settings, manifest, secrets));
        variables.retain(|(_, value)| fits(value));
        variables
    }

    /// The whole of it as one line of JSON.
    #[must_use]
    pub(crate) fn line(&self, id: u64) -> Vec<u8> {
        let mut request = json!({
            "id": id, "event": "task", "file": self.file.to_string_lossy(), "attempt": self.attempt,
            "deadlineMs": self.deadline_ms, "settings": self.settings, "task": self.task,
        });
        if self.file.to_str().is_none()
            && let Some(request) = request.as_object_mut()
        {
            let bytes = BASE64.encode(self.file.as_os_str().as_bytes());
            request.insert("fileBytes".to_owned(), bytes.into());
        }
        let mut line = request.to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

/// The settings as one line of JSON, for a command that is to check them.
#[must_use]
pub(crate) fn settings_line(settings: &Settings) -> Vec<u8> {
    let mut line = json!({"event": "configure", "settings": settings}).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The variables that tell the settings: texts as they are, everything else as JSON. Secrets are among
/// them only if `secrets` says so.
#[must_use]
pub(crate) fn settings_variables(
    settings: &Settings,
    manifest: &Manifest,
    secrets: bool,
) -> Vec<(String, OsString)> {
    let shown =
        |name: &str| secrets || !manifest.config_schema.get(name).is_some_and(|field| field.secret);
    settings
        .iter()
        .filter(|(name, value)| shown(name) && !value.is_null())
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => value.to_string(),
            };
            (variable(name), text.into())
        })
        .filter(|(_, text): &(String, OsString)| fits(text))
        .collect()
}

/// A variable cannot hold a zero byte, and is only so long.
fn fits(value: &OsString) -> bool {
    let bytes = value.as_encoded_bytes();
    bytes.len() <= LONGEST && !bytes.contains(&0)
}

/// The variable that tells a setting: `apiKey` is `METAFLEET_SETTING_API_KEY`.
#[must_use]
pub(crate) fn variable(setting: &str) -> String {
    let mut name = format!("{OURS}SETTING_");
    let mut before = None;
    for letter in setting.chars() {
        if letter.is_ascii_uppercase()
            && before.is_some_and(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        {
            name.push('_');
        }
        name.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' });
        before = Some(letter);
    }
    name
}

/// Two settings that would be told by the same variable, if there are any.
#[must_use]
pub(crate) fn ambiguous(manifest: &Manifest) -> Option<(&str, &str)> {
    let mut seen = std::collections::BTreeMap::new();
    manifest
        .config_schema
        .keys()
        .find_map(|name| Some((seen.insert(variable(name), name.as_str())?, name.as_str())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;

    use super::*;

    fn manifest(config: &Value) -> Manifest {
        let text = json!({
            "id": "probe", "name": "Probe", "version": "1.0.0", "priority": 50, "queue": "fast",
            "dataSchema": {}, "configSchema": config,
        });
        Manifest::from_json(&text.to_string()).unwrap()
    }

    fn task() -> Task {
        let task = json!({
            "type": "metafleet.task.v1", "taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59", "runId": 7,
            "pluginId": "probe", "cid": "midhash256:ab", "filePath": "/l/a.txt", "fingerprint": "f",
            "deadlineMs": 30000, "retry": {"maxAttempts": 3, "delaysMs": [1]},
            "file": {"size": 5, "mime": "text/plain", "name": "a.txt", "extension": "txt"},
            "existingMeta": {"x": "1"},
        });
        serde_json::from_value(task).unwrap()
    }

    #[test]
    fn a_task_is_told_by_variables_and_in_a_line() {
        let manifest = manifest(&json!({
            "apiKey": {"secret": true}, "depth": {"type": "number"}, "note": {}, "on": {"type": "boolean"},
        }));
        let settings = json!({
            "apiKey": "hush", "depth": 3, "note": "two\nlines", "on": true, "none": null,
            "long": "x".repeat(LONGEST + 1), "zero": "a\0b",
        });
        let settings = settings.as_object().unwrap();
        let path = Path::new(OsStr::from_bytes(b"/l/\xff.txt"));
        let request = Request { task: &task(), file: path, attempt: 2, deadline_ms: 900, settings };

        let told: BTreeMap<String, OsString> =
            request.variables(&manifest, false).into_iter().collect();
        let expected = [
            ("METAFLEET_ATTEMPT", "2"),
            ("METAFLEET_CID", "midhash256:ab"),
            ("METAFLEET_DEADLINE_MS", "900"),
            ("METAFLEET_EVENT", "task"),
            ("METAFLEET_EXTENSION", "txt"),
            ("METAFLEET_MIME", "text/plain"),
            ("METAFLEET_NAME", "a.txt"),
            ("METAFLEET_SETTING_DEPTH", "3"),
            ("METAFLEET_SETTING_NOTE", "two\nlines"),
            ("METAFLEET_SETTING_ON", "true"),
            ("METAFLEET_SIZE", "5"),
            ("METAFLEET_TASK_ID", "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59"),
        ];
        let mut expected: BTreeMap<String, OsString> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        expected.insert("METAFLEET_FILE".to_owned(), path.into());
        assert_eq!(told, expected);
        let with_secrets = request.variables(&manifest, true);
        assert!(with_secrets.contains(&("METAFLEET_SETTING_API_KEY".to_owned(), "hush".into())));

        let line = request.line(9);
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["id"], 9);
        assert_eq!(line["fileBytes"], "L2wv/y50eHQ=");
        assert_eq!(line["settings"]["apiKey"], "hush");
        assert_eq!(line["task"]["existingMeta"]["x"], "1");
        assert_eq!(line["task"]["filePath"], "/l/a.txt");
    }

    #[test]
    fn a_command_inherits_nothing_that_is_the_workers() {
        let own = [
            "PATH",
            "NATS_URL",
            "NATS_PASSWORD",
            "METAFLEET_PREFIX",
            "METAFLEET_INSTANCE",
            "METAFLEET_FILES_TOKEN",
            "HOME",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "MY_NATS_",
        ];
        let left: Vec<_> = inherited(own.map(|name| (name.into(), "1".into())))
            .map(|(name, _)| name.into_string().unwrap())
            .collect();
        assert_eq!(left, ["PATH", "METAFLEET_INSTANCE", "HOME", "MY_NATS_"]);
    }

    #[test]
    fn settings_have_variables_of_their_own() {
        for (setting, name) in [
            ("apiKey", "API_KEY"),
            ("api_key", "API_KEY"),
            ("api-key2Go", "API_KEY2_GO"),
            ("HTTPProxy", "HTTPPROXY"),
            ("größe", "GR__E"),
        ] {
            assert_eq!(variable(setting), format!("METAFLEET_SETTING_{name}"));
        }
        let manifest = |names: [&str; 2]| {
            manifest(&json!({names[0]: {"type": "string"}, names[1]: {"type": "string"}}))
        };
        assert_eq!(ambiguous(&manifest(["apiKey", "api_key"])), Some(("apiKey", "api_key")));
        assert_eq!(ambiguous(&manifest(["a", "b"])), None);
    }
}
