//! Whatever plugins are called, no two logins and no two accounts of a server are called the same.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::Accounts;

use super::super::accounts::{Proof, render_accounts};
use super::super::render::render_config;
use super::super::users::Password;
use super::*;
use crate::config::Secret;
use crate::operator::{Files, Order, Ring, issue};

/// Ids that stand for something else somewhere in a fleet.
const IDS: [&str; 9] =
    ["coordinator", "user", "sys", "plugin", "fleet", "metafleet", "mf", "later", "a-b"];

/// What comes after a word at the beginning of each line that has it, twice when it is there twice.
fn named(text: &str, word: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("{ "));
    let rest = lines.filter_map(|line| line.strip_prefix(word));
    rest.filter_map(|rest| rest.split('"').next().map(ToOwned::to_owned)).collect()
}

fn assert_no_two(names: &[String], plugins: usize, what: &str) {
    let different: BTreeSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{what}: {names:?}");
    assert_eq!(names.len(), plugins + 1, "{what}: {names:?}");
}

#[test]
fn no_two_are_called_the_same_in_any_form() -> anyhow::Result<()> {
    for prefix in ["mf", "fleet", "coordinator", "user"] {
        let names = Names::new(prefix.parse()?);
        let all = plugins(&IDS);
        let accounts = Accounts::of(&names, &all);
        let known = IDS.len() - 2;

        let text = render_accounts(&accounts, |_| Proof::Variable("SECRET".to_owned()));
        assert_no_two(&named(&text, "user: \""), known, "users of a configuration");

        let mut users = Users {
            coordinator: Secret::new("one"),
            plugins: BTreeMap::new(),
            plugin: Some(Password(Secret::new("two"))),
        };
        users.admit(&all)?;
        let path = Path::new("/d");
        let (ports_dir, log, sync) = (path, path, Sync::default());
        let listen = Listen { port: 1, store: path, ports_dir, log, limit: 1, sync };
        let tenants = Tenants::Each { plugins: all, forgets_others: true };
        let text = render_config(&listen, &users, &names, &tenants);
        assert_no_two(&named(&text, "user: \""), known, "users of the embedded broker");
        let of_fleet = text.matches("\"FLEET\" {").count();
        assert_eq!(of_fleet, 1, "accounts of the embedded broker\n{text}");

        let order = Order { accounts: &accounts, rotate: &BTreeSet::new(), now: 1 };
        let mut files = Files::default();
        let mut ring = Ring::of(&files);
        let issued = issue(&mut files, &mut ring, &order)?;
        let users: Vec<String> = issued.logins.iter().map(|login| login.user.clone()).collect();
        assert_no_two(&users, known, "users of an operator");
        let mut of_operator: Vec<String> =
            issued.accounts().map(|account| account.key.clone()).collect();
        of_operator.retain(|key| *key != issued.system.key);
        assert_no_two(&of_operator, known, "accounts of an operator");
    }
    Ok(())
}
