//! PURE: whether what was seen is as `PROTOCOL.md` asks.

use std::time::Duration;

use broker_config::wire::instance::Instance;
use broker_config::{Announce, Record, Signal};
use serde_json::Value;

use super::seen::{Pull, Seen, number, text};

/// What is wrong, for people.
pub(super) type Judged = Result<(), String>;

/// Fields that must have these values.
pub(super) fn fields(body: &Value, expected: &[(&str, Value)]) -> Judged {
    for (name, value) in expected {
        let found = body.get(name).unwrap_or(&Value::Null);
        if found != value {
            return Err(format!("`{name}` is {found}, not {value}"));
        }
    }
    Ok(())
}

/// An announcement of this plugin and instance.
pub(super) fn announcement(seen: &Seen, plugin: &str, instance: &str) -> Judged {
    let body = seen.json();
    if seen.reply.is_empty() {
        return Err("the announcement has no reply subject, so it is no request".to_owned());
    }
    fields(&body, &[("type", "metafleet.announce.v1".into()), ("instance", instance.into())])?;
    let named = body.get("manifest").map(|manifest| text(manifest, "id")).unwrap_or_default();
    if named != plugin {
        return Err(format!("the manifest is of `{named}`, the subject of `{plugin}`"));
    }
    typed::<Announce>(&body, "the announcement")
}

/// A sign of life of this plugin and instance.
pub(super) fn sign_of_life(body: &Value, plugin: &str, instance: &str, version: &str) -> Judged {
    fields(
        body,
        &[
            ("type", "metafleet.instance.v1".into()),
            ("pluginId", plugin.into()),
            ("instance", instance.into()),
            ("version", version.into()),
        ],
    )?;
    typed::<Instance>(body, "the sign of life")?;
    time(body, "at")
}

/// A field that, if it is there, is a time.
fn time(body: &Value, field: &str) -> Judged {
    let text = text(body, field);
    match text.parse::<jiff::Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) if text.is_empty() => Ok(()),
        Err(error) => Err(format!("`{field}` is `{text}`, which is no time (RFC 3339): {error}")),
    }
}

/// A record that answers a task.
pub(super) fn record(body: &Value, task: &Value, cid: &str, attempt: u64) -> Judged {
    let of_task = |name: &str| task.get(name).cloned().unwrap_or_default();
    fields(
        body,
        &[
            ("type", "metafleet.record.v1".into()),
            ("taskId", of_task("taskId")),
            ("cid", cid.into()),
            ("fingerprint", of_task("fingerprint")),
            ("pluginVersion", of_task("pluginVersion")),
        ],
    )?;
    if number(body, "attempt").unwrap_or(1) != attempt {
        return Err(format!("`attempt` is {}, not {attempt}", body["attempt"]));
    }
    typed::<Record>(body, "the record")?;
    time(body, "finishedAt")
}

/// A signal about a task.
pub(super) fn signal(body: &Value, kind: &str, task: &Value, attempt: u64) -> Judged {
    let of_task = |name: &str| task.get(name).cloned().unwrap_or_default();
    fields(
        body,
        &[
            ("type", "metafleet.signal.v1".into()),
            ("kind", kind.into()),
            ("taskId", of_task("taskId")),
            ("attempt", attempt.into()),
        ],
    )?;
    typed::<Signal>(body, "the signal")?;
    time(body, "at")
}

/// Whether a body can be read as the type that the coordinator reads it as.
fn typed<T: serde::de::DeserializeOwned>(body: &Value, what: &str) -> Judged {
    match serde_json::from_value::<T>(body.clone()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{what} does not fit its schema: {error}: {body}")),
    }
}

/// Signs of life come often enough: none is later than `most` after the one before.
pub(super) fn period(at: &[Duration], until: Duration, most: Duration) -> Judged {
    let ends = at.iter().copied().skip(1).chain([until]);
    let longest = at.iter().zip(ends).map(|(one, next)| next.saturating_sub(*one)).max();
    match longest {
        None => Err("there is no sign of life".to_owned()),
        Some(longest) if longest > most => Err(format!(
            "{} ms passed without a sign of life, {} ms may at most",
            longest.as_millis(),
            most.as_millis()
        )),
        Some(_) => Ok(()),
    }
}

/// A worker that holds nothing asks for no more tasks than it has places.
///
/// A request counts until a second before it runs out: the server's clock is not the kit's.
pub(super) fn asked(requests: &[(Duration, Pull)], places: u64) -> Judged {
    const SLACK: Duration = Duration::from_secs(1);
    for (number, (at, pull)) in requests.iter().enumerate() {
        let waiting = requests
            .iter()
            .take(number)
            .filter(|(begun, before)| before.waits > SLACK && *begun + before.waits - SLACK > *at);
        let asked: u64 = waiting.map(|(_, before)| before.batch).sum::<u64>() + pull.batch;
        if asked > places {
            return Err(format!(
                "at {:.3} s {asked} tasks were asked for, over all requests that may still be \
                 answered; the worker has {places} places",
                at.as_secs_f64()
            ));
        }
    }
    Ok(())
}

