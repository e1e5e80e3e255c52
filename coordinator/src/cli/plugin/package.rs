//! `metafleet plugin pack DIR` and `install FILE`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::{Chain, Manifest, PluginId};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::App;
use super::super::api::ApiClient;
use super::super::exit::{Exit, Failure};
use super::super::launch::other_dirs;
use super::super::output::{complain, count};
use crate::config::overrides::OverridesError;
use crate::config::{DataDir, Overrides, private_file};
use crate::package::{
    InstallOptions, Key, Limits, PackageError, Packed, Staged, Trust, pack, stage, ways,
};
use crate::process::discover;

/// How long a running fleet may take to see what was installed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// The plugin's folder, with manifest.json and all that it needs
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where the package is written [default: ID-VERSION.mfp in this folder]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sign it with the seed of an nkey in this file
    #[arg(long, value_name = "KEYFILE")]
    sign: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// A package (.mfp), or a folder that could be packed
    #[arg(value_name = "FILE|DIR")]
    package: PathBuf,
    /// Take only what this key has signed, e.g. U…; may be given several times
    #[arg(long, value_name = "KEY")]
    trust: Vec<Key>,
    /// Take only what one of the keys in this file has signed, one a line
    #[arg(long, value_name = "FILE")]
    trust_file: Vec<PathBuf>,
    /// Take only what somebody has signed
    #[arg(long)]
    require_signature: bool,
    /// Take it in the place of the same version
    #[arg(long)]
    replace: bool,
    /// Let it take part at once
    #[arg(long)]
    enable: bool,
}

/// What is printed of a package.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    id: &'a PluginId,
    version: String,
    path: String,
    size: u64,
    sha256: &'a str,
    key: Option<&'a Key>,
    files: usize,
    unpacked: u64,
}

pub(crate) async fn make(app: &App, args: PackArgs) -> Result<Exit, Failure> {
    let packed = blocking(move || {
        pack(&args.dir, args.out.as_deref(), args.sign.as_deref(), &Limits::default())
    })
    .await?;
    let Packed { path, size, sha256, key, listing } = &packed;
    let made = Made {
        id: &listing.id,
        version: listing.version.to_string(),
        path: path.display().to_string(),
        size: *size,
        sha256,
        key: key.as_ref(),
        files: listing.files.len(),
        unpacked: listing.total(),
    };
    app.out.document(&made, |lines| {
        lines.field("package", &made.path);
        lines.field("plugin", format!("{} {}", made.id, made.version));
        lines.field("files", format!("{} ({} bytes)", made.files, made.unpacked));
        lines.field("size", format!("{size} bytes"));
        lines.field("sha256", sha256);
        lines.field("signed by", signer(key.as_ref()));
    })?;
    Ok(Exit::Ok)
}

/// Runs what reads and writes many files where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PackageError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Failure::because(Exit::Failure, "the work", &error))?;
    done.map_err(Failure::from)
}

/// What is printed of an installed plugin.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    id: PluginId,
    version: String,
    path: String,
    files: usize,
    key: Option<Key>,
    /// `null` where it stays as it was.
    enabled: Option<bool>,
    permissions: Vec<String>,
    warnings: Vec<String>,
}

pub(crate) async fn install(app: &App, args: InstallArgs) -> Result<Exit, Failure> {
    let text = args.package.to_string_lossy().to_lowercase();
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(Failure::usage("a package is installed from a file, not from an address")
            .advise("get it first, and look at its sum or install it with --trust"));
    }
    let data_dir = app.data_dir()?;
    private_file::make_dir(data_dir.root()).map_err(|error| {
        let what = format!("could not use {}", data_dir.root().display());
        Failure::because(Exit::Failure, &what, &error)
    })?;
    let mut trust = Trust { is_required: args.require_signature, keys: None };
    if !args.trust.is_empty() {
        trust.keys = Some(args.trust.iter().cloned().collect());
    }
    for file in &args.trust_file {
        trust.add_file(file)?;
    }
    let options = InstallOptions { trust, replace: args.replace, ..InstallOptions::default() };
    let (package, plugins) = (args.package.clone(), data_dir.plugins());
    let staged = blocking(move || stage_any(&package, &plugins, &options)).await?;
    let others = others(&data_dir, &staged.manifest);
    let warnings = ways(&staged.manifest, &others)
        .map_err(|cycle| Failure::new(Exit::Failure, format!("it can never take part: {cycle}")))?;
    let id = staged.manifest.id.clone();
    // One that also came with the program takes part already.
    let is_new = staged.is_new && !discover(&other_dirs()).plugins.contains_key(&id);
    let enabled = if args.enable { Some(true) } else { is_new.then_some(false) };
    if let Some(enabled) = enabled {
        // Before anybody can see it, so that it never takes part by mistake.
        let path = data_dir.overrides();
        Overrides::change(&path, &id, |changed| changed.enabled = Some(enabled)).await?;
    }
    let (key, files) = (staged.key.clone(), staged.listing.files.len());
    let installed = blocking(move || staged.publish()).await?;
    let manifest = &installed.manifest;
    let done = Done {
        id: id.clone(),
        version: manifest.version.to_string(),
        path: installed.path.display().to_string(),
        files,
        key,
        enabled,
        permissions: manifest.permissions.clone(),
        warnings,
    };
    print(app, &done)?;
    if data_dir.running()?.is_some() {
        follow(app, manifest, args.replace).await?;
    }
    if enabled == Some(false) {
        app.out.say(&format!("{id} takes no part yet; `metafleet plugin enable {id}` lets it"));
    }
    Ok(Exit::Ok)
}

