//! Finds the messages in what a NATS client sends; pure.

/// Longest line that a client sends.
const LONGEST: usize = 1 << 20;

/// Reads a client's bytes as they come.
#[derive(Debug, Default)]
pub struct Messages {
    line: Vec<u8>,
    /// The subject of the message in whose body we are, and how much of that is still to come.
    body: Option<(Vec<u8>, usize)>,
}

impl Messages {
    /// Reads on; calls `ended` with the place behind each message that ends in `bytes`, and its
    /// subject.
    pub fn feed(&mut self, bytes: &[u8], mut ended: impl FnMut(usize, &[u8])) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some((subject, left)) = &mut self.body {
                let taken = rest.len().min(*left);
                *left -= taken;
                at += taken;
                if *left == 0 {
                    ended(at, subject);
                    self.body = None;
                }
                continue;
            }
            let end = rest.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(rest.len(), |end| end + 1);
            self.line.extend(rest.iter().take(taken));
            at += taken;
            if end.is_some() {
                self.body = body(&self.line);
                self.line.clear();
            } else if self.line.len() > LONGEST {
                self.line.clear();
            }
        }
    }
}

/// The subject and the size of the body that a line announces, with the end of line behind it.
fn body(line: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let verb = words.next()?.to_ascii_uppercase();
    if verb != b"PUB" && verb != b"HPUB" {
        return None;
    }
    let subject = words.next()?.to_vec();
    let size: usize = std::str::from_utf8(words.next_back()?).ok()?.parse().ok()?;
    Some((subject, size + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let sent = b"CONNECT {\"verbose\":false}\r\nPING\r\nSUB _INBOX.a 1\r\nPUB a.b 5\r\nhello\r\n\
            HPUB c reply 12 17\r\nNATS/1.0\r\n\r\nPUB x\r\nPONG\r\nPUB d.e reply 0\r\n\r\nUNSUB 1\r\n";
        let ends: Vec<usize> = ["hello\r\n", "\r\n\r\nPUB x\r\n", "reply 0\r\n\r\n"]
            .iter()
            .map(|part| {
                let found = sent.windows(part.len()).position(|it| it == part.as_bytes());
                found.unwrap() + part.len()
            })
            .collect();
        let expected: Vec<(usize, &[u8])> =
            vec![(ends[0], b"a.b"), (ends[1], b"c"), (ends[2], b"d.e")];
        for size in 1..=sent.len() {
            let (mut messages, mut found, mut before) = (Messages::default(), Vec::new(), 0);

            for chunk in sent.chunks(size) {
                messages.feed(chunk, |at, subject| found.push((before + at, subject.to_vec())));
                before += chunk.len();
            }

            let found: Vec<(usize, &[u8])> =
                found.iter().map(|(at, subject)| (*at, subject.as_slice())).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}
