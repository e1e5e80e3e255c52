//! Canaries: secrets that are looked for wherever they must not be, however they are written.
//!
//! The encoders are the harness's own, so that they cannot share a fault with what they test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a secret may look like besides its random part: characters that encodings change.
const ODD: [&str; 6] = ["+/=", "%&? ", "\"\\", "é€", "'<>", "-_."];

/// A secret with a name for messages.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Where it is used.
    pub name: String,
    /// The secret.
    pub value: String,
}

/// One form of a canary: how it is written, the canary's number, and what the form is called.
type Needle = (Vec<u8>, usize, &'static str);

/// All that is looked for.
#[derive(Debug, Default)]
pub struct Canaries {
    all: Vec<Canary>,
    /// What is looked for by its first bytes: form, then the canary that it is of.
    needles: BTreeMap<[u8; 4], Vec<Needle>>,
    /// Bytes that were looked through.
    looked_at: u64,
    /// What was found where.
    pub found: Vec<String>,
}

impl Canaries {
    /// Makes a canary with characters that encodings change.
    pub fn odd(&mut self, name: &str) -> String {
        let odd = ODD.get(self.all.len() % ODD.len()).copied().unwrap_or_default();
        let value = format!("k{odd}{:016x}{odd}z", fastrand::u64(..));
        self.know(name, &value);
        value
    }

    /// Makes a canary of letters and digits, for places that take nothing else.
    pub fn plain(&mut self, name: &str) -> String {
        let value = format!("k{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        self.know(name, &value);
        value
    }

    /// Looks for this from now on, too.
    pub fn know(&mut self, name: &str, value: &str) {
        let number = self.all.len();
        for (form, text) in forms(value) {
            let Some(first) = text.as_bytes().first_chunk::<4>() else { continue };
            self.needles.entry(*first).or_default().push((text.into_bytes(), number, form));
        }
        self.all.push(Canary { name: name.to_owned(), value: value.to_owned() });
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// How many bytes were looked through.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// What of them is in `bytes`, with the form it is in; `name` and form.
    #[must_use]
    pub fn within(&self, bytes: &[u8]) -> Vec<(&str, &'static str)> {
        let mut found = Vec::new();
        for (at, first) in bytes.windows(4).enumerate() {
            let Some(needles) = <[u8; 4]>::try_from(first).ok().and_then(|f| self.needles.get(&f))
            else {
                continue;
            };
            for (text, number, form) in needles {
                if bytes.get(at..).is_some_and(|rest| rest.starts_with(text)) {
                    let name = self.all.get(*number).map_or("", |canary| canary.name.as_str());
                    found.push((name, *form));
                }
            }
        }
        found.dedup();
        found
    }

    /// Looks for all of them in what came out of `channel`, except for those named `made_for`.
    pub fn look(&mut self, channel: &str, bytes: &[u8], made_for: &[&str]) {
        self.looked_at += bytes.len() as u64;
        let found: Vec<String> = self
            .within(bytes)
            .into_iter()
            .filter(|(name, _)| !made_for.contains(name))
            .map(|(name, form)| format!("{name} as {form} in {channel}"))
            .collect();
        self.found.extend(found);
        self.found.dedup();
    }
}

/// Every form in which a secret is looked for.
#[must_use]
pub fn forms(text: &str) -> Vec<(&'static str, String)> {
    let bytes = text.as_bytes();
    let json = serde_json::Value::from(text).to_string();
    let json = json.trim_matches('"').to_owned();
    let mut forms = vec![
        ("plain text", text.to_owned()),
        ("percent encoding", percent(bytes, b"-_.~", true)),
        ("percent encoding in lower case", percent(bytes, b"-_.~/", false)),
        ("hexadecimal", hex(bytes, false)),
        ("HEXADECIMAL", hex(bytes, true)),
        ("JSON", json.clone()),
        ("JSON in ASCII", ascii(&json)),
    ];
    for (before, name) in [(0, "base64"), (1, "base64 after 1"), (2, "base64 after 2")] {
        let mut shifted = vec![b'x'; before];
        shifted.extend_from_slice(bytes);
        let whole = base64(&shifted);
        let inner = whole.get((before * 8).div_ceil(6)..shifted.len() * 8 / 6).unwrap_or_default();
        forms.push((name, inner.to_owned()));
        forms.push((name, inner.replace('+', "-").replace('/', "_")));
    }
    forms
}

/// Base64 without padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = usize::try_from(word >> (18 - 6 * digit) & 63).unwrap_or_default();
            text.push(char::from(DIGITS[index]));
        }
    }
    text
}

/// Hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let written = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
        written.ok();
        text
    })
}

/// Percent encoding of all but letters, digits and `kept`.
#[must_use]
pub fn percent(bytes: &[u8], kept: &[u8], upper: bool) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || kept.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push_str(&hex(&[*byte], upper));
        }
        text
    })
}

/// JSON whose characters beyond ASCII are escaped.
fn ascii(json: &str) -> String {
    json.encode_utf16().fold(String::new(), |mut text, unit| {
        match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(byte) => text.push(char::from(byte)),
            None => write!(text, "\\u{unit:04x}").unwrap_or_default(),
        }
        text
    })
}

/// All files below a folder.
pub fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
