//! Reads the `.nfo` files that Kodi, Jellyfin and Emby keep beside videos.
//!
//! A file is described by the `.nfo` of its own name or, for films, by `movie.nfo`; the `tvshow.nfo`
//! of its show adds to an episode. Nothing is guessed: without an `.nfo` the file is skipped.

mod decode;
mod fields;
mod files;
mod ids;
mod keys;
mod nfo;
mod xml;

use std::path::Path;

use worker_sdk::{Context, Failure, Manifest, Meta, Outcome, Plugin};

pub use self::ids::UniqueIds;
pub use self::nfo::{Found, Kind, Nfo};

/// The most episodes of one file that are listed.
const MAX_EPISODES: usize = 500;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct JellyfinNfo;

impl Plugin for JellyfinNfo {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let hint = Hint::of(ctx);
        let candidates = files::own(ctx.path(), ctx.file(), hint.is_episode);
        let own = match files::read_first(ctx, &candidates).await? {
            Some((path, content)) => Some((file_name(path), understand(path, &content)?)),
            None => None,
        };
        let mut reasons = Vec::new();
        let own = own.and_then(|(source, found)| match found {
            Found::Described(all) => Some((source, all)),
            Found::Nothing(reason) => {
                reasons.push(format!("{source} {reason}"));
                None
            }
        });
        let own = own.and_then(|(source, all)| Some((source, Described::of(all, &hint)?)));

        let is_episode = own.as_ref().map_or(hint.is_episode, |(_, own)| own.is_of_episode(&hint));
        let show = if is_episode || own.is_none() {
            read_show(ctx, hint.is_episode || is_episode).await
        } else {
            Ok(None)
        };
        finish(own.as_ref(), show, reasons)
    }
}

/// What the name of the file says.
#[derive(Debug, Clone, Copy)]
struct Hint {
    is_episode: bool,
    season: Option<u32>,
    episode: Option<u32>,
}

impl Hint {
    fn of(ctx: &Context) -> Self {
        let number = |key: &str| ctx.existing_text(key).and_then(fields::number);
        let episode = number("filename/episode");
        let sort = ctx.existing_text("filename/type");
        let is_episode = sort == Some("episode") || (sort.is_none() && episode.is_some());
        Self { is_episode, season: number("filename/season"), episode }
    }
}

/// The description of the file, and of what else is in it.
#[derive(Debug)]
struct Described {
    own: Nfo,
    /// Season, episode and title of each, where there are several.
    episodes: Vec<serde_json::Value>,
}

impl Described {
    fn of(all: Vec<Nfo>, hint: &Hint) -> Option<Self> {
        let several = if all.len() > 1 { all.as_slice() } else { &[] };
        let episodes = several
            .iter()
            .take(MAX_EPISODES)
            .map(|nfo| {
                serde_json::json!({
                    "season": nfo.season, "episode": nfo.episode, "title": nfo.title,
                })
            })
            .collect();
        Some(Self { own: nfo::pick(all, hint.season, hint.episode)?, episodes })
    }

    fn is_of_episode(&self, hint: &Hint) -> bool {
        match self.own.kind {
            Some(Kind::Episode) => true,
            Some(Kind::Movie | Kind::MusicVideo | Kind::TvShow) => false,
            None => hint.is_episode,
        }
    }
}

/// The name of the show's file and what it says.
async fn read_show(ctx: &Context, is_episode: bool) -> Result<Option<(String, Nfo)>, Failure> {
    let candidates = files::show(ctx.path(), is_episode);
    let Some((path, content)) = files::read_first(ctx, &candidates).await? else { return Ok(None) };
    let Found::Described(all) = understand(path, &content)? else { return Ok(None) };
    let show = all.into_iter().find(|nfo| nfo.kind == Some(Kind::TvShow));
    Ok(show.map(|show| (file_name(path), show)))
}

/// Writes what there is. A show's file that cannot be read is fatal only where there is no other:
/// one mistake in it must not cost each episode its own description.
fn finish(
    own: Option<&(String, Described)>,
    show: Result<Option<(String, Nfo)>, Failure>,
    mut reasons: Vec<String>,
) -> Result<Outcome, Failure> {
    let mut meta = Meta::new();
    if let Some((source, described)) = own {
        keys::write_own(&described.own, &mut meta);
        meta.text("nfo/source", source);
        if !described.episodes.is_empty() {
            meta.json("nfo/episodes", described.episodes.clone().into());
        }
    }
    match show {
        Ok(Some((source, show))) => {
            keys::write_show(&show, own.map(|(_, described)| &described.own), &mut meta);
            meta.text("nfo/showSource", &source);
            if own.is_none() {
                meta.text("nfo/source", source);
            }
        }
        Ok(None) => {}
        Err(failure) if own.is_none() || failure.is_retryable() => return Err(failure),
        Err(failure) => {
            meta.text("nfo/problem", failure);
        }
    }
    if meta.is_empty() {
        if reasons.is_empty() {
            reasons.push("no .nfo beside the file".to_owned());
        }
        return Ok(Outcome::skipped(reasons.join("; ")));
    }
    Ok(Outcome::Completed(meta))
}

fn understand(path: &Path, content: &[u8]) -> Result<Found, Failure> {
    nfo::read(&decode::decode(content))
        .map_err(|error| Failure::permanent(format!("{}, {error}", path.display())))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
