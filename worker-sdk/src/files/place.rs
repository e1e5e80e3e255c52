//! PURE. Whether the file that is here is the one that a task means.

use std::path::{Component, Path, PathBuf};

use broker_config::planted::{Bug, planted};

/// What a look at a path of this machine shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A regular file of so many bytes.
    File(u64),
    /// A folder, a pipe, a device.
    Other,
    /// Nothing that can be looked at.
    Nothing,
}

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The file that is here, or the error of it.
    Here,
    /// Bytes from elsewhere.
    Elsewhere,
    /// Nothing: what is here has other bytes than the file that was found, so many.
    Changed(u64),
}

/// The file that is here counts where it has the size that its finder saw; a size of 0 may mean that
/// it is not known. Metadata of another file under its content id would be wrong for good.
pub(super) fn choose(seen: Seen, size: u64, is_offered: bool) -> Choice {
    match seen {
        Seen::File(found) if size == 0 || found == size => Choice::Here,
        Seen::File(_) if planted(Bug::FileUnchecked) => Choice::Here,
        _ if is_offered => Choice::Elsewhere,
        Seen::File(found) => Choice::Changed(found),
        Seen::Other | Seen::Nothing => Choice::Here,
    }
}

/// The path of a file beside `file`; `name` is one, or `../name`. `None` for a name that leads
/// anywhere else.
pub(super) fn sidecar(file: &Path, name: &str) -> Option<PathBuf> {
    let folder = file.parent()?;
    let mut parts = Path::new(name).components();
    let (folder, last) = match (parts.next()?, parts.next()) {
        (Component::Normal(name), None) => (folder, name),
        (Component::ParentDir, Some(Component::Normal(name))) => (folder.parent()?, name),
        _ => return None,
    };
    let is_whole = parts.next().is_none() && !name.contains('\0') && !name.ends_with('/');
    is_whole.then(|| folder.join(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_here_counts_if_it_is_the_one() {
        use Choice::{Changed, Elsewhere, Here};
        for (seen, size, is_offered, expected) in [
            (Seen::File(5), 5, true, Here),
            (Seen::File(5), 0, true, Here),
            (Seen::File(5), 6, true, Elsewhere),
            (Seen::File(5), 6, false, Changed(5)),
            (Seen::File(5), 0, false, Here),
            (Seen::File(0), 6, true, Elsewhere),
            (Seen::Other, 5, true, Elsewhere),
            (Seen::Other, 5, false, Here),
            (Seen::Nothing, 5, true, Elsewhere),
            (Seen::Nothing, 0, true, Elsewhere),
            (Seen::Nothing, 5, false, Here),
        ] {
            assert_eq!(choose(seen, size, is_offered), expected, "{seen:?} {size} {is_offered}");
        }
    }

    #[test]
    fn a_sidecar_is_beside_the_file_or_one_folder_above() {
        for (name, expected) in [
            ("a.nfo", Some("/l/show/s1/a.nfo")),
            ("../tvshow.nfo", Some("/l/show/tvshow.nfo")),
            ("../../x", None),
            ("../", None),
            ("..", None),
            (".", None),
            ("", None),
            ("/etc/passwd", None),
            ("sub/a.srt", None),
            ("a.nfo/", None),
            ("../a/../b", None),
            ("a\0b", None),
        ] {
            let found = sidecar(Path::new("/l/show/s1/a.mkv"), name);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{name:?}");
        }
        assert_eq!(sidecar(Path::new("/a.mkv"), "../b"), None);
    }
}