/// A folder is packed first, so that it meets the same rules.
fn stage_any(
    package: &Path,
    plugins: &Path,
    options: &InstallOptions,
) -> Result<Staged, PackageError> {
    if !package.is_dir() {
        return stage(package, plugins, options);
    }
    let io = |source| PackageError::Io { path: std::env::temp_dir(), source };
    let name = format!("metafleet-{}.mfp", private_file::random_hex(8).map_err(io)?);
    let packed = std::env::temp_dir().join(name);
    let staged = pack(package, Some(&packed), None, &options.limits)
        .and_then(|_| stage(&packed, plugins, options));
    // Nobody else knows it; it is small, and the system clears this folder.
    std::fs::remove_file(&packed).ok();
    staged
}

/// What the other plugins on this machine say about themselves; of the same plugin, another version.
fn others(data_dir: &DataDir, manifest: &Manifest) -> BTreeMap<PluginId, Manifest> {
    let dirs = [data_dir.plugins()].into_iter().filter(|dir| dir.is_dir()).chain(other_dirs());
    let found = discover(&dirs.collect::<Vec<_>>());
    let found = found.plugins.into_iter().map(|(id, found)| (id, found.manifest));
    found.filter(|(id, other)| *id != manifest.id || other.version != manifest.version).collect()
}

fn print(app: &App, done: &Done) -> Result<(), Failure> {
    for warning in &done.warnings {
        complain(&format!("warning: {warning}"));
    }
    app.out.document(done, |lines| {
        lines.field("plugin", format!("{} {}", done.id, done.version));
        lines.field("folder", &done.path);
        lines.field("files", count(done.files as u64, "file"));
        lines.field("signed by", signer(done.key.as_ref()));
        let asks = done.permissions.join(", ");
        lines.field("asks for", if asks.is_empty() { "nothing" } else { &asks });
    })
}

fn signer(key: Option<&Key>) -> String {
    key.map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

/// Waits until the fleet that runs has seen it.
async fn follow(app: &App, manifest: &Manifest, is_replaced: bool) -> Result<(), Failure> {
    let (id, version) = (&manifest.id, manifest.version.to_string());
    if is_replaced {
        app.out.say(&format!(
            "instances of {id} that run go on as before; `metafleet plugin restart {id}` starts \
             them anew"
        ));
    }
    let Ok(api) = ApiClient::of(app) else { return Ok(()) };
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = match api.get(&format!("/api/plugins/{id}")).await {
            Ok(plugin) => plugin.body.get("version").and_then(Value::as_str) == Some(&version),
            Err(failure) if failure.exit == Exit::NotFound => false,
            Err(failure) => return Err(failure),
        };
        if seen {
            app.out.say(&format!("the fleet that runs has seen {id} {version}"));
            return Ok(());
        }
        if Instant::now() > until {
            app.out.say(&format!(
                "the fleet that runs does not show {id} {version} yet; `metafleet plugin show {id}` \
                 shows how far it is"
            ));
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        let text = Chain(&error).to_string();
        match error {
            PackageError::Io { .. } | PackageError::Refused { .. } => {
                Self::new(Exit::Failure, text)
            }
            PackageError::Exists { .. } => {
                Self::new(Exit::Conflict, text).advise("--replace puts this one in its place")
            }
            PackageError::Busy { .. } => Self::new(Exit::Conflict, text).advise("try again"),
            PackageError::Missing { .. } => Self::not_found(text),
        }
    }
}

impl From<OverridesError> for Failure {
    fn from(error: OverridesError) -> Self {
        let text = Chain(&error).to_string();
        match error {
            OverridesError::Busy { .. } => Self::new(Exit::Conflict, text).advise("try again"),
            OverridesError::Io { .. } | OverridesError::Unreadable { .. } => {
                Self::new(Exit::Failure, text)
            }
        }
    }
}
