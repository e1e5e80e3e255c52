//! `metafleet event tail`

use std::time::Duration;

use broker_config::read::Stored;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::sleep;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::{Output, compact};
use super::super::session::{self, Session};
use super::super::time;
use super::TailArgs;
use crate::source::glob::matches;
use crate::store::cursor::Start;

/// Pause between two looks while nothing happens.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause after the broker did not answer.
const AWAY: Duration = Duration::from_secs(1);

pub(crate) async fn run(app: &App, args: &TailArgs) -> Result<Exit, Failure> {
    let since = args.since.as_deref().map(|text| start(text, Timestamp::now())).transpose()?;
    session::with(app, async |session| follow(app, args, since.clone(), session).await).await
}

async fn follow(
    app: &App,
    args: &TailArgs,
    since: Option<Start>,
    session: &Session,
) -> Result<Exit, Failure> {
    let store = &session.store;
    let stream = store.names().event_stream();
    // What was there before is of interest if nothing else is going to come.
    let follows = !args.no_follow && !session.is_private();
    let start = match since {
        Some(start) => start,
        None if follows => Start::Sequence(store.stream_state(&stream).await?.last_seq + 1),
        None => Start::Sequence(1),
    };
    let mut cursor = store.cursor(stream, store.names().all_events(), start);
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut away = false;
    while left > 0 {
        let found = match cursor.read().await {
            Ok(found) => {
                away = false;
                found
            }
            Err(error) if follows && error.is_retryable() => {
                if !std::mem::replace(&mut away, true) {
                    app.out.say("the broker does not answer; waiting for it");
                }
                sleep(AWAY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if found.is_empty() {
            if !follows {
                break;
            }
            sleep(PAUSE).await;
        }
        for stored in &found {
            let Some(name) = name(store.names().all_events().as_str(), &stored.subject) else {
                continue;
            };
            if left > 0 && matches_any(&args.types, name) {
                print(&app.out, name, stored)?;
                left -= 1;
            }
        }
    }
    Ok(Exit::Ok)
}

/// What follows the common beginning of all events' subjects.
fn name<'a>(all: &str, subject: &'a str) -> Option<&'a str> {
    subject.strip_prefix(all.trim_end_matches('>'))
}

fn print(out: &Output, name: &str, stored: &Stored) -> Result<(), Failure> {
    let mut event: Map<String, Value> = match serde_json::from_slice(&stored.payload) {
        Ok(event) => event,
        Err(error) => {
            out.say(&format!("event {} cannot be understood: {error}", stored.sequence));
            return Ok(());
        }
    };
    if !out.is_table() {
        event.insert("seq".to_owned(), stored.sequence.into());
        // A stream has no end at which an array could be closed: one document per line.
        return out.line(&compact(&event)?);
    }
    let at = event.remove("at").and_then(|at| at.as_str().map(str::to_owned)).unwrap_or_default();
    event.remove("type");
    event.remove("event");
    let shown: Vec<String> = event.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let line = format!("{} {at} {name} {}", stored.sequence, shown.join(" "));
    out.line(&super::super::table::clean(&line))
}

/// Whether a name matches one of the globs; no glob matches everything.
fn matches_any(globs: &[String], name: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| matches(glob.as_bytes(), name.as_bytes()))
}

/// Reads a sequence, a time or a length of time before `now`.
fn start(text: &str, now: Timestamp) -> Result<Start, Failure> {
    if let Ok(sequence) = text.parse::<u64>() {
        return Ok(Start::Sequence(sequence.max(1)));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Start::Time(time.to_string()));
    }
    time::duration(text)
        .ok()
        .and_then(|length| now.checked_sub(length).ok())
        .map(|time| Start::Time(time.to_string()))
        .ok_or_else(|| {
            Failure::usage(format!("--since `{text}` is no sequence and no time")).advise(
                "write a sequence, a time as 2026-01-31T12:00:00Z, or how long ago, e.g. 15m",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names() {
        for (globs, name, expected) in [
            (vec![], "file.settled", true),
            (vec!["file.*"], "file.settled", true),
            (vec!["file.*"], "scan.started", false),
            (vec!["*.dead"], "task.dead", true),
            (vec!["task.d??d"], "task.dead", true),
            (vec!["file"], "file.settled", false),
            (vec!["x", "*"], "y", true),
        ] {
            let globs: Vec<String> = globs.into_iter().map(str::to_owned).collect();
            assert_eq!(matches_any(&globs, name), expected, "{globs:?} {name}");
        }
    }

    #[test]
    fn a_beginning_is_a_sequence_or_a_time() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let time = |text: &str| Start::Time(text.to_owned());
        for (text, expected) in [
            ("17", Start::Sequence(17)),
            ("0", Start::Sequence(1)),
            ("2025-12-31T00:00:00Z", time("2025-12-31T00:00:00Z")),
            ("15m", time("2026-01-01T00:45:00Z")),
        ] {
            assert_eq!(start(text, now).unwrap(), expected, "{text}");
        }
        assert_eq!(start("yesterday", now).unwrap_err().exit, Exit::Usage);
    }
}
