//! PURE. A cursor for short patterns such as `S01E02v2`.

/// What is left of a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Takes `prefix`, which is ASCII, whatever its case.
    pub(crate) fn take(&mut self, prefix: &str) -> bool {
        let matches =
            self.0.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if matches {
            self.0 = self.0.get(prefix.len()..).unwrap_or_default();
        }
        matches
    }

    /// Takes the first of `prefixes` that is there.
    pub(crate) fn take_any(&mut self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.take(prefix))
    }

    /// Takes a number of 1 to `digits` digits; fails if there are more.
    pub(crate) fn number(&mut self, digits: usize) -> Option<u32> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 || length > digits {
            return None;
        }
        let (number, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        number.parse().ok()
    }

    /// Takes `v2` and the like; `None` if there is none.
    pub(crate) fn version(&mut self) -> Option<u32> {
        let mut ahead = *self;
        if !ahead.take("v") {
            return None;
        }
        let version = ahead.number(1)?;
        *self = ahead;
        Some(version)
    }

    /// Bytes that are left.
    pub(crate) fn rest_len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

/// The number that `text` consists of, if it has 1 to `digits` digits and nothing else.
pub(crate) fn whole_number(text: &str, digits: usize) -> Option<u32> {
    let mut scan = Scan::new(text);
    let number = scan.number(digits)?;
    scan.is_done().then_some(number)
}
