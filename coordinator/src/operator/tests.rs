//! From what is there to what is signed.

mod broken_off;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use broker_config::accounts::Accounts;
use broker_config::{Names, PluginId};
use nkeys::{KeyPair, KeyPairType};
use serde_json::Value;

use super::*;

fn wanted(plugins: &[&str]) -> Accounts {
    let plugins = plugins.iter().map(|id| (id.parse::<PluginId>().unwrap(), BTreeSet::new()));
    Accounts::of(&Names::default(), &plugins.collect::<BTreeMap<_, _>>())
}

fn make(files: &mut Files, plugins: &[&str], rotate: &[&str], now: u64) -> Result<Issued, Refused> {
    let mut ring = Ring::of(files);
    let rotate = rotate.iter().map(|name| (*name).to_owned()).collect();
    issue(files, &mut ring, &Order { accounts: &wanted(plugins), rotate: &rotate, now })
}

fn account(issued: &Issued, name: &str) -> Claims {
    let token = &issued.others.iter().find(|account| account.name == name).unwrap().token;
    Claims::read(token).unwrap()
}

fn changed(issued: &Issued) -> Vec<&str> {
    let accounts = issued.accounts().filter(|account| account.is_changed);
    accounts.map(|account| account.name.as_str()).collect()
}

fn user(files: &Files, account: &str, name: &str) -> Claims {
    Claims::read(files.get(&files::user("metafleet", account, name)).unwrap()).unwrap()
}

#[test]
fn the_same_again_changes_nothing_and_a_new_plugin_changes_itself_and_the_fleet() {
    let mut files = Files::default();
    let first = make(&mut files, &["a", "b"], &[], 100).unwrap();
    assert_eq!(changed(&first), ["MF-a", "MF-b", "MF"]);
    assert!(!files.settle().is_empty());

    let again = make(&mut files, &["a", "b"], &[], 200).unwrap();

    assert_eq!(changed(&again), Vec::<&str>::new());
    assert_eq!(files.settle(), Vec::<String>::new());
    assert!(again.logins.iter().all(|login| !login.is_new && login.creds.is_some()));
    let third = make(&mut files, &["a", "b", "c"], &[], 200).unwrap();
    assert_eq!(changed(&third), ["MF-c", "MF"]);
    let new: Vec<_> = third.logins.iter().filter(|login| login.is_new).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert_eq!(account(&third, "MF-a"), account(&first, "MF-a"));
}

#[test]
fn an_account_says_what_the_rules_say() {
    let mut files = Files::default();
    let mut accounts = wanted(&["a"]);
    accounts.plugins[0].limits.payload = 512;
    let order = Order { accounts: &accounts, rotate: &BTreeSet::new(), now: 100 };

    let issued = issue(&mut files, &mut Ring::of(&Files::default()), &order).unwrap();

    let (fleet, plugin) = (account(&issued, "MF"), account(&issued, "MF-a"));
    let rules = &accounts.plugins[0];
    assert_eq!(plugin.nats["limits"]["conn"], rules.limits.connections);
    assert_eq!(plugin.nats["limits"]["payload"], 512);
    assert_eq!(plugin.nats["limits"].get("disk_storage"), None);
    assert_eq!(fleet.nats["limits"]["disk_storage"], -1);
    let allowed = &plugin.nats["default_permissions"]["pub"]["allow"];
    assert_eq!(*allowed, Value::from(rules.publish.clone()));
    let exports = fleet.nats["exports"].as_array().unwrap();
    assert_eq!(exports.len(), accounts.fleet.exports.len());
    assert!(exports.iter().all(|export| export["token_req"] == true), "{exports:?}");
    let imports = plugin.nats["imports"].as_array().unwrap();
    assert_eq!(imports.len(), rules.account.imports.len());
    for import in imports {
        let leave = Claims::read(import["token"].as_str().unwrap()).unwrap();
        assert_eq!(leave.issuer, fleet.subject, "{import}");
        assert_eq!(leave.subject, plugin.subject, "{import}");
        assert_eq!(leave.nats["subject"], import["subject"], "no more than that");
    }
    let moved = imports.iter().find(|import| import["local_subject"] == "mf.submit.fast");
    assert_eq!(moved.unwrap()["subject"], "mf.submit.fast.a");
    let control = fleet.nats["imports"].as_array().unwrap();
    assert!(control.iter().all(|import| import["account"] == plugin.subject.as_str()));
    assert_eq!(control.len(), accounts.fleet.imports.len());
}

