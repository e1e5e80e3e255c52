//! PURE: a JWT of NATS: claims, signed by an nkey.

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha512_256};

/// What each of them begins with.
const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The public key of whoever signed.
    #[serde(rename = "iss", default)]
    pub issuer: String,
    /// The public key of whom it is about.
    #[serde(rename = "sub")]
    pub subject: String,
    /// What that one is called.
    #[serde(default)]
    pub name: String,
    /// When it was signed, in seconds since 1970.
    #[serde(rename = "iat", default)]
    pub issued_at: u64,
    /// What is particular to operators, accounts, users and activations.
    #[serde(default)]
    pub nats: Map<String, Value>,
    /// What else there is, e.g. when it expires.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A text is no token that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It is none, or one of version 1.
    #[error("this is not a JWT of NATS, version 2")]
    Form,
    /// Whoever it names has not signed it.
    #[error("its signature is not that of its issuer")]
    Signature,
}

impl Claims {
    /// What is to be said about whoever has this key.
    pub(super) fn about(subject: &str, name: &str, nats: Map<String, Value>) -> Self {
        Self {
            issuer: String::new(),
            subject: subject.to_owned(),
            name: name.to_owned(),
            issued_at: 0,
            nats,
            rest: Map::new(),
        }
    }

    /// Reads a token; its signature must be right.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`]; none of its text is quoted.
    pub fn read(token: &str) -> Result<Self, InvalidToken> {
        let token = token.trim();
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(InvalidToken::Form)?;
        let bytes =
            |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| InvalidToken::Form);
        let header: Value =
            serde_json::from_slice(&bytes(header)?).map_err(|_| InvalidToken::Form)?;
        if header["alg"] != "ed25519-nkey" {
            return Err(InvalidToken::Form);
        }
        let claims: Self =
            serde_json::from_slice(&bytes(payload)?).map_err(|_| InvalidToken::Form)?;
        let issuer =
            KeyPair::from_public_key(&claims.issuer).map_err(|_| InvalidToken::Signature)?;
        let signature = bytes(signature)?;
        issuer.verify(signed.as_bytes(), &signature).map_err(|_| InvalidToken::Signature)?;
        // Whoever is named becomes the name of a file: anybody can sign anything with a key of their own.
        KeyPair::from_public_key(&claims.subject).map_err(|_| InvalidToken::Form)?;
        Ok(claims)
    }

    /// Signs it; `None` when the key has no secret part.
    pub(super) fn sign(mut self, key: &KeyPair, now: u64) -> Option<String> {
        self.issuer = key.public_key();
        self.issued_at = now;
        self.rest.remove("jti");
        // A server takes two tokens of one id for the same; theirs covers less.
        let id = Sha512_256::digest(serde_json::to_vec(&self).ok()?);
        self.rest.insert("jti".to_owned(), BASE32_NOPAD.encode(&id).into());
        let payload = BASE64URL_NOPAD.encode(&serde_json::to_vec(&self).ok()?);
        let signed = format!("{}.{payload}", BASE64URL_NOPAD.encode(HEADER.as_bytes()));
        let signature = key.sign(signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self, now: u64) -> bool {
        let until = self.rest.get("exp").and_then(Value::as_u64).unwrap_or_default();
        (1..=now).contains(&until)
    }

    /// Whether both say the same, whoever has signed it and when.
    pub(super) fn says_what(&self, other: &Self) -> bool {
        let rest = |claims: &Self| {
            let mut rest = claims.rest.clone();
            rest.remove("jti");
            rest
        };
        self.subject == other.subject
            && self.name == other.name
            && self.nats == other.nats
            && rest(self) == rest(other)
    }

    /// The keys that may sign for whoever it is about, those that are only for signing first.
    pub(super) fn signers(&self) -> Vec<String> {
        // Others are bound to rules of their own.
        let signing = self.nats.get("signing_keys").and_then(Value::as_array);
        let mut all: Vec<String> = signing
            .into_iter()
            .flatten()
            .filter_map(|key| key.as_str().map(ToOwned::to_owned))
            .collect();
        if self.nats.get("strict_signing_key_usage") != Some(&Value::Bool(true)) {
            all.push(self.subject.clone());
        }
        all
    }
}

/// A login file: the token of a user and the seed of its key.
pub(super) fn creds(token: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\
         NKEYs are sensitive and should be treated as secrets.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n\
         *************************************************************\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let key = KeyPair::new_operator();
        let nats = json!({"type": "operator", "version": 2}).as_object().unwrap().clone();
        let claims = Claims::about(&key.public_key(), "o", nats);
        let token = claims.clone().sign(&key, 7).unwrap();

        let read = Claims::read(&token).unwrap();

        assert!(read.says_what(&claims));
        assert_eq!((read.issued_at, read.issuer), (7, key.public_key()));
        assert_eq!(token.split('.').next(), Some("eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ"));
        let other = claims.sign(&key, 8).unwrap();
        let (body, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        let mixed = format!("{body}.{signature}");
        let path = Claims::about("../../name", "o", Map::new()).sign(&key, 7).unwrap();
        for (token, error) in [
            (path.as_str(), InvalidToken::Form),
            (mixed.as_str(), InvalidToken::Signature),
            (body, InvalidToken::Form),
            ("", InvalidToken::Form),
            ("a.b.c", InvalidToken::Form),
        ] {
            assert_eq!(Claims::read(token), Err(error), "{token}");
        }
    }

    #[test]
    fn a_token_without_an_end_is_never_over() {
        for (until, now, expected) in
            [(None, 9, false), (Some(0), 9, false), (Some(9), 8, false), (Some(9), 9, true)]
        {
            let mut claims = Claims::about("A", "a", Map::new());
            if let Some(until) = until {
                claims.rest.insert("exp".to_owned(), until.into());
            }
            assert_eq!(claims.is_over(now), expected, "{until:?} at {now}");
        }
    }

    #[test]
    fn without_the_secret_part_nothing_is_signed() {
        let key = KeyPair::from_public_key(&KeyPair::new_account().public_key()).unwrap();
        assert_eq!(Claims::about("A", "a", Map::new()).sign(&key, 1), None);
    }
}
