//! What a hostile plugin tries, as data: one message each.

use super::stage::{HOSTILE, Targets, VICTIM};

/// One message of the hostile plugin.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// What it is meant to do.
    pub(super) kind: &'static str,
    /// The same, with where and how.
    pub(super) what: String,
    pub(super) subject: String,
    /// Where answers are to go; `None` = to an inbox of its own.
    pub(super) reply: Option<String>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
    /// Whether nothing is looked at before the next one of its kind was sent, too.
    pub(super) goes_on: bool,
}

impl Attempt {
    fn new(kind: &'static str, subject: impl Into<String>, body: impl Into<String>) -> Self {
        let (subject, body) = (subject.into(), body.into());
        let what = format!("{kind}: {subject}");
        Self { kind, what, subject, reply: None, headers: Vec::new(), body, goes_on: false }
    }

    fn and_so_on(mut self, goes_on: bool) -> Self {
        self.goes_on = goes_on;
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.what = format!("{} [{name}: {value}]", self.what);
        self.headers.push((name, value));
        self
    }

    fn answered_at(mut self, reply: impl Into<String>) -> Self {
        let reply = reply.into();
        self.what = format!("{} [answer to {reply}]", self.what);
        self.reply = Some(reply);
        self
    }
}

/// A body that no part of a fleet writes.
const FORGED: &str = r#"{"forged": true}"#;

/// All of them; those that destroy most come last, because the rest must have something to destroy. A manifest
/// that is deleted takes the consumers of its plugin with it.
pub(super) fn attempts(targets: &Targets) -> Vec<Attempt> {
    let mut all = Vec::new();
    all.extend(answers(targets));
    all.extend(reading());
    all.extend(in_anothers_name());
    all.extend(replies());
    all.extend(headers());
    all.extend(message_ids(targets));
    all.extend(around());
    all.extend(management(targets));
    all
}

fn in_anothers_name() -> Vec<Attempt> {
    let places = [
        "mf.task.fast.victim.film",
        "mf.task.fast.victim.forged",
        "mf.task.background.victim.forged",
        "mf.task.fast.victim_next.forged",
        "mf.later.victim.forged",
        "mf.event.file.settled",
        "mf.event.task.settled",
        "mf.dead.fast.victim",
        "mf.signal.victim.failed",
        "mf.signal.victim.retrying",
        "mf.signal.victim.deferred",
        "mf.signal.victim.progress",
        "mf.signal.victim.announce",
        "mf.control.victim",
        "mf.control.victim.w9",
        "mf.submit.fast.victim",
        "$KV.mf-records.film.victim",
        "$KV.mf-records.film.victim_next",
        "$KV.mf-records.forged.victim",
        "$KV.mf-records.film.user",
        "$KV.mf-artifacts.film.victim.still",
        "$KV.mf-artifacts.film.victim_next.still",
        "$KV.mf-instances.victim.w9",
        "$KV.mf-plugins.victim",
        "$KV.mf-plugins.victim.versions",
        "$KV.mf-config.victim",
        "$KV.mf-paths.folder.name.film",
        "$KV.mf-lease.forged",
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.MF_TASKS.victim_fast",
        "_INBOX.victim.1",
        "_INBOX.fleet.1",
    ];
    let mut all: Vec<_> =
        places.map(|place| Attempt::new("publish as another", place, FORGED)).into();
    for place in ["$KV.mf-records.film.user", "$KV.mf-plugins.victim", "$KV.mf-config.victim"] {
        all.push(Attempt::new("delete a key", place, "").with("KV-Operation", "DEL"));
    }
    let purge = Attempt::new("purge a key", "$KV.mf-artifacts.film.victim.still", "");
    all.push(purge.with("KV-Operation", "PURGE").with("Nats-Rollup", "sub"));
    all
}

/// Answers to deliveries of another, in each form, and answers to its own for messages of others.
fn answers(targets: &Targets) -> Vec<Attempt> {
    let Targets { held, last_task } = targets;
    let mut all = Vec::new();
    // Each on a delivery of its own: most of them leave nothing for the next one.
    for (held, (kind, body)) in held.iter().zip([
        ("renew", "+WPI"),
        ("give back", "-NAK {\"delay\": 1}"),
        ("acknowledge", "+ACK"),
        ("acknowledge for the next", "+NXT"),
        ("end for good", "+TERM"),
    ]) {
        let tail = held.splitn(5, '.').last().unwrap_or_default();
        for subject in [
            format!("$JS.ACK.MF_TASKS.{VICTIM}_fast.MF_TASKS.{HOSTILE}_fast.1.1.1"),
            format!("$JS.ACK.MF_TASKS.{HOSTILE}_fast.MF_TASKS.{VICTIM}_fast.1.1.1"),
            format!("$JS.ACK.MF_TASKS.{HOSTILE}_fast.MF_TASKS.{VICTIM}_fast.{tail}"),
            format!("$JS.ACK._.x.MF_TASKS.{HOSTILE}_fast.MF_TASKS.{VICTIM}_fast.{tail}"),
            format!("$JS.ACK.MF_TASKS.later.{tail}"),
            format!("$JS.ACK._.x.MF_TASKS.{VICTIM}_fast.{tail}"),
            held.clone(),
        ] {
            all.push(Attempt::new(kind, subject, body));
        }
    }
    for form in ["$JS.ACK.MF_TASKS", "$JS.ACK._.x.MF_TASKS"] {
        for body in ["-NAK {\"delay\": 1}", "+TERM", "+ACK"] {
            for sequence in 1..=*last_task {
                let subject = format!("{form}.{HOSTILE}_fast.1.{sequence}.{sequence}.1.0");
                let attempt = Attempt::new("answer by others' numbers", subject, body);
                all.push(attempt.and_so_on(sequence < *last_task));
            }
        }
    }
    all
}

