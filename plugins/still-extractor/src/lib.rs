//! The plugin `still-extractor`: a few stills of a video, kept as artefacts.

pub mod frame;
pub mod plan;

use std::time::Duration;

use plugin_ffmpeg::child::{self, Call, ChildError};
use plugin_ffmpeg::input::Input;
use serde_json::{Value, json};
use worker_sdk::{
    Artifact, ArtifactName, Classify as _, Context, Failure, Guard, InvalidSettings, Manifest,
    Meta, Outcome, Plugin, Settings,
};

use crate::frame::Pick;
use crate::plan::Wanted;

/// A still that is larger is none, in bytes.
const MAX_STILL: usize = 4 * 1024 * 1024;
/// One call of ffmpeg may take so long.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Kept back from the deadline, to store what has been made.
const MARGIN: Duration = Duration::from_secs(2);

/// The plugin; all it knows of files is in its settings.
#[derive(Clone, Debug, Default)]
pub struct StillExtractor {
    guard: Guard,
}

impl StillExtractor {
    /// The plugin inside another program than its own: `guard` starts ffmpeg for it.
    #[must_use]
    pub fn guarded_by(guard: Guard) -> Self {
        Self { guard }
    }
}

/// One frame of a video.
struct Still {
    jpeg: Vec<u8>,
    /// Where it is in the video, in seconds.
    time: f64,
    width: u16,
    height: u16,
    /// Nothing brighter was near.
    is_dark: bool,
}

/// What is made of one video.
#[derive(Default)]
struct Made {
    stills: Vec<(Artifact, Value)>,
    /// Why the last one that is missing is missing.
    problem: Option<Failure>,
}

impl Plugin for StillExtractor {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        let wanted = Wanted::of(settings).map_err(InvalidSettings::new)?;
        child::is_there(&self.guard, &wanted.ffmpeg, "ffmpeg").await
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        if ctx.existing_text("fileinfo/streamdetails/video/0/codec").is_none() {
            return Ok(Outcome::skipped("no video in it"));
        }
        let wanted = Wanted::of(ctx.settings()).permanent()?;
        let length = ctx.existing_text("fileinfo/duration").and_then(|text| text.parse().ok());
        let times = plan::times(length, wanted.count);
        let input = Input::of(ctx).await?;
        let mut made = Made::default();
        let studio = Studio { guard: &self.guard, ctx, input: &input, wanted: &wanted };
        let parts = u16::try_from(times.len()).map_or(f32::MAX, f32::from);
        for (at, n) in times.iter().zip(0_u16..) {
            ctx.progress(f32::from(n) / parts, &format!("{n} stills are made")).await;
            studio.make(*at, &mut made).await?;
        }
        if made.stills.is_empty() {
            // A video of one picture, or one that is cut off early.
            studio.make(0.0, &mut made).await?;
        }
        described(made, times.len())
    }
}

/// All that is needed for the stills of one video.
struct Studio<'a> {
    guard: &'a Guard,
    ctx: &'a Context,
    input: &'a Input,
    wanted: &'a Wanted,
}

impl Studio<'_> {
    /// Makes one still and keeps it; one that cannot be made is noted.
    async fn make(&self, at: f64, made: &mut Made) -> Result<(), Failure> {
        let Self { ctx, input, .. } = self;
        if ctx.remaining() <= MARGIN {
            made.problem = Some(Failure::retryable("the time for this file was over"));
            return Ok(());
        }
        let found = self.still(at).await;
        input.came_whole()?;
        let still = match found {
            Ok(Some(still)) => still,
            Ok(None) => return Ok(()),
            Err(error) if is_of_the_machine(&error) => return Err(error.failure()),
            Err(error) => {
                made.problem = Some(error.failure());
                return Ok(());
            }
        };
        let name = format!("still-{}.jpg", made.stills.len());
        let name: ArtifactName = name.parse().permanent()?;
        let (told, jpeg) = still.into_parts();
        match ctx.put_artifact(&name, "image/jpeg", jpeg).await {
            Ok(artifact) => made.stills.push((artifact, told)),
            Err(failure) if failure.is_retryable() => return Err(failure),
            // Larger than this broker takes; the others may be smaller.
            Err(failure) => made.problem = Some(failure),
        }
        Ok(())
    }

    async fn still(&self, at: f64) -> Result<Option<Still>, ChildError> {
        let Self { guard, ctx, input, wanted } = self;
        for pick in [Pick::Bright, Pick::Any] {
            let call = Call {
                name: "ffmpeg",
                program: &wanted.ffmpeg,
                arguments: &frame::arguments(input.arguments(), at, pick, wanted),
                proxy: input.proxy(),
                limit: ctx.remaining().saturating_sub(MARGIN).min(CALL_LIMIT),
                most: MAX_STILL,
            };
            let said = child::call(guard, &call).await?;
            if let Some((width, height)) = frame::size_of(&said.output) {
                let time = at + frame::later_by(&said.messages).unwrap_or_default();
                let is_dark = pick == Pick::Any;
                return Ok(Some(Still { jpeg: said.output, time, width, height, is_dark }));
            }
        }
        Ok(None)
    }
}

impl Still {
    /// What metadata says of it beside what it says of every artefact, and its bytes.
    fn into_parts(self) -> (Value, Vec<u8>) {
        let Self { jpeg, time, width, height, is_dark } = self;
        let time = (time * 1000.0).round() / 1000.0;
        (json!({"time": time, "width": width, "height": height, "dark": is_dark}), jpeg)
    }
}

/// Whether the next still would fare no better, and the next attempt may.
fn is_of_the_machine(error: &ChildError) -> bool {
    match error {
        ChildError::Start { .. } | ChildError::Spawn(_) | ChildError::Read(_) => true,
        // A place in the file that takes too long, or breaks ffmpeg, may be the only one.
        ChildError::TimedOut { .. } | ChildError::Signal { .. } | ChildError::TooMuch { .. } => {
            false
        }
        ChildError::Refused { .. } => error.is_retryable(),
    }
}

fn described(made: Made, wanted: usize) -> Result<Outcome, Failure> {
    let Made { stills, problem } = made;
    if stills.is_empty() {
        let nothing = || Failure::permanent("ffmpeg found no frame in it");
        return Err(problem.unwrap_or_else(nothing));
    }
    let mut meta = Meta::new();
    meta.text("still/count", stills.len());
    for (n, (artifact, told)) in stills.iter().enumerate() {
        let mut value = serde_json::to_value(artifact).permanent()?;
        if let (Some(value), Some(told)) = (value.as_object_mut(), told.as_object()) {
            value.extend(told.clone());
        }
        meta.json(format!("still/{n}"), value);
    }
    if stills.len() < wanted {
        let why =
            problem.map_or_else(|| "ffmpeg found no frame there".to_owned(), |it| it.to_string());
        meta.text(
            "still/problem",
            format!("{} of {wanted} are missing: {why}", wanted - stills.len()),
        );
    }
    Ok(Outcome::Completed(meta))
}
