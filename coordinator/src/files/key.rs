//! Tokens: one for each plugin, so that a transfer has a name, and all from one secret.
//!
//! A token is `<plugin>.<HMAC-SHA256 of the plugin's id>`. It stays the same as long as the secret,
//! which a person replaces by purging the key `files` of the bucket of the lease and starting the
//! coordinators anew.

use broker_config::PluginId;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// Random bytes of a secret.
pub const BYTES: usize = 32;
/// What is signed begins with it, so that the secret may serve for other things, too.
const PURPOSE: &[u8] = b"metafleet files 1\0";

/// Makes tokens and knows them again.
#[derive(Debug)]
pub struct Key(Secret);

impl Key {
    /// From the fleet's secret.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The token of a plugin.
    #[must_use]
    pub fn token(&self, plugin: &PluginId) -> String {
        format!("{plugin}.{}", self.proof(plugin))
    }

    /// Whose token this is; takes as long for each wrong one of a plugin.
    #[must_use]
    pub fn holder(&self, token: &str) -> Option<PluginId> {
        let (plugin, proof) = token.split_once('.')?;
        let plugin: PluginId = plugin.parse().ok()?;
        let is_right = proof.as_bytes().ct_eq(self.proof(&plugin).as_bytes());
        bool::from(is_right).then_some(plugin)
    }

    fn proof(&self, plugin: &PluginId) -> String {
        // A key of any length will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.reveal().as_bytes()) else {
            return String::new();
        };
        mac.update(PURPOSE);
        mac.update(plugin.as_str().as_bytes());
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_and_nothing_like_it() {
        let key = Key::new(Secret::new("0123456789abcdef"));
        let (ours, other) = ("full-hash".parse().unwrap(), "file-info".parse().unwrap());
        let token = key.token(&ours);
        assert_eq!(key.holder(&token), Some(ours));
        assert_ne!(token, key.token(&other));
        assert!(token.len() > 50, "{token}");
        let (_, proof) = token.split_once('.').unwrap();
        for wrong in [
            String::new(),
            "full-hash".to_owned(),
            "full-hash.".to_owned(),
            proof.to_owned(),
            format!("file-info.{proof}"),
            format!("Full-hash.{proof}"),
            format!("{token}x"),
            token[..token.len() - 1].to_owned(),
            format!(" {token}"),
        ] {
            assert_eq!(key.holder(&wrong), None, "{wrong}");
        }
        assert_eq!(Key::new(Secret::new("another secret")).holder(&token), None);
    }
}
