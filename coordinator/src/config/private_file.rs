//! Files and folders that only their owner may read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a folder and those above it; new ones are the owner's alone.
///
/// # Errors
///
/// What the operating system says.
pub fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only its owner may read: whoever reads sees the old text or the new one,
/// also after a crash.
///
/// # Errors
///
/// What the operating system says; the old file is then still there.
pub fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_new(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error says more than one about the clean-up.
        std::fs::remove_file(&temporary).ok();
    }
    written?;
    match path.parent() {
        // The new name is on disk only when the folder is.
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// `bytes` random bytes as lowercase hex, good enough for a password.
///
/// # Errors
///
/// What the operating system says.
pub fn random_hex(bytes: usize) -> io::Result<String> {
    let mut buffer = vec![0_u8; bytes];
    File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    Ok(data_encoding::HEXLOWER.encode(&buffer))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_the_owners_alone() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("a/b");
        make_dir(&dir)?;
        make_dir(&dir)?;
        let path = dir.join("f");
        write(&path, b"one")?;
        write(&path, b"two")?;

        let mode = |path: &Path| std::fs::metadata(path).map(|meta| meta.permissions().mode());
        assert_eq!(mode(&dir)? & 0o777, 0o700);
        assert_eq!(mode(&path)? & 0o777, 0o600);
        assert_eq!(std::fs::read(&path)?, b"two");
        assert_eq!(std::fs::read_dir(&dir)?.count(), 1, "a temporary file is left");
        assert_ne!(random_hex(16)?, random_hex(16)?);
        Ok(())
    }
}
