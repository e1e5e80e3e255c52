//! PURE  which files of a folder belong to a film or a song beside them.
//!
//! `Film.mkv` owns `Film.nfo`, `Film.srt`, `Film.en.forced.srt`; a folder's videos own its
//! `movie.nfo`, and the `tvshow.nfo` of the folder above, because episodes lie in folders of
//! seasons. A sidecar stays a file of its own: being owned adds to its owner's description and takes
//! nothing away.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use data_encoding::BASE32HEX_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// More than these of one owner are left out (in order of their names).
pub const MOST_PER_FILE: usize = 64;

/// Language and flags between stem and extension: `.pt-BR.forced.sdh`.
const MOST_SUFFIXES: usize = 3;

const SIDECARS: &[&str] = &[
    "ass", "cue", "dfxp", "idx", "lrc", "nfo", "sami", "smi", "srt", "ssa", "sub", "sup", "ttml",
    "txt", "vtt", "xml",
];
const VIDEOS: &[&str] = &[
    "3gp", "asf", "avi", "divx", "f4v", "flv", "iso", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg",
    "mpg", "mts", "ogm", "ogv", "rm", "rmvb", "strm", "ts", "vob", "webm", "wmv", "wtv",
];
const AUDIOS: &[&str] = &[
    "aac", "aiff", "alac", "ape", "dsf", "flac", "m4a", "m4b", "mka", "mp3", "oga", "ogg", "opus",
    "wav", "wma", "wv",
];
/// Describe all videos of their folder.
const FOLDER_NAMES: &[&str] = &["movie.nfo", "tvshow.nfo"];
/// Describes the videos of the folders in its folder too; the name that they have it under.
pub const SHOW_ABOVE: &str = "../tvshow.nfo";
const FLAGS: &[&str] = &[
    "cc",
    "commentary",
    "default",
    "dialogue",
    "foreign",
    "forced",
    "full",
    "hi",
    "sdh",
    "sign",
    "signs",
    "songs",
];
const LANGUAGES: &[&str] = &[
    "arabic",
    "brazilian",
    "bulgarian",
    "chinese",
    "croatian",
    "czech",
    "danish",
    "dutch",
    "english",
    "estonian",
    "finnish",
    "french",
    "german",
    "greek",
    "hebrew",
    "hindi",
    "hungarian",
    "indonesian",
    "italian",
    "japanese",
    "korean",
    "latin",
    "latvian",
    "lithuanian",
    "norwegian",
    "persian",
    "polish",
    "portuguese",
    "romanian",
    "russian",
    "serbian",
    "slovak",
    "slovenian",
    "spanish",
    "swedish",
    "thai",
    "turkish",
    "ukrainian",
    "vietnamese",
];

/// Whether a file of this name is described by its folder's sidecars too.
#[must_use]
pub fn is_video(name: &OsStr) -> bool {
    has_extension(name, VIDEOS)
}

/// Whether a file of this name may own sidecars.
#[must_use]
pub fn is_owner(name: &OsStr) -> bool {
    is_video(name) || has_extension(name, AUDIOS)
}

/// Whether a file of this name may be a sidecar.
#[must_use]
pub fn is_candidate(name: &OsStr) -> bool {
    has_extension(name, SIDECARS)
}

/// The possible sidecars of one folder, by the stem of the file that would own them.
#[derive(Debug, Default)]
pub struct Candidates {
    by_stem: HashMap<Vec<u8>, Vec<OsString>>,
    of_folder: Vec<OsString>,
}

impl Candidates {
    /// Adds `name` if it may be a sidecar.
    pub fn add(&mut self, name: &OsStr) {
        if !is_candidate(name) {
            return;
        }
        let text = name.to_string_lossy();
        if FOLDER_NAMES.iter().any(|folder| text.eq_ignore_ascii_case(folder)) {
            self.of_folder.push(name.to_owned());
            return;
        }
        let mut stem = stem_of(name);
        for _ in 0..=MOST_SUFFIXES {
            self.by_stem.entry(stem.to_vec()).or_default().push(name.to_owned());
            let Some(dot) = stem.iter().rposition(|b| *b == b'.') else { break };
            let (rest, suffix) = stem.split_at(dot);
            if rest.is_empty() || !is_suffix(&suffix[1..]) {
                break;
            }
            stem = rest;
        }
    }

    /// Whether nothing here can be a sidecar.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_stem.is_empty() && self.of_folder.is_empty()
    }

    /// The sidecars beside `owner`, sorted, at most [`MOST_PER_FILE`].
    #[must_use]
    pub fn of(&self, owner: &OsStr) -> Vec<OsString> {
        if self.is_empty() || !is_owner(owner) {
            return Vec::new();
        }
        let mut found = self.by_stem.get(stem_of(owner)).cloned().unwrap_or_default();
        if is_video(owner) {
            found.extend_from_slice(&self.of_folder);
        }
        found.sort_unstable();
        found.truncate(MOST_PER_FILE);
        found
    }
}

/// One sidecar as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarFile {
    /// Its name in the folder of its owner, or [`SHOW_ABOVE`].
    pub name: OsString,
    /// In bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// Stands for a file's list of sidecars: another one, or an edited one, gives another hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SidecarHash(String);

impl SidecarHash {
    /// `None` where there are no sidecars.
    #[must_use]
    pub fn of(sidecars: &[SidecarFile]) -> Option<Self> {
        if sidecars.is_empty() {
            return None;
        }
        let mut hasher = Sha256::new();
        for sidecar in sidecars {
            hasher.update(sidecar.name.as_bytes());
            hasher.update([0]);
            hasher.update(sidecar.size.to_be_bytes());
            hasher.update(sidecar.mtime_ns.to_be_bytes());
        }
        let digest = hasher.finalize();
        Some(Self(BASE32HEX_NOPAD.encode(&digest[..10]).to_ascii_lowercase()))
    }
}

fn has_extension(name: &OsStr, extensions: &[&str]) -> bool {
    let name = name.as_bytes();
    let Some(dot) = name.iter().rposition(|b| *b == b'.') else { return false };
    let extension = &name[dot + 1..];
    extensions.iter().any(|known| extension.eq_ignore_ascii_case(known.as_bytes()))
}

/// The name without its extension.
fn stem_of(name: &OsStr) -> &[u8] {
    let name = name.as_bytes();
    name.iter().rposition(|b| *b == b'.').map_or(name, |dot| &name[..dot])
}

/// `en`, `eng`, `pt-BR`, `zh-Hans`, `english`, `forced`, `2`.
fn is_suffix(suffix: &[u8]) -> bool {
    let word = |list: &[&str]| list.iter().any(|w| suffix.eq_ignore_ascii_case(w.as_bytes()));
    let number = suffix.len() <= 2 && suffix.iter().all(u8::is_ascii_digit);
    let mut parts = suffix.split(|b| matches!(b, b'-' | b'_'));
    let alphabetic = |part: &[u8]| part.iter().all(u8::is_ascii_alphabetic);
    let language = parts.next().is_some_and(|p| matches!(p.len(), 2 | 3) && alphabetic(p))
        && parts.next().is_none_or(|p| (2..=4).contains(&p.len()) && p.is_ascii())
        && parts.next().is_none();
    !suffix.is_empty() && (number || language || word(FLAGS) || word(LANGUAGES))
}

#[cfg(test)]
mod tests;
