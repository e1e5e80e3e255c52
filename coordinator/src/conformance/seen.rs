//! PURE: one message as it passed, and what it is in the words of `PROTOCOL.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use broker_config::delivery::Place;
use broker_config::header::KV_OPERATION;
use broker_config::wire::signal::ANNOUNCE;
use broker_config::{Cid, Names, PluginId};
use bytes::Bytes;
use serde_json::Value;

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Since the case began.
    pub(super) at: Duration,
    pub(super) subject: String,
    pub(super) reply: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Bytes,
    pub(super) what: What,
}

/// What a message is, as its subject says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// An announcement.
    Announce,
    /// A signal of this kind.
    Signal(String),
    /// A record, or the outcome of a trial; the key's two tokens.
    Record {
        /// The first token, decoded.
        cid: String,
        /// The second one.
        plugin: String,
    },
    /// A sign of life, or its end.
    Life {
        /// Whether it takes the entry down.
        gone: bool,
    },
    /// An answer to a delivery.
    Answer {
        /// Whose delivery.
        consumer: String,
        /// Where it stands.
        place: Place,
        /// What was said.
        said: Said,
    },
    /// A request for tasks.
    Pull(Pull),
    /// A file that is handed in.
    Submission,
    /// Anything else.
    Other,
}

/// A request for tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pull {
    pub(super) consumer: String,
    pub(super) batch: u64,
    /// How long it waits; zero = not at all.
    pub(super) waits: Duration,
}

/// What a delivery was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ack,
    Renew,
    /// With the delay, if it has one.
    Nak(Option<Duration>),
    Term(String),
    Other(String),
}

impl Said {
    /// Reads the body of an answer.
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).into_owned();
        if let Some(delay) = text.strip_prefix("-NAK") {
            let delay = serde_json::from_str::<Value>(delay).ok();
            let nanos = delay.as_ref().and_then(|it| it.get("delay")).and_then(Value::as_u64);
            return Self::Nak(nanos.filter(|nanos| *nanos > 0).map(Duration::from_nanos));
        }
        if let Some(reason) = text.strip_prefix("+TERM") {
            return Self::Term(reason.trim().to_owned());
        }
        match text.as_str() {
            "+ACK" => Self::Ack,
            "+WPI" => Self::Renew,
            _ => Self::Other(text),
        }
    }

    /// Whether the delivery is over with it.
    pub(super) fn is_final(&self) -> bool {
        *self != Self::Renew
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ack => f.write_str("+ACK"),
            Self::Renew => f.write_str("+WPI"),
            Self::Nak(Some(delay)) => write!(f, "-NAK with a delay of {} ms", delay.as_millis()),
            Self::Nak(None) => f.write_str("-NAK without a delay"),
            Self::Term(reason) => write!(f, "+TERM {reason}"),
            Self::Other(text) => write!(f, "`{text}`"),
        }
    }
}

impl Seen {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether it is a signal of this kind about this file.
    pub(super) fn is_signal(&self, kind: &str, cid: &str) -> bool {
        self.what == What::Signal(kind.to_owned()) && text(&self.json(), "cid") == cid
    }

    /// Whether it is a record of this file.
    pub(super) fn is_record_of(&self, of: &str) -> bool {
        matches!(&self.what, What::Record { cid, .. } if cid == of)
    }

    /// The answer to a delivery of this message of the stream.
    pub(super) fn answer_to(&self, sequence: u64) -> Option<(&Place, &Said)> {
        match &self.what {
            What::Answer { place, said, .. } if place.stream_sequence == sequence => {
                Some((place, said))
            }
            What::Answer { .. }
            | What::Announce
            | What::Signal(_)
            | What::Record { .. }
            | What::Life { .. }
            | What::Pull(_)
            | What::Submission
            | What::Other => None,
        }
    }

    /// The request for tasks that it is.
    pub(super) fn pull(&self) -> Option<&Pull> {
        match &self.what {
            What::Pull(pull) => Some(pull),
            What::Answer { .. }
            | What::Announce
            | What::Signal(_)
            | What::Record { .. }
            | What::Life { .. }
            | What::Submission
            | What::Other => None,
        }
    }

    /// The state that a sign of life shows; empty for anything else.
    pub(super) fn state(&self) -> String {
        let What::Life { gone } = self.what else { return String::new() };
        if gone { "gone".to_owned() } else { text(&self.json(), "state") }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let at = self.at.as_secs_f64();
        let what = match &self.what {
            What::Announce => "announces itself".to_owned(),
            What::Signal(kind) => format!("signal {kind} {}", excerpt(&self.body)),
            What::Record { cid, plugin } => {
                format!("record of {cid} by {plugin} {}", excerpt(&self.body))
            }
            What::Life { gone: true } => "says goodbye".to_owned(),
            What::Life { gone: false } => format!("sign of life, {}", self.state()),
            What::Answer { place, said, .. } => {
                format!("{said} to delivery {} of task {}", place.delivered, place.stream_sequence)
            }
            What::Pull(pull) => format!(
                "asks {} for {} tasks, waits {} ms",
                pull.consumer,
                pull.batch,
                pull.waits.as_millis()
            ),
            What::Submission => format!("submission {}", excerpt(&self.body)),
            What::Other => format!("{} {}", self.subject, excerpt(&self.body)),
        };
        format!("{at:7.3} s  {what}")
    }
}

