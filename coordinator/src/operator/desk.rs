//! Where single tokens are signed, or kept.

use std::collections::BTreeMap;

use broker_config::accounts::Account;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Map, Value};

use super::claims::{self, Around};
use super::files::{self, Files};
use super::issue::{Login, Refused};
use super::ring::Ring;
use super::token::{Claims, creds};

/// What is signed with, and where it is kept.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) files: &'a mut Files,
    pub(super) ring: &'a mut Ring,
    /// The operator's name.
    pub(super) name: String,
    pub(super) operator: Claims,
    pub(super) now: u64,
}

/// An account, and who signs for it.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    name: String,
    pub(super) key: String,
    /// What its token says; `None` = it has none as yet.
    pub(super) old: Option<Claims>,
    signer: KeyPair,
    /// Keys that may sign for it.
    signers: Vec<String>,
    /// Keys of users that are not let in any more, and since when.
    pub(super) revoked: Map<String, Value>,
}

impl Seat {
    /// What is signed for it with another key than its own names it.
    fn issuer(&self) -> Option<&str> {
        (self.signer.public_key() != self.key).then_some(self.key.as_str())
    }
}

/// An object within claims.
fn map_of(claims: &Map<String, Value>, name: &str) -> Map<String, Value> {
    claims.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The objects of a list within claims.
fn list_of<'a>(claims: Option<&'a Claims>, name: &str) -> impl Iterator<Item = &'a Value> {
    let list = claims.and_then(|claims| claims.nats.get(name)).and_then(Value::as_array);
    list.into_iter().flatten()
}