/// Its own subjects, with the answers sent to where they would do harm.
fn replies() -> Vec<Attempt> {
    let mut all = Vec::new();
    for place in [
        "mf.signal.victim.failed",
        "mf.control.victim",
        "$KV.mf-records.film.victim",
        "$KV.mf-plugins.victim",
        "mf.event.file.settled",
        "mf.task.fast.victim.forged-by-an-answer",
        "$JS.API.STREAM.PURGE.MF_DEAD",
        "_INBOX.victim.2",
        "_INBOX.fleet.2",
    ] {
        for own in ["$KV.mf-records.own.hostile", "mf.signal.hostile.retrying", "mf.submit.fast"] {
            all.push(Attempt::new("have the answer sent", own, FORGED).answered_at(place));
        }
        let own = "$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.hostile_fast";
        let pull = r#"{"batch": 1, "no_wait": true}"#;
        all.push(Attempt::new("have a task sent", own, pull).answered_at(place));
    }
    all
}

/// Headers that change what others have, on its own subjects.
fn headers() -> Vec<Attempt> {
    let own = "$KV.mf-records.own.hostile";
    let put = |kind| Attempt::new(kind, own, FORGED);
    let mut all = vec![
        put("roll up").with("Nats-Rollup", "all"),
        put("roll up").with("Nats-Rollup", "sub"),
        put("let it expire").with("Nats-TTL", "1s"),
        put("schedule")
            .with("Nats-Schedule", "@at 2020-01-01T00:00:00Z")
            .with("Nats-Schedule-Target", "$KV.mf-records.film.victim"),
        put("count").with("Nats-Incr", "1"),
        put("as a batch").with("Nats-Batch-Id", "b").with("Nats-Batch-Sequence", "1"),
        put("trace").with("Nats-Trace-Dest", "mf.event.file.settled"),
        put("trace").with("Nats-Trace-Dest", "mf.signal.victim.progress"),
        put("trace").with("Nats-Trace-Dest", "_INBOX.fleet.3"),
        put("expect").with("Nats-Expected-Stream", "MF_TASKS"),
        // The answer says the number of the last message there, and no more (SECURITY.md).
        put("expect")
            .with("Nats-Expected-Last-Subject-Sequence", "0")
            .with("Nats-Expected-Last-Subject-Sequence-Subject", "$KV.mf-records.film.victim"),
    ];
    for own in ["mf.submit.fast", "mf.signal.hostile.failed"] {
        let put = |kind| Attempt::new(kind, own, FORGED);
        all.push(put("roll up").with("Nats-Rollup", "all"));
        let target = "mf.task.fast.victim.forged-by-schedule";
        let schedule = put("schedule").with("Nats-Schedule", "@at 2020-01-01T00:00:00Z");
        all.push(schedule.with("Nats-Schedule-Target", target));
    }
    all
}

/// Ids of messages that others will send, so that theirs are taken for repetitions. What comes of it
/// shows when the victim goes on.
fn message_ids(targets: &Targets) -> Vec<Attempt> {
    let mut all = Vec::new();
    let last = targets.last_task + 20;
    for sequence in 1..=last {
        for attempt in 1..=2 {
            let id = format!("failed.{sequence}.{attempt}");
            let own = Attempt::new("use up an id", "mf.signal.hostile.failed", FORGED);
            all.push(own.with("Nats-Msg-Id", id).and_so_on(sequence < last));
        }
    }
    all
}

