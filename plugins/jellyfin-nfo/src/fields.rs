//! PURE. Single values of an `.nfo`, cleaned and bounded.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::xml::Element;

/// The longest line, in characters.
const MAX_LINE: usize = 500;
/// The longest plot, in characters.
const MAX_BLOCK: usize = 20_000;
/// The most values of a set.
const MAX_VALUES: usize = 200;

/// The text of an element on one line; `None` when there is none.
pub(crate) fn line(element: &Element) -> Option<String> {
    let words: Vec<&str> = element.text.split_whitespace().collect();
    let text: String = words.join(" ").chars().filter(|c| !c.is_control()).take(MAX_LINE).collect();
    (!text.is_empty()).then_some(text)
}

/// Text that may have several lines; `None` when there is none.
pub(crate) fn block(text: &str) -> Option<String> {
    let kept = text.trim().chars().filter(|&c| c == '\n' || !c.is_control());
    let text: String = kept.take(MAX_BLOCK).collect();
    (!text.is_empty()).then_some(text)
}

/// One value for each element, or several where they are joined: `Action / Drama`.
pub(crate) fn set<'a>(elements: impl Iterator<Item = &'a Element>) -> BTreeSet<String> {
    let joined: Vec<String> = elements.filter_map(line).collect();
    let parts = joined.iter().flat_map(|text| text.split(" / ")).flat_map(|text| text.split('|'));
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts.take(MAX_VALUES).map(str::to_owned).collect()
}

/// The number at the start: `97`, `97 min`.
pub(crate) fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)?.parse().ok()
}

/// The year at the start: `2019`, `2019-05-03`.
pub(crate) fn year(text: &str) -> Option<u32> {
    number(text).filter(|year| (1800..=2200).contains(year))
}

/// Name, role and place of an actor.
pub(crate) fn actor(element: &Element) -> Option<Value> {
    let mut actor = Map::new();
    actor.insert("name".to_owned(), Value::String(line(element.first("name")?)?));
    for name in ["role", "type"] {
        if let Some(text) = element.first(name).and_then(line) {
            actor.insert(name.to_owned(), Value::String(text));
        }
    }
    if let Some(order) = element.first("order").and_then(|order| number(&order.text)) {
        actor.insert("order".to_owned(), json!(order));
    }
    Some(Value::Object(actor))
}

/// Ratings by who gave them: `{"imdb": {"value": 7.4, "max": 10, "votes": 1203}}`.
pub(crate) fn ratings(root: &Element) -> Map<String, Value> {
    let mut found = Map::new();
    let grouped = root.all("ratings").flat_map(|ratings| ratings.all("rating"));
    for rating in grouped.take(MAX_VALUES) {
        let name = rating.attribute("name").unwrap_or("default").trim().to_lowercase();
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let Some(value) = rating.first("value").and_then(|value| decimal(&value.text)) else {
            continue;
        };
        let mut entry = json!({ "value": value });
        if let Some(max) = rating.attribute("max").and_then(decimal) {
            entry["max"] = json!(max);
        }
        if let Some(votes) = rating.first("votes").and_then(votes) {
            entry["votes"] = json!(votes);
        }
        if rating.attribute("default") == Some("true") {
            entry["default"] = json!(true);
        }
        found.insert(name, entry);
    }
    for (element, name, max) in
        [("rating", "default", 10), ("criticrating", "critics", 100), ("userrating", "user", 10)]
    {
        let value = root.first(element).and_then(|value| decimal(&value.text));
        if let Some(value) = value.filter(|&value| value > 0.0)
            && !found.contains_key(name)
        {
            let mut entry = json!({ "value": value, "max": max });
            let votes = root.first("votes").filter(|_| name == "default").and_then(votes);
            if let Some(votes) = votes {
                entry["votes"] = json!(votes);
            }
            found.insert(name.to_owned(), entry);
        }
    }
    found
}

fn decimal(text: &str) -> Option<f64> {
    let number: f64 = text.trim().replace(',', ".").parse().ok()?;
    (number.is_finite() && (0.0..=1000.0).contains(&number)).then_some(number)
}

/// `1203`, `1,203`.
fn votes(element: &Element) -> Option<u64> {
    let digits: String = element.text.chars().filter(|c| !",. ".contains(*c)).collect();
    digits.trim().parse().ok()
}
