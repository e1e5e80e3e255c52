//! Keys whose secret part is known.

use std::collections::BTreeMap;
use std::fmt;

use nkeys::{KeyPair, KeyPairType};

use super::files::{self, Files};
use super::token::Claims;

/// Keys by their public part.
pub struct Ring {
    keys: BTreeMap<String, KeyPair>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

impl Ring {
    /// The keys that are in a folder, those of login files too.
    #[must_use]
    pub fn of(files: &Files) -> Self {
        let mut ring = Self { keys: BTreeMap::new() };
        for (path, text) in files.all() {
            if path.ends_with(".nk") || path.ends_with(".creds") {
                ring.add(text);
            }
        }
        ring
    }

    /// Adds the key of a text that holds a seed on a line of its own; says whether there was one.
    pub fn add(&mut self, text: &str) -> bool {
        let is_seed = |line: &&str| line.len() == 58 && line.starts_with('S');
        let Some(seed) = text.lines().map(str::trim).find(is_seed) else { return false };
        let Ok(key) = KeyPair::from_seed(seed) else { return false };
        self.keys.insert(key.public_key(), key);
        true
    }

    /// Signs with the first of these keys that is known.
    #[must_use]
    pub fn sign(&self, claims: Claims, keys: &[String], now: u64) -> Option<String> {
        claims.sign(self.first(keys)?, now)
    }

    /// The first of these that is known.
    pub(super) fn first(&self, public: &[String]) -> Option<&KeyPair> {
        public.iter().find_map(|public| self.keys.get(public))
    }

    /// The secret part of a key.
    pub(super) fn seed(&self, public: &str) -> Option<String> {
        self.keys.get(public)?.seed().ok()
    }

    /// Makes a key and keeps it; returns its public part.
    pub(super) fn make(&mut self, kind: KeyPairType, files: &mut Files) -> String {
        let key = KeyPair::new(kind);
        let public = key.public_key();
        if let Ok(seed) = key.seed() {
            files.put(files::key(&public), seed);
        }
        self.keys.insert(public.clone(), key);
        public
    }
}