#[test]
fn a_new_login_revokes_the_old_one_and_no_other() {
    let mut files = Files::default();
    make(&mut files, &["a", "b"], &[], 100).unwrap();
    let (old, other) = (user(&files, "MF-a", "a"), user(&files, "MF-b", "b"));

    let issued = make(&mut files, &["a", "b"], &["a"], 200).unwrap();

    let new = user(&files, "MF-a", "a");
    assert_ne!(new.subject, old.subject);
    assert_eq!(user(&files, "MF-b", "b"), other);
    let revoked = &account(&issued, "MF-a").nats["revocations"];
    assert_eq!(*revoked, serde_json::json!({ old.subject.as_str(): 200 }));
    assert_eq!(changed(&issued), ["MF-a"]);
    assert_eq!(files.get(&files::key(&old.subject)), None);
    assert!(files.get(&files::key(&new.subject)).is_some());
    let later = make(&mut files, &["a", "b"], &[], 300).unwrap();
    assert_eq!(changed(&later), Vec::<&str>::new());
    assert_eq!(account(&later, "MF-a").nats["revocations"], *revoked);
    let unknown = make(&mut files, &["a"], &["b"], 300);
    assert_eq!(unknown, Err(Refused::Rotate("b".to_owned())));
}

#[test]
fn a_login_that_was_revoked_and_never_replaced_is_made_anew() {
    let mut files = Files::default();
    make(&mut files, &["a"], &[], 100).unwrap();
    let path = files::user("metafleet", "MF-a", "a");
    let old = files.get(&path).unwrap().to_owned();
    make(&mut files, &["a"], &["a"], 200).unwrap();
    // As after a crash between the token of the account and that of the user.
    files.put(path, old);

    let issued = make(&mut files, &["a"], &[], 300).unwrap();

    assert!(issued.logins.iter().any(|login| login.user == "a" && login.is_new), "{issued:?}");
}

#[test]
fn a_fleet_whose_account_would_be_the_system_account_is_refused() {
    let accounts = Accounts::of(&Names::new("sys".parse().unwrap()), &BTreeMap::new());
    let order = Order { accounts: &accounts, rotate: &BTreeSet::new(), now: 100 };
    let mut files = Files::default();

    let refused = issue(&mut files, &mut Ring::of(&Files::default()), &order);

    assert_eq!(refused, Err(Refused::System("SYS".to_owned())));
}

#[test]
fn who_is_not_wanted_any_more_is_named_and_loses_its_leave() {
    let mut files = Files::default();
    let first = make(&mut files, &["a", "b"], &[], 100).unwrap();
    let gone = account(&first, "MF-b").subject;

    let issued = make(&mut files, &["a"], &[], 200).unwrap();

    assert_eq!(issued.removed, ["MF-b"]);
    assert_eq!(changed(&issued), ["MF"]);
    assert!(issued.accounts().all(|account| account.name != "MF-b"));
    for export in account(&issued, "MF").nats["exports"].as_array().unwrap() {
        assert_eq!(export["revocations"][gone.as_str()], 200);
    }
    assert_eq!(files.get(&files::pushed(&gone)), None);
    assert_eq!(changed(&make(&mut files, &["a"], &[], 300).unwrap()), Vec::<&str>::new());
    let back = make(&mut files, &["a", "b"], &[], 400).unwrap();
    assert_eq!(account(&back, "MF-b").subject, gone, "it has its key again");
    let exports = &account(&back, "MF").nats["exports"];
    assert_eq!(exports[0].get("revocations"), None, "{exports}");
}

#[test]
fn what_others_have_said_of_an_account_stays() {
    let mut files = Files::default();
    let first = make(&mut files, &["a"], &[], 100).unwrap();
    let operator = KeyPair::from_seed(&seed_of(&files, 'O')).unwrap();
    let mut fleet = account(&first, "MF");
    fleet.nats["limits"]["disk_storage"] = 1_000.into();
    fleet.nats.insert("description".to_owned(), "ours".into());
    fleet.rest.insert("exp".to_owned(), 9_000.into());
    let path = files::account("metafleet", "MF");
    files.put(path, fleet.sign(&operator, 150).unwrap());

    let issued = make(&mut files, &["a", "b"], &[], 120).unwrap();

    let fleet = account(&issued, "MF");
    assert_eq!(fleet.nats["limits"]["disk_storage"], 1_000);
    assert_eq!(fleet.nats["description"], "ours");
    assert_eq!(fleet.rest["exp"], 9_000);
    assert_eq!(fleet.issued_at, 151, "a server keeps the newest");
}

/// The seed of the only key of a kind.
fn seed_of(files: &Files, kind: char) -> String {
    let beginning = format!("keys/keys/{kind}/");
    files.all().find(|(path, _)| path.starts_with(&beginning)).unwrap().1.to_owned()
}

