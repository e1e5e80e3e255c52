//! A plugin that behaves as its first argument says; its manifest lies in the folder it runs in.
//!
//! Each attempt is noted as a line `<content id> <attempt>` in the file `calls` of that folder.

use std::future::pending;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use integration_tests::canary;
use worker_sdk::{Classify, Context, Failure, Manifest, Meta, Outcome, Plugin};

/// What it prints on each task when it floods, in bytes.
const FLOOD: usize = 24 << 20;

/// What it takes when it burns, in bytes.
const BALLAST: usize = 64 << 20;

struct Odd {
    manifest: Manifest,
    behaviour: String,
    argument: String,
}

impl Plugin for Odd {
    fn manifest(&self) -> Manifest {
        self.manifest.clone()
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        note(ctx).retryable()?;
        let key = format!("{}/done", self.manifest.id);
        let mut meta = Meta::new();
        meta.text(&key, &self.manifest.version);
        match self.behaviour.as_str() {
            "same" => {
                meta.text(&key, "whatever the version");
            }
            "slow" => {
                let ms = self.argument.parse().permanent()?;
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            "hangs" => pending().await,
            "burns" => burn(Duration::from_millis(self.argument.parse().permanent()?)),
            "floods" => flood().retryable()?,
            "tells" => {
                let setting = ctx.settings().get(&self.argument).and_then(|value| value.as_str());
                let line = format!("its {} is {}", self.argument, setting.unwrap_or("not set"));
                writeln!(io::stderr(), "{line}").retryable()?;
                meta.text(&key, setting.map_or(0, str::len).to_string());
            }
            "confesses" => return confess(ctx, &key),
            "strays" => {
                meta.text("elsewhere/key", "x");
            }
            "bloats" => {
                meta.text(&key, "x".repeat(self.argument.parse().permanent()?));
            }
            "needs" if ctx.settings().get(&self.argument).is_none() => {
                return Err(Failure::permanent(format!("{} is not set", self.argument)));
            }
            "lost" if Path::new("lost").exists() && self.is_named() => {
                return Err(Failure::retryable("the library is not mounted here"));
            }
            // Its work takes a moment, so that who fails at once gets tasks as well.
            "lost" => tokio::time::sleep(Duration::from_millis(50)).await,
            "broken" if Path::new("broken").exists() => {
                return Err(Failure::permanent("the file `broken` is in its folder"));
            }
            _ => {}
        }
        Ok(Outcome::Completed(meta))
    }
}

impl Odd {
    /// Whether this is the instance that its argument names.
    fn is_named(&self) -> bool {
        #[expect(clippy::disallowed_methods, reason = "who starts a plugin says its name so")]
        let name = std::env::var("METAFLEET_INSTANCE");
        name.is_ok_and(|name| name == self.argument)
    }
}

fn note(ctx: &Context) -> io::Result<()> {
    let mut calls = std::fs::File::options().create(true).append(true).open("calls")?;
    writeln!(calls, "{} {}", ctx.task().cid, ctx.attempt())
}

/// Keeps a processor and a little memory busy until it is enough, or the time is over.
fn burn(most: Duration) {
    let begun = tokio::time::Instant::now();
    let mut ballast = vec![0_u8; BALLAST];
    while !Path::new("enough").exists() && begun.elapsed() < most {
        for byte in &mut ballast {
            *byte = std::hint::black_box(byte.wrapping_add(1));
        }
    }
}

/// Says all its settings in every way it can, and ends as the name of the file says.
#[expect(clippy::panic, reason = "plugins do, and say why")]
fn confess(ctx: &Context, key: &str) -> Result<Outcome, Failure> {
    let mut said = String::new();
    for (name, value) in ctx.settings() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for (form, text) in canary::forms(&text) {
            let line = format!("{name} as {form}: {text}");
            writeln!(io::stdout(), "{line}")
                .and_then(|()| writeln!(io::stderr(), "{line}"))
                .retryable()?;
        }
        // As programs do that complain of a request.
        let query = canary::percent(text.as_bytes(), b"-_.~", true);
        said.push_str(&format!("GET https://api.example.org/3/find?key={query} ({text}) failed; "));
    }
    let file = ctx.task().file.name.clone();
    let ways = ["fails", "retries", "waits", "skips", "panics"];
    match ways.into_iter().find(|way| file.starts_with(way)) {
        Some("fails") => Err(Failure::permanent(said)),
        Some("retries") => Err(Failure::retryable(said)),
        Some("waits") => Ok(Outcome::retry_later(Duration::from_secs(600), said)),
        Some("skips") => Ok(Outcome::Skipped { reason: said }),
        Some("panics") => panic!("{said}"),
        _ => {
            let mut meta = Meta::new();
            meta.text(key, "done");
            Ok(Outcome::Completed(meta))
        }
    }
}

fn flood() -> io::Result<()> {
    let line = [b'f'; 1023];
    let mut out = io::stderr().lock();
    for _ in 0..FLOOD / (line.len() + 1) {
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (behaviour, argument) =
        (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    if behaviour == "crashes" {
        writeln!(io::stderr(), "this plugin always crashes").ok();
        return ExitCode::from(3);
    }
    match std::fs::read_to_string("manifest.json") {
        Ok(text) => {
            worker_sdk::run(Odd { manifest: worker_sdk::manifest(&text), behaviour, argument })
        }
        Err(error) => {
            writeln!(io::stderr(), "manifest.json: {error}").ok();
            ExitCode::FAILURE
        }
    }
}
