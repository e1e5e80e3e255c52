//! YAML as a tree that knows its lines; the only module that uses the YAML library.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

/// Lists and maps within each other. A list of plugins needs half of it; each takes its part of the
/// stack, and where that is used up, the whole fleet would end.
const MAX_DEPTH: usize = 16;

/// A value and the line it begins on.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// From 1; 0 when it is not known.
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What YAML can say.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    /// A text; `plain` when it stood there without quotes.
    Text {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// One entry of a map.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) key: String,
    /// The line of the key.
    pub(super) line: u64,
    pub(super) node: Node,
}

/// The text is not YAML.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) line: Option<u64>,
    pub(super) reason: String,
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, Broken> {
    // `no` and `off` stay texts: a language is not a truth value.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(root) => Ok(finish(root, text)),
        Err(error) => Err(Broken {
            line: error.location().map(|location| location.line()),
            reason: reason(error.without_snippet()),
        }),
    }
}

/// Says what is wrong; the library's own words are passed on only where they quote nothing of the
/// file, which may hold secrets.
fn reason(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error::{Budget, DuplicateMappingKey, ExternalMessage, MultipleDocuments};
    if matches!(error, Budget { .. }) {
        format!("nests deeper than {MAX_DEPTH}, or becomes too large by what it repeats")
    } else if matches!(error, DuplicateMappingKey { .. }) {
        "a key is there twice".to_owned()
    } else if matches!(error, MultipleDocuments { .. }) {
        "only one document is allowed".to_owned()
    } else if let ExternalMessage { msg, .. } = error {
        format!("not valid YAML: {msg}")
    } else {
        "not valid YAML".to_owned()
    }
}

impl Node {
    /// The same as JSON, without lines.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text { text, .. } => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(fields) => {
                fields.iter().map(|field| (field.key.clone(), field.node.to_json())).collect()
            }
        }
    }
}

enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

fn finish(raw: Spanned<Raw>, source: &str) -> Node {
    let line = raw.referenced.line();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(value) => Value::Number(value),
        Raw::Text(text) => {
            let start = raw.defined.span().byte_offset().and_then(|at| usize::try_from(at).ok());
            let first = start.and_then(|at| source.as_bytes().get(at));
            // A block scalar begins at its text; what tells it is that it may hold line ends.
            let quoted = first.is_none_or(|first| b"'\"|>!&".contains(first));
            let plain = !quoted && !text.contains('\n');
            Value::Text { text, plain }
        }
        Raw::List(items) => {
            Value::List(items.into_iter().map(|item| finish(item, source)).collect())
        }
        Raw::Map(fields) => Value::Map(
            fields
                .into_iter()
                .map(|(key, value)| Field {
                    line: key.referenced.line(),
                    key: key.value,
                    node: finish(value, source),
                })
                .collect(),
        ),
    };
    Node { line, value }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        Number::from_f64(value).map(Raw::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            let value = fields.next_value()?;
            map.push((key, value));
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_knows_lines_and_quotes() {
        let text = "a: é${X}\nb: \"5\"\nc:\n  - 'q'\n  - no\n  - 7\nd: |\n  text\ne: {f: ~}\n";
        let Value::Map(fields) = parse(text).unwrap().value else { panic!("a map") };
        let shape: Vec<_> = fields.iter().map(|f| (f.key.as_str(), f.line)).collect();
        assert_eq!(shape, [("a", 1), ("b", 2), ("c", 3), ("d", 7), ("e", 9)]);
        let plain = |node: &Node| {
            if let Value::Text { plain, .. } = &node.value { Some(*plain) } else { None }
        };
        assert_eq!(plain(&fields[0].node), Some(true));
        assert_eq!(plain(&fields[1].node), Some(false));
        assert_eq!(plain(&fields[3].node), Some(false));
        let Value::List(items) = &fields[2].node.value else { panic!("a list") };
        let items: Vec<_> = items.iter().map(|item| (item.line, plain(item))).collect();
        assert_eq!(items, [(4, Some(false)), (5, Some(true)), (6, None)]);
        assert_eq!(
            parse(text).unwrap().to_json(),
            serde_json::json!({
                "a": "é${X}", "b": "5", "c": ["q", "no", 7], "d": "text\n", "e": {"f": null}
            })
        );
    }

    #[test]
    fn what_nests_too_deep_is_refused_before_the_stack_ends() {
        let maps = |depth: usize| format!("{}1{}", "{a: ".repeat(depth), "}".repeat(depth));
        let lists = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let blocks = |depth: usize| -> String {
            (0..depth).map(|at| format!("{}a:\n", " ".repeat(at))).collect()
        };
        for (text, is_fine) in [
            (maps(MAX_DEPTH), true),
            (maps(MAX_DEPTH + 1), false),
            (maps(50_000), false),
            (lists(MAX_DEPTH), true),
            (lists(50_000), false),
            ("[".repeat(50_000), false),
            ("- ".repeat(50_000), false),
            (blocks(MAX_DEPTH), true),
            (blocks(1_000), false),
            ("a: &a\n  b: *a\n".to_owned(), false),
            ("a: &a [*a]\n".to_owned(), false),
        ] {
            let shown: String = text.chars().take(40).collect();
            // Half of what the threads of the fleet have.
            let small = std::thread::Builder::new().stack_size(1 << 20);
            let read = small.spawn(move || parse(&text).is_ok()).unwrap().join();
            assert_eq!(read.ok(), Some(is_fine), "{shown}");
        }
    }

    #[test]
    fn broken_yaml_names_the_line_and_quotes_nothing() {
        for (text, line) in [("a: 1\na: hush\n", 2), ("a: [hush\n", 2), ("a: b: hush\n", 1)] {
            let broken = parse(text).unwrap_err();
            assert!(!broken.reason.contains("hush"), "{text}");
            assert!(broken.line.is_some_and(|at| at.abs_diff(line) <= 1), "{text}: {broken:?}");
        }
    }
}
