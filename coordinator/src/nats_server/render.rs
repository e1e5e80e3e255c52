//! PURE: the configuration of the embedded broker.

use std::path::Path;

use broker_config::{Accounts, Names, PluginId};

use super::accounts::render_accounts;
use super::logins::Tenants;
use super::store::FLEET_ACCOUNT;
use super::users::{COORDINATOR, PLUGIN, Password, Users};

/// Largest message: a record holds up to 1 MiB of metadata, a task that of several plugins.
const MAX_PAYLOAD: u32 = 4 << 20;
/// Bytes after which the server begins a new log file, and how many old ones it keeps.
const LOG_BYTES: u32 = 8 << 20;
const LOG_FILES: u32 = 3;

/// What the configuration depends on.
#[derive(Debug)]
pub struct Listen<'a> {
    /// The loopback port for clients.
    pub port: u16,
    /// The folder of streams and buckets.
    pub store: &'a Path,
    /// The folder in which the server tells its ports.
    pub ports_dir: &'a Path,
    /// The log file.
    pub log: &'a Path,
    /// Bytes that the store may have.
    pub limit: u64,
    /// How soon what is written is on disk.
    pub sync: Sync,
}

/// How soon what is written is on disk, in case the whole machine dies; a broker that dies alone
/// loses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Within a second.
    #[default]
    EverySecond,
    /// Before it is acknowledged; slower.
    Always,
}

/// Writes the configuration of a server for one fleet.
#[must_use]
pub fn render_config(
    listen: &Listen<'_>,
    users: &Users,
    names: &Names,
    tenants: &Tenants,
) -> String {
    let Listen { port, store, ports_dir, log, limit, sync } = listen;
    let sync = match sync {
        Sync::EverySecond => "1s",
        Sync::Always => "always",
    };
    let server = format!(
        "# Written by metafleet at each start of the broker; changes are lost.\n\
         listen: \"127.0.0.1:{port}\"\n\
         http: \"127.0.0.1:-1\"\n\
         ports_file_dir: {ports_dir}\n\
         max_payload: {MAX_PAYLOAD}\n\
         log_file: {log}\n\
         log_size_limit: {LOG_BYTES}\n\
         logfile_max_num: {LOG_FILES}\n\
         jetstream {{\n  store_dir: {store}\n  max_file_store: {limit}\n  # Quoted: without a unit it would mean nanoseconds.\n  \
         sync_interval: \"{sync}\"\n}}\n",
        ports_dir = quote(&ports_dir.to_string_lossy()),
        log = quote(&log.to_string_lossy()),
        store = quote(&store.to_string_lossy()),
    );
    let logins = match tenants {
        Tenants::Each { plugins, .. } => {
            let known = plugins.iter().filter(|(id, _)| users.plugins.contains_key(*id));
            let known = known.map(|(id, routes)| (id.clone(), routes.clone())).collect();
            let accounts = Accounts::of(names, &known).with_fleet_called(FLEET_ACCOUNT);
            render_accounts(&accounts, |plugin| users.proof(plugin))
        }
        Tenants::AsBefore | Tenants::Together => one_account(users, names),
    };
    server + &logins
}

/// The coordinator, and one login for all plugins.
fn one_account(users: &Users, names: &Names) -> String {
    let coordinator = quote(users.coordinator.reveal());
    let mut text = format!(
        "authorization {{\n  users: [\n    {{ user: {COORDINATOR}, password: {coordinator} }}\n"
    );
    if let Some(Password(plugin)) = &users.plugin {
        let (publish, denied, subscribe) = plugin_subjects(names);
        text.push_str(&format!(
            "    {{ user: {PLUGIN}, password: {plugin}, permissions: {{\n      publish: {{\n        \
             allow: [{}]\n        deny: [{}]\n      }}\n      subscribe: {{ allow: [{}] }}\n    }} }}\n",
            quote_all(&publish),
            quote_all(&denied),
            quote_all(&subscribe),
            plugin = quote(plugin.reveal()),
        ));
    }
    text.push_str("  ]\n}\n");
    text
}

