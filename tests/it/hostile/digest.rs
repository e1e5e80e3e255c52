//! All that is not the hostile plugin's own, in a form in which two looks can be compared.

use std::collections::BTreeMap;

use broker_config::Names;
use broker_config::read::Stored;
use broker_config::wire::event::Event;
use integration_tests::Fleet;
use serde_json::{Value, json};

use super::stage::{HOSTILE, VICTIM};

/// What was seen, by what it is.
pub(super) type Digest = BTreeMap<String, String>;

/// Headers that the server adds for whoever reads, and that say how much else there is.
const MOVING: [&str; 2] = ["Nats-Num-Pending", "Nats-Last-Sequence"];

/// Looks at every stream, every bucket and the consumers of tasks and submissions.
pub(super) async fn look(fleet: &Fleet, known_events: u64) -> Digest {
    let mut seen = Digest::new();
    let mut streams = match fleet.all_streams().await {
        Ok(streams) => streams,
        Err(error) => vec![format!("unreadable: {error}")],
    };
    streams.sort();
    seen.insert("streams".to_owned(), streams.join(" "));
    for stream in &streams {
        let info = fleet.api(&format!("STREAM.INFO.{stream}"), &json!({})).await;
        let config = info.map_or_else(|error| error.to_string(), |info| info["config"].to_string());
        seen.insert(format!("{stream}: how it is set"), config);
        // What the hostile plugin made need not be readable.
        if !stream.starts_with("MF_") && !stream.starts_with("KV_mf-") {
            continue;
        }
        match fleet.stored(stream).await {
            Ok(stored) => {
                for stored in stored {
                    if let Some((what, is)) = of_message(fleet, stream, &stored, known_events) {
                        seen.insert(format!("{stream}: {what}"), is);
                    }
                }
            }
            Err(error) => {
                seen.insert(format!("{stream}: messages"), format!("unreadable: {error}"));
            }
        }
    }
    for stream in [fleet.names.task_stream(), fleet.names.submit_stream()] {
        consumers(fleet, &stream, &mut seen).await;
    }
    seen
}

/// Whether the subject names the hostile plugin, in whichever lane.
fn is_own(subject: &str) -> bool {
    subject.split('.').any(|token| {
        token == HOSTILE || token.strip_prefix(HOSTILE).is_some_and(|rest| rest.starts_with('_'))
    })
}

fn of_message(
    fleet: &Fleet,
    stream: &str,
    stored: &Stored,
    known_events: u64,
) -> Option<(String, String)> {
    let Stored { subject, sequence, headers, payload } = stored;
    let text = String::from_utf8_lossy(payload);
    if is_own(subject) {
        return None;
    }
    let names = &fleet.names;
    // The leader renews its lease, and an instance its sign of life.
    if stream == Names::bucket_stream(&names.lease_bucket()) {
        return Some((subject.clone(), text.contains("forged").to_string()));
    }
    if stream == Names::bucket_stream(&names.instances_bucket()) {
        let is_watched = subject.ends_with(".w9") || text.contains("forged");
        return is_watched.then(|| (subject.clone(), text.into_owned()));
    }
    // The coordinator tells of what the hostile plugin does with what is its own.
    if stream == names.event_stream() && *sequence > known_events {
        let is_forged = serde_json::from_slice::<Event>(payload).is_err();
        let is_about_another = text.contains(VICTIM);
        return (is_forged || is_about_another)
            .then(|| (format!("{sequence} {subject}"), text.into_owned()));
    }
    let mut headers: Vec<String> = headers
        .iter()
        .filter(|(name, _)| !MOVING.contains(&name.as_ref()))
        .map(|(name, values)| format!("{}: {values:?}", name.as_ref() as &str))
        .collect();
    headers.sort();
    Some((format!("{sequence} {subject}"), format!("{text} {}", headers.join(" "))))
}

async fn consumers(fleet: &Fleet, stream: &str, seen: &mut Digest) {
    let list = match fleet.api(&format!("CONSUMER.LIST.{stream}"), &json!({})).await {
        Ok(list) => list,
        Err(error) => {
            seen.insert(format!("{stream}: consumers"), error.to_string());
            return;
        }
    };
    for consumer in list["consumers"].as_array().into_iter().flatten() {
        let name = consumer["name"].as_str().unwrap_or_default();
        if is_own(name) {
            continue;
        }
        // Those of the coordinator move with what the hostile plugin hands in.
        let fields: &[&str] = if name.starts_with("coordinator") {
            &["config"]
        } else {
            &[
                "config",
                "num_ack_pending",
                "num_pending",
                "num_waiting",
                "num_redelivered",
                "paused",
            ]
        };
        let mut is: Vec<String> =
            fields.iter().map(|field| format!("{field} {}", consumer[*field])).collect();
        if !name.starts_with("coordinator") {
            is.extend(["delivered", "ack_floor"].map(|place| sequences(&consumer[place])));
        }
        seen.insert(format!("{stream}: consumer {name}"), is.join(", "));
    }
}

/// Without the time of the last change.
fn sequences(place: &Value) -> String {
    format!("{} {}", place["consumer_seq"], place["stream_seq"])
}

/// What differs, each with what it was and is, shortened.
pub(super) fn differences(before: &Digest, after: &Digest) -> Vec<String> {
    let short = |text: Option<&String>| {
        text.map_or_else(|| "nothing".to_owned(), |text| text.chars().take(160).collect())
    };
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{key}: {} → {}", short(before.get(key)), short(after.get(key))))
        .collect()
}
