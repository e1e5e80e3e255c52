//! PURE. Tags of languages: one spelling for whatever files say.

use crate::table;

/// The longest text that is looked at, in bytes.
const MAX_BYTES: usize = 100;

/// The BCP 47 tag that `text` means: two letters where there is such a code, else three, then
/// script and region if it says them.
///
/// Takes tags (`pt_BR`, `zh-hant-TW`), codes of ISO 639-1, -2/B and -2/T, and names (`Japanese`).
/// `None` where it means no language: `und`, `mis`, codes for private use, anything else.
#[must_use]
pub fn normalise(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_BYTES {
        return None;
    }
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric() && c != '+').collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let name = words.join(" ");
    // names first: `in` is an old code, `Min Nan Chinese` a name that begins with none
    if let Some(tag) = table::alias(&name) {
        return Some(tag.to_owned());
    }
    if let Some(tag) = tag(&words) {
        return Some(tag);
    }
    // `English (SDH)`, `Portuguese (Brazil)`
    let first = words.first().filter(|word| word.chars().count() > 3)?;
    table::alias(first).map(str::to_owned)
}

/// The English name of a tag that [`normalise`] gave: `Portuguese (Brazil)`.
#[must_use]
pub fn name(tag: &str) -> String {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    let language = table::name(first).unwrap_or(first);
    let rest: Vec<&str> = parts.map(table::part_name).collect();
    if rest.is_empty() { language.to_owned() } else { format!("{language} ({})", rest.join(", ")) }
}

fn tag(words: &[&str]) -> Option<String> {
    let (first, rest) = words.split_first()?;
    let mut tag = match table::alias(first).filter(|_| first.len() <= 3) {
        Some(alias) if alias.contains('-') => return Some(alias.to_owned()),
        Some(alias) => alias.to_owned(),
        None => table::code(first)?.to_owned(),
    };
    let is_letters = |part: &str| part.bytes().all(|b| b.is_ascii_alphabetic());
    let (mut script, mut region) = (None, None);
    for part in rest {
        match part.len() {
            4 if is_letters(part) && script.is_none() && region.is_none() => {
                script = Some(capitalised(part));
            }
            2 if is_letters(part) && region.is_none() => region = Some(part.to_uppercase()),
            3 if part.bytes().all(|b| b.is_ascii_digit()) && region.is_none() => {
                region = Some((*part).to_owned());
            }
            // extensions, variants and whatever people add say nothing that is kept
            _ => break,
        }
    }
    for part in script.into_iter().chain(region) {
        tag.push('-');
        tag.push_str(&part);
    }
    Some(tag)
}

fn capitalised(part: &str) -> String {
    let mut chars = part.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_files_say_becomes_one_spelling() {
        for (text, expected) in [
            ("en", Some("en")),
            ("ENG", Some("en")),
            ("ger", Some("de")),
            ("deu", Some("de")),
            ("chi", Some("zh")),
            ("zho", Some("zh")),
            ("pt-BR", Some("pt-BR")),
            ("pt_br", Some("pt-BR")),
            ("por-BR", Some("pt-BR")),
            ("pob", Some("pt-BR")),
            ("zh-hant-tw", Some("zh-Hant-TW")),
            ("zh-Hans", Some("zh-Hans")),
            ("chs", Some("zh-Hans")),
            ("es-419", Some("es-419")),
            ("en-US-x-private", Some("en-US")),
            ("sr-Latn", Some("sr-Latn")),
            ("yue", Some("yue")),
            ("fil", Some("fil")),
            ("Japanese", Some("ja")),
            ("  japanese ", Some("ja")),
            ("日本語", Some("ja")),
            ("Norwegian Bokmål", Some("nb")),
            ("Chinese (Simplified)", Some("zh-Hans")),
            ("Brazilian Portuguese", Some("pt-BR")),
            ("English (SDH)", Some("en")),
            ("iw", Some("he")),
            ("mul", Some("mul")),
            ("zxx", Some("zxx")),
            ("und", None),
            ("mis", None),
            ("unk", None),
            ("qaa", None),
            ("qps-ploc", None),
            ("xyz", None),
            ("", None),
            ("-", None),
            ("forced", None),
            ("The English Patient", None),
        ] {
            assert_eq!(normalise(text).as_deref(), expected, "{text}");
        }
        assert_eq!(normalise(&"en-".repeat(1000)), None);
    }

    #[test]
    fn tags_have_names() {
        for (tag, expected) in [
            ("ja", "Japanese"),
            ("pt-BR", "Portuguese (Brazil)"),
            ("zh-Hant-TW", "Chinese (Traditional, Taiwan)"),
            ("fr-XX", "French (XX)"),
            ("yue", "Cantonese"),
            ("mul", "Multiple languages"),
        ] {
            assert_eq!(name(tag), expected, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_so(text in "[a-zA-Z]{2,3}([-_][a-zA-Z]{4})?([-_][a-zA-Z]{2})?|\\PC{0,20}") {
            if let Some(tag) = normalise(&text) {
                let again = normalise(&tag);
                prop_assert_eq!(again.as_deref(), Some(tag.as_str()));
                prop_assert!(!name(&tag).is_empty());
            }
        }
    }
}
