//! The folder of the store that belongs to the fleet's account.
//!
//! A server keeps the streams of an account below the account's name. Before plugins had accounts of
//! their own there was only the one that has no name and is called `$G`. Its folder is given to the
//! fleet's account by one rename, while nobody else may touch the store; whatever dies before or after
//! that, the next start finds either the old folder or the new one, and goes on from there.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use tracing::info;

use super::error::StartError;

/// The account that is the fleet's, whatever the fleet is called: so its streams stay in one folder.
pub(super) const FLEET_ACCOUNT: &str = "FLEET";
/// The account of servers that know none.
const NO_ACCOUNT: &str = "$G";

/// Gives the streams of a server without accounts to the account of the fleet.
///
/// The caller holds the lock of the store.
pub(super) fn give_to_fleet(store: &Path) -> Result<(), StartError> {
    let home = store.join("jetstream");
    let (old, new) = (home.join(NO_ACCOUNT), home.join(FLEET_ACCOUNT));
    if !holds_files(&old).map_err(StartError::io(&old))? {
        return Ok(());
    }
    if holds_files(&new).map_err(StartError::io(&new))? {
        return Err(StartError::TwoStores { old, new });
    }
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(StartError::io(&new)(error));
        }
        Ok(()) | Err(_) => {}
    }
    fs::rename(&old, &new).map_err(StartError::io(&old))?;
    // The new name is on disk only when the folder is.
    File::open(&home).and_then(|folder| folder.sync_all()).map_err(StartError::io(&home))?;
    info!(from = NO_ACCOUNT, to = FLEET_ACCOUNT, "the streams were given to the fleet's account");
    Ok(())
}

/// Whether there is any file below a folder; folders alone are no data.
fn holds_files(dir: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || holds_files(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A store with these files in the folders of accounts; an empty name is a folder alone.
    fn store(home: &Path, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
        let store = home.join("store");
        for (account, file) in files {
            let streams = store.join("jetstream").join(account).join("streams");
            fs::create_dir_all(&streams)?;
            if !file.is_empty() {
                fs::write(streams.join(file), *file)?;
            }
        }
        Ok(store)
    }

    /// The files that the account of the fleet has.
    fn given(store: &Path) -> Vec<String> {
        let streams = store.join("jetstream").join(FLEET_ACCOUNT).join("streams");
        let entries = fs::read_dir(streams).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn whatever_was_there_before_the_streams_end_up_with_the_fleet() -> anyhow::Result<()> {
        // Each row is also what a crash at some moment leaves behind.
        for (case, files, expected) in [
            ("nothing", &[][..], &[][..]),
            ("an old store", &[("$G", "s")], &["s"]),
            ("an old store, and a start that did nothing", &[("$G", "s"), ("FLEET", "")], &["s"]),
            ("renamed already", &[("FLEET", "s")], &["s"]),
            ("renamed, and an old server that kept nothing", &[("FLEET", "s"), ("$G", "")], &["s"]),
        ] {
            let home = tempfile::tempdir()?;
            let store = store(home.path(), files)?;
            for turn in ["first", "second"] {
                give_to_fleet(&store)?;
                assert_eq!(given(&store), expected, "{case}, {turn} time");
            }
        }
        Ok(())
    }

    #[test]
    fn of_two_stores_none_is_given_up() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let store = store(home.path(), &[("$G", "old"), ("FLEET", "new")])?;

        let error = give_to_fleet(&store).unwrap_err();

        assert!(matches!(error, StartError::TwoStores { .. }), "{error}");
        assert!(store.join("jetstream/$G/streams/old").exists());
        assert_eq!(given(&store), ["new"]);
        Ok(())
    }
}
