//! PURE. How much speaks for a file being anime.
//!
//! Every signal has a weight and a word that is written as a reason; their sum, kept between 0 and
//! 100, is the score. No weak signal is enough alone, and an `.nfo` that says so is.

use crate::evidence::Evidence;

/// From this score on a file counts as anime, unless the settings say otherwise.
pub const DEFAULT_THRESHOLD: u32 = 50;

/// One thing that speaks for or against.
struct Signal {
    /// The reason that is written.
    reason: &'static str,
    weight: i32,
    holds: fn(&Evidence) -> bool,
}

const SIGNALS: [Signal; 15] = [
    Signal { reason: "nfo-anime", weight: 60, holds: |e| e.nfo_anime },
    Signal {
        reason: "nfo-animation-from-japan",
        weight: 50,
        holds: |e| e.nfo_animation && e.nfo_japan && !e.nfo_anime,
    },
    Signal { reason: "known-group", weight: 35, holds: |e| e.known_group },
    Signal { reason: "group-in-front", weight: 20, holds: |e| e.group_in_front },
    Signal { reason: "absolute-numbering", weight: 25, holds: |e| e.absolute_number },
    Signal { reason: "checksum-in-name", weight: 25, holds: |e| e.checksum },
    Signal { reason: "anime-folder", weight: 25, holds: |e| e.anime_folder },
    Signal { reason: "japanese-audio", weight: 20, holds: |e| e.japanese_audio },
    Signal {
        reason: "japanese-audio-subtitled",
        weight: 10,
        holds: |e| e.japanese_audio && e.foreign_subtitles,
    },
    Signal { reason: "styled-subtitles", weight: 10, holds: |e| e.styled_subtitles },
    Signal { reason: "anime-words", weight: 15, holds: |e| e.anime_words },
    Signal { reason: "japanese-name", weight: 15, holds: |e| e.japanese_name },
    Signal { reason: "ten-bit-h264", weight: 10, holds: |e| e.ten_bit_h264 },
    Signal {
        reason: "nfo-not-animated",
        weight: -40,
        holds: |e| e.nfo_genres && !e.nfo_animation && !e.nfo_anime,
    },
    Signal {
        reason: "nfo-not-from-asia",
        weight: -20,
        holds: |e| e.nfo_countries && !e.nfo_asia && !e.nfo_anime,
    },
];

/// What the signals come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// 0 to 100.
    pub score: u32,
    /// Whether the score reaches the threshold.
    pub is_anime: bool,
    /// What speaks for it, and against it.
    pub reasons: Vec<&'static str>,
}

/// Weighs the evidence.
#[must_use]
pub fn judge(evidence: &Evidence, threshold: u32) -> Verdict {
    let holding: Vec<&Signal> = SIGNALS.iter().filter(|s| (s.holds)(evidence)).collect();
    let sum: i32 = holding.iter().map(|signal| signal.weight).sum();
    let score = u32::try_from(sum.clamp(0, 100)).unwrap_or(0);
    let reasons = holding.into_iter().map(|signal| signal.reason).collect();
    Verdict { score, is_anime: score >= threshold, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evidence of which these things hold.
    fn evidence(words: &str) -> Evidence {
        let has = |word: &str| words.split(' ').any(|w| w == word);
        Evidence {
            nfo_anime: has("nfo-anime"),
            nfo_animation: has("animation"),
            nfo_japan: has("japan"),
            nfo_asia: has("japan") || has("asia"),
            nfo_genres: has("genres") || has("animation") || has("nfo-anime"),
            nfo_countries: has("countries") || has("japan") || has("asia"),
            known_group: has("known"),
            group_in_front: has("front"),
            absolute_number: has("absolute"),
            checksum: has("crc"),
            anime_folder: has("folder"),
            japanese_audio: has("ja"),
            foreign_subtitles: has("subs"),
            styled_subtitles: has("ass"),
            anime_words: has("words"),
            japanese_name: has("name"),
            ten_bit_h264: has("hi10p"),
        }
    }

    #[test]
    fn evidence_is_weighed() {
        for (words, score, is_anime) in [
            ("", 0, false),
            ("front absolute crc", 70, true),
            ("front absolute", 45, false),
            ("known front", 55, true),
            ("nfo-anime", 60, true),
            ("animation japan", 50, true),
            ("animation countries", 0, false),
            ("ja subs", 30, false),
            ("ja subs ass", 40, false),
            ("ja subs ass genres japan", 0, false),
            ("folder absolute name", 65, true),
            ("folder", 25, false),
            ("folder ja subs", 55, true),
            ("known front absolute crc ja subs ass hi10p", 100, true),
            ("genres countries", 0, false),
            ("front absolute crc genres", 30, false),
            ("front absolute crc genres nfo-anime", 100, true),
        ] {
            let verdict = judge(&evidence(words), DEFAULT_THRESHOLD);
            assert_eq!(
                (verdict.score, verdict.is_anime),
                (score, is_anime),
                "{words}: {verdict:?}"
            );
        }
    }

    #[test]
    fn every_signal_gives_its_reason() {
        let verdict = judge(&evidence("ja subs genres"), 1);
        assert_eq!(
            verdict.reasons,
            ["japanese-audio", "japanese-audio-subtitled", "nfo-not-animated"]
        );
    }

    #[test]
    fn the_readme_lists_every_weight() {
        for Signal { reason, weight, .. } in SIGNALS {
            let row = format!("| `{reason}` | {weight} |");
            assert!(include_str!("../README.md").contains(&row), "{row}");
        }
    }

    #[test]
    fn the_threshold_decides() {
        for (threshold, expected) in [(30, true), (31, false)] {
            assert_eq!(judge(&evidence("ja subs"), threshold).is_anime, expected, "{threshold}");
        }
    }
}
