//! PURE. Reads the name of a piece of music: `01 - First Light`, `Artist - Title`, `1-02 Title`.

use crate::date::year_of;
use crate::parsed::Parsed;
use crate::scan::{Scan, whole_number};
use crate::title;
use crate::token::normalise;

/// Folders that are no albums.
const GENERIC: [&str; 10] =
    ["audio", "downloads", "library", "media", "mp3", "mp3s", "music", "new", "odd", "unsorted"];

/// Reads a name without its extension, and its folders, nearest last.
pub(crate) fn read(stem: &str, folders: &[String]) -> Parsed {
    let mut parsed = Parsed::default();
    let name = if stem.contains(' ') { stem.to_owned() } else { stem.replace('_', " ") };
    let rest = take_track(&name, &mut parsed);
    let parts: Vec<&str> =
        rest.split(" - ").map(str::trim).filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => {}
        [only] => parsed.title = title::clean(only),
        [artist, track, rest @ ..] if whole_number(track, 3).is_some() && !rest.is_empty() => {
            parsed.artist = title::clean(artist);
            parsed.track = parsed.track.or_else(|| whole_number(track, 3));
            parsed.title = title::clean(&rest.join(" - "));
        }
        [artist, album, track, rest @ ..]
            if whole_number(track, 3).is_some() && !rest.is_empty() =>
        {
            parsed.artist = title::clean(artist);
            parsed.album = title::clean(album);
            parsed.track = parsed.track.or_else(|| whole_number(track, 3));
            parsed.title = title::clean(&rest.join(" - "));
        }
        [artist, rest @ ..] => {
            parsed.artist = title::clean(artist);
            parsed.title = title::clean(&rest.join(" - "));
        }
    }
    if parsed.track.is_some() {
        take_folders(folders, &mut parsed);
    }
    parsed
}

/// Takes `01`, `1-02` or `102`; gives what is left of the name.
fn take_track<'a>(name: &'a str, parsed: &mut Parsed) -> &'a str {
    let mut scan = Scan::new(name);
    let Some(first) = scan.number(3) else { return name };
    let mut second = scan;
    let (disc, track, rest) = if second.take("-")
        && let Some(track) = second.number(2)
    {
        (Some(first), track, second)
    } else {
        (None, first, scan)
    };
    let left = name.get(name.len() - rest.rest_len()..).unwrap_or_default();
    let set_off = left.is_empty() || left.starts_with([' ', '.', '-', ')']);
    if !set_off {
        return name;
    }
    // `101` is the first track of the first disc where nothing else says so
    parsed.disc = disc.or_else(|| (track > 100).then_some(track / 100));
    parsed.track = Some(if track > 100 { track % 100 } else { track });
    left.trim_start_matches([' ', '.', '-', ')', '_'])
}

/// `Artist/Album (2001)/CD1`, `Artist - Album (2001)`.
fn take_folders(folders: &[String], parsed: &mut Parsed) {
    let mut names = folders.iter().rev().map(|name| normalise(name));
    let Some(mut album) = names.next() else { return };
    let mut scan = Scan::new(&album);
    if scan.take_any(&["cd", "disc", "disk"]) {
        let number = album.get(album.len() - scan.rest_len()..).unwrap_or_default();
        if let Some(disc) = whole_number(number.trim(), 2) {
            parsed.disc = parsed.disc.or(Some(disc));
            let Some(parent) = names.next() else { return };
            album = parent;
        }
    }
    if GENERIC.contains(&album.trim().to_lowercase().as_str()) {
        return;
    }
    let (album, year) = split_year(&album);
    parsed.year = parsed.year.or(year);
    let (artist, album) = match album.split_once(" - ") {
        Some((artist, album)) if year_of(artist.trim()).is_none() => (Some(artist), album),
        Some((year, album)) => {
            parsed.year = parsed.year.or_else(|| year_of(year.trim()));
            (None, album)
        }
        None => (None, album),
    };
    parsed.album = parsed.album.take().or_else(|| title::clean(album));
    let parent =
        names.next().filter(|name| !GENERIC.contains(&name.trim().to_lowercase().as_str()));
    let artist = artist.map(str::to_owned).or(parent);
    parsed.artist = parsed.artist.take().or_else(|| title::clean(&artist?));
}

/// Takes `(2001)` or `[2001]` off the end or the start.
fn split_year(name: &str) -> (&str, Option<u32>) {
    for (open, close) in [('(', ')'), ('[', ']')] {
        if let Some((before, rest)) = name.split_once(open)
            && let Some((inner, after)) = rest.split_once(close)
            && let Some(year) = year_of(inner.trim())
        {
            let kept = if before.trim().is_empty() { after } else { before };
            return (kept.trim(), Some(year));
        }
    }
    (name, None)
}
