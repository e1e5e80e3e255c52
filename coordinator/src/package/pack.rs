//! Makes a package of a folder: the same bytes for the same files, whoever packs them and when.

mod collect;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use broker_config::Manifest;
use data_encoding::HEXLOWER;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use self::collect::{Source, collect};
use super::ignore::IGNORE_FILE;
use super::signature::Signer;
use super::tar::{BLOCK, header};
use super::{
    ENDING, EntryName, Key, LISTING, Limits, ListedFile, Listing, MANIFEST, PackageError,
    SIGNATURE, manifest,
};

/// How hard gzip tries; part of what makes the same bytes.
const LEVEL: u32 = 6;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// A package that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256, in lower-case hex.
    pub sha256: String,
    /// Who signed it.
    pub key: Option<Key>,
    /// What is in it.
    pub listing: Listing,
}

/// Packs the plugin in `dir` into `out`, or into `<id>-<version>.mfp` in this folder.
///
/// # Errors
///
/// [`PackageError::Refused`] with all that is wrong in the folder, [`PackageError::Io`] when a file
/// cannot be read or written. What was at `out` before is then still there.
pub fn pack(
    dir: &Path,
    out: Option<&Path>,
    key: Option<&Path>,
    limits: &Limits,
) -> Result<Packed, PackageError> {
    let refused = |reasons| PackageError::Refused { path: dir.to_owned(), reasons };
    let signer = key.map(Signer::read).transpose()?;
    let sources = collect(dir, limits)?;
    if let Some(key) = key {
        // Whoever has the package would have it, too.
        let real = key.canonicalize().map_err(PackageError::io(key))?;
        let is_it = |source: &Source| source.path.canonicalize().is_ok_and(|path| path == real);
        if let Some((name, _)) = sources.iter().find(|(_, source)| is_it(source)) {
            let reason = format!(
                "`{name}` is the key that signs it: keep it elsewhere, or name it in {IGNORE_FILE}"
            );
            return Err(refused(vec![reason]));
        }
    }
    let manifest = read_manifest(dir, &sources, limits)?;
    let mut files = Vec::with_capacity(sources.len());
    for (name, source) in &sources {
        files.push(listed(name, source, limits)?);
    }
    let listing = Listing::of(&manifest, files);
    let problems = listing.problems(limits);
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    let mut first = serde_json::to_vec_pretty(&listing)
        .map_err(|error| PackageError::refused(dir, error.to_string()))?;
    first.push(b'\n');
    if first.len() as u64 > limits.listing {
        return Err(PackageError::refused(dir, "has too many files with long names"));
    }
    let mut heads = vec![(LISTING, first)];
    let mut signed_by = None;
    if let Some((_, first)) = heads.first()
        && let Some(signature) = signer.and_then(|signer| signer.sign(first))
    {
        let entry = serde_json::to_vec(&signature)
            .map_err(|error| PackageError::refused(dir, error.to_string()))?;
        signed_by = Some(signature.key);
        heads.push((SIGNATURE, entry));
    }
    let usual = || PathBuf::from(format!("{}-{}.{ENDING}", manifest.id, manifest.version));
    let path = out.map_or_else(usual, Path::to_owned);
    let (size, sha256) = replace(&path, |file| {
        let (size, sha256) = write(file, &heads, &listing, &sources)?;
        // Nobody could install it.
        let problem = limits.ratio_problem(size, listing.total());
        problem.map_or(Ok((size, sha256)), |problem| Err(refused(vec![problem])))
    })?;
    Ok(Packed { path, size, sha256, key: signed_by, listing })
}

fn read_manifest(
    dir: &Path,
    sources: &BTreeMap<EntryName, Source>,
    limits: &Limits,
) -> Result<Manifest, PackageError> {
    let refused = |reasons| PackageError::Refused { path: dir.to_owned(), reasons };
    let name = MANIFEST.parse().ok();
    let Some(source) = name.and_then(|name: EntryName| sources.get(&name)) else {
        return Err(refused(vec![format!("there is no {MANIFEST} in it")]));
    };
    let file = File::open(&source.path).map_err(PackageError::io(&source.path))?;
    let mut text = Vec::new();
    let most = limits.manifest;
    file.take(most + 1).read_to_end(&mut text).map_err(PackageError::io(&source.path))?;
    if text.len() as u64 > most {
        return Err(refused(vec![format!("{MANIFEST} has more than {most} bytes")]));
    }
    let is_executable = |name: &str| {
        let name: EntryName = name.parse().ok()?;
        sources.get(&name).map(|source| source.executable)
    };
    manifest::check(&text, is_executable).map_err(refused)
}

