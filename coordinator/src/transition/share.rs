//! PURE: which files go to the new version of a plugin.

use broker_config::Cid;
use sha2::{Digest as _, Sha256};

/// Whether a file is among this share of all files, in percent.
///
/// Depends on the file alone: while the share rises, a file that is in it stays in it.
#[must_use]
pub fn takes(percent: u8, cid: &Cid) -> bool {
    place(cid) < u64::from(percent)
}

/// The place of a file, from 0 to 99; each has about as many files.
fn place(cid: &Cid) -> u64 {
    let hash = Sha256::digest(cid.as_str().as_bytes());
    hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % 100
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_place_of_a_file_never_changes() {
        for (cid, expected) in [("film", 42), ("midhash256:ab", 24), ("日本", 31)] {
            assert_eq!(place(&cid.parse().unwrap()), expected, "{cid}");
        }
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says() {
        for percent in [0, 5, 25, 50, 100] {
            let all = (0..10_000).map(|n| format!("file-{n}").parse::<Cid>().unwrap());
            let count = all.filter(|cid| takes(percent, cid)).count();
            let expected = usize::from(percent) * 100;
            assert!(count.abs_diff(expected) <= 150, "{percent} %: {count}");
        }
    }

    proptest! {
        #[test]
        fn a_file_stays_on_its_side_while_the_share_rises(cid in "[a-z0-9:]{1,40}", low in 0_u8..=100, high in 0_u8..=100) {
            let cid: Cid = cid.parse().unwrap();
            let (low, high) = (low.min(high), low.max(high));
            prop_assert!(!takes(low, &cid) || takes(high, &cid));
            prop_assert!(takes(100, &cid) && !takes(0, &cid));
        }
    }
}
