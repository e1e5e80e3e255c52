//! PURE. The end of what a command says on its standard error.

use std::collections::VecDeque;

/// How much is kept; a wire text is shorter.
const MOST: usize = 16 * 1024;

/// The last bytes of a stream that may be endless.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    kept: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    /// Adds what was said.
    pub(crate) fn push(&mut self, said: &[u8]) {
        let skip = said.len().saturating_sub(MOST);
        let said = said.get(skip..).unwrap_or_default();
        let surplus = (self.kept.len() + said.len()).saturating_sub(MOST);
        self.cut |= skip > 0 || surplus > 0;
        drop(self.kept.drain(..surplus));
        self.kept.extend(said);
    }

    /// The last `lines` lines that are not blank, as readable text: no control characters, and what
    /// is not UTF-8 is replaced.
    #[must_use]
    pub(crate) fn words(&self, lines: usize) -> String {
        let bytes: Vec<u8> = self.kept.iter().copied().collect();
        // The beginning may lie within a character.
        let broken = if self.cut {
            bytes.iter().take_while(|&&byte| byte & 0xc0 == 0x80).count()
        } else {
            0
        };
        let text = String::from_utf8_lossy(bytes.get(broken..).unwrap_or_default()).into_owned();
        let mut last: Vec<String> = text
            .rsplit(['\n', '\r'])
            .map(readable)
            .filter(|line| !line.is_empty())
            .take(lines)
            .collect();
        last.reverse();
        last.join("; ")
    }
}

fn readable(line: &str) -> String {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(said: &[&[u8]]) -> Tail {
        let mut tail = Tail::default();
        for part in said {
            tail.push(part);
        }
        tail
    }

    #[test]
    fn the_last_lines_are_kept_and_readable() {
        for (said, one, two) in [
            (b"".as_slice(), "", ""),
            (b"\n \n", "", ""),
            (b"one", "one", "one"),
            (b"one\n\ntwo \n\n", "two", "one; two"),
            (b"one\r\ntwo\tthree\x1b[0m\n", "two three [0m", "one; two three [0m"),
            (b"a\xffb", "a\u{fffd}b", "a\u{fffd}b"),
        ] {
            assert_eq!(tail(&[said]).words(1), one, "{said:?}");
            assert_eq!(tail(&[said]).words(2), two, "{said:?}");
        }
    }

    #[test]
    fn an_endless_stream_leaves_its_end() {
        let long = "é".repeat(MOST);
        for parts in [
            vec![long.as_bytes()],
            long.as_bytes().chunks(7).collect(),
            vec![long.as_bytes(), b"x"],
        ] {
            let tail = tail(&parts);
            assert_eq!(tail.kept.len(), MOST);
            let words = tail.words(1);
            assert!(words.starts_with('é') && !words.contains('\u{fffd}'), "{words:.9}");
            assert!(words.len() > MOST - 3);
        }
    }
}
