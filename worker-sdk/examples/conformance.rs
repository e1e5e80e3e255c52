//! A plugin that does what the file says: `conformance MANIFEST.json`.
//!
//! The conformance kit tries the SDK with it; `worker-sdk/conformance/README.md` describes the script.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use worker_sdk::{
    Classify as _, Context, Failure, InvalidSettings, Manifest, Meta, OpenError, Outcome, Plugin,
    Settings,
};

/// Pause between two looks for a file.
const LOOK: Duration = Duration::from_millis(10);

/// Follows the script in each file.
struct Scripted {
    manifest: String,
    instance: String,
}

impl Plugin for Scripted {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(&self.manifest)
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        match settings.get("mode").and_then(Value::as_str) {
            Some("bad") => Err(InvalidSettings::new("mode bad is not served")),
            Some(_) | None => Ok(()),
        }
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let path = ctx.path();
        let number = note(path, &format!("{} {}", self.instance, ctx.attempt())).retryable()?;
        let script = std::fs::read_to_string(path).retryable()?;
        let lines: Vec<&str> = script.lines().collect();
        let line = lines.get(number).or_else(|| lines.last()).copied().unwrap_or_default();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "complete" => completed(ctx, &object(rest)?),
            "skip" => Ok(Outcome::skipped(rest)),
            "retry" => Err(Failure::retryable(rest)),
            "fail" => Err(Failure::permanent(rest)),
            "later" => {
                let after = Duration::from_millis(rest.parse().permanent()?);
                Ok(Outcome::retry_later(after, "told to wait"))
            }
            "wait" => wait(ctx, Path::new(rest)).await,
            "block" => block(ctx, Path::new(rest)),
            "crash" => crash(rest),
            "exit" => exit(rest.parse().permanent()?),
            "error" => Err(Failure::permanent("é".repeat(size(rest)? / "é".len()))),
            "large" => {
                let text = Value::from("x".repeat(size(rest)?));
                completed(ctx, &Map::from_iter([("script/text/0/large".to_owned(), text)]))
            }
            "forward" => Ok(Outcome::Forward(worker_sdk::Forward::file(rest))),
            "submit" => {
                ctx.submit(Path::new(rest)).await.retryable()?;
                completed(ctx, &Map::new())
            }
            "read" => {
                let file = ctx.open().await.map_err(OpenError::failure)?;
                let (hash, size) = hash(file).await.retryable()?;
                let found = json!({"script/text/0/sha256": hash, "script/text/0/size": size});
                completed(ctx, &object(&found.to_string())?)
            }
            other => Err(Failure::permanent(format!("`{other}` is no word of the script"))),
        }
    }
}

/// Notes a call beside the file, before anything is done; how many there were before.
fn note(path: &Path, who: &str) -> io::Result<usize> {
    let mut name = OsString::from(path);
    name.push(".calls");
    let name = PathBuf::from(name);
    let before = std::fs::read_to_string(&name).unwrap_or_default().lines().count();
    // Where the file came from afar its folder is not there, and nobody looks at the notes.
    if name.parent().is_some_and(Path::is_dir) {
        let now = jiff::Timestamp::now().as_millisecond();
        let mut notes = OpenOptions::new().create(true).append(true).open(&name)?;
        notes.write_all(format!("{who} {now}\n").as_bytes())?;
    }
    Ok(before)
}

fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    let text = if text.is_empty() { "{}" } else { text };
    serde_json::from_str(text).permanent()
}

fn size(text: &str) -> Result<usize, Failure> {
    text.parse().permanent()
}

/// Completes with what was seen of the task, and `more`.
#[expect(clippy::unnecessary_wraps, reason = "it is what a handler says")]
fn completed(ctx: &Context, more: &Map<String, Value>) -> Result<Outcome, Failure> {
    let mut meta = Meta::new();
    meta.text("script/attempt", ctx.attempt()).text("script/cid", &ctx.task().cid);
    meta.json("script/existing", json!(ctx.existing()));
    for (key, value) in more {
        let members = value.as_array().filter(|members| members.iter().all(Value::is_string));
        match (value, members) {
            (Value::String(text), _) => meta.text(key, text),
            (_, Some(members)) => meta.set(key, members.iter().filter_map(Value::as_str)),
            (other, None) => meta.json(key, other.clone()),
        };
    }
    Ok(Outcome::Completed(meta))
}

async fn wait(ctx: &Context, gate: &Path) -> Result<Outcome, Failure> {
    ctx.progress(0.5, "waiting").await;
    while !gate.exists() {
        if ctx.cancelled().run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return Err(Failure::retryable("cancelled"));
        }
    }
    completed(ctx, &Map::new())
}

/// What a plugin must not do, and some will.
#[expect(clippy::disallowed_methods, reason = "it is to block its thread")]
fn block(ctx: &Context, gate: &Path) -> Result<Outcome, Failure> {
    while !gate.exists() {
        std::thread::sleep(LOOK);
    }
    completed(ctx, &Map::new())
}

#[expect(clippy::panic, reason = "it is to crash")]
fn crash(why: &str) -> Result<Outcome, Failure> {
    panic!("{why}")
}

#[expect(clippy::exit, reason = "it is to end at once")]
fn exit(code: i32) -> Result<Outcome, Failure> {
    std::process::exit(code)
}

/// Lower-case SHA-256 and size, read in pieces.
async fn hash(mut file: impl AsyncRead + Unpin) -> io::Result<(String, String)> {
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).await? {
            0 => return Ok((HEXLOWER.encode(&hash.finalize()), size.to_string())),
            read => {
                hash.update(piece.get(..read).unwrap_or_default());
                size += read;
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "nobody else is there to tell")]
fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: conformance MANIFEST.json");
        return ExitCode::from(2);
    };
    match std::fs::read_to_string(&path) {
        Ok(manifest) => {
            let instance = std::env::var_os("METAFLEET_INSTANCE").unwrap_or_default();
            let instance = instance.to_string_lossy().into_owned();
            worker_sdk::run(Scripted { manifest, instance })
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(2)
        }
    }
}
