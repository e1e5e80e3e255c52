//! PURE. ISO 639: codes of two and three letters, names in English, and what people write.

mod codes;

use self::codes::{LANGUAGES, THREE_LETTERS};

/// What is written for languages in their own words, or in outdated codes.
const ALIASES: &[(&str, &str)] = &[
    ("jp", "ja"),
    ("jap", "ja"),
    ("日本語", "ja"),
    ("cn", "zh"),
    ("chs", "zh-Hans"),
    ("gb", "zh-Hans"),
    ("cht", "zh-Hant"),
    ("tc", "zh-Hant"),
    ("big5", "zh-Hant"),
    ("中文", "zh"),
    ("简体中文", "zh-Hans"),
    ("繁體中文", "zh-Hant"),
    ("simplified chinese", "zh-Hans"),
    ("traditional chinese", "zh-Hant"),
    ("chinese simplified", "zh-Hans"),
    ("chinese traditional", "zh-Hant"),
    ("mandarin", "zh"),
    ("한국어", "ko"),
    ("iw", "he"),
    ("in", "id"),
    ("ji", "yi"),
    ("mo", "ro"),
    ("moldavian", "ro"),
    ("pb", "pt-BR"),
    ("pob", "pt-BR"),
    ("ptbr", "pt-BR"),
    ("brazilian", "pt-BR"),
    ("brazilian portuguese", "pt-BR"),
    ("portuguese brazilian", "pt-BR"),
    ("português", "pt"),
    ("latino", "es-419"),
    ("latin american spanish", "es-419"),
    ("spanish latin america", "es-419"),
    ("castilian", "es-ES"),
    ("castellano", "es-ES"),
    ("european spanish", "es-ES"),
    ("español", "es"),
    ("espanol", "es"),
    ("esp", "es"),
    ("deutsch", "de"),
    ("français", "fr"),
    ("francais", "fr"),
    ("canadian french", "fr-CA"),
    ("vff", "fr"),
    ("vfq", "fr-CA"),
    ("italiano", "it"),
    ("nederlands", "nl"),
    ("flemish", "nl-BE"),
    ("svenska", "sv"),
    ("norsk", "no"),
    ("bokmål", "nb"),
    ("nynorsk", "nn"),
    ("dansk", "da"),
    ("suomi", "fi"),
    ("русский", "ru"),
    ("українська", "uk"),
    ("polski", "pl"),
    ("čeština", "cs"),
    ("magyar", "hu"),
    ("türkçe", "tr"),
    ("ελληνικά", "el"),
    ("عربي", "ar"),
    ("العربية", "ar"),
    ("עברית", "he"),
    ("farsi", "fa"),
    ("ไทย", "th"),
    ("tiếng việt", "vi"),
    ("british english", "en-GB"),
    ("american english", "en-US"),
    ("swiss german", "gsw"),
    ("scots gaelic", "gd"),
    ("gaelic", "ga"),
    ("burmese", "my"),
    ("oriya", "or"),
    ("kirghiz", "ky"),
];

/// The parts of the world that follow languages in film libraries.
const REGIONS: &[(&str, &str)] = &[
    ("419", "Latin America"),
    ("AR", "Argentina"),
    ("AT", "Austria"),
    ("AU", "Australia"),
    ("BE", "Belgium"),
    ("BR", "Brazil"),
    ("CA", "Canada"),
    ("CH", "Switzerland"),
    ("CL", "Chile"),
    ("CN", "China"),
    ("CO", "Colombia"),
    ("DE", "Germany"),
    ("EG", "Egypt"),
    ("ES", "Spain"),
    ("FR", "France"),
    ("GB", "United Kingdom"),
    ("HK", "Hong Kong"),
    ("IE", "Ireland"),
    ("IN", "India"),
    ("IT", "Italy"),
    ("JP", "Japan"),
    ("KR", "South Korea"),
    ("MX", "Mexico"),
    ("NL", "Netherlands"),
    ("NZ", "New Zealand"),
    ("PT", "Portugal"),
    ("SA", "Saudi Arabia"),
    ("SG", "Singapore"),
    ("TW", "Taiwan"),
    ("US", "United States"),
    ("ZA", "South Africa"),
];

const SCRIPTS: &[(&str, &str)] = &[
    ("Arab", "Arabic script"),
    ("Cyrl", "Cyrillic"),
    ("Hans", "Simplified"),
    ("Hant", "Traditional"),
    ("Latn", "Latin script"),
];

/// The shortest code of a language, from a code in lower case.
pub(crate) fn code(code: &str) -> Option<&'static str> {
    let long = |row: &&(&'static str, &'static str, &'static str, &'static str)| {
        row.0 == code || row.1 == code || (!row.2.is_empty() && row.2 == code)
    };
    let row = LANGUAGES.iter().find(long).map(|row| row.0);
    row.or_else(|| THREE_LETTERS.iter().find(|row| row.0 == code).map(|row| row.0))
}

/// The tag for a name or an alias in lower case.
pub(crate) fn alias(name: &str) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|row| row.0 == name).map(|row| row.1);
    let long = || LANGUAGES.iter().find(|row| row.3.to_lowercase() == name).map(|row| row.0);
    let short = || THREE_LETTERS.iter().find(|row| row.1.to_lowercase() == name).map(|row| row.0);
    alias.or_else(long).or_else(short)
}

/// The English name of a code that [`code`] gave.
pub(crate) fn name(code: &str) -> Option<&'static str> {
    let long = LANGUAGES.iter().find(|row| row.0 == code).map(|row| row.3);
    long.or_else(|| THREE_LETTERS.iter().find(|row| row.0 == code).map(|row| row.1))
}

/// The English name of a region or a script; itself where there is none.
pub(crate) fn part_name(part: &str) -> &str {
    REGIONS.iter().chain(SCRIPTS).find(|row| row.0 == part).map_or(part, |row| row.1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_means_one_language() {
        let mut seen = BTreeSet::new();
        for (two, terminology, bibliography, name) in LANGUAGES {
            assert_eq!((two.len(), terminology.len()), (2, 3), "{name}");
            assert!(matches!(bibliography.len(), 0 | 3), "{name}");
            for code in [two, terminology, bibliography].into_iter().filter(|code| !code.is_empty())
            {
                assert!(seen.insert(*code), "{code} twice");
                assert_eq!(super::code(code), Some(*two), "{code}");
            }
        }
        for (three, name) in THREE_LETTERS {
            assert!(three.len() == 3 && seen.insert(three), "{name}");
        }
        assert_eq!(LANGUAGES.len(), 183);
    }

    #[test]
    fn every_alias_is_a_tag() {
        for (alias, tag) in ALIASES {
            let normal = crate::tag::normalise(tag);
            assert_eq!(normal.as_deref(), Some(*tag), "{alias}");
            assert_eq!(code(alias), None, "{alias} is a code");
            assert_eq!(*alias, alias.to_lowercase(), "aliases are compared in lower case");
        }
    }
}
