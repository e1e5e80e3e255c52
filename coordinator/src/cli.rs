//! The command line: what can be typed, and one file for each command that carries it out.
//!
//! Data goes to standard output in the form chosen by `--output`, everything else to standard
//! error. How a command ends is one of [`Exit`].

mod api;
mod bench;
mod broker;
mod completions;
mod coordinator;
mod dead;
mod doctor;
mod event;
mod exit;
mod file;
mod files;
mod http;
mod installed;
mod interrupt;
mod launch;
mod meta;
mod output;
mod plugin;
mod progress;
mod scan;
mod session;
mod status;
mod table;
mod time;
mod up;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use broker_config::Prefix;
use clap::{ArgAction, Args, Parser, Subcommand};
use worker_sdk::telemetry;

pub use exit::Exit;

use self::exit::Failure;
use self::output::{Format, Loudness, Output, complain};
use crate::config::connection::ConnectionFlags;
use crate::config::{DataDir, Env, Vars};
use crate::internal::Builtins;
use crate::shutdown::StopSignals;

/// Runs plugins over files and keeps what they find.
#[derive(Debug, Parser)]
#[command(name = "metafleet", version, after_help = Exit::HELP, propagate_version = true)]
#[command(disable_help_subcommand = false, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Where a fleet on this machine keeps everything [default: ~/.local/share/metafleet]
    #[arg(long, global = true, env = "METAFLEET_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "An existing NATS, e.g. nats://host:4222; NATS_URL, NATS_CREDS and the like count too"
    )]
    pub(crate) nats: Option<String>,
    /// A context of the nats tool
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Begins all names of this fleet on its broker [default: mf]
    #[arg(long, global = true, env = "METAFLEET_PREFIX", value_name = "PREFIX")]
    pub(crate) prefix: Option<Prefix>,
    /// The form of what is printed
    #[arg(long, global = true, env = "METAFLEET_OUTPUT", value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: broker, coordinator, plugins
    Up(up::UpArgs),
    /// Run only the coordinator, against an existing NATS
    Coordinator(coordinator::CoordinatorArgs),
    /// Look for new and changed files and hand them in
    Scan(scan::ScanArgs),
    #[command(flatten)]
    Short(Short),
}

/// Commands that can be dropped anywhere.
#[derive(Debug, Subcommand)]
enum Short {
    /// Show how the fleet is doing
    Status(status::StatusArgs),
    /// Look at plugins, change, pause and restart them
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Look at files
    #[command(subcommand)]
    File(file::FileCommand),
    /// Read metadata, and write your own over it
    #[command(subcommand)]
    Meta(meta::MetaCommand),
    /// Follow what happens
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Look after tasks that were given up on
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Prepare a NATS of your own
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Say what this machine gives a fleet, what it lacks, and what to do about it
    Doctor(doctor::DoctorArgs),
    /// Measure this machine beside the raw ceiling of the broker
    Bench(bench::BenchArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// What every command needs to know.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) globals: Globals,
    pub(crate) out: Output,
    /// The plugins that this program carries.
    pub(crate) builtins: fn() -> Builtins,
}

impl App {
    fn new(globals: Globals, builtins: fn() -> Builtins) -> Self {
        let loudness = match (globals.quiet, globals.verbose) {
            (true, _) => Loudness::Quiet,
            (false, 0) => Loudness::Normal,
            (false, _) => Loudness::Verbose,
        };
        let out = Output::new(globals.output, loudness, &|name| Env.get(name));
        Self { globals, out, builtins }
    }

    pub(crate) fn data_dir(&self) -> Result<DataDir, Failure> {
        DataDir::resolve(self.globals.data_dir.as_deref(), &Env)
            .map_err(|error| Failure::usage(error.to_string()))
    }

    pub(crate) fn connection_flags(&self) -> ConnectionFlags {
        ConnectionFlags { nats: self.globals.nats.clone(), context: self.globals.context.clone() }
    }

    /// The filter of the log when `METAFLEET_LOG` does not say: a fleet in the foreground tells
    /// what it does, a command only what went wrong.
    fn log_filter(&self, command: &Command) -> &'static str {
        let serves = matches!(command, Command::Up(_) | Command::Coordinator(_));
        // It kills brokers and workers on purpose.
        let tries =
            matches!(command, Command::Short(Short::Plugin(plugin::PluginCommand::Conformance(_))));
        match (self.globals.quiet, self.globals.verbose, serves) {
            (_, 0, false) if tries => "off",
            (true, ..) => "error",
            // A command says itself which plugins do not start.
            (_, 0, false) => "warn,async_nats=off,coordinator::process=error",
            (_, 0, true) => "info,async_nats=warn",
            (_, 1, _) => "info,coordinator=debug,worker_sdk=debug",
            (_, _, _) => "debug",
        }
    }
}

/// Runs what the command line says and returns how it ended; `builtins` are the plugins that the
/// program carries.
pub fn main(args: impl IntoIterator<Item = OsString>, builtins: fn() -> Builtins) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error. A closed pipe is nobody to tell.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let app = App::new(cli.globals, builtins);
    let _telemetry = telemetry::init_with("metafleet", app.log_filter(&cli.command));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: could not start: {error}"));
            return Exit::Failure.into();
        }
    };
    let ended = runtime.block_on(run(&app, cli.command));
    // What still blocks a thread, e.g. a read from a dead network share, must not hold us up.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.exit != Exit::Ok {
                complain(&format!("error: {}", failure.what));
                if !failure.advice.is_empty() {
                    complain(&format!("       {}", failure.advice));
                }
            }
            failure.exit.into()
        }
    }
}

async fn run(app: &App, command: Command) -> Result<Exit, Failure> {
    match command {
        // These drain in order when they are interrupted.
        Command::Up(args) => Box::pin(up::run(app, args)).await,
        Command::Coordinator(args) => Box::pin(coordinator::run(app, args)).await,
        Command::Scan(args) => Box::pin(scan::run(app, args)).await,
        Command::Short(Short::Plugin(command)) if command.drains() => {
            Box::pin(plugin::run(app, command)).await
        }
        Command::Short(command) => {
            let mut signals = StopSignals::listen()
                .map_err(|error| Failure::because(Exit::Failure, "listen for signals", &error))?;
            tokio::select! {
                ended = Box::pin(short(app, command)) => ended,
                _ = signals.next() => Ok(Exit::Interrupted),
            }
        }
    }
}

async fn short(app: &App, command: Short) -> Result<Exit, Failure> {
    match command {
        Short::Status(args) => status::run(app, &args).await,
        Short::Plugin(command) => plugin::run(app, command).await,
        Short::File(command) => file::run(app, command).await,
        Short::Meta(command) => meta::run(app, command).await,
        Short::Event(command) => event::run(app, command).await,
        Short::Dead(command) => dead::run(app, command).await,
        Short::Broker(command) => broker::run(app, command).await,
        Short::Doctor(args) => doctor::run(app, &args).await,
        Short::Bench(args) => bench::run(app, &args).await,
        Short::Completions(args) => completions::run(app, &args),
    }
}

#[cfg(test)]
mod tests;
