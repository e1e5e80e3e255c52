//! Puts a package where a fleet finds it, after everything in it was checked.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use broker_config::Manifest;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::archive::Archive;
use super::disk::{PluginFolder, Temporary};
use super::signature::{MAX_SIGNATURE, verify};
use super::tar::{Entry, Kind};
use super::{
    Key, LISTING, Limits, ListedFile, Listing, MANIFEST, PackageError, SIGNATURE, Trust, manifest,
};
use crate::version;

/// What is told of files that are missing.
const MAX_REASONS: usize = 8;

/// What is wanted of a package.
#[derive(Clone, Debug, Default)]
pub struct InstallOptions {
    /// How much it may be.
    pub limits: Limits,
    /// Whose it must be.
    pub trust: Trust,
    /// Whether it may take the place of the same version.
    pub replace: bool,
}

/// A package that was checked and lies ready, where nobody sees it; it goes with this.
#[derive(Debug)]
pub struct Staged {
    // Goes before the right to change the folder is given back.
    temporary: Temporary,
    folder: PluginFolder,
    /// What the plugin says about itself.
    pub manifest: Manifest,
    /// What is in it.
    pub listing: Listing,
    /// Who signed it.
    pub key: Option<Key>,
    /// Whether no version of the plugin is in the folder.
    pub is_new: bool,
}

/// A plugin that was installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// Checks a package and lays its files out in a folder of its own in `plugins`.
///
/// Nothing of it is run, and nothing outside that folder is changed.
///
/// # Errors
///
/// [`PackageError::Refused`] with what is wrong and where, [`PackageError::Exists`] when the version
/// is installed, [`PackageError::Busy`], [`PackageError::Io`]. Nothing is left behind.
pub fn stage(
    archive: &Path,
    plugins: &Path,
    options: &InstallOptions,
) -> Result<Staged, PackageError> {
    let mut input = Archive::open(archive, &options.limits)?;
    let (listing, first) = read_listing(&mut input, archive, &options.limits)?;
    let mut next = input.next()?;
    let mut key = None;
    let mut signature = None;
    if let Some(entry) = next.take_if(|entry| entry.name.as_str() == SIGNATURE) {
        let bytes = read_head(&mut input, &entry, MAX_SIGNATURE)?;
        key = Some(verify(&first, &bytes).map_err(|reason| input.refused(&reason))?);
        signature = Some(bytes);
        next = input.next()?;
    }
    let untrusted = |reason| PackageError::refused(archive, reason);
    options.trust.judge(key.as_ref()).map_err(untrusted)?;

    let folder = PluginFolder::open(plugins)?;
    let place = folder.place(&listing.id, &listing.version);
    if place.exists() && !options.replace {
        let (id, version) = (listing.id, listing.version);
        return Err(PackageError::Exists { id, version, path: place });
    }
    let is_new = !folder.has(&listing.id);
    let failed = || PackageError::io(plugins);
    let mut out = Laying {
        temporary: folder.temporary(&listing.version).map_err(failed())?,
        plugins,
        left: listing.files.iter().map(|file| file.path.as_str()).collect(),
        folders: BTreeSet::new(),
        manifest: Vec::new(),
    };
    let files = listing.by_name();
    while let Some(entry) = next {
        let listed = files.get(entry.name.as_str()).copied();
        out.lay(&mut input, &entry, listed)?;
        next = input.next()?;
    }
    if !out.left.is_empty() {
        let missing = out.left.iter().take(MAX_REASONS);
        let reasons = missing.map(|name| format!("`{name}` is listed and not there")).collect();
        return Err(PackageError::Refused { path: archive.to_owned(), reasons });
    }
    let is_executable = |name: &str| files.get(name).map(|file| file.executable);
    let refused = |reasons| PackageError::Refused { path: archive.to_owned(), reasons };
    let manifest = manifest::check(&out.manifest, is_executable).map_err(refused)?;
    let contradictions = listing.contradictions(&manifest);
    if !contradictions.is_empty() {
        return Err(refused(contradictions));
    }
    let mut temporary = out.temporary;
    // So that somebody can look later what it was and who answers for it.
    for (name, bytes) in [(LISTING, Some(first)), (SIGNATURE, signature)] {
        let (Some(bytes), Ok(name)) = (bytes, name.parse()) else { continue };
        let written = temporary.create(&name, false).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(failed())?;
    }
    Ok(Staged { folder, temporary, manifest, listing, key, is_new })
}