/// What a plugin's process may publish, what of that it may not, and what it may subscribe to.
///
/// One account for all: this keeps plugins from breaking the fleet by mistake, not from lying.
fn plugin_subjects(names: &Names) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (prefix, tasks) = (names.prefix(), names.task_stream());
    let publish = vec![
        format!("$JS.API.CONSUMER.MSG.NEXT.{tasks}.>"),
        format!("$JS.API.CONSUMER.INFO.{tasks}.>"),
        format!("$JS.ACK.{tasks}.>"),
        // The longer form of the same: with a domain, of which there is none, and an account in front.
        format!("$JS.ACK._.*.{tasks}.>"),
        names.all_records(),
        Names::key_subject(&names.artifacts_bucket(), ">"),
        Names::key_subject(&names.instances_bucket(), ">"),
        format!("{prefix}.signal.>"),
        format!("{prefix}.submit.>"),
        "_INBOX.>".to_owned(),
    ];
    // What a person wrote is nobody else's.
    let key = format!("*.{}", PluginId::USER);
    let denied = vec![Names::key_subject(&names.records_bucket(), &key)];
    let subscribe = vec!["_INBOX.>".to_owned(), format!("{prefix}.control.>")];
    (publish, denied, subscribe)
}

pub(super) fn quote_all(subjects: &[String]) -> String {
    subjects.iter().map(|subject| quote(subject)).collect::<Vec<_>>().join(", ")
}

pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn the_configuration_is_this() {
        let users = Users {
            coordinator: Secret::new("one"),
            plugins: [("nfo".parse().unwrap(), Password(Secret::new("three")))].into(),
            plugin: Some(Password(Secret::new("two"))),
        };
        let listen = Listen {
            port: 14_222,
            store: Path::new("/d \"q\"/store"),
            ports_dir: Path::new("/d/run"),
            log: Path::new("/d/nats-server.log"),
            limit: 123_456,
            sync: Sync::Always,
        };
        let names = Names::new("my-fleet".parse().unwrap());
        let server = r#"# Written by metafleet at each start of the broker; changes are lost.
listen: "127.0.0.1:14222"
http: "127.0.0.1:-1"
ports_file_dir: "/d/run"
max_payload: 4194304
log_file: "/d/nats-server.log"
log_size_limit: 8388608
logfile_max_num: 3
jetstream {
  store_dir: "/d \"q\"/store"
  max_file_store: 123456
  # Quoted: without a unit it would mean nanoseconds.
  sync_interval: "always"
}
"#;
        let together = r#"authorization {
  users: [
    { user: coordinator, password: "one" }
    { user: plugin, password: "two", permissions: {
      publish: {
        allow: ["$JS.API.CONSUMER.MSG.NEXT.MY_FLEET_TASKS.>", "$JS.API.CONSUMER.INFO.MY_FLEET_TASKS.>", "$JS.ACK.MY_FLEET_TASKS.>", "$JS.ACK._.*.MY_FLEET_TASKS.>", "$KV.my-fleet-records.>", "$KV.my-fleet-artifacts.>", "$KV.my-fleet-instances.>", "my-fleet.signal.>", "my-fleet.submit.>", "_INBOX.>"]
        deny: ["$KV.my-fleet-records.*.user"]
      }
      subscribe: { allow: ["_INBOX.>", "my-fleet.control.>"] }
    } }
  ]
}
"#;
        let text = render_config(&listen, &users, &names, &Tenants::Together);
        assert_eq!(text, [server, together].concat());

        let known = |id: &str| (id.parse().unwrap(), Default::default());
        // Nobody has made a password for the second one.
        let plugins = [known("nfo"), known("other")].into();
        let tenants = Tenants::Each { plugins, forgets_others: false };
        let text = render_config(&listen, &users, &names, &tenants);
        let accounts = text.strip_prefix(server).unwrap();
        assert!(accounts.starts_with("accounts {\n"), "{accounts}");
        for line in [
            "  \"FLEET\" {\n    jetstream: enabled\n    users: [\n      { user: \"coordinator\", password: \"one\" }\n",
            "  \"MY_FLEET-nfo\" {\n    users: [\n      { user: \"nfo\", password: \"three\", permissions: {\n",
            "accounts: [\"FLEET\"] }",
        ] {
            assert!(accounts.contains(line), "{line}\n{accounts}");
        }
        assert!(!accounts.contains("other") && !accounts.contains("two"), "{accounts}");
    }
}