/// What a message is.
pub(super) fn read(
    names: &Names,
    subject: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> What {
    if let Some((_, kind)) = names.parse_signal(subject) {
        return if kind == ANNOUNCE { What::Announce } else { What::Signal(kind.to_owned()) };
    }
    if let Some(key) = subject.strip_prefix(names.all_records().trim_end_matches('>')) {
        let (cid, plugin) = key.split_once('.').unwrap_or((key, ""));
        let cid = broker_config::codec::decode_text(cid).unwrap_or_else(|_| cid.to_owned());
        return What::Record { cid, plugin: plugin.to_owned() };
    }
    if subject.starts_with(&Names::key_subject(&names.instances_bucket(), "")) {
        return What::Life { gone: headers.contains_key(KV_OPERATION) };
    }
    if let Some(place) = Place::parse(subject) {
        // With a domain there are two tokens more in front.
        let tokens: Vec<&str> = subject.split('.').collect();
        let at = if tokens.len() == 9 { 3 } else { 5 };
        let consumer = (*tokens.get(at).unwrap_or(&"")).to_owned();
        return What::Answer { consumer, place, said: Said::read(body) };
    }
    if subject.contains(".CONSUMER.MSG.NEXT.") {
        return What::Pull(pull(subject, body));
    }
    if names.parse_submit(subject).is_some() {
        return What::Submission;
    }
    What::Other
}

/// The body is a request, or only a number of tasks.
fn pull(subject: &str, body: &[u8]) -> Pull {
    let consumer = subject.rsplit('.').next().unwrap_or_default().to_owned();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let batch = body.as_u64().or_else(|| body.get("batch").and_then(Value::as_u64)).unwrap_or(1);
    let waits = match (body.get("no_wait"), body.get("expires").and_then(Value::as_u64)) {
        (Some(Value::Bool(true)), _) => Duration::ZERO,
        (_, Some(nanos)) => Duration::from_nanos(nanos),
        // For ever.
        (_, None) => Duration::from_secs(3_600),
    };
    Pull { consumer, batch, waits }
}

/// A text of an object; empty where it is not there.
pub(super) fn text(object: &Value, field: &str) -> String {
    object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A number of an object.
pub(super) fn number(object: &Value, field: &str) -> Option<u64> {
    object.get(field).and_then(Value::as_u64)
}

/// The consumers of a lane.
pub(super) fn consumers(plugin: &PluginId, lane: broker_config::Lane) -> [String; 2] {
    broker_config::Queue::ALL.map(|queue| Names::consumer_in(lane, plugin, queue))
}

/// The key that the outcome of a task goes under.
pub(super) fn record_subject(names: &Names, cid: &Cid, key: &str) -> String {
    let whole = names.records_of(cid);
    format!("{}{key}", whole.trim_end_matches('*'))
}

fn excerpt(body: &[u8]) -> String {
    const MOST: usize = 300;
    let text = String::from_utf8_lossy(body).into_owned();
    let cut = text.floor_char_boundary(MOST);
    if cut == text.len() { text } else { format!("{}…", text.get(..cut).unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_broker_reads_them() {
        for (body, said) in [
            ("+ACK", Said::Ack),
            ("+WPI", Said::Renew),
            ("-NAK {\"delay\": 2000000}", Said::Nak(Some(Duration::from_millis(2)))),
            ("-NAK {\"delay\":0}", Said::Nak(None)),
            ("-NAK", Said::Nak(None)),
            ("-NAK soon", Said::Nak(None)),
            ("+TERM no film", Said::Term("no film".to_owned())),
            ("+TERM", Said::Term(String::new())),
            ("", Said::Other(String::new())),
        ] {
            assert_eq!(Said::read(body.as_bytes()), said, "{body}");
        }
    }

    #[test]
    fn messages_are_known_by_their_subjects() {
        let names = Names::new("fleet".parse().unwrap());
        let none = BTreeMap::new();
        let gone = BTreeMap::from([(KV_OPERATION.to_owned(), "DEL".to_owned())]);
        let (plugin, cid) = ("x".parse().unwrap(), "a.b".parse().unwrap());
        let life = names.instance(&plugin, &"i".parse().unwrap());
        let ask = "$JS.API.CONSUMER.MSG.NEXT.FLEET_TASKS.x_fast";
        let waits = Duration::from_secs;
        let asked = |batch, waits| What::Pull(Pull { consumer: "x_fast".to_owned(), batch, waits });
        for (subject, headers, body, what) in [
            (names.signal(&plugin, "announce"), &none, "", What::Announce),
            (names.signal(&plugin, "failed"), &none, "", What::Signal("failed".to_owned())),
            (
                names.record(&cid, &plugin),
                &none,
                "",
                What::Record { cid: "a.b".to_owned(), plugin: "x".to_owned() },
            ),
            (life.clone(), &none, "{}", What::Life { gone: false }),
            (life, &gone, "", What::Life { gone: true }),
            (names.submit(broker_config::Queue::Fast), &none, "", What::Submission),
            (ask.to_owned(), &none, "", asked(1, waits(3_600))),
            (ask.to_owned(), &none, "7", asked(7, waits(3_600))),
            (ask.to_owned(), &none, r#"{"batch":4,"no_wait":true}"#, asked(4, waits(0))),
            (ask.to_owned(), &none, r#"{"batch":1,"expires":2000000000}"#, asked(1, waits(2))),
            ("elsewhere".to_owned(), &none, "", What::Other),
        ] {
            assert_eq!(read(&names, &subject, headers, body.as_bytes()), what, "{subject} {body}");
        }
        for ack in [
            "$JS.ACK.FLEET_TASKS.x_fast.3.100.7.1700000000.42",
            "$JS.ACK.hub.acc.FLEET_TASKS.x_fast.3.100.7.1700000000.42",
        ] {
            let What::Answer { consumer, place, said } = read(&names, ack, &none, b"+ACK") else {
                panic!("{ack} is an answer")
            };
            assert_eq!((consumer.as_str(), place.delivered, said), ("x_fast", 3, Said::Ack));
        }
    }
}