/// Reads the first entry.
fn read_listing(
    input: &mut Archive,
    archive: &Path,
    limits: &Limits,
) -> Result<(Listing, Vec<u8>), PackageError> {
    let entry = input.next()?;
    let Some(entry) = entry.filter(|entry| entry.name.as_str() == LISTING) else {
        return Err(input.refused(&format!("must be {LISTING}: this is not a package")));
    };
    let bytes = read_head(input, &entry, limits.listing)?;
    let listing: Listing = serde_json::from_slice(&bytes)
        .map_err(|error| input.refused(&format!("{LISTING} cannot be understood: {error}")))?;
    let mut reasons = listing.problems(limits);
    reasons.extend(limits.ratio_problem(input.packed, listing.total()));
    let engine = version::ours();
    reasons.extend(listing.engine_problem(&engine));
    if reasons.is_empty() {
        return Ok((listing, bytes));
    }
    Err(PackageError::Refused { path: archive.to_owned(), reasons })
}

fn read_head(input: &mut Archive, entry: &Entry, most: u64) -> Result<Vec<u8>, PackageError> {
    if entry.kind == Kind::Folder {
        return Err(input.refused(&format!("`{}` is a folder", entry.name)));
    }
    input.read(entry, most)
}

/// Writes the files of a package.
struct Laying<'a> {
    temporary: Temporary,
    plugins: &'a Path,
    /// Files that have not come yet.
    left: BTreeSet<&'a str>,
    /// Folders that have come.
    folders: BTreeSet<String>,
    manifest: Vec<u8>,
}

impl Laying<'_> {
    fn lay(
        &mut self,
        input: &mut Archive,
        entry: &Entry,
        listed: Option<&ListedFile>,
    ) -> Result<(), PackageError> {
        let name = entry.name.as_str();
        let executable = match entry.kind {
            Kind::File { executable } => executable,
            Kind::Folder => return self.folder(input, name),
        };
        let Some(listed) = listed else {
            return Err(input.refused(&format!("`{name}` is not listed in {LISTING}")));
        };
        if !self.left.remove(name) {
            return Err(input.refused(&format!("`{name}` is there twice")));
        }
        if entry.size != listed.size {
            let (has, size) = (entry.size, listed.size);
            return Err(
                input.refused(&format!("`{name}` has {has} bytes and is listed with {size}"))
            );
        }
        if executable != listed.executable {
            return Err(input.refused(&format!("`{name}` has other rights than it is listed with")));
        }
        let (plugins, is_manifest) = (self.plugins, name == MANIFEST);
        let mut file =
            self.temporary.create(&entry.name, executable).map_err(PackageError::io(plugins))?;
        let mut hash = Sha256::new();
        let mut text = Vec::new();
        input.copy(entry, |bytes| {
            hash.update(bytes);
            if is_manifest {
                text.extend_from_slice(bytes);
            }
            file.write_all(bytes).map_err(PackageError::io(plugins))
        })?;
        if HEXLOWER.encode(&hash.finalize()) != listed.sha256 {
            let reason = format!("`{name}` has another SHA-256 than it is listed with");
            return Err(input.refused(&reason));
        }
        if is_manifest {
            self.manifest = text;
        }
        file.sync_all().map_err(PackageError::io(plugins))
    }

    /// Folders come with their files; an entry for one says nothing more.
    fn folder(&mut self, input: &mut Archive, name: &str) -> Result<(), PackageError> {
        let inside = format!("{name}/");
        // What has come may lie in it, too.
        let is_needed = self.left.range(inside.as_str()..).next();
        if !is_needed.is_some_and(|file| file.starts_with(&inside)) {
            return Err(input.refused(&format!("nothing is listed in the folder `{name}`")));
        }
        if !self.folders.insert(name.to_owned()) {
            return Err(input.refused(&format!("the folder `{name}` is there twice")));
        }
        Ok(())
    }
}

impl Staged {
    /// Puts it where fleets look; a running one takes it up by itself.
    ///
    /// # Errors
    ///
    /// [`PackageError::Io`]; then it is not there, unless all but the last write to disk was done.
    pub fn publish(self) -> Result<Installed, PackageError> {
        let Self { folder, temporary, manifest, .. } = self;
        folder.put(&manifest.id, &temporary).map_err(PackageError::io(&folder.path))?;
        let path = folder.place(&manifest.id, &manifest.version);
        Ok(Installed { path, manifest })
    }
}
