//! PURE  what the name of a subtitle file says: `film.pt-BR.forced.srt`.

use crate::language;

/// Language and flags by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTags {
    /// BCP 47.
    pub language: Option<String>,
    /// What the flags say, in the order of [`Flag`].
    pub flags: Vec<Flag>,
}

/// What a word between the dots says beside a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// To be shown always: it translates signs, or a foreign language.
    Forced,
    /// For the deaf and hard of hearing.
    Sdh,
    /// To be shown unless another one is chosen.
    Default,
    /// Of a commentary.
    Commentary,
}

impl NameTags {
    /// Reads the name of a file that stands beside `owner`, e.g. `film.mkv`.
    #[must_use]
    pub fn beside(name: &str, owner: &str) -> Self {
        let stem = without_extension(owner);
        let start = name.get(..stem.len());
        if !start.is_some_and(|start| start.eq_ignore_ascii_case(stem)) {
            return Self::alone(name);
        }
        let rest = name.get(stem.len()..).unwrap_or_default();
        let words = without_extension(rest).split('.').filter(|word| !word.is_empty());
        Self::of(words.take(MOST_WORDS))
    }

    /// Reads the name of a file whose video is not known: the words at the end that say
    /// something, never the first one.
    #[must_use]
    pub fn alone(name: &str) -> Self {
        let mut words = without_extension(name).split('.');
        let _title = words.next();
        let known = |word: &&str| is_word(word) || language::tag(word).is_some();
        Self::of(words.rev().take_while(known).take(MOST_WORDS))
    }

    /// Whether the name says so.
    #[must_use]
    pub fn is(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// `hi` is Hindi, or hearing impaired where another language is named.
    fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut tags = Self::default();
        let mut hi = 0_usize;
        for word in words {
            if word.eq_ignore_ascii_case("hi") {
                hi += 1;
            } else if let Some(flag) = flag(word) {
                tags.flags.push(flag);
            } else if tags.language.is_none() {
                tags.language = language::tag(word);
            }
        }
        if hi > 0 && tags.language.is_none() {
            tags.language = Some("hi".to_owned());
            hi -= 1;
        }
        if hi > 0 {
            tags.flags.push(Flag::Sdh);
        }
        tags.flags.sort_unstable();
        tags.flags.dedup();
        tags
    }
}

/// More words than this between title and extension are not read.
const MOST_WORDS: usize = 6;

fn without_extension(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn flag(word: &str) -> Option<Flag> {
    match word.to_ascii_lowercase().as_str() {
        "forced" | "foreign" => Some(Flag::Forced),
        "sdh" | "cc" => Some(Flag::Sdh),
        "default" => Some(Flag::Default),
        "commentary" => Some(Flag::Commentary),
        _ => None,
    }
}

/// Whether a word belongs to the end of a name though it is no language.
fn is_word(word: &str) -> bool {
    const OTHERS: [&str; 6] = ["dialogue", "full", "hi", "sign", "signs", "songs"];
    let number = word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_digit());
    number || flag(word).is_some() || OTHERS.iter().any(|other| word.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Flag::{Commentary, Default as Chosen, Forced, Sdh};
    use super::*;

    #[test]
    fn names_beside_a_video_are_read() {
        let table: &[(&str, &str, Option<&str>, &[Flag])] = &[
            ("film.srt", "film.mkv", None, &[]),
            ("film.en.srt", "film.mkv", Some("en"), &[]),
            ("film.en.forced.srt", "film.mkv", Some("en"), &[Forced]),
            ("film.forced.eng.srt", "film.mkv", Some("en"), &[Forced]),
            ("film.pt-BR.srt", "film.mkv", Some("pt-BR"), &[]),
            ("film.English.sdh.default.ass", "film.mkv", Some("en"), &[Sdh, Chosen]),
            ("film.de.cc.commentary.vtt", "film.mkv", Some("de"), &[Sdh, Commentary]),
            ("film.hi.srt", "film.mkv", Some("hi"), &[]),
            ("film.en.hi.srt", "film.mkv", Some("en"), &[Sdh]),
            ("film.hi.hi.srt", "film.mkv", Some("hi"), &[Sdh]),
            ("FILM.EN.SRT", "film.mkv", Some("en"), &[]),
            ("film.2019.de.srt", "film.2019.mkv", Some("de"), &[]),
            ("film.no.idea.srt", "film.no.idea.mkv", None, &[]),
            ("film.2.fr.srt", "film.mkv", Some("fr"), &[]),
            ("été.fr.srt", "été.mkv", Some("fr"), &[]),
            ("other.fr.srt", "film.mkv", Some("fr"), &[]),
            ("film", "film.mkv", None, &[]),
        ];
        for (name, owner, language, flags) in table {
            let tags = NameTags::beside(name, owner);
            assert_eq!(tags.language.as_deref(), *language, "{name} beside {owner}");
            assert_eq!(tags.flags, *flags, "{name} beside {owner}");
        }
    }

    #[test]
    fn names_alone_are_read_from_their_end() {
        let table: &[(&str, Option<&str>, &[Flag])] = &[
            ("Film.2019.en.srt", Some("en"), &[]),
            ("Film.2019.en.forced.srt", Some("en"), &[Forced]),
            ("Das.Boot.de.srt", Some("de"), &[]),
            ("It.srt", None, &[]),
            ("Film.It.Follows.srt", None, &[]),
            ("Film.hi.srt", Some("hi"), &[]),
            (".srt", None, &[]),
            ("", None, &[]),
        ];
        for (name, language, flags) in table {
            let tags = NameTags::alone(name);
            assert_eq!(tags.language.as_deref(), *language, "{name}");
            assert_eq!(tags.flags, *flags, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_names_are_read_without_a_panic(name in "[.a-zé-]{0,30}", owner in "[.a-zé-]{0,30}") {
            let tags = NameTags::beside(&name, &owner);
            prop_assert!(tags.flags.len() <= 4);
        }
    }
}
