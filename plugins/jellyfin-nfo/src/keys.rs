//! PURE. The metadata keys of what `.nfo` files say.

use worker_sdk::Meta;

use crate::nfo::{Kind, Nfo};

/// Writes a description of the file itself under the general keys.
pub(crate) fn write_own(nfo: &Nfo, meta: &mut Meta) {
    meta.text_opt("title", nfo.title.as_ref())
        .text_opt("originalTitle", nfo.original_title.as_ref())
        .text_opt("sortTitle", nfo.sort_title.as_ref())
        .text_opt("year", nfo.year)
        .text_opt("premiered", nfo.premiered.as_ref())
        .text_opt("plot", nfo.plot.as_ref())
        .text_opt("outline", nfo.outline.as_ref())
        .text_opt("tagline", nfo.tagline.as_ref())
        .text_opt("runtime", nfo.runtime)
        .text_opt("mpaa", nfo.mpaa.as_ref())
        .text_opt("collection", nfo.collection.as_ref())
        .text_opt("dateAdded", nfo.date_added.as_ref())
        .text_opt("nfo/type", nfo.kind.map(Kind::as_str));
    if nfo.kind == Some(Kind::Episode) {
        meta.text_opt("showTitle", nfo.show_title.as_ref())
            .text_opt("season", nfo.season)
            .text_opt("episode", nfo.episode);
    }
    write_sets(nfo, meta);
    meta.set("directors", nfo.directors.iter().cloned());
    meta.set("writers", nfo.writers.iter().cloned());
    if !nfo.actors.is_empty() {
        meta.json("actors", nfo.actors.clone().into());
    }
    if !nfo.ratings.is_empty() {
        meta.json("ratings", nfo.ratings.clone().into());
    }
    for (database, id) in nfo.unique_ids.iter() {
        meta.text(format!("nfo/uniqueid/{database}"), id);
    }
}

/// Writes what the description of a show says of each of its episodes.
///
/// `own` is the description of the episode, which goes first.
pub(crate) fn write_show(show: &Nfo, own: Option<&Nfo>, meta: &mut Meta) {
    let own_has = |has: fn(&Nfo) -> bool| own.is_some_and(has);
    if !own_has(|own| own.show_title.is_some()) {
        meta.text_opt("showTitle", show.title.as_ref());
    }
    if !own_has(|own| own.year.is_some()) {
        meta.text_opt("year", show.year);
    }
    if !own_has(|own| own.mpaa.is_some()) {
        meta.text_opt("mpaa", show.mpaa.as_ref());
    }
    write_sets(show, meta);
    meta.text_opt("nfo/show/originalTitle", show.original_title.as_ref())
        .text_opt("nfo/show/plot", show.plot.as_ref())
        .text_opt("nfo/show/premiered", show.premiered.as_ref())
        .text_opt("nfo/show/status", show.status.as_ref());
    for (database, id) in show.unique_ids.iter() {
        meta.text(format!("nfo/show/uniqueid/{database}"), id);
    }
}

/// Sets unite: an episode has the genres of its show too.
fn write_sets(nfo: &Nfo, meta: &mut Meta) {
    for (key, values) in [
        ("genres", &nfo.genres),
        ("tags", &nfo.tags),
        ("studios", &nfo.studios),
        ("countries", &nfo.countries),
    ] {
        for value in values {
            meta.add(key, value);
        }
    }
}
