//! The plugin `file-info`: what a file is, for every other plugin to build on.

pub mod kind;

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt as _;
use worker_sdk::{Context, Failure, Manifest, Meta, OpenError, Outcome, Plugin, mime};

use crate::kind::FileKind;

/// The plugin; it has no state and no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileInfo;

impl Plugin for FileInfo {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let beginning = Beginning::read(ctx).await?;
        Ok(Outcome::Completed(describe(ctx, &beginning)))
    }
}

fn describe(ctx: &Context, beginning: &Beginning) -> Meta {
    let file = ctx.file();
    let found = mime::mime_of(Path::new(&file.name), &beginning.head);
    // The finder may know a type that is not known here, never a better one for known content.
    let mime = match found {
        mime::UNKNOWN if !file.mime.is_empty() => file.mime.as_str(),
        found => found,
    };
    let modified = Some(file.modified.clone()).filter(|time| !time.is_empty());
    let extension = Some(file.extension.as_str()).filter(|extension| !extension.is_empty());
    let mut meta = Meta::new();
    meta.text("file/type", FileKind::of(mime))
        .text("file/mime", mime)
        .text("file/size", beginning.size)
        .text("file/name", &file.name)
        .text_opt("file/extension", extension)
        .text_opt("file/modified", modified.or_else(|| beginning.modified.clone()));
    meta
}

/// What one look at a file shows.
struct Beginning {
    size: u64,
    modified: Option<String>,
    head: Vec<u8>,
}

impl Beginning {
    async fn read(ctx: &Context) -> Result<Self, Failure> {
        let file = ctx.open().await.map_err(OpenError::failure)?;
        let (size, modified) = (file.size(), file.modified().await);
        let mut head = Vec::new();
        file.take(mime::HEAD_BYTES as u64)
            .read_to_end(&mut head)
            .await
            .map_err(|error| unreadable(ctx.path(), error))?;
        let modified = modified
            .and_then(|time| jiff::Timestamp::try_from(time).ok())
            .map(|time| time.to_string());
        Ok(Self { size, modified, head })
    }
}

/// The file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read {}", path.display())]
struct Unreadable {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A mount may come back; permission does not come by waiting.
fn unreadable(path: &Path, source: io::Error) -> Failure {
    let denied = source.kind() == io::ErrorKind::PermissionDenied;
    let error = Unreadable { path: path.to_owned(), source };
    if denied { Failure::permanent(error) } else { Failure::retryable(error) }
}

#[cfg(test)]
mod tests;
