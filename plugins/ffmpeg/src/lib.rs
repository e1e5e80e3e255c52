//! The plugin `ffmpeg`: what is inside a video or audio file, as ffprobe sees it.

pub mod child;
pub mod describe;
pub mod ffprobe;
pub mod input;

use std::ffi::OsString;
use std::time::Duration;

use worker_sdk::{
    Classify as _, Context, Failure, Guard, InvalidSettings, Manifest, Outcome, Plugin, Settings,
};

use crate::child::{Call, ChildError};
use crate::input::Input;

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

/// Kept back from the deadline, so that what hung is said by its name.
const MARGIN: Duration = Duration::from_millis(500);

impl Plugin for Ffmpeg {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        child::is_there(&self.guard, &program(settings), "ffprobe").await
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let input = Input::of(ctx).await?;
        let output = self.probe(ctx, &input).await;
        input.came_whole()?;
        let output = output?;
        let probe = ffprobe::parse(&output).permanent()?;
        let mime = ctx.existing_text("file/mime").unwrap_or(&ctx.file().mime);
        Ok(Outcome::Completed(describe::describe(&probe, mime)))
    }
}

impl Ffmpeg {
    async fn probe(&self, ctx: &Context, input: &Input) -> Result<Vec<u8>, Failure> {
        let call = Call {
            name: "ffprobe",
            program: &program(ctx.settings()),
            arguments: &ffprobe::arguments(input.arguments()),
            proxy: input.proxy(),
            limit: ctx.remaining().saturating_sub(MARGIN),
            most: child::MAX_OUTPUT,
        };
        let said = child::call(&self.guard, &call).await;
        said.map(|said| said.output).map_err(ChildError::failure)
    }
}

fn program(settings: &Settings) -> OsString {
    let given = settings.get("ffprobe").and_then(|value| value.as_str()).unwrap_or_default().trim();
    if given.is_empty() { "ffprobe".into() } else { given.into() }
}