impl Desk<'_> {
    /// What a token in the folder says.
    pub(super) fn claims(&self, path: &str) -> Result<Option<Claims>, Refused> {
        let Some(token) = self.files.get(path) else { return Ok(None) };
        let path = path.to_owned();
        Claims::read(token).map(Some).map_err(|source| Refused::Token { path, source })
    }

    /// Signs as the operator.
    fn by_operator(&self, claims: Claims, now: u64) -> Result<String, Refused> {
        let keys = self.operator.signers();
        let signed = self.ring.sign(claims, &keys, now);
        let whose = || format!("operator {}", self.name);
        signed.ok_or_else(|| Refused::NoKey { whose: whose(), keys })
    }

    /// Makes the operator's own token, its first account and the user of that.
    pub(super) fn found(&mut self, key: &str, name: &str, user: &str) -> Result<(), Refused> {
        let operator = self.by_operator(self.operator.clone(), self.now)?;
        self.files.put(files::operator(&self.name), operator);
        let (path, about) = files::about(&self.name);
        self.files.put(path, about);
        let claims = Claims::about(key, name, claims::system());
        let token = self.by_operator(claims, self.now)?;
        self.files.put(files::account(&self.name, name), token);
        let mut seat = self.seat(name)?;
        self.user(&mut seat, user, false).map(drop)
    }

    /// An account, which gets a key when it has none.
    pub(super) fn seat(&mut self, name: &str) -> Result<Seat, Refused> {
        let old = self.claims(&files::account(&self.name, name))?;
        if old.as_ref().is_some_and(|old| old.is_over(self.now)) {
            return Err(Refused::Over(format!("account {name}")));
        }
        let key = match &old {
            Some(old) => old.subject.clone(),
            None => self.ring.make(KeyPairType::Account, self.files),
        };
        let mut signers = old.as_ref().map_or_else(|| vec![key.clone()], Claims::signers);
        if self.operator.nats.get("strict_signing_key_usage") == Some(&Value::Bool(true)) {
            signers.retain(|signer| *signer != key);
        }
        let signer = self.ring.first(&signers).cloned();
        let whose = || format!("account {name}");
        let signer =
            signer.ok_or_else(|| Refused::NoKey { whose: whose(), keys: signers.clone() })?;
        let revoked = old.as_ref().map_or_else(Map::new, |old| map_of(&old.nats, "revocations"));
        Ok(Seat { name: name.to_owned(), key, old, signer, signers, revoked })
    }

    /// A user of an account and its login file; it keeps its key unless that is revoked, its time is
    /// over, or it is to be another one.
    pub(super) fn user(
        &mut self,
        seat: &mut Seat,
        name: &str,
        is_new: bool,
    ) -> Result<Login, Refused> {
        let path = files::user(&self.name, &seat.name, name);
        let login = files::creds(&self.name, &seat.name, name);
        let old = self.claims(&path)?;
        if let Some(old) = old {
            let is_valid = seat.signers.contains(&old.issuer) && !old.is_over(self.now);
            let is_let_in = is_valid && !is_revoked(seat, &old);
            if is_let_in && !is_new {
                let seed = self.ring.seed(&old.subject);
                if let (Some(token), Some(seed)) = (self.files.get(&path), &seed) {
                    let text = creds(token.trim(), seed);
                    self.files.put(login.clone(), text);
                }
                let creds = seed.map(|_| login);
                return Ok(Login { user: name.to_owned(), creds, is_new: false });
            }
            self.files.remove(&files::key(&old.subject));
            seat.revoked.insert(old.subject, self.now.into());
        }
        let key = self.ring.make(KeyPairType::User, self.files);
        let claims = Claims::about(&key, name, claims::user(seat.issuer()));
        // Of those who were all revoked at once, it must not be one.
        let since = seat.revoked.get("*").and_then(Value::as_u64);
        let now = since.map_or(self.now, |since| self.now.max(since + 1));
        let token = claims.sign(&seat.signer, now).unwrap_or_default();
        let seed = self.ring.seed(&key).unwrap_or_default();
        self.files.put(login.clone(), creds(&token, &seed));
        self.files.put(path, token);
        Ok(Login { user: name.to_owned(), creds: Some(login), is_new: true })
    }

    /// What an account needs of the others: their keys, and their leave.
    pub(super) fn around(
        &self,
        account: &Account,
        seat: &Seat,
        seats: &BTreeMap<String, Seat>,
    ) -> Around {
        let mut around = Around::default();
        for import in &account.imports {
            let Some(other) = seats.get(&import.account) else { continue };
            let nats = claims::activation(&import.subject, other.issuer());
            let claims = Claims::about(&seat.key, &import.subject, nats);
            let token = match leave(seat, other, &claims) {
                Some(kept) => kept,
                None => claims.sign(&other.signer, self.now).unwrap_or_default(),
            };
            around.keys.insert(import.account.clone(), other.key.clone());
            around.leave.insert((import.account.clone(), import.subject.clone()), token);
        }
        for export in list_of(seat.old.as_ref(), "exports") {
            let revoked = export.get("revocations").and_then(Value::as_object).cloned();
            around.gone.extend(revoked.unwrap_or_default());
        }
        for seat in seats.values() {
            around.gone.remove(&seat.key);
        }
        around
    }

    /// Signs the token of an account unless it says all that already; says whether it did.
    pub(super) fn account(
        &mut self,
        name: &str,
        seat: &Seat,
        nats: Map<String, Value>,
    ) -> Result<bool, Refused> {
        let mut claims = Claims::about(&seat.key, name, nats);
        let mut now = self.now;
        if let Some(old) = &seat.old {
            claims.rest.clone_from(&old.rest);
            if old.says_what(&claims) && self.operator.signers().contains(&old.issuer) {
                return Ok(false);
            }
            // A server keeps what was signed last.
            now = now.max(old.issued_at + 1);
        }
        let token = self.by_operator(claims, now)?;
        self.files.put(files::account(&self.name, name), token);
        Ok(true)
    }
}

/// Whether a user is not let in any more.
fn is_revoked(seat: &Seat, user: &Claims) -> bool {
    let since = |key: &str| seat.revoked.get(key).and_then(Value::as_u64);
    let since = since(&user.subject).max(since("*"));
    since.is_some_and(|since| since >= user.issued_at)
}

/// The leave of another account that an account has already.
fn leave(seat: &Seat, other: &Seat, claims: &Claims) -> Option<String> {
    list_of(seat.old.as_ref(), "imports")
        .filter(|import| import["account"] == other.key.as_str())
        .filter_map(|import| import["token"].as_str())
        .find(|token| {
            let old = Claims::read(token);
            old.is_ok_and(|old| old.says_what(claims) && other.signers.contains(&old.issuer))
        })
        .map(ToOwned::to_owned)
}
