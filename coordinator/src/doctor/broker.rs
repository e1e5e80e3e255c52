//! PURE: what a broker is → how much of what `GUARANTEES.md` says it can keep.

use serde::Serialize;

use super::judge::{Finding, Level, found};

/// The version that is recommended, and tested most.
const RECOMMENDED: &str = "2.15.";
/// Bytes that a message needs: a task carries what is known of its file.
const PAYLOAD: usize = 1 << 20;
/// The account of a server that was told of none.
const GLOBAL: &str = "$G";
/// Copies that outlive a machine.
const COPIES: usize = 3;

/// A broker, as it shows itself to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// Where it is; without a login.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Why it cannot carry a fleet, if it cannot.
    pub problem: Option<String>,
    /// Why nothing is stored that is written, if so; not tried where there are no streams.
    pub unstored: Option<String>,
    /// The name of its cluster, if it is in one.
    pub cluster: Option<String>,
    /// Bytes that a message may have.
    pub max_payload: usize,
    /// Bytes on disk that the account uses.
    pub used: u64,
    /// Bytes on disk that it may use; `None` = as many as the server has.
    pub limit: Option<u64>,
    /// Copies of each message, in the stream that has the fewest; 0 = there are no streams yet.
    pub copies: usize,
    /// Streams and buckets that are missing or not as they should be.
    pub odd: Vec<String>,
    /// The account of the login; `None` = the server does not say.
    pub account: Option<Account>,
    /// Whether a fleet of this data folder started it.
    pub embedded: bool,
}

/// An account of a broker, as far as who is in it can see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// What it is called; empty = it is the one of a server that was told of none.
    pub name: String,
    /// Whether an operator has signed for it.
    pub by_operator: bool,
}

impl Account {
    /// The account that a server calls `id`; `name` is for people.
    #[must_use]
    pub fn named(id: &str, name: Option<&str>) -> Self {
        // In operator mode an account is the public part of its key.
        let by_operator = id.len() == 56 && id.starts_with('A');
        let name = name.filter(|name| !name.is_empty()).unwrap_or(id);
        let name = if id == GLOBAL { String::new() } else { name.to_owned() };
        Self { name, by_operator }
    }
}

/// Judges a broker; each topic once and in the same order.
pub(super) fn judge(broker: &Result<Broker, String>) -> Vec<Finding> {
    match broker {
        Ok(broker) => vec![
            server(broker),
            writes(broker),
            streams(broker),
            copies(broker),
            sync(broker),
            accounts(broker),
            limits(broker),
        ],
        Err(reason) => {
            let advice = "is it up, and is the login right? NATS_URL, NATS_USER and their like say \
                          where it is";
            vec![found("broker", Level::Failure, reason.clone(), advice)]
        }
    }
}

fn server(broker: &Broker) -> Finding {
    let what = format!("nats-server {} at {}", broker.version, broker.url);
    if let Some(problem) = &broker.problem {
        let advice = "use nats-server 2.12 or newer with JetStream; 2.15.1 is recommended";
        return found("broker", Level::Failure, problem.clone(), advice);
    }
    if !broker.version.starts_with(RECOMMENDED) {
        let advice = "2.15.1 is recommended: what is guaranteed is tested there most";
        return found("broker", Level::Note, what, advice);
    }
    found("broker", Level::Good, what, "")
}

fn writes(broker: &Broker) -> Finding {
    let Some(reason) = &broker.unstored else {
        return found("writes", Level::Good, "what is written is stored".to_owned(), "");
    };
    let what = format!("it answers, and does not store what is written: {reason}");
    let advice = "may this login write? If the disk of the server was full, make room and start it \
                  again: until then it keeps its streams shut";
    found("writes", Level::Failure, what, advice)
}

fn streams(broker: &Broker) -> Finding {
    if broker.odd.is_empty() {
        return found("streams", Level::Good, "all are as they should be".to_owned(), "");
    }
    let what = format!("not as they should be: {}", broker.odd.join(", "));
    let advice = "a fleet that starts makes them so; `metafleet broker check` says what differs";
    found("streams", Level::Note, what, advice)
}

fn copies(broker: &Broker) -> Finding {
    let what = match broker.copies {
        0 => "there are no streams yet".to_owned(),
        1 => "one of each message: it is lost with its disk".to_owned(),
        copies => format!("{copies} of each message"),
    };
    match (&broker.cluster, broker.copies) {
        (_, copies) if copies >= COPIES => found("copies", Level::Good, what, ""),
        (Some(_), _) => {
            let advice = "the server is in a cluster: start coordinators with `--replicas 3`";
            found("copies", Level::Warning, what, advice)
        }
        (None, _) => {
            let advice = "a cluster of three servers and `--replicas 3` outlive a machine; else make \
                          backups of the store";
            found("copies", Level::Note, what, advice)
        }
    }
}

