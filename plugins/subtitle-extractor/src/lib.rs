//! The plugin `subtitle-extractor`: text subtitles of a container as artefacts and, if wanted, as
//! files that are handed in.

pub mod extract;
pub mod folder;
pub mod keep;
pub mod settings;
pub mod stream;

use std::path::PathBuf;
use std::time::Duration;

use plugin_ffmpeg::child::{self, Call, ChildError};
use plugin_ffmpeg::input::Input;
use tempfile::TempDir;
use worker_sdk::{
    Classify as _, Context, Failure, Guard, InvalidSettings, Manifest, Meta, Outcome, Plugin,
    Settings,
};

use crate::extract::Job;
use crate::keep::{Kept, away, keep};
use crate::settings::Wanted;

/// Kept back from the deadline, to store what has been made.
const MARGIN: Duration = Duration::from_secs(5);
/// It writes files and says little.
const MAX_OUTPUT: usize = 64 * 1024;

/// The plugin; all it knows of files is in its settings.
#[derive(Clone, Debug, Default)]
pub struct SubtitleExtractor {
    guard: Guard,
}

impl SubtitleExtractor {
    /// The plugin inside another program than its own: `guard` starts ffmpeg for it.
    #[must_use]
    pub fn guarded_by(guard: Guard) -> Self {
        Self { guard }
    }
}

impl Plugin for SubtitleExtractor {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        let wanted = Wanted::of(settings).map_err(InvalidSettings::new)?;
        if let Some(path) = wanted.folder {
            let shown = path.display().to_string();
            away(move || folder::prepare(&path)).await.map_err(|error| {
                InvalidSettings::new(format!(
                    "cannot write into `outputFolder` {shown}: {error}; grant the plugin \
                     `filesystem.write` and give it the folder with `:rw` in plugins.yml"
                ))
            })?;
        }
        child::is_there(&self.guard, &wanted.ffmpeg, "ffmpeg").await
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let wanted = Wanted::of(ctx.settings()).permanent()?;
        if is_derived(ctx, wanted.folder.clone()).await? {
            return Ok(Outcome::skipped("it lies in `outputFolder`, from which nothing is taken"));
        }
        let streams = stream::streams(ctx.existing());
        if streams.is_empty() {
            return Ok(Outcome::skipped("no subtitles in it"));
        }
        let jobs: Vec<Job<'_>> =
            streams.iter().filter_map(|stream| extract::job(stream).ok()).collect();
        let made = self.extract(ctx, &wanted, &jobs).await?;
        let mut meta = Meta::new();
        let mut readable = 0;
        for stream in &streams {
            let kept = match (extract::job(stream), &made) {
                (Ok(job), Some(made)) => {
                    keep(ctx, wanted.folder.as_deref(), &job, made.path()).await?
                }
                (Err(problem), _) => Kept::nothing(problem),
                (Ok(_), None) => continue,
            };
            readable += usize::from(kept.is_readable());
            kept.describe(&mut meta, stream);
        }
        meta.text("subtitle/embeddedCount", streams.len())
            .text("subtitle/extractedCount", readable);
        Ok(Outcome::Completed(meta))
    }
}

impl SubtitleExtractor {
    /// Has ffmpeg write all that can be made into a folder that goes with the answer; `None` where
    /// that is nothing.
    async fn extract(
        &self,
        ctx: &Context,
        wanted: &Wanted,
        jobs: &[Job<'_>],
    ) -> Result<Option<TempDir>, Failure> {
        if jobs.is_empty() {
            return Ok(None);
        }
        let input = Input::of(ctx).await?;
        let made = away(TempDir::new).await.retryable()?;
        let call = Call {
            name: "ffmpeg",
            program: &wanted.ffmpeg,
            arguments: &extract::arguments(input.arguments(), jobs, made.path()),
            proxy: input.proxy(),
            limit: ctx.remaining().saturating_sub(MARGIN),
            most: MAX_OUTPUT,
        };
        let said = child::call(&self.guard, &call).await;
        input.came_whole()?;
        said.map_err(ChildError::failure)?;
        Ok(Some(made))
    }
}

/// Whether the file is one that this plugin, or whoever shares its folder, has made: nothing is taken
/// out of those, so that no file is made from a file for ever.
async fn is_derived(ctx: &Context, folder: Option<PathBuf>) -> Result<bool, Failure> {
    let Some(folder) = folder else { return Ok(false) };
    let file = ctx.path().to_owned();
    away(move || Ok(folder::holds(&folder, &file))).await.retryable()
}
