//! `metafleet broker render`: for those who set up streams and servers with tools of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use broker_config::accounts::PluginAccount;
use broker_config::{Accounts, Names, PluginId};

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::Format;
use super::{RenderArgs, operator};
use crate::nats_server::accounts::{Proof, render_accounts};
use crate::nats_server::users::COORDINATOR;

/// The variable with the password of the user that may do everything.
const PASSWORD: &str = "METAFLEET_NATS_PASSWORD";

pub(crate) fn run(app: &App, args: &RenderArgs) -> Result<Exit, Failure> {
    let names = Names::new(app.globals.prefix.clone().unwrap_or_default());
    if args.server {
        let logins = match &args.operator {
            Some(dir) => operator::issued(app, args, &wanted(&names, args), dir)?,
            None if args.accounts => accounts(&names, args)?,
            None => one_account(),
        };
        app.out.raw(&server(&args.store_dir.display().to_string(), &logins))?;
        return Ok(Exit::Ok);
    }
    let topology = args.topology.topology(&names);
    // It is data for programs; a table would lose most of it.
    let text = match app.out.format {
        Format::Ndjson => serde_json::to_string(&topology),
        Format::Json | Format::Table => serde_json::to_string_pretty(&topology),
    };
    let text = text.map_err(|error| Failure::because(Exit::Failure, "write as JSON", &error))?;
    app.out.line(&text)?;
    Ok(Exit::Ok)
}

/// A configuration to begin with: one server, and who may log in.
fn server(store_dir: &str, logins: &str) -> String {
    let store_dir = serde_json::Value::from(store_dir);
    format!(
        r#"# nats-server 2.12 or newer; 2.15.1 is recommended.
listen: "0.0.0.0:4222"
http: "127.0.0.1:8222"
max_payload: 8MB

jetstream {{
  store_dir: {store_dir}
  # An acknowledged message is on disk. Quoted: without quotes it is not understood.
  sync_interval: "always"
}}

{logins}"#
    )
}

/// One account that is the fleet's.
fn one_account() -> String {
    format!(
        "# Replace the password, e.g. by the output of `nats server passwd`.\n\
         authorization {{\n  user: metafleet\n  password: ${PASSWORD}\n}}\n"
    )
}

/// The accounts that there are to be.
fn wanted(names: &Names, args: &RenderArgs) -> Accounts {
    let mut plugins: BTreeMap<PluginId, BTreeSet<_>> = BTreeMap::new();
    for plugin in &args.plugins {
        let routes = plugins.entry(plugin.id.clone()).or_default();
        routes.extend(plugin.routes.iter().copied());
    }
    Accounts::of(names, &plugins)
}

/// An account for each plugin.
fn accounts(names: &Names, args: &RenderArgs) -> Result<String, Failure> {
    let accounts = wanted(names, args);
    let Some(keys) = &args.keys else {
        let note = "# Passwords come from variables of the server's environment; keys are better, see `--keys`.\n";
        let proof = |plugin: Option<&PluginId>| Proof::Variable(variable(plugin));
        return Ok(format!("{note}{}", render_accounts(&accounts, proof)));
    };
    let coordinator = public_key(keys, COORDINATOR)?;
    let mut known = BTreeMap::new();
    for PluginAccount { plugin: id, .. } in &accounts.plugins {
        known.insert(id, public_key(keys, id.as_str())?);
    }
    Ok(render_accounts(&accounts, |plugin| {
        let key = plugin.and_then(|id| known.get(id)).unwrap_or(&coordinator);
        Proof::Nkey(key.clone())
    }))
}

/// The variable with a plugin's password; ids hold no `_`, so that no two plugins share one.
fn variable(plugin: Option<&PluginId>) -> String {
    plugin.map_or_else(
        || PASSWORD.to_owned(),
        |id| format!("{PASSWORD}_{}", id.as_str().to_ascii_uppercase().replace('-', "_")),
    )
}

fn public_key(dir: &Path, name: &str) -> Result<String, Failure> {
    let path = dir.join(format!("{name}.pub"));
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::because(Exit::NotFound, &format!("read {}", path.display()), &error)
    })?;
    let key = text.trim();
    let is_key = key.starts_with('U')
        && key.len() == 56
        && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if is_key {
        Ok(key.to_owned())
    } else {
        Err(Failure::usage(format!("{} is not the public part of a user's key", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_accounts_it_is_one_user_and_a_password() {
        let text = server("/var/lib/nats", &one_account());
        assert!(text.contains("store_dir: \"/var/lib/nats\"\n"), "{text}");
        let end = "}\n\n# Replace the password, e.g. by the output of `nats server passwd`.\n\
                   authorization {\n  user: metafleet\n  password: $METAFLEET_NATS_PASSWORD\n}\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn each_plugin_has_a_variable_of_its_own() {
        let plugin = "jellyfin-nfo".parse().unwrap();
        assert_eq!(variable(Some(&plugin)), "METAFLEET_NATS_PASSWORD_JELLYFIN_NFO");
        assert_eq!(variable(None), "METAFLEET_NATS_PASSWORD");
    }

    #[test]
    fn what_is_no_public_key_is_refused() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let key = format!("U{}", "A".repeat(55));
        std::fs::write(dir.path().join("good.pub"), format!("{key}\n"))?;
        // A seed must never get into a configuration.
        std::fs::write(dir.path().join("seed.pub"), format!("SU{}\n", "A".repeat(56)))?;
        let read = |name| public_key(dir.path(), name).map_err(|failure| failure.exit);
        assert_eq!(read("good"), Ok(key));
        assert_eq!(read("seed"), Err(Exit::Usage));
        assert_eq!(read("none"), Err(Exit::NotFound));
        Ok(())
    }
}
