//! PURE: a login as files, so that nothing of it need be in an environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Connection, Login};
use crate::config::Secret;

/// What a file with a secret is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// This text.
    Text(Secret),
    /// What this file holds.
    CopyOf(PathBuf),
}

/// A login as plugins are told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginFiles {
    /// Variables; no secret is among them.
    pub variables: BTreeMap<String, String>,
    /// Files, by name.
    pub files: BTreeMap<&'static str, Content>,
}

impl Connection {
    /// The login for whoever sees the files in `dir`.
    #[must_use]
    pub fn login_files(&self, dir: &Path) -> LoginFiles {
        let mut all = self.login.files(dir);
        if let Some(ca) = &self.tls.ca {
            all.add(dir, "NATS_CA", "ca.pem", Content::CopyOf(ca.clone()));
        }
        if let Some((certificate, key)) = &self.tls.client {
            all.add(dir, "NATS_CERT", "cert.pem", Content::CopyOf(certificate.clone()));
            all.add(dir, "NATS_KEY", "key.pem", Content::CopyOf(key.clone()));
        }
        all
    }
}

impl Login {
    /// This login, without certificates, for whoever sees the files in `dir`.
    #[must_use]
    pub fn files(&self, dir: &Path) -> LoginFiles {
        let mut all = LoginFiles::default();
        match self {
            Self::Anonymous => {}
            Self::User { name, password } => {
                all.variables.insert("NATS_USER".to_owned(), name.clone());
                all.add(
                    dir,
                    "NATS_PASSWORD_FILE",
                    "nats-password",
                    Content::Text(password.clone()),
                );
            }
            Self::Token(token) => {
                all.add(dir, "NATS_TOKEN_FILE", "nats-token", Content::Text(token.clone()));
            }
            Self::Credentials(path) => {
                all.add(dir, "NATS_CREDS", "nats.creds", Content::CopyOf(path.clone()));
            }
            Self::Nkey(seed) => {
                let path = PathBuf::from(seed.reveal());
                let is_file = path.components().count() > 1;
                let content =
                    if is_file { Content::CopyOf(path) } else { Content::Text(seed.clone()) };
                all.add(dir, "NATS_NKEY", "nats-nkey", content);
            }
        }
        all
    }
}

impl LoginFiles {
    fn add(&mut self, dir: &Path, variable: &str, file: &'static str, content: Content) {
        let path = dir.join(file).display().to_string();
        self.variables.insert(variable.to_owned(), path);
        self.files.insert(file, content);
    }
}