/// Reads a file in pieces.
fn pieces(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let mut file = File::open(path).map_err(PackageError::io(path))?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece).map_err(PackageError::io(path))?;
        match piece.get(..read) {
            Some([]) | None => return Ok(()),
            Some(bytes) => each(bytes)?,
        }
    }
}

fn listed(name: &EntryName, source: &Source, limits: &Limits) -> Result<ListedFile, PackageError> {
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    pieces(&source.path, |bytes| {
        hash.update(bytes);
        size += bytes.len() as u64;
        let too_large = || format!("has more than {} bytes", limits.file);
        if size > limits.file {
            return Err(PackageError::refused(&source.path, too_large()));
        }
        Ok(())
    })?;
    let sha256 = HEXLOWER.encode(&hash.finalize());
    Ok(ListedFile { path: name.clone(), size, sha256, executable: source.executable })
}

/// Writes a file beside its place and puts it there when it is whole.
fn replace<T>(
    path: &Path,
    write: impl FnOnce(File) -> Result<T, PackageError>,
) -> Result<T, PackageError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let file = File::create(&temporary).map_err(PackageError::io(&temporary))?;
    let written = write(file).and_then(|done| {
        std::fs::rename(&temporary, path).map(|()| done).map_err(PackageError::io(path))
    });
    if written.is_err() {
        // The first error says more than one about the clean-up.
        std::fs::remove_file(&temporary).ok();
    }
    written
}

fn write(
    file: File,
    heads: &[(&str, Vec<u8>)],
    listing: &Listing,
    sources: &BTreeMap<EntryName, Source>,
) -> Result<(u64, String), PackageError> {
    let out = Path::new("the package");
    let io = || PackageError::io(out);
    // The header of gzip says neither when nor from what.
    let counted = Counted { file, bytes: 0, hash: Sha256::new() };
    let mut gzip = GzBuilder::new().mtime(0).write(counted, Compression::new(LEVEL));
    for (name, bytes) in heads {
        let name: EntryName = name
            .parse()
            .map_err(|error: super::InvalidName| PackageError::refused(out, error.to_string()))?;
        let header = header(&name, bytes.len() as u64, false);
        gzip.write_all(&header).and_then(|()| gzip.write_all(bytes)).map_err(io())?;
        fill(&mut gzip, bytes.len() as u64).map_err(io())?;
    }
    for file in &listing.files {
        let Some(source) = sources.get(&file.path) else { continue };
        gzip.write_all(&header(&file.path, file.size, file.executable)).map_err(io())?;
        let (mut hash, mut size) = (Sha256::new(), 0_u64);
        pieces(&source.path, |bytes| {
            hash.update(bytes);
            size += bytes.len() as u64;
            gzip.write_all(bytes).map_err(io())
        })?;
        if (size, HEXLOWER.encode(&hash.finalize())) != (file.size, file.sha256.clone()) {
            let reason = "has changed while it was packed; try again";
            return Err(PackageError::refused(&source.path, reason));
        }
        fill(&mut gzip, size).map_err(io())?;
    }
    let written = gzip.write_all(&[0; 2 * BLOCK]).and_then(|()| gzip.finish());
    let Counted { file, bytes, hash } = written.map_err(io())?;
    file.sync_all().map_err(io())?;
    Ok((bytes, HEXLOWER.encode(&hash.finalize())))
}

/// Fills up to the next block.
fn fill(gzip: &mut GzEncoder<Counted>, size: u64) -> io::Result<()> {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    let missing = (BLOCK - over) % BLOCK;
    gzip.write_all([0; BLOCK].get(..missing).unwrap_or_default())
}

/// A file that knows its size and its sum.
struct Counted {
    file: File,
    bytes: u64,
    hash: Sha256,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
