//! The two logins of the embedded broker; their passwords are made once.

use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::connection::Login;
use crate::config::secret::write_out;
use crate::config::{Secret, private_file};

/// The name of the login that may do everything.
pub const COORDINATOR: &str = "coordinator";
/// The name of the login that may do what plugins need.
pub const PLUGIN: &str = "plugin";

/// Passwords by login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Of [`COORDINATOR`].
    #[serde(serialize_with = "write_out")]
    pub coordinator: Secret,
    /// Of [`PLUGIN`].
    #[serde(serialize_with = "write_out")]
    pub plugin: Secret,
}

impl Users {
    /// Reads the passwords, or makes and keeps them when there are none.
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
        let secret = || private_file::random_hex(24).map(Secret::new);
        let users = Self { coordinator: secret()?, plugin: secret()? };
        private_file::write(path, &serde_json::to_vec_pretty(&users)?)?;
        Ok(users)
    }

    /// The login that may do everything.
    #[must_use]
    pub fn coordinator_login(&self) -> Login {
        Login::User { name: COORDINATOR.to_owned(), password: self.coordinator.clone() }
    }

    /// The login that may do what plugins need.
    #[must_use]
    pub fn plugin_login(&self) -> Login {
        Login::User { name: PLUGIN.to_owned(), password: self.plugin.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_made_once_and_again_when_they_are_spoilt() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("users.json");
        let users = Users::load_or_make(&path)?;
        assert_eq!(Users::load_or_make(&path)?, users);
        assert_ne!(users.coordinator, users.plugin);
        std::fs::write(&path, "{")?;
        assert_ne!(Users::load_or_make(&path)?, users);
        Ok(())
    }
}
