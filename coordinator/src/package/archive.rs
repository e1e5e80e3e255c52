//! Reads an archive that anybody may have made, piece by piece: no more memory than a piece, no
//! entry that is anything but a file or a folder, nothing after its end.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::tar::{self, BLOCK, Block, Entry};
use super::{Limits, PackageError};

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Zeros that may follow the end; other programs fill up to a multiple of 10 KiB.
const MAX_FILLING: u64 = 1 << 20;

/// An archive that is being read.
pub(super) struct Archive {
    path: PathBuf,
    input: GzDecoder<BufReader<File>>,
    /// Bytes of the package itself.
    pub(super) packed: u64,
    /// Entries so far.
    entries: u64,
    piece: Vec<u8>,
}

impl Archive {
    /// Opens a package.
    ///
    /// # Errors
    ///
    /// [`PackageError`] when it is no file, too large, or not compressed by gzip.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self, PackageError> {
        let io = || PackageError::io(path);
        // Opening a pipe would wait for whoever writes into it.
        if !std::fs::metadata(path).map_err(io())?.is_file() {
            return Err(PackageError::refused(path, "is not a file"));
        }
        let file = File::open(path).map_err(io())?;
        let packed = file.metadata().map_err(io())?.len();
        if packed > limits.packed {
            let reason = format!("{packed} bytes are more than {}", limits.packed);
            return Err(PackageError::refused(path, reason));
        }
        let mut input = BufReader::with_capacity(PIECE, file);
        if !input.fill_buf().map_err(io())?.starts_with(&[0x1f, 0x8b]) {
            return Err(PackageError::refused(path, "is not a package: it is not made by gzip"));
        }
        Ok(Self {
            path: path.to_owned(),
            input: GzDecoder::new(input),
            packed,
            entries: 0,
            piece: vec![0; PIECE],
        })
    }

    /// The next entry, whose bytes must be read before the one after it; `None` = all were read,
    /// and nothing follows.
    ///
    /// # Errors
    ///
    /// [`PackageError::Refused`] with the number of the entry.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, PackageError> {
        self.entries += 1;
        let block = self.block()?;
        match tar::read(&block).map_err(|reason| self.refused(&reason))? {
            Some(entry) => Ok(Some(entry)),
            None => self.end().map(|()| None),
        }
    }

    /// Reads the bytes of an entry, piece by piece.
    ///
    /// # Errors
    ///
    /// [`PackageError`] when there are fewer, or `each` says so.
    pub(super) fn copy(
        &mut self,
        entry: &Entry,
        mut each: impl FnMut(&[u8]) -> Result<(), PackageError>,
    ) -> Result<(), PackageError> {
        let mut piece = std::mem::take(&mut self.piece);
        let mut left = entry.size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let place = piece.get_mut(..length).unwrap_or_default();
            let read = self.input.read(place).map_err(|error| self.broken(error))?;
            match piece.get(..read) {
                Some([]) | None => return Err(self.refused("is cut off in the middle of a file")),
                Some(bytes) => each(bytes)?,
            }
            left = left.saturating_sub(read as u64);
        }
        self.piece = piece;
        let over = usize::try_from(entry.size % BLOCK as u64).unwrap_or(0);
        let mut filling = [0; BLOCK];
        let filling = filling.get_mut(..(BLOCK - over) % BLOCK).unwrap_or_default();
        self.input.read_exact(filling).map_err(|error| self.broken(error))?;
        if filling.iter().any(|byte| *byte != 0) {
            return Err(self.refused(&format!("`{}` is followed by bytes of no file", entry.name)));
        }
        Ok(())
    }

    /// Reads all bytes of an entry that is small.
    ///
    /// # Errors
    ///
    /// [`PackageError`] as [`Archive::copy`], and when it is larger than `most`.
    pub(super) fn read(&mut self, entry: &Entry, most: u64) -> Result<Vec<u8>, PackageError> {
        if entry.size > most {
            let reason = format!("`{}`: {} bytes are more than {most}", entry.name, entry.size);
            return Err(self.refused(&reason));
        }
        let mut bytes = Vec::new();
        self.copy(entry, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// An error about the present entry.
    pub(super) fn refused(&self, reason: &str) -> PackageError {
        PackageError::refused(&self.path, format!("entry {}: {reason}", self.entries))
    }

    fn block(&mut self) -> Result<Block, PackageError> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(|error| self.broken(error))?;
        Ok(block)
    }

    /// A second block of zeros ends an archive; only zeros may follow.
    fn end(&mut self) -> Result<(), PackageError> {
        let mut piece = std::mem::take(&mut self.piece);
        let mut filled = 0;
        loop {
            let read = self.input.read(&mut piece).map_err(|error| self.broken(error))?;
            let bytes = piece.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(self.refused("something follows the end of the archive"));
            }
            filled += read as u64;
            if filled > MAX_FILLING {
                return Err(self.refused(&format!("more than {MAX_FILLING} zeros follow the end")));
            }
        }
        if filled < BLOCK as u64 {
            return Err(self.refused("the archive is cut off at its end"));
        }
        let rest = self.input.get_mut().fill_buf().map_err(PackageError::io(&self.path))?;
        if rest.is_empty() { Ok(()) } else { Err(self.refused("something follows the package")) }
    }

    fn broken(&self, error: io::Error) -> PackageError {
        if error.raw_os_error().is_some() {
            return PackageError::Io { path: self.path.clone(), source: error };
        }
        let reason = if error.kind() == ErrorKind::UnexpectedEof {
            "the package is cut off here".to_owned()
        } else {
            format!("the package is broken here: {error}")
        };
        self.refused(&reason)
    }
}
