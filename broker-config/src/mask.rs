//! PURE: takes secrets out of text for people, also where they are written in another way.
//!
//! Programs rarely print a secret as it is: it stands percent-encoded in the address of an error, escaped in JSON, in
//! base64 in a header. So each text is also looked at as it reads without percent signs and without backslashes, and
//! each secret is looked for as it is, in hexadecimal digits and in base64, wherever it begins there.

use std::ops::Range;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use serde_json::{Map, Value};

use crate::Manifest;
use crate::manifest::settings::MASK;

/// A shorter text is part of too many words to be looked for.
const SHORTEST: usize = 4;
/// A line of a secret that is a secret by itself.
const LONG_LINE: usize = 8;
/// Times that backslashes are taken away: JSON in the text of JSON has two layers.
const LAYERS: usize = 2;

/// Texts that must not be shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// All ways to write them.
    forms: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Mask").field(&self.forms.len()).finish()
    }
}

impl Mask {
    /// A mask for these texts.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets {
            // Logs show a key of many lines line by line.
            let lines = secret.lines().filter(|line| line.len() >= LONG_LINE);
            for text in std::iter::once(secret).chain(lines).filter(|text| text.len() >= SHORTEST) {
                forms.extend(forms_of(text.as_bytes()));
            }
        }
        forms.sort_unstable();
        forms.dedup();
        Self { forms }
    }

    /// The secrets among the settings of a plugin; without its manifest every one may be.
    #[must_use]
    pub fn of(manifest: Option<&Manifest>, settings: &Map<String, Value>) -> Self {
        let field = |key: &String| manifest.and_then(|manifest| manifest.config_schema.get(key));
        let secret = |key: &String| field(key).is_none_or(|field| field.secret);
        let mut texts = Vec::new();
        for (_, value) in settings.iter().filter(|(key, _)| secret(key)) {
            leaves(value, &mut texts);
        }
        Self::new(texts.iter().map(String::as_str))
    }

    /// A mask for what both are for.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut forms = self.forms.clone();
        forms.extend_from_slice(&other.forms);
        forms.sort_unstable();
        forms.dedup();
        Self { forms }
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// The text without them.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        if self.is_empty() {
            return text;
        }
        let hidden = self.hidden(text.as_bytes());
        if hidden.is_empty() { text } else { cover(text.as_bytes(), &hidden) }
    }

    /// The line without them; what is not UTF-8 is replaced.
    #[must_use]
    pub fn line(&self, line: &[u8]) -> String {
        if self.is_empty() {
            return String::from_utf8_lossy(line).into_owned();
        }
        cover(line, &self.hidden(line))
    }

    /// Where they stand; the places may overlap.
    fn hidden(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut views = vec![View::plain(text)];
        if text.contains(&b'%') {
            views.push(View::of(text, percent));
        }
        if text.contains(&b'+') {
            views.push(View::of(text, form));
        }
        let mut hidden = Vec::new();
        for mut view in views {
            for _ in 0..LAYERS {
                self.find(&view, &mut hidden);
                if !view.bytes.contains(&b'\\') {
                    break;
                }
                view = view.again(escape);
            }
            self.find(&view, &mut hidden);
        }
        hidden
    }

    fn find(&self, view: &View, hidden: &mut Vec<Range<usize>>) {
        for form in &self.forms {
            view.find(form, hidden);
        }
    }
}

/// All texts and numbers in a value, however deep.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            // A setting of several parts can only be given as the text of JSON.
            let inner = serde_json::from_str(text);
            if let Ok(inner @ (Value::Array(_) | Value::Object(_))) = inner {
                leaves(&inner, found);
            }
            found.push(text.clone());
        }
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, found)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A secret as it is, in hexadecimal digits, and in base64 after 0, 1 or 2 bytes of something else.
fn forms_of(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    forms.extend([HEXLOWER, HEXUPPER].map(|hex| hex.encode(secret).into_bytes()));
    for before in 0..3 {
        let mut shifted = vec![0; before];
        shifted.extend_from_slice(secret);
        // Characters that also tell of what stands before it, or after it.
        let (first, last) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        for base64 in [BASE64_NOPAD, BASE64URL_NOPAD] {
            let whole = base64.encode(&shifted).into_bytes();
            forms.extend(whole.get(first..last).map(<[u8]>::to_vec));
        }
    }
    forms
}

