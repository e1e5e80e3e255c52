//! How much a package may be; the numbers are documented in `plugins/README.md`.

/// What is more than this is refused, before anything is written where that can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the package itself.
    pub packed: u64,
    /// Bytes of all files together.
    pub total: u64,
    /// Bytes of one file.
    pub file: u64,
    /// How many files.
    pub files: usize,
    /// Bytes of the list of files.
    pub listing: u64,
    /// Bytes of the manifest: it has to fit in an announcement.
    pub manifest: u64,
    /// How many times its own size a package may become.
    pub ratio: u64,
    /// So many bytes may come of any package, whatever its ratio.
    pub ratio_from: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packed: 512 << 20,
            total: 1 << 30,
            file: 512 << 20,
            files: 20_000,
            listing: 8 << 20,
            manifest: 1 << 20,
            ratio: 200,
            ratio_from: 16 << 20,
        }
    }
}

impl Limits {
    /// Why so many bytes cannot come of a package of `packed` bytes.
    #[must_use]
    pub fn ratio_problem(&self, packed: u64, total: u64) -> Option<String> {
        let most = packed.saturating_mul(self.ratio).max(self.ratio_from);
        (total > most).then(|| {
            format!(
                "{packed} bytes would become {total}, more than {} times as many and more than {}",
                self.ratio, self.ratio_from
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_may_become_much_but_not_anything() {
        let limits = Limits { ratio: 10, ratio_from: 1000, ..Limits::default() };
        for (packed, total, is_fine) in
            [(1, 1000, true), (1, 1001, false), (200, 2000, true), (200, 2001, false)]
        {
            let problem = limits.ratio_problem(packed, total);
            assert_eq!(problem.is_none(), is_fine, "{packed} {total}: {problem:?}");
        }
        assert!(limits.ratio_problem(u64::MAX, u64::MAX).is_none());
    }
}
