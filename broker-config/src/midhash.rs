//! The content id of a file: midhash256 over its size and a sample from its middle.
//!
//! Two different files can share an id when they differ outside the sample only, so the id says
//! "treat as the same content" and never proves it: every path of an id is kept.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};

use crate::id::Cid;

/// Files up to this size are hashed whole; of larger ones this much from the middle.
pub const SAMPLE_BYTES: u64 = 1_048_576;

/// Version 1, codec 0x1000, multihash 0x1000, length 0x20.
const CANONICAL: [u8; 6] = [0x01, 0x80, 0x20, 0x80, 0x20, 0x20];
/// The same multihash behind the codec of raw bytes.
const RAW_CODEC: [u8; 5] = [0x01, 0x55, 0x80, 0x20, 0x20];
const LEGACY: &str = "midhash256:";

/// Where the sample of a file of `size` bytes begins and how long it is.
#[must_use]
pub fn sample_of(size: u64) -> (u64, usize) {
    let length = size.min(SAMPLE_BYTES);
    // At most SAMPLE_BYTES, which fits everywhere.
    ((size - length) / 2, usize::try_from(length).unwrap_or(usize::MAX))
}

/// The content id of a file of `size` bytes whose sample is `sample`.
#[must_use]
pub fn cid_of(size: u64, sample: &[u8]) -> Cid {
    let mut hasher = Sha256::new();
    hasher.update(size.to_be_bytes());
    hasher.update(sample);
    canonical(&hasher.finalize().into())
}

/// Reads exactly the sample of `file`, which must be `size` bytes long, into `buffer`.
///
/// # Errors
///
/// Any error of reading; [`io::ErrorKind::UnexpectedEof`] where the file is shorter than `size`.
pub fn read_sample(file: &File, size: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    let (offset, length) = sample_of(size);
    buffer.resize(length, 0);
    file.read_exact_at(buffer, offset)
}

/// The content id of the file at `path`; blocks while it reads.
///
/// # Errors
///
/// Any error of opening or reading; [`io::ErrorKind::UnexpectedEof`] where the file shrinks
/// meanwhile.
pub fn of_file(path: &Path) -> io::Result<Cid> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut sample = Vec::new();
    read_sample(&file, size, &mut sample)?;
    Ok(cid_of(size, &sample))
}

/// The text is no spelling of a midhash256 content id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a midhash256 content id (bagacbabae…, bafkyaiba… or midhash256:<hex or base32>)"
)]
pub struct InvalidMidhash(String);

/// Reads any accepted spelling and gives the canonical one.
///
/// # Errors
///
/// [`InvalidMidhash`] where the text is none of the accepted spellings.
pub fn parse(text: &str) -> Result<Cid, InvalidMidhash> {
    digest(text)
        .map(|digest| canonical(&digest))
        .ok_or_else(|| InvalidMidhash(text.chars().take(80).collect()))
}

/// The 32 bytes behind any accepted spelling.
pub(crate) fn digest(text: &str) -> Option<[u8; 32]> {
    if let Some(legacy) = text.strip_prefix(LEGACY) {
        let bytes = if legacy.len() == 64 {
            HEXLOWER_PERMISSIVE.decode(legacy.as_bytes()).ok()?
        } else {
            let padding_free = legacy.trim_end_matches('=').to_ascii_uppercase();
            BASE32_NOPAD.decode(padding_free.as_bytes()).ok()?
        };
        return bytes.try_into().ok();
    }
    let base32 = text.strip_prefix('b')?;
    if base32.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let bytes = BASE32_NOPAD.decode(base32.to_ascii_uppercase().as_bytes()).ok()?;
    let digest = bytes.strip_prefix(&CANONICAL).or_else(|| bytes.strip_prefix(&RAW_CODEC))?;
    digest.try_into().ok()
}

fn canonical(digest: &[u8; 32]) -> Cid {
    let mut bytes = CANONICAL.to_vec();
    bytes.extend_from_slice(digest);
    let mut text = String::with_capacity(62);
    text.push('b');
    BASE32_NOPAD.encode_append(&bytes, &mut text);
    text.make_ascii_lowercase();
    #[expect(clippy::expect_used, reason = "62 letters and digits are a valid content id")]
    Cid::try_from(text).expect("a base32 text is a valid content id")
}

#[cfg(test)]
mod tests;