/// The text with a mask over each of these places.
fn cover(text: &[u8], hidden: &[Range<usize>]) -> String {
    let mut hidden = hidden.to_vec();
    hidden.sort_by_key(|place| (place.start, place.end));
    let (mut covered, mut at) = (Vec::with_capacity(text.len()), 0);
    let mut places = hidden.into_iter().peekable();
    while let Some(mut place) = places.next() {
        while let Some(next) = places.next_if(|next| next.start < place.end) {
            place.end = place.end.max(next.end);
        }
        covered.extend_from_slice(text.get(at..place.start).unwrap_or_default());
        covered.extend_from_slice(MASK.as_bytes());
        at = place.end;
    }
    covered.extend_from_slice(text.get(at..).unwrap_or_default());
    String::from_utf8_lossy(&covered).into_owned()
}

/// What a text begins with, and how long that is there; `None` = a byte that stands for itself.
type Unit = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

/// A text read in some way, and which bytes of the text as it is make up each byte of it.
struct View {
    bytes: Vec<u8>,
    from: Vec<Range<usize>>,
}

impl View {
    fn plain(text: &[u8]) -> Self {
        Self { bytes: text.to_vec(), from: (0..text.len()).map(|at| at..at + 1).collect() }
    }

    fn of(text: &[u8], unit: Unit) -> Self {
        Self::plain(text).again(unit)
    }

    /// The same, read once more: `unit` says what the text begins with, and how long that is.
    fn again(&self, unit: Unit) -> Self {
        let (mut bytes, mut from) = (Vec::with_capacity(self.bytes.len()), Vec::new());
        let mut at = 0;
        while let Some((&byte, rest)) = self.bytes.get(at..).and_then(<[u8]>::split_first) {
            let whole = self.bytes.get(at..).unwrap_or(rest);
            let (read, length) = unit(whole).unwrap_or_else(|| (vec![byte], 1));
            let place = self.from.get(at..at + length).unwrap_or_default();
            let place = place.first().map_or(0, |first| first.start)
                ..place.last().map_or(0, |last| last.end);
            from.extend(std::iter::repeat_n(place, read.len()));
            bytes.extend(read);
            at += length;
        }
        Self { bytes, from }
    }

    fn find(&self, form: &[u8], hidden: &mut Vec<Range<usize>>) {
        if form.is_empty() {
            return;
        }
        for (at, window) in self.bytes.windows(form.len()).enumerate() {
            if window == form
                && let (Some(first), Some(last)) =
                    (self.from.get(at), self.from.get(at + form.len() - 1))
            {
                hidden.push(first.start..last.end);
            }
        }
    }
}

/// `%41`.
fn percent(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let [b'%', high, low, ..] = text else { return None };
    let digits = [high.to_ascii_lowercase(), low.to_ascii_lowercase()];
    Some((HEXLOWER.decode(&digits).ok()?, 3))
}

/// The same, and the plus sign that stands for a space in forms.
fn form(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    if text.starts_with(b"+") { Some((b" ".to_vec(), 1)) } else { percent(text) }
}

/// What a backslash begins in JSON and in most languages.
fn escape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let [b'\\', kind, rest @ ..] = text else { return None };
    let byte = match kind {
        b'"' | b'\\' | b'/' | b'\'' => *kind,
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'u' => {
            let first = unit(rest)?;
            let second = match rest.get(4..) {
                Some([b'\\', b'u', more @ ..]) => unit(more),
                _ => None,
            };
            let pair = std::char::decode_utf16([Some(first), second].into_iter().flatten()).next();
            let Some(Ok(read)) = pair else { return None };
            return Some((
                read.to_string().into_bytes(),
                if read.len_utf16() == 2 { 12 } else { 6 },
            ));
        }
        b'x' => {
            let digits = rest.get(..2)?.to_ascii_lowercase();
            return Some((HEXLOWER.decode(&digits).ok()?, 4));
        }
        _ => return None,
    };
    Some((vec![byte], 2))
}

fn unit(digits: &[u8]) -> Option<u16> {
    u16::from_str_radix(std::str::from_utf8(digits.get(..4)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
