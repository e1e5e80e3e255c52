//! PURE: accounts as the configuration of a server says them.

use broker_config::PluginId;
use broker_config::accounts::{
    ANSWERS_WITHIN, Account, Accounts, Answers, Export, Import, PluginAccount,
};

use super::render::{quote, quote_all};
use super::users::COORDINATOR;
use crate::config::Secret;

/// How a user shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By a password.
    Password(Secret),
    /// By a password that the server reads from a variable of its environment.
    Variable(String),
    /// By a key, of which the server knows the public part.
    Nkey(String),
}

/// Writes the accounts of a fleet; `proof` says how the user of a plugin, or the coordinator
/// (`None`), shows who it is.
#[must_use]
pub fn render_accounts(accounts: &Accounts, proof: impl Fn(Option<&PluginId>) -> Proof) -> String {
    let mut text = String::from("accounts {\n");
    text.push_str("  # Streams, buckets, the coordinator and people.\n");
    let coordinator = format!("{{ {} }}", user(COORDINATOR, &proof(None)));
    let body = ["    jetstream: enabled\n".to_owned(), users(&coordinator)];
    account(&mut text, &accounts.fleet, &body.concat());
    for plugin in &accounts.plugins {
        let body = [users(&limited(plugin, &proof(Some(&plugin.plugin)))), limits(plugin)];
        account(&mut text, &plugin.account, &body.concat());
    }
    text.push_str("}\n");
    text
}

fn account(text: &mut String, account: &Account, body: &str) {
    let exports = block("exports", account.exports.iter().map(export));
    let imports = block("imports", account.imports.iter().map(import));
    let name = quote(&account.name);
    text.push_str(&format!("  {name} {{\n{body}{exports}{imports}  }}\n"));
}

fn block(name: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| format!("      {line}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("    {name}: [\n{lines}    ]\n") }
}

fn export(export: &Export) -> String {
    let answers = match export.answers {
        Answers::One => String::new(),
        Answers::Many => {
            let within = ANSWERS_WITHIN.as_secs();
            format!(", response_type: stream, response_threshold: \"{within}s\"")
        }
    };
    let only = export
        .only
        .as_ref()
        .map_or_else(String::new, |account| format!(", accounts: [{}]", quote(account)));
    format!("{{ service: {}{answers}{only} }}", quote(&export.subject))
}

fn import(import: &Import) -> String {
    let here = if import.here == import.subject {
        String::new()
    } else {
        format!(", to: {}", quote(&import.here))
    };
    let (account, subject) = (quote(&import.account), quote(&import.subject));
    format!("{{ service: {{ account: {account}, subject: {subject} }}{here} }}")
}

fn users(user: &str) -> String {
    format!("    users: [\n      {user}\n    ]\n")
}

fn user(name: &str, proof: &Proof) -> String {
    match proof {
        Proof::Password(secret) => {
            format!("user: {}, password: {}", quote(name), quote(secret.reveal()))
        }
        Proof::Variable(variable) => format!("user: {}, password: ${variable}", quote(name)),
        Proof::Nkey(public) => format!("nkey: {public}"),
    }
}

fn limited(plugin: &PluginAccount, proof: &Proof) -> String {
    let user = user(plugin.plugin.as_str(), proof);
    let (publish, subscribe) = (quote_all(&plugin.publish), quote_all(&plugin.subscribe));
    format!(
        "{{ {user}, permissions: {{\n        publish: {{ allow: [{publish}] }}\n        \
         subscribe: {{ allow: [{subscribe}] }}\n      }} }}"
    )
}

fn limits(plugin: &PluginAccount) -> String {
    let limits = plugin.limits;
    let payload = match limits.payload {
        0 => String::new(),
        bytes => format!(", max_payload: {bytes}"),
    };
    let (connections, subscriptions) = (limits.connections, limits.subscriptions);
    format!(
        "    limits {{ max_connections: {connections}, max_subscriptions: {subscriptions}{payload} }}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use broker_config::Names;

    use super::*;

    #[test]
    fn what_differs_from_account_to_account_is_said() {
        let plugins = BTreeMap::from([("nfo".parse().unwrap(), BTreeSet::new())]);
        let accounts = Accounts::of(&Names::default(), &plugins);

        let text = render_accounts(&accounts, |plugin| match plugin {
            None => Proof::Variable("SECRET".to_owned()),
            Some(_) => Proof::Password(Secret::new("a \"b\"")),
        });

        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for line in [
            "\"MF\" {",
            "jetstream: enabled",
            "{ user: \"coordinator\", password: $SECRET }",
            "{ service: \"$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.*\", response_type: stream, response_threshold: \"15s\" }",
            "{ service: \"$KV.mf-records.*.*\" }",
            "{ service: { account: \"MF-nfo\", subject: \"mf.control.nfo.*\" } }",
            "\"MF-nfo\" {",
            "{ user: \"nfo\", password: \"a \\\"b\\\"\", permissions: {",
            "limits { max_connections: 1024, max_subscriptions: 32768 }",
            "{ service: \"mf.control.nfo\", response_type: stream, response_threshold: \"15s\", accounts: [\"MF\"] }",
            "{ service: { account: \"MF\", subject: \"mf.submit.fast.nfo\" }, to: \"mf.submit.fast\" }",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert_eq!(text.matches("jetstream").count(), 1, "only the fleet has streams\n{text}");
    }

    #[test]
    fn a_key_stands_for_itself() {
        assert_eq!(user("a", &Proof::Nkey("UABC".to_owned())), "nkey: UABC");
    }
}