/// Looking at what is another's.
fn reading() -> Vec<Attempt> {
    let ask = |kind, api: &str, body: &str| Attempt::new(kind, format!("$JS.API.{api}"), body);
    let record = "$KV.mf-records.film.victim";
    let mut all = vec![
        ask("look", "INFO", ""),
        ask("look", "STREAM.NAMES", "{}"),
        ask("look", "STREAM.LIST", "{}"),
        ask("look", "CONSUMER.NAMES.MF_TASKS", "{}"),
        ask("look", "CONSUMER.LIST.MF_TASKS", "{}"),
        ask("look", "CONSUMER.INFO.MF_TASKS.victim_fast", ""),
        ask(
            "read",
            "STREAM.MSG.GET.MF_TASKS",
            r#"{"seq": 1, "next_by_subj": "mf.task.*.victim.*"}"#,
        ),
        ask("read", "STREAM.MSG.GET.KV_mf-config", r#"{"last_by_subj": "$KV.mf-config.victim"}"#),
        ask("read", "DIRECT.GET.KV_mf-records", r#"{"multi_last": ["$KV.mf-records.>"]}"#),
        ask("read", &format!("DIRECT.GET.KV_mf-records.{record}"), ""),
        ask("read", "DIRECT.GET.KV_mf-artifacts.$KV.mf-artifacts.film.victim.still", ""),
        ask(
            "copy",
            "STREAM.SNAPSHOT.KV_mf-records",
            r#"{"deliver_subject": "_INBOX.hostile.copy"}"#,
        ),
        Attempt::new("look through a domain", "$JS.hub.API.STREAM.LIST", "{}"),
        Attempt::new("look through a domain", "$JS.MF.API.STREAM.LIST", "{}"),
        Attempt::new("look through a domain", "$JS.FLEET.API.STREAM.LIST", "{}"),
    ];
    for stream in ["MF_TASKS", "MF_SUBMIT", "KV_mf-records", "KV_mf-lease"] {
        all.push(ask("look", &format!("STREAM.INFO.{stream}"), r#"{"subjects_filter": ">"}"#));
    }
    for consumer in ["victim_fast", "victim_background", "victim_next_fast", "later"] {
        let next = format!("CONSUMER.MSG.NEXT.MF_TASKS.{consumer}");
        all.push(ask("pull", &next, "1"));
        all.push(ask("pull", &next, r#"{"batch": 100, "no_wait": true}"#));
    }
    let next = "CONSUMER.MSG.NEXT.MF_SUBMIT.coordinator_fast_1";
    all.push(ask("pull", next, r#"{"batch": 100, "no_wait": true}"#));
    all
}

/// Ways around: the system account, services, answers that others wait for.
fn around() -> Vec<Attempt> {
    [
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.CONNZ",
        "$SYS.REQ.ACCOUNT.MF.CONNZ",
        "$SYS.REQ.ACCOUNT.FLEET.CONNZ",
        "$SYS.REQ.ACCOUNT.MF-victim.SUBSZ",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.ACCOUNT.MF.DISCONNECT",
        "$SRV.PING",
        "_R_.victim",
        "_R_.1.2",
        "$JSC.R.1",
        "$JS.FC.MF_TASKS.victim_fast.1",
    ]
    .map(|place| Attempt::new("go around", place, FORGED))
    .into()
}

/// Changing what there is.
fn management(targets: &Targets) -> Vec<Attempt> {
    let ask = |api: &str, body: &str| Attempt::new("manage", format!("$JS.API.{api}"), body);
    let ear = r#"{"stream_name": "KV_mf-records", "config": {"deliver_subject": "_INBOX.hostile.ear",
        "deliver_policy": "all", "ack_policy": "none"}}"#;
    let own = r#"{"stream_name": "MF_SIGNALS", "config": {"durable_name": "forged", "ack_policy": "explicit"}}"#;
    let filter = r#"{"stream_name": "MF_TASKS", "config": {"durable_name": "victim_fast",
        "filter_subject": "mf.task.fast.nobody.*", "ack_policy": "explicit"}, "action": "update"}"#;
    // The one whose lease was renewed, which is still there.
    let held = targets.held.first().and_then(|held| held.split('.').nth(5)).unwrap_or_default();
    let held = format!("{{\"seq\": {held}}}");
    let mut all = vec![
        ask("STREAM.CREATE.FORGED", r#"{"name": "FORGED", "subjects": ["forged.>"]}"#),
        ask("STREAM.CREATE.EAR", r#"{"name": "EAR", "subjects": ["mf.control.>"]}"#),
        ask("STREAM.CREATE.COPY", r#"{"name": "COPY", "mirror": {"name": "KV_mf-records"}}"#),
        ask("CONSUMER.CREATE.KV_mf-records", ear),
        ask("CONSUMER.DURABLE.CREATE.MF_SIGNALS.forged", own),
        ask("CONSUMER.DURABLE.CREATE.MF_TASKS.victim_fast", filter),
        ask("CONSUMER.PAUSE.MF_TASKS.victim_fast", r#"{"pause_until": "2100-01-01T00:00:00Z"}"#),
        ask("CONSUMER.RESET.MF_TASKS.victim_fast", ""),
        ask("STREAM.MSG.DELETE.MF_TASKS", &held),
        ask("STREAM.PURGE.MF_TASKS", r#"{"filter": "mf.task.fast.victim.>"}"#),
        ask("STREAM.PURGE.KV_mf-records", r#"{"filter": "$KV.mf-records.*.user"}"#),
        ask("CONSUMER.DELETE.MF_TASKS.later", ""),
        ask("CONSUMER.DELETE.MF_TASKS.victim_fast", ""),
        ask("STREAM.LEADER.STEPDOWN.MF_TASKS", ""),
    ];
    for stream in ["KV_mf-config", "MF_DEAD", "KV_mf-records", "KV_mf-lease", "MF_TASKS"] {
        all.push(ask(&format!("STREAM.DELETE.{stream}"), ""));
    }
    all
}
