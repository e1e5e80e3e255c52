//! Who answers for a package: an Ed25519 signature of its list by an nkey.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use data_encoding::BASE64;
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};

use super::{PackageError, SIGNATURE};

/// Bytes of a file with a key, or with keys.
const MAX_KEY_FILE: u64 = 64 << 10;
/// Bytes of a signature's entry.
pub(super) const MAX_SIGNATURE: u64 = 4 << 10;

/// The public part of an nkey, e.g. `UDX…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// The text is no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the public key of an nkey; one begins with a letter like U or A and has 56")]
pub struct InvalidKey;

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The library's error may quote what could be a seed.
        KeyPair::from_public_key(text).map_err(|_| InvalidKey)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Says what the entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignatureType {
    /// `metafleet.package-signature.v1`
    #[serde(rename = "metafleet.package-signature.v1")]
    V1,
}

/// The second entry of a package that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// `metafleet.package-signature.v1`
    #[serde(rename = "type")]
    pub kind: SignatureType,
    /// Who signed.
    pub key: Key,
    /// The signature of the bytes of the first entry, in base64.
    pub signature: String,
}

/// What signs; never shown.
pub(super) struct Signer(KeyPair);

impl Signer {
    /// Reads the seed of an nkey: the line of the file that begins with `S`.
    pub(super) fn read(path: &Path) -> Result<Self, PackageError> {
        let text = read_text(path)?;
        let mut lines = text.lines().map(str::trim);
        let seed = lines.find(|line| line.starts_with('S')).unwrap_or_default();
        let refused = |_| {
            let reason = "there is no seed of an nkey in it, a line that begins with S and has 58 \
                          letters; `nk -gen user` makes one";
            PackageError::refused(path, reason)
        };
        KeyPair::from_seed(seed).map(Self).map_err(refused)
    }

    /// The entry that goes with this list.
    pub(super) fn sign(&self, listing: &[u8]) -> Option<Signature> {
        let signature = BASE64.encode(&self.0.sign(listing).ok()?);
        let key = Key(self.0.public_key());
        Some(Signature { kind: SignatureType::V1, key, signature })
    }
}

fn read_text(path: &Path) -> Result<String, PackageError> {
    let length = std::fs::metadata(path).map_err(PackageError::io(path))?.len();
    if length > MAX_KEY_FILE {
        return Err(PackageError::refused(path, "is too large to be a file with keys"));
    }
    std::fs::read_to_string(path).map_err(PackageError::io(path))
}

/// Reads the entry of a signature and says who signed.
pub(super) fn verify(listing: &[u8], entry: &[u8]) -> Result<Key, String> {
    let signature: Signature = serde_json::from_slice(entry)
        .map_err(|error| format!("{SIGNATURE} cannot be understood: {error}"))?;
    let Signature { key, signature, .. } = signature;
    let bytes = BASE64
        .decode(signature.as_bytes())
        .map_err(|_| format!("{SIGNATURE}: the signature is not base64"))?;
    let pair = KeyPair::from_public_key(&key.0).map_err(|_| InvalidKey.to_string())?;
    pair.verify(listing, &bytes)
        .map_err(|_| format!("{SIGNATURE}: the signature by {key} is not of this list"))?;
    Ok(key)
}

/// Whose packages are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Whether a package must be signed.
    pub is_required: bool,
    /// By whom; `None` = by anybody.
    pub keys: Option<BTreeSet<Key>>,
}

impl Trust {
    /// Adds the keys in a file: one a line; what follows a `#` is for people.
    ///
    /// # Errors
    ///
    /// [`PackageError`] with the line that is no key.
    pub fn add_file(&mut self, path: &Path) -> Result<(), PackageError> {
        let text = read_text(path)?;
        let keys = self.keys.get_or_insert_default();
        for (at, line) in text.lines().enumerate() {
            let key = line.split('#').next().unwrap_or_default().trim();
            if key.is_empty() {
                continue;
            }
            let refused = |error| PackageError::refused(path, format!("line {}: {error}", at + 1));
            keys.insert(key.parse().map_err(refused)?);
        }
        Ok(())
    }

    /// Whether a package that was signed by `key` is wanted.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn judge(&self, key: Option<&Key>) -> Result<(), String> {
        match (key, &self.keys) {
            (None, None) if !self.is_required => Ok(()),
            (None, _) => Err("it is not signed, and it must be".to_owned()),
            (Some(_), None) => Ok(()),
            (Some(key), Some(keys)) if keys.contains(key) => Ok(()),
            (Some(key), Some(_)) => Err(format!("it is signed by {key}, which is not trusted")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_packages_are_wanted() {
        let (one, two) = (KeyPair::new_user().public_key(), KeyPair::new_account().public_key());
        let (one, two): (Key, Key) = (one.parse().unwrap(), two.parse().unwrap());
        let trust = |is_required, keys: Option<&[&Key]>| Trust {
            is_required,
            keys: keys.map(|keys| keys.iter().map(|key| (*key).clone()).collect()),
        };
        for (trust, key, is_wanted) in [
            (trust(false, None), None, true),
            (trust(false, None), Some(&one), true),
            (trust(true, None), None, false),
            (trust(true, None), Some(&one), true),
            (trust(false, Some(&[])), None, false),
            (trust(false, Some(&[])), Some(&one), false),
            (trust(false, Some(&[&one])), Some(&one), true),
            (trust(true, Some(&[&one, &two])), Some(&two), true),
            (trust(false, Some(&[&two])), Some(&one), false),
        ] {
            assert_eq!(trust.judge(key).is_ok(), is_wanted, "{trust:?} {key:?}");
        }
    }

    #[test]
    fn a_signature_is_of_these_bytes_by_this_key() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let (mine, other) = (KeyPair::new_user(), KeyPair::new_user());
        let path = home.path().join("key.nk");
        let seed = mine.seed().unwrap_or_default();
        std::fs::write(&path, format!("# mine\n{seed}\n"))?;
        let signer = Signer::read(&path)?;
        let signed = signer.sign(b"list").unwrap();
        let entry = |signature: &Signature| serde_json::to_vec(signature).unwrap();

        assert_eq!(verify(b"list", &entry(&signed)), Ok(Key(mine.public_key())));
        assert!(verify(b"lisT", &entry(&signed)).unwrap_err().contains("not of this list"));
        let stolen = Signature { key: Key(other.public_key()), ..signed.clone() };
        assert!(verify(b"list", &entry(&stolen)).unwrap_err().contains("not of this list"));
        for odd in ["", "A", "AAAA", "===="] {
            let odd = Signature { signature: odd.to_owned(), ..signed.clone() };
            assert!(verify(b"list", &entry(&odd)).is_err(), "{odd:?}");
        }
        for odd in [&b""[..], b"{}", b"\xff", b"[1]"] {
            assert!(verify(b"list", odd).unwrap_err().contains("cannot be understood"));
        }
        for key in ["", "U", &seed, &"U".repeat(56)] {
            let error = key.parse::<Key>().unwrap_err().to_string();
            assert!(!error.contains(&seed[2..]), "{error}");
        }
        std::fs::write(&path, mine.public_key())?;
        assert!(Signer::read(&path).is_err());
        Ok(())
    }
}