fn sync(broker: &Broker) -> Finding {
    if broker.embedded {
        let what = "written to disk within a second: what was acknowledged in the last one may go with \
                    the power";
        let advice =
            "where that matters, use a broker of your own with `sync_interval: \"always\"`";
        return found("sync", Level::Note, what.to_owned(), advice);
    }
    // No client can ask for it.
    let what = "a server does not tell its clients when it writes to disk".to_owned();
    let advice = "see to it that its configuration says `sync_interval: \"always\"`; without, it is two \
                  minutes";
    found("sync", Level::Note, what, advice)
}

fn accounts(broker: &Broker) -> Finding {
    if broker.embedded {
        let what = "each plugin has an account of its own".to_owned();
        return found("accounts", Level::Good, what, "");
    }
    if let Some(Account { name, by_operator }) = &broker.account
        && !name.is_empty()
    {
        let whose = if *by_operator { ", for which an operator has signed" } else { "" };
        let what = format!(
            "the fleet is in the account {name}{whose}; whether each plugin has one of its own, a \
             server does not tell"
        );
        let advice = "see to it that each has: `metafleet broker render --server --accounts`, with \
                      `--operator` in operator mode";
        return found("accounts", Level::Note, what, advice);
    }
    let what = "plugins share the account of the fleet";
    let advice = "run only plugins that you trust with each other's tasks: accounts are the boundary \
                  (SECURITY.md)";
    found("accounts", Level::Note, what.to_owned(), advice)
}

fn limits(broker: &Broker) -> Finding {
    let payload = broker.max_payload;
    let stored = match broker.limit {
        Some(limit) => format!("{} of {} MiB stored", broker.used >> 20, limit >> 20),
        None => format!("{} MiB stored, without a limit of its account", broker.used >> 20),
    };
    let what = format!("messages of {} KiB, {stored}", payload >> 10);
    if payload < PAYLOAD {
        let advice = "raise max_payload to 1MB or more: larger tasks and records are refused";
        return found("limits", Level::Warning, what, advice);
    }
    if broker.limit.is_some_and(|limit| broker.used >= limit / 10 * 9) {
        let advice = "raise max_file_store or the limit of the account: when it is full, nothing is \
                      accepted";
        return found("limits", Level::Warning, what, advice);
    }
    found("limits", Level::Good, what, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best() -> Broker {
        Broker {
            url: "nats://b:4222".to_owned(),
            version: "2.15.1".to_owned(),
            problem: None,
            unstored: None,
            cluster: Some("c".to_owned()),
            max_payload: 8 << 20,
            used: 10 << 20,
            limit: Some(1 << 30),
            copies: 3,
            odd: Vec::new(),
            account: None,
            embedded: false,
        }
    }

    #[test]
    fn what_is_known_of_the_account_is_said() {
        let key = format!("A{}", "B".repeat(55));
        for (id, name, embedded, expected) in [
            ("$G", None, false, "plugins share the account of the fleet"),
            ("MF", Some("MF"), false, "the fleet is in the account MF; whether"),
            (
                key.as_str(),
                Some("MF"),
                false,
                "in the account MF, for which an operator has signed",
            ),
            (key.as_str(), None, false, "the fleet is in the account AB"),
            ("MF", Some("MF"), true, "each plugin has an account of its own"),
        ] {
            let account = Some(Account::named(id, name));
            let finding = accounts(&Broker { account, embedded, ..best() });
            assert!(finding.what.contains(expected), "{id}: {}", finding.what);
        }
    }

    #[test]
    fn each_guarantee_that_a_broker_cannot_keep_is_named_with_what_to_do() {
        use Level::{Failure, Good, Note, Warning};
        for (topic, level, broker) in [
            ("broker", Good, best()),
            ("broker", Note, Broker { version: "2.14.6".to_owned(), ..best() }),
            ("broker", Failure, Broker { problem: Some("too old".to_owned()), ..best() }),
            ("writes", Good, best()),
            ("writes", Failure, Broker { unstored: Some("no".to_owned()), ..best() }),
            ("streams", Good, best()),
            ("streams", Note, Broker { odd: vec!["S".to_owned()], ..best() }),
            ("copies", Good, best()),
            ("copies", Warning, Broker { copies: 1, ..best() }),
            ("copies", Note, Broker { copies: 1, cluster: None, ..best() }),
            ("copies", Note, Broker { copies: 0, cluster: None, ..best() }),
            ("sync", Note, best()),
            ("sync", Note, Broker { embedded: true, ..best() }),
            ("accounts", Note, best()),
            ("limits", Good, best()),
            ("limits", Good, Broker { limit: None, ..best() }),
            ("limits", Warning, Broker { max_payload: 65_536, ..best() }),
            ("limits", Warning, Broker { used: 1_000 << 20, ..best() }),
        ] {
            let case = format!("{topic} {level:?} {broker:?}");
            let findings = judge(&Ok(broker));
            let its: Vec<&Finding> = findings.iter().filter(|it| it.topic == topic).collect();
            assert_eq!(its.len(), 1, "{case}");
            assert_eq!(its[0].level, level, "{case}");
            assert_eq!(its[0].advice.is_empty(), level == Good, "{case}");
        }
        let away = judge(&Err("no answer".to_owned()));
        assert_eq!((away.len(), away[0].level), (1, Failure));
    }
}
