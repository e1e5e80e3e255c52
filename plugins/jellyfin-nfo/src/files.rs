//! Finds and reads the `.nfo` files that belong to a file.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt};
use worker_sdk::{Context, Failure, FileFacts, OpenError};

/// The largest `.nfo`, in bytes.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// Files that may describe `path` itself, best first.
pub(crate) fn own(path: &Path, facts: &FileFacts, is_episode: bool) -> Vec<PathBuf> {
    let mut found = vec![path.with_extension("nfo"), path.with_extension("NFO")];
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let wanted = stem.map(|stem| format!("{stem}.nfo"));
    for sidecar in &facts.sidecars {
        if wanted.as_ref().is_some_and(|wanted| sidecar.name.to_lowercase() == *wanted) {
            found.push(path.with_file_name(&sidecar.name));
        }
    }
    if !is_episode {
        found.push(path.with_file_name("movie.nfo"));
    }
    found
}

/// Files that may describe the show of `path`: in its folder, and above the folder of a season.
pub(crate) fn show(path: &Path, is_episode: bool) -> Vec<PathBuf> {
    let beside = path.with_file_name("tvshow.nfo");
    let above = path.parent().and_then(Path::parent).map(|folder| folder.join("tvshow.nfo"));
    std::iter::once(beside).chain(above.filter(|_| is_episode)).collect()
}

/// The first of `candidates` that is a file, and its content.
///
/// One that the finder of the file has seen beside it is read wherever it is; another one may have
/// come since, and counts if it is on this machine.
///
/// # Errors
///
/// Permanent where the file is over [`MAX_BYTES`] or may not be read, else retryable.
pub(crate) async fn read_first<'a>(
    ctx: &Context,
    candidates: &'a [PathBuf],
) -> Result<Option<(&'a PathBuf, Vec<u8>)>, Failure> {
    for path in candidates {
        let seen = name_from(ctx.path(), path)
            .filter(|name| ctx.file().sidecars.iter().any(|sidecar| sidecar.name == *name));
        let content = match seen {
            Some(name) => match ctx.open_sidecar(&name).await {
                Ok(file) => Some(read_all(path, file).await?),
                Err(OpenError::NotAFile(_)) => None,
                Err(error) if error.is_absent() => None,
                Err(error) => return Err(error.failure()),
            },
            None => read_here(path).await?,
        };
        if let Some(content) = content {
            return Ok(Some((path, content)));
        }
    }
    Ok(None)
}

/// What the finder of `file` calls `path`.
fn name_from(file: &Path, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = file.parent()?;
    match path.parent()? {
        beside if beside == folder => Some(name.to_owned()),
        above if Some(above) == folder.parent() => Some(format!("../{name}")),
        _ => None,
    }
}

async fn read_here(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    // a pipe or a device would never end
    match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    }
    match tokio::fs::File::open(path).await {
        Ok(file) => read_all(path, file).await.map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

async fn read_all(path: &Path, file: impl AsyncRead + Unpin) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut content).await;
    let read = read.map_err(|error| unreadable(path, &error))?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        return Ok(content);
    }
    Err(Failure::permanent(format!("{} is over the limit of {MAX_BYTES} bytes", path.display())))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let text = format!("could not read {}: {error}", path.display());
    if error.kind() == ErrorKind::PermissionDenied {
        Failure::permanent(text)
    } else {
        Failure::retryable(text)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_counts_whatever_its_case() {
        let facts: FileFacts = serde_json::from_value(serde_json::json!({
            "sidecars": [{"name": "FILM.Nfo"}, {"name": "film.en.nfo"}, {"name": "film.srt"}],
        }))
        .unwrap();

        let found = own(Path::new("/m/Film.mkv"), &facts, true);

        let expected = ["/m/Film.nfo", "/m/Film.NFO", "/m/FILM.Nfo"].map(PathBuf::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_has_the_name_that_its_finder_gave_it() {
        for (path, expected) in [
            ("/s/S1/e.nfo", Some("e.nfo")),
            ("/s/tvshow.nfo", Some("../tvshow.nfo")),
            ("/tvshow.nfo", None),
            ("/s/S2/e.nfo", None),
        ] {
            let name = name_from(Path::new("/s/S1/e.mkv"), Path::new(path));
            assert_eq!(name.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn only_an_episode_is_described_from_the_folder_above() {
        let path = Path::new("/s/S1/e.mkv");
        let beside = PathBuf::from("/s/S1/tvshow.nfo");

        assert_eq!(show(path, false), std::slice::from_ref(&beside));
        assert_eq!(show(path, true), [beside, PathBuf::from("/s/tvshow.nfo")]);
    }
}