#[test]
fn keys_that_are_elsewhere_sign_when_they_are_given() {
    let mut files = Files::default();
    make(&mut files, &["a"], &[], 100).unwrap();
    let operator = seed_of(&files, 'O');
    let key = KeyPair::from_seed(&operator).unwrap().public_key();
    files.remove(&files::key(&key));

    let refused = make(&mut files.clone(), &["a", "b"], &[], 200).unwrap_err();

    let whose = "operator metafleet".to_owned();
    assert_eq!(refused, Refused::NoKey { whose, keys: vec![key] });
    let mut ring = Ring::of(&files);
    assert!(ring.add(&format!("# mine\n{operator}\n")));
    assert!(!ring.add("nothing"));
    let accounts = wanted(&["a", "b"]);
    let order = Order { accounts: &accounts, rotate: &BTreeSet::new(), now: 200 };
    let issued = issue(&mut files, &mut ring, &order).unwrap();
    assert_eq!(changed(&issued), ["MF-b", "MF"]);
    assert!(files.all().all(|(_, text)| !text.contains(&operator)), "it stays elsewhere");
}

#[test]
fn signing_keys_go_before_the_keys_that_they_stand_for() {
    let mut files = Files::default();
    let first = make(&mut files, &["a"], &[], 100).unwrap();
    let operator = KeyPair::from_seed(&seed_of(&files, 'O')).unwrap();
    let signing = KeyPair::new(KeyPairType::Account);
    let mut fleet = account(&first, "MF");
    fleet.nats.insert("signing_keys".to_owned(), serde_json::json!([signing.public_key()]));
    files.put(files::account("metafleet", "MF"), fleet.clone().sign(&operator, 150).unwrap());
    files.remove(&files::key(&fleet.subject));
    let mut ring = Ring::of(&files);
    ring.add(&signing.seed().unwrap());
    let accounts = wanted(&["a"]);
    let rotate = BTreeSet::from(["coordinator".to_owned()]);

    let issued =
        issue(&mut files, &mut ring, &Order { accounts: &accounts, rotate: &rotate, now: 200 });

    let user = user(&files, "MF", "coordinator");
    assert_eq!(user.issuer, signing.public_key());
    assert_eq!(user.nats["issuer_account"], fleet.subject.as_str());
    let plugin = account(&issued.unwrap(), "MF-a");
    let leave = plugin.nats["imports"][0]["token"].as_str().unwrap();
    assert_eq!(Claims::read(leave).unwrap().nats["issuer_account"], fleet.subject.as_str());
}

#[test]
fn of_several_operators_none_is_guessed() {
    let mut files = Files::default();
    make(&mut files, &["a"], &[], 100).unwrap();
    let token = files.get(&files::operator("metafleet")).unwrap().to_owned();
    files.put(files::operator("other"), token);

    let refused = make(&mut files, &["a"], &[], 200).unwrap_err();

    assert!(matches!(refused, Refused::Operators(names) if names.len() == 2));
}

#[test]
fn what_is_written_is_read_again_and_is_the_owners_alone() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir()?;
    let mut files = Files::default();
    let issued = make(&mut files, &["a"], &[], 100)?;

    files.store(home.path())?;

    let mut read = Files::load(home.path())?;
    assert_eq!(changed(&make(&mut read, &["a"], &[], 200)?), Vec::<&str>::new());
    for login in &issued.logins {
        let path = home.path().join(login.creds.as_ref().unwrap());
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path)?;
        assert!(text.starts_with("-----BEGIN NATS USER JWT-----\ney"), "{}", login.user);
    }
    assert!(!format!("{files:?}").contains(&seed_of(&files, 'O')), "a seed is shown");
    make(&mut read, &["a"], &["a"], 300)?;
    read.store(home.path())?;
    let kept = Files::load(home.path())?;
    let users = kept.all().filter(|(path, _)| path.starts_with("keys/keys/U/"));
    assert_eq!(users.count(), 3, "of sys, coordinator and a");
    Ok(())
}

#[test]
fn a_configuration_names_the_operator_and_every_account() {
    let mut files = Files::default();
    let issued = make(&mut files, &["a"], &[], 100).unwrap();
    for (resolver, expected) in
        [(Resolver::Full, "resolver {\n  type: full\n"), (Resolver::Memory, "resolver: MEMORY\n")]
    {
        let text = render(&issued, resolver, std::path::Path::new("/var/lib/nats"));
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(&format!("operator: {}\n", issued.operator_token)), "{text}");
        assert!(text.contains(&format!("system_account: {}\n", issued.system.key)), "{text}");
        for account in issued.accounts() {
            assert!(text.contains(&format!("  {}: {}\n", account.key, account.token)), "{text}");
        }
        assert_eq!(issued.accounts().count(), 3, "SYS, MF, MF-a");
    }
}
