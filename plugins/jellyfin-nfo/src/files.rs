//! Finds and reads the `.nfo` files that belong to a file.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;
use worker_sdk::{Failure, FileFacts};

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
/// # Errors
///
/// Permanent where the file is over [`MAX_BYTES`] or may not be read, else retryable.
pub(crate) async fn read_first(
    candidates: &[PathBuf],
) -> Result<Option<(&PathBuf, Vec<u8>)>, Failure> {
    for path in candidates {
        if let Some(content) = read(path).await? {
            return Ok(Some((path, content)));
        }
    }
    Ok(None)
}

async fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let described = |error: &io::Error| {
        let text = format!("could not read {}: {error}", path.display());
        if error.kind() == ErrorKind::PermissionDenied {
            Failure::permanent(text)
        } else {
            Failure::retryable(text)
        }
    };
    // a pipe or a device would never end
    match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(described(&error)),
    }
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(described(&error)),
    };
    let mut content = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut content).await;
    let read = read.map_err(|error| described(&error))?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        return Ok(Some(content));
    }
    Err(Failure::permanent(format!("{} is over the limit of {MAX_BYTES} bytes", path.display())))
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
    fn only_an_episode_is_described_from_the_folder_above() {
        let path = Path::new("/s/S1/e.mkv");
        let beside = PathBuf::from("/s/S1/tvshow.nfo");

        assert_eq!(show(path, false), std::slice::from_ref(&beside));
        assert_eq!(show(path, true), [beside, PathBuf::from("/s/tvshow.nfo")]);
    }
}
