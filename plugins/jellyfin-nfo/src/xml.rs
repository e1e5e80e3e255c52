//! PURE. A small tree of XML elements, with bounds.
//!
//! Document types are refused, so there are no entities but the predefined ones and characters by
//! number: nothing in a file can expand. What people and programs write by mistake and what harms
//! nobody is accepted: a bare `&`, unknown entities (they stay as written), text after the end.

use std::fmt;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// The deepest nesting.
const MAX_DEPTH: usize = 32;
/// The most elements in one file.
const MAX_ELEMENTS: usize = 50_000;

/// One element with the text that stands directly in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Without namespace, lower case.
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

/// The elements at the top, and the text around them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) roots: Vec<Element>,
    pub(crate) around: String,
}

/// The XML cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(crate) struct BrokenXml {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl Element {
    /// The children called `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first child called `name`.
    pub(crate) fn first(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads all elements at the top, from byte `start` of `text` on.
///
/// Behind the first of them an error that is not inside another one ends the reading: people and
/// programs append what is not XML.
pub(crate) fn read(text: &str, start: usize) -> Result<Document, BrokenXml> {
    let mut document = Document {
        around: text.get(..start).unwrap_or_default().to_owned(),
        ..Document::default()
    };
    let mut reader = Reader::from_str(text.get(start..).unwrap_or_default());
    reader.config_mut().allow_dangling_amp = true;
    let broken = |position: u64, reason: &dyn fmt::Display| {
        let until = usize::try_from(position).map_or(text.len(), |position| start + position);
        let lines = text.bytes().take(until).filter(|&byte| byte == b'\n').count();
        BrokenXml { line: lines + 1, reason: reason.to_string() }
    };
    let mut open: Vec<(Element, u64)> = Vec::new();
    let mut elements = 0;
    loop {
        let position = reader.buffer_position();
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_) if open.is_empty() && !document.roots.is_empty() => return Ok(document),
            Err(error) => return Err(broken(reader.error_position(), &error)),
        };
        match event {
            Event::Start(tag) | Event::Empty(tag) if elements >= MAX_ELEMENTS => {
                let name = tag.local_name().into_inner().to_owned();
                let reason = format!("<{name}> is one element over the limit of {MAX_ELEMENTS}");
                return Err(broken(position, &reason));
            }
            Event::Start(_) if open.len() >= MAX_DEPTH => {
                return Err(broken(position, &format!("more than {MAX_DEPTH} elements deep")));
            }
            Event::Start(tag) => {
                elements += 1;
                open.push((element(&tag), position));
            }
            Event::Empty(tag) => {
                elements += 1;
                close(element(&tag), &mut open, &mut document);
            }
            Event::End(_) => {
                if let Some((done, _)) = open.pop() {
                    close(done, &mut open, &mut document);
                }
            }
            Event::Text(part) => text_of(&mut open, &mut document).push_str(&part.xml10_content()),
            Event::CData(part) => text_of(&mut open, &mut document).push_str(&part.xml10_content()),
            Event::GeneralRef(part) => text_of(&mut open, &mut document).push_str(&resolve(&part)),
            Event::DocType(_) => {
                return Err(broken(position, &"document type declarations are not allowed"));
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match open.pop() {
        Some((unclosed, position)) => {
            Err(broken(position, &format!("<{}> is not closed", unclosed.name)))
        }
        None => Ok(document),
    }
}

fn text_of<'a>(open: &'a mut [(Element, u64)], document: &'a mut Document) -> &'a mut String {
    match open.last_mut() {
        Some((parent, _)) => &mut parent.text,
        None => &mut document.around,
    }
}

fn close(done: Element, open: &mut [(Element, u64)], document: &mut Document) {
    match open.last_mut() {
        Some((parent, _)) => parent.children.push(done),
        None => document.roots.push(done),
    }
}

fn element(tag: &BytesStart<'_>) -> Element {
    let mut attributes = tag.attributes();
    let attributes = attributes.with_checks(false).flatten().map(|attribute| {
        let value = quick_xml::escape::unescape(&attribute.value)
            .map_or_else(|_| attribute.value.clone().into_owned(), std::borrow::Cow::into_owned);
        (attribute.key.local_name().into_inner().to_lowercase(), value)
    });
    Element {
        name: tag.local_name().into_inner().to_lowercase(),
        attributes: attributes.collect(),
        ..Element::default()
    }
}

fn resolve(reference: &BytesRef<'_>) -> String {
    let name: &str = reference;
    match name {
        "lt" => "<".to_owned(),
        "gt" => ">".to_owned(),
        "amp" => "&".to_owned(),
        "quot" => "\"".to_owned(),
        "apos" => "'".to_owned(),
        "nbsp" => " ".to_owned(),
        _ => match reference.resolve_char_ref() {
            Ok(Some(c)) => c.to_string(),
            Ok(None) | Err(_) => format!("&{name};"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_that_harm_nobody_are_accepted() {
        for (text, expected) in [
            ("<a>Tom & Jerry</a>", "Tom & Jerry"),
            ("<a>Tom &amp; &#74;erry</a>", "Tom & Jerry"),
            ("<a>a&eacute;b&nbsp;c</a>", "a&eacute;b c"),
            ("<a><![CDATA[1 < 2]]></a>", "1 < 2"),
            ("<a>x</a>\nhttps://example.org/?a=1&b=2", "x"),
            ("<a>x</a> <3 <", "x"),
            ("<?xml version='1.0'?><!-- c --><n:a b='1' b='2' c>x</n:a>", "x"),
        ] {
            let document = read(text, 0).unwrap();
            assert_eq!(document.roots[0].name, "a", "{text}");
            assert_eq!(document.roots[0].text, expected, "{text}");
        }
    }

    #[test]
    fn broken_files_say_the_line() {
        let deep = format!("{}x", "<a>\n".repeat(MAX_DEPTH + 1));
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS));
        for (text, line, reason) in [
            ("<a>\n<b>\n</a>", 3, "expected"),
            ("<a>\n\n<b>", 3, "<b> is not closed"),
            ("<a>\n<b", 2, "not closed"),
            ("<a>x</a>\n<a>\n</b>", 3, "expected"),
            ("<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", 2, "not allowed"),
            (&deep, MAX_DEPTH + 1, "elements deep"),
            (&many, 1, "over the limit"),
        ] {
            let error = read(text, 0).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.reason.contains(reason), "{error}");
        }
    }

    #[test]
    fn several_elements_stand_at_the_top() {
        let document = read("junk <a>1</a> mid <a x='&lt;'>2</a> end", 5).unwrap();
        assert_eq!(document.roots.len(), 2);
        assert_eq!(document.roots[1].attribute("x"), Some("<"));
        assert!(document.around.contains("junk") && document.around.contains("end"));
    }
}
