//! PURE  four checksums of the same bytes at once.

use data_encoding::HEXLOWER;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Takes bytes piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Digester {
    sha256: Sha256,
    sha1: Sha1,
    md5: Md5,
    crc32: crc32fast::Hasher,
}

/// The checksums, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Digests {
    pub sha256: String,
    pub sha1: String,
    pub md5: String,
    pub crc32: String,
}

impl Digester {
    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.sha1.update(piece);
        self.md5.update(piece);
        self.crc32.update(piece);
    }

    /// The checksums of all pieces in their order.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: HEXLOWER.encode(&self.sha256.finalize()),
            sha1: HEXLOWER.encode(&self.sha1.finalize()),
            md5: HEXLOWER.encode(&self.md5.finalize()),
            crc32: format!("{:08x}", self.crc32.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors_come_out_however_the_bytes_are_cut() {
        for (text, sha256, sha1, md5, crc32) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "d41d8cd98f00b204e9800998ecf8427e",
                "00000000",
            ),
            (
                "123456789",
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
                "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
                "25f9e794323b453885f5181f1b624d0b",
                "cbf43926",
            ),
        ] {
            for size in [1, 4, 100] {
                let mut digester = Digester::default();
                text.as_bytes().chunks(size).for_each(|piece| digester.update(piece));

                let found = digester.finish();

                let expected = [sha256, sha1, md5, crc32];
                let found = [&found.sha256, &found.sha1, &found.md5, &found.crc32];
                assert_eq!(found, expected, "`{text}` in pieces of {size}");
            }
        }
    }
}
