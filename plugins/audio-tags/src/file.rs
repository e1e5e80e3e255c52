//! The file as the library reads it: only so much of it, and no more once nobody waits.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;
use tokio_util::sync::CancellationToken;

/// More is not read of a file. Tags and pictures of real files are far smaller, and what is read is what is
/// held in memory at most.
pub(crate) const MOST: u64 = 256 * 1024 * 1024;

/// A file that ends reading when it was enough.
pub(crate) struct Bounded {
    file: File,
    length: u64,
    left: u64,
    cancelled: CancellationToken,
}

impl Bounded {
    pub(crate) fn new(file: File, cancelled: CancellationToken) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length, left: MOST, cancelled })
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.is_cancelled() {
            return Err(io::Error::other("the time is over"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "its tags are too large"));
        }
        let read = self.file.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl MediaSource for Bounded {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_when_it_was_enough_or_nobody_waits() -> io::Result<()> {
        let mut temporary = tempfile::tempfile()?;
        io::Write::write_all(&mut temporary, b"0123456789")?;
        temporary.rewind()?;
        let cancelled = CancellationToken::new();
        let mut file = Bounded::new(temporary, cancelled.clone())?;
        file.left = 4;
        let mut buffer = [0; 3];

        assert_eq!(file.read(&mut buffer)?, 3);
        assert_eq!(file.read(&mut buffer)?, 1);
        assert_eq!(file.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(file.read(&mut [])?, 0);
        file.left = 4;
        cancelled.cancel();
        assert!(file.read(&mut buffer).is_err());
        Ok(())
    }
}