/// Requests that may still be answered at a time.
pub(super) fn open_requests(requests: &[(Duration, Pull)], now: Duration) -> usize {
    requests.iter().filter(|(at, pull)| *at + pull.waits > now).count()
}

/// A text of people is not too long and ends between characters.
pub(super) fn cut(text: &str, whole: &str, most: usize) -> Judged {
    if text.len() > most {
        return Err(format!("the text has {} bytes, {most} may be at most", text.len()));
    }
    if text.contains('\u{fffd}') {
        return Err("the text was cut within a character".to_owned());
    }
    let kept = text.trim_end_matches('…').trim_end_matches("...");
    if !whole.contains(kept) || kept.len() + 64 < most.min(whole.len()) {
        return Err(format!("{} bytes of {} are left", kept.len(), whole.len()));
    }
    Ok(())
}

/// A trace goes on: the same trace, by the same span or by one of the worker.
pub(super) fn trace(found: Option<&str>, given: &str) -> Judged {
    let trace = |header: &str| header.split('-').nth(1).map(str::to_owned);
    match found {
        Some(found) if trace(found) == trace(given) => Ok(()),
        Some(found) => Err(format!("`traceparent` is {found}, another trace than {given}")),
        None => Err("the header `traceparent` is missing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn requests_count_until_they_run_out() {
        let pull =
            |at, batch, waits| (MS(at), Pull { consumer: String::new(), batch, waits: MS(waits) });
        for (requests, fine) in [
            (vec![pull(0, 2, 5_000)], true),
            (vec![pull(0, 3, 0)], false),
            (vec![pull(0, 2, 0), pull(1, 2, 0), pull(2, 2, 5_000)], true),
            (vec![pull(0, 2, 5_000), pull(100, 1, 5_000)], false),
            (vec![pull(0, 1, 5_000), pull(100, 1, 5_000)], true),
            (vec![pull(0, 2, 5_000), pull(4_500, 2, 5_000)], true),
            (vec![pull(0, 2, 500), pull(400, 2, 500)], true),
        ] {
            assert_eq!(asked(&requests, 2).is_ok(), fine, "{requests:?}");
        }
        assert_eq!(open_requests(&[pull(0, 1, 500), pull(0, 1, 5_000)], MS(1_000)), 1);
    }

    #[test]
    fn signs_of_life_have_a_period() {
        for (at, until, fine) in [
            (vec![0, 900, 1_900], 2_500, true),
            (vec![0, 900], 4_000, false),
            (vec![0, 3_000], 3_100, false),
            (vec![], 100, false),
        ] {
            let times: Vec<Duration> = at.iter().copied().map(MS).collect();
            assert_eq!(period(&times, MS(until), MS(2_000)).is_ok(), fine, "{at:?}");
        }
    }

    #[test]
    fn a_record_answers_its_task() {
        let task = json!({
            "taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59", "fingerprint": "f",
            "pluginVersion": "1.0.0",
        });
        let good = json!({
            "type": "metafleet.record.v1", "taskId": task["taskId"], "pluginId": "x", "cid": "c",
            "status": "completed", "attempt": 2, "pluginVersion": "1.0.0", "fingerprint": "f",
            "finishedAt": "2026-11-21T08:15:30.125Z", "meta": {"a": "b"},
        });
        assert_eq!(record(&good, &task, "c", 2), Ok(()));
        for (field, value, problem) in [
            ("fingerprint", json!(""), "`fingerprint` is \"\", not \"f\""),
            ("attempt", json!(1), "`attempt` is 1, not 2"),
            ("cid", json!("lie"), "`cid` is \"lie\", not \"c\""),
            ("finishedAt", json!("yesterday"), "`finishedAt` is `yesterday`"),
            ("status", json!("done"), "the record does not fit its schema"),
            ("pluginVersion", json!(null), "`pluginVersion` is null"),
        ] {
            let mut body = good.clone();
            body[field] = value;
            let said = record(&body, &task, "c", 2).unwrap_err();
            assert!(said.starts_with(problem), "{said}");
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let whole = "é".repeat(3_000);
        for (text, fine) in [
            ("é".repeat(2_048), true),
            ("é".repeat(2_047) + "…", false),
            ("é".repeat(2_040) + "…", true),
            ("é".repeat(2_049), false),
            ("é".repeat(2_000), false),
            ("é".repeat(2_047) + "\u{fffd}", false),
        ] {
            assert_eq!(cut(&text, &whole, 4_096).is_ok(), fine, "{}", text.len());
        }
    }

    #[test]
    fn a_trace_goes_on() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let child = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (found, fine) in
            [(Some(given), true), (Some(child), true), (Some(other), false), (None, false)]
        {
            assert_eq!(trace(found, given).is_ok(), fine, "{found:?}");
        }
    }
}
