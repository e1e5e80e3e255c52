//! `metafleet plugin conformance`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::cli::App;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupt::in_order;
use crate::config::Env;
use crate::conformance::{self, Case, ImageError, Options, Report, Subject, Tried, Written};
use crate::docker::engine;
use crate::nats_server::Binary;

/// Cases at the same time: they wait more than they work.
const JOBS: usize = 8;

/// Starts the worker for each case anew, by its command or as a container of its image, against a broker that is thrown away
/// afterwards. Exit codes: 0 all passed, 1 some failed, 2 wrong usage.
#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// Files that the plugin can read, for its tasks; without any, a small one is made
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Only these cases
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Settings of the plugin, where its defaults will not do
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, Value)>,
    /// The form of the report
    #[arg(long, value_enum, default_value_t)]
    format: Written,
    /// Where the report is written instead of standard output
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// List the cases and try nothing
    #[arg(long)]
    list: bool,
    /// Cases at the same time
    #[arg(long, default_value_t = JOBS, value_name = "NUMBER", value_parser = jobs)]
    jobs: usize,
    /// An image that holds the worker, instead of its command; what follows `--` goes to the image
    /// then, in place of its own arguments
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The worker's command, after `--`
    #[arg(last = true, required_unless_present_any = ["list", "image"], value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// `KEY=VALUE`, the value as JSON if it is JSON, else as text.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((key.to_owned(), value))
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=64) => Ok(jobs),
        Ok(_) | Err(_) => Err("a number from 1 to 64 is wanted".to_owned()),
    }
}

pub(crate) async fn run(app: &App, args: ConformanceArgs) -> Result<Exit, Failure> {
    let cases = conformance::chosen(&args.cases).map_err(|name| {
        Failure::usage(format!("there is no case `{name}`"))
            .advise("`metafleet plugin conformance --list` shows all")
    })?;
    if args.list {
        return list(app, &cases, args.format);
    }
    if let Some(missing) = args.files.iter().find(|path| !path.is_file()) {
        return Err(Failure::usage(format!("{} is no file", missing.display())));
    }
    let stop = CancellationToken::new();
    in_order(stop.clone(), Box::pin(try_all(app, args, cases, stop))).await
}

async fn try_all(
    app: &App,
    args: ConformanceArgs,
    cases: Vec<&'static Case>,
    stop: CancellationToken,
) -> Result<Exit, Failure> {
    let binary = Binary::find(&Env, &app.data_dir()?)
        .await
        .map_err(|error| Failure::because(Exit::Failure, "start a broker", &error))?;
    let folder = tempfile::Builder::new()
        .prefix("metafleet-conformance-")
        .tempdir()
        .map_err(|error| Failure::because(Exit::Failure, "make a temporary folder", &error))?;
    let subject = match &args.image {
        Some(image) => Subject::Image(tried(image, &args.command, folder.path()).await?),
        None => Subject::Command(args.command),
    };
    let options = Options {
        subject,
        files: args.files,
        settings: args.settings.into_iter().collect::<Map<String, Value>>(),
        cases,
        jobs: args.jobs,
        binary,
        folder: folder.path().to_owned(),
        stop,
    };
    // Where the report itself is for others, people see on standard error how it goes.
    let apart = args.report.is_some() || args.format != Written::Text;
    let told = |case: &conformance::CaseReport| {
        if apart {
            app.out.say(&case.text());
        }
    };
    let report = Box::pin(conformance::run(&options, told)).await;
    if let Subject::Image(tried) = &options.subject
        && let Err(error) = tried.close().await
    {
        app.out
            .say(&format!("warning: containers may be left, the next run removes them: {error}"));
    }
    let report = report.map_err(|error| Failure::new(Exit::Failure, format!("{error:#}")))?;
    if options.stop.is_cancelled() {
        return Ok(Exit::Interrupted);
    }
    if apart {
        app.out.say(&report.summary());
    }
    write(app, &report, args.format, args.report.as_deref())?;
    Ok(if report.failed == 0 { Exit::Ok } else { Exit::Failure })
}

/// The image that is to be tried, with these arguments.
async fn tried(image: &str, words: &[OsString], folder: &Path) -> Result<Arc<Tried>, Failure> {
    let text = |word: &OsString| {
        let said = word.clone().into_string();
        said.map_err(|_| Failure::usage(format!("the engine takes text only: {}", word.display())))
    };
    let words = words.iter().map(text).collect::<Result<Vec<String>, Failure>>()?;
    let arguments = (!words.is_empty()).then_some(words);
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let tried = Tried::open(&engine::address(&Env), image, arguments, folder, user).await;
    tried.map(Arc::new).map_err(|error| refused(image, &error))
}

/// Says why an image cannot be tried, and what to do about it.
fn refused(image: &str, error: &ImageError) -> Failure {
    let exit = match error {
        ImageError::Missing { .. } => Exit::NotFound,
        ImageError::Engine(_) | ImageError::Wrong { .. } | ImageError::Folder { .. } => {
            Exit::Failure
        }
    };
    let advice = match error {
        ImageError::Missing { .. } => format!(
            "build it with `docker build -t {image} FOLDER`, or get it with `docker pull {image}`"
        ),
        ImageError::Engine(error) if error.is_away() => {
            "start Docker, or say with DOCKER_HOST where it listens; without an engine the program \
             itself can be tried: `metafleet plugin conformance -- COMMAND`"
                .to_owned()
        }
        ImageError::Engine(_) | ImageError::Wrong { .. } | ImageError::Folder { .. } => {
            String::new()
        }
    };
    Failure::because(exit, "try the image", error).advise(advice)
}

fn write(app: &App, report: &Report, form: Written, file: Option<&Path>) -> Result<(), Failure> {
    let text = report.write(form);
    let Some(path) = file else { return app.out.raw(&text) };
    std::fs::write(path, text).map_err(|error| {
        Failure::because(Exit::Failure, &format!("write {}", path.display()), &error)
    })
}

fn list(app: &App, cases: &[&Case], form: Written) -> Result<Exit, Failure> {
    if form == Written::Json {
        let all: Vec<Value> = cases
            .iter()
            .map(|case| {
                serde_json::json!({
                    "name": case.name, "section": case.section, "asks": case.asks,
                    "kind": case.kind.to_string(),
                })
            })
            .collect();
        let document = serde_json::json!({"version": conformance::VERSION, "cases": all});
        app.out.line(&document.to_string())?;
        return Ok(Exit::Ok);
    }
    app.out.line(&format!("conformance version {}", conformance::VERSION))?;
    for Case { name, section, asks, kind, .. } in cases {
        app.out.line(&format!("{name:<34} {section:>2}  {:<8}  {asks}", kind.to_string()))?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_json_or_text() {
        assert_eq!(setting("key=abc").unwrap(), ("key".to_owned(), json!("abc")));
        assert_eq!(setting("key=3").unwrap(), ("key".to_owned(), json!(3)));
        assert_eq!(setting("key=a=b").unwrap(), ("key".to_owned(), json!("a=b")));
        assert!(setting("key").is_err());
        assert!(jobs("0").is_err() && jobs("many").is_err());
        assert_eq!(jobs("8"), Ok(8));
    }
}
