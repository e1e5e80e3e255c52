//! The plugin `ffmpeg`: what is inside a video or audio file, as ffprobe sees it.

pub mod child;
pub mod describe;
pub mod ffprobe;

use std::ffi::OsString;
use std::time::Duration;

use worker_sdk::{
    Classify as _, Context, Failure, Guard, InvalidSettings, Manifest, Outcome, Plugin, Settings,
};

use crate::child::ChildError;

/// The plugin; all it knows of files is in its settings.
#[derive(Clone, Debug, Default)]
pub struct Ffmpeg {
    guard: Guard,
}

impl Ffmpeg {
    /// The plugin inside another program than its own: `guard` starts ffprobe for it.
    #[must_use]
    pub fn guarded_by(guard: Guard) -> Self {
        Self { guard }
    }
}

/// Time for ffprobe to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// Kept back from the deadline, so that what hung is said by its name.
const MARGIN: Duration = Duration::from_millis(500);

impl Plugin for Ffmpeg {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        let program = program(settings);
        match child::run(&self.guard, &program, &["-version".into()], VERSION_LIMIT).await {
            Ok(_) => Ok(()),
            Err(error @ ChildError::Start { .. }) => Err(InvalidSettings::new(format!(
                "{}; install ffmpeg or set `ffprobe` to its path",
                Failure::permanent(error)
            ))),
            Err(error) => Err(InvalidSettings::new(format!(
                "{} does not work: {}",
                program.display(),
                Failure::permanent(error)
            ))),
        }
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        // ffprobe would wait for the writer of a pipe.
        let metadata = tokio::fs::metadata(ctx.path()).await.retryable()?;
        if !metadata.is_file() {
            return Err(Failure::permanent("not a regular file"));
        }
        let limit = ctx.remaining().saturating_sub(MARGIN);
        let arguments = ffprobe::arguments(ctx.path());
        let output =
            match child::run(&self.guard, &program(ctx.settings()), &arguments, limit).await {
                Ok(output) => output,
                Err(error) if error.is_retryable() => return Err(Failure::retryable(error)),
                Err(error) => return Err(Failure::permanent(error)),
            };
        let probe = ffprobe::parse(&output).permanent()?;
        let mime = ctx.existing_text("file/mime").unwrap_or(&ctx.file().mime);
        Ok(Outcome::Completed(describe::describe(&probe, mime)))
    }
}

fn program(settings: &Settings) -> OsString {
    let given = settings.get("ffprobe").and_then(|value| value.as_str()).unwrap_or_default().trim();
    if given.is_empty() { "ffprobe".into() } else { given.into() }
}
