//! The logins of the embedded broker. A password is made once and stays for as long as its owner is
//! known: a plugin that was gone and comes again has another one.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use broker_config::PluginId;
use serde::{Deserialize, Serialize};

use super::accounts::Proof;
use super::logins::{Plugins, Tenants};
use crate::config::connection::Login;
use crate::config::secret::write_out;
use crate::config::{Secret, private_file};

/// The name of the login that may do everything; no plugin can have it.
pub const COORDINATOR: &str = PluginId::COORDINATOR;
/// The name of the login of all plugins, where they share one.
pub const PLUGIN: &str = "plugin";

/// Passwords by login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Of [`COORDINATOR`].
    #[serde(serialize_with = "write_out")]
    pub coordinator: Secret,
    /// Of each plugin. A file of an older version has none.
    #[serde(default)]
    pub plugins: BTreeMap<PluginId, Password>,
    /// Of [`PLUGIN`], where all plugins share one login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Password>,
}

/// The password of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(#[serde(serialize_with = "write_out")] pub Secret);

impl Users {
    /// Reads the passwords, or makes them when there are none.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn load_or_make(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(text) => {
                if let Ok(users) = serde_json::from_slice(&text) {
                    return Ok(users);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let users = Self { coordinator: secret()?, plugins: BTreeMap::new(), plugin: None };
        users.keep(path)?;
        Ok(users)
    }

    /// Keeps the passwords where only their owner reads them.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn keep(&self, path: &Path) -> io::Result<()> {
        private_file::write(path, &serde_json::to_vec_pretty(self)?)
    }

    /// Makes a password for each of these that has none.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn admit(&mut self, plugins: &Plugins) -> io::Result<()> {
        for id in plugins.keys().filter(|id| id.kept_for().is_none()) {
            if !self.plugins.contains_key(id) {
                self.plugins.insert(id.clone(), Password(secret()?));
            }
        }
        Ok(())
    }

    /// Makes what the tenants of a server need, and forgets what they do not.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(super) fn prepare(&mut self, tenants: &Tenants) -> io::Result<()> {
        match tenants {
            Tenants::Each { plugins, forgets_others } => {
                self.plugin = None;
                if *forgets_others {
                    self.plugins.retain(|id, _| plugins.contains_key(id));
                }
                self.admit(plugins)
            }
            Tenants::AsBefore => Ok(()),
            Tenants::Together => {
                if self.plugin.is_none() {
                    self.plugin = Some(Password(secret()?));
                }
                Ok(())
            }
        }
    }

    /// The login that may do everything.
    #[must_use]
    pub fn coordinator_login(&self) -> Login {
        Login::User { name: COORDINATOR.to_owned(), password: self.coordinator.clone() }
    }

    /// The login of a plugin, if it has one.
    #[must_use]
    pub fn plugin_login(&self, plugin: &PluginId) -> Option<Login> {
        let Password(password) = self.plugins.get(plugin)?;
        Some(Login::User { name: plugin.to_string(), password: password.clone() })
    }

    /// The login of all plugins, where they share one.
    #[must_use]
    pub fn shared_login(&self) -> Option<Login> {
        let Password(password) = self.plugin.as_ref()?;
        Some(Login::User { name: PLUGIN.to_owned(), password: password.clone() })
    }

    /// How the user of a plugin, or the coordinator (`None`), shows who it is.
    pub(super) fn proof(&self, plugin: Option<&PluginId>) -> Proof {
        let own = plugin.and_then(|id| self.plugins.get(id));
        // A plugin without a password is let in with none that it could know.
        Proof::Password(own.map_or_else(|| self.coordinator.clone(), |it| it.0.clone()))
    }
}

fn secret() -> io::Result<Secret> {
    private_file::random_hex(24).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugins(ids: &[&str]) -> Plugins {
        ids.iter().map(|id| (id.parse().unwrap(), Default::default())).collect()
    }

    #[test]
    fn passwords_are_made_once_and_again_when_they_are_spoilt() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("users.json");
        let mut users = Users::load_or_make(&path)?;
        users.admit(&plugins(&["a", "b", "user", "coordinator"]))?;
        users.keep(&path)?;

        assert_eq!(Users::load_or_make(&path)?, users);
        let before = users.clone();
        users.admit(&plugins(&["a"]))?;
        assert_eq!(users, before);
        let ids: Vec<&str> = users.plugins.keys().map(PluginId::as_str).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_ne!(users.plugins[&"a".parse()?], users.plugins[&"b".parse()?]);
        assert!(users.plugins.values().all(|it| it.0 != users.coordinator));
        std::fs::write(&path, "{")?;
        assert_ne!(Users::load_or_make(&path)?, users);
        Ok(())
    }

    #[test]
    fn a_plugin_that_was_forgotten_has_another_password() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let mut users = Users::load_or_make(&home.path().join("users.json"))?;
        let of =
            |ids: &[&str], forgets_others| Tenants::Each { plugins: plugins(ids), forgets_others };
        users.prepare(&of(&["a", "b"], true))?;
        let before = users.clone();
        users.prepare(&of(&["b"], false))?;
        assert_eq!(users, before, "whoever runs for one command forgets nobody");

        users.prepare(&of(&["b"], true))?;
        users.prepare(&of(&["a", "b"], true))?;

        assert_eq!(users.plugins[&"b".parse()?], before.plugins[&"b".parse()?]);
        assert_ne!(users.plugins[&"a".parse()?], before.plugins[&"a".parse()?]);
        Ok(())
    }

    #[test]
    fn a_file_of_an_older_version_is_read() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("users.json");
        std::fs::write(&path, r#"{"coordinator": "one", "plugin": "two"}"#)?;

        let users = Users::load_or_make(&path)?;

        assert_eq!(users.coordinator, Secret::new("one"));
        assert_eq!(users.plugins, BTreeMap::new());
        let mut now = users;
        now.prepare(&Tenants::Each { plugins: plugins(&["a"]), forgets_others: true })?;
        now.keep(&path)?;
        assert!(
            !std::fs::read_to_string(&path)?.contains("two"),
            "a login that nobody has is kept"
        );
        Ok(())
    }
}
