//! Stores what was taken out: as an artefact and, if wanted, as a file that is handed in.

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use worker_sdk::{Artifact, ArtifactName, Classify as _, Context, Failure, Meta, SubmitError};

use crate::extract::{self, Job, MAX_TEXT, Text};
use crate::folder;
use crate::stream::Stream;

/// What became of one subtitle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    format: Option<&'static str>,
    artifact: Option<Artifact>,
    file: Option<PathBuf>,
    problem: Option<String>,
}

impl Kept {
    /// Nothing, and why.
    #[must_use]
    pub fn nothing(problem: impl Into<String>) -> Self {
        Self { problem: Some(problem.into()), ..Self::default() }
    }

    /// Whether somebody can read it now.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.artifact.is_some() || self.file.is_some()
    }

    /// Writes it all down.
    pub fn describe(&self, meta: &mut Meta, stream: &Stream) {
        let key = |property: &str| format!("subtitle/embedded/{}/{property}", stream.number);
        let codec = Some(stream.codec.as_str()).filter(|codec| !codec.is_empty());
        meta.text_opt(key("codec"), codec)
            .text_opt(key("language"), stream.language.as_deref())
            .text_opt(key("format"), self.format)
            .text_opt(key("file"), self.file.as_ref().map(|path| path.to_string_lossy()))
            .text_opt(key("problem"), self.problem.as_deref());
        if let Some(artifact) = &self.artifact {
            meta.artifact(key("artifact"), artifact);
        }
    }
}

/// Stores the subtitle that ffmpeg has written into `made`.
///
/// # Errors
///
/// When it cannot be stored, retryable or not.
///
/// # Cancel safety
///
/// What was stored stays, and is stored again by the next attempt.
pub async fn keep(
    ctx: &Context,
    output: Option<&Path>,
    job: &Job<'_>,
    made: &Path,
) -> Result<Kept, Failure> {
    let (path, format) = (job.path(made), job.format);
    let text = match away(move || extract::text(&path, format)).await.retryable()? {
        Text::Whole(text) => text,
        Text::Empty => return Ok(Kept::nothing("there is no text in it")),
        Text::TooLarge => {
            return Ok(Kept::nothing(format!("not extracted: larger than {MAX_TEXT} bytes")));
        }
    };
    let mut kept = Kept { format: Some(format.extension()), ..Kept::default() };
    if let Some(output) = output {
        let path = output.join(folder::name(ctx.task().cid.as_str(), job));
        kept.problem = hand_in(ctx, &path, text.clone()).await?;
        kept.file = Some(path);
    }
    let name = format!("subtitle-{}.{}", job.stream.number, format.extension());
    let name: ArtifactName = name.parse().permanent()?;
    let size = text.len();
    match ctx.put_artifact(&name, format.media_type(), text).await {
        Ok(artifact) => kept.artifact = Some(artifact),
        Err(failure) if failure.is_retryable() => return Err(failure),
        // Larger than a message of this broker may be.
        Err(_) if kept.file.is_some() => {}
        Err(_) => {
            let why = "are more than the broker takes; set `outputFolder` to have it as a file";
            kept = Kept::nothing(format!("{size} bytes {why}"));
        }
    }
    Ok(kept)
}

/// Writes the file and hands it in, unless both have been done before; returns what is wrong with
/// that.
async fn hand_in(ctx: &Context, path: &Path, text: Vec<u8>) -> Result<Option<String>, Failure> {
    let target = path.to_owned();
    let is_new = away(move || folder::write(&target, &text)).await.map_err(|error| {
        let permanent = error.kind() == io::ErrorKind::PermissionDenied;
        let error = Unwritable { path: path.to_owned(), source: error };
        if permanent { Failure::permanent(error) } else { Failure::retryable(error) }
    })?;
    // An attempt before this one may have ended between writing and handing in.
    if !is_new && ctx.attempt() == NonZeroU32::MIN {
        return Ok(None);
    }
    match ctx.submit(path).await {
        Ok(()) => Ok(None),
        Err(error @ SubmitError::TooDeep { .. }) => Ok(Some(format!("not handed in: {error}"))),
        Err(error) => Err(Failure::retryable(error)),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
struct Unwritable {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Runs what blocks away from the threads of handlers.
pub(crate) async fn away<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).and_then(|done| done)
}
