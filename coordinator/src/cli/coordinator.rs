//! `metafleet coordinator`: only the coordinator, against a NATS that exists.

use clap::Args;

use super::App;
use super::exit::{Exit, Failure};
use super::files::FilesArgs;
use super::launch::{Launch, PluginArgs, TuningArgs};
use super::session;
use super::up::{self, Library};

/// Several may run, each with a data folder of its own: one leads, the others wait for it to fail.
#[derive(Debug, Args)]
pub(crate) struct CoordinatorArgs {
    /// A folder whose files --files-listen offers, and its name for the routes of plugins; it is not
    /// scanned; may be given several times
    #[arg(long = "library", value_name = "NAME=PATH", value_parser = up::libraries())]
    libraries: Vec<Library>,
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    plugins: PluginArgs,
    #[command(flatten)]
    tuning: TuningArgs,
}

pub(crate) async fn run(app: &App, args: CoordinatorArgs) -> Result<Exit, Failure> {
    let data_dir = app.data_dir()?;
    let Some(connection) = session::existing_broker(app)? else {
        return Err(Failure::usage("no broker is named").advise(
            "name one with --nats, NATS_URL or --context; `metafleet up` brings one of its own",
        ));
    };
    let url = connection.0.url.clone();
    let launch = Launch {
        plugins: &args.plugins,
        tuning: &args.tuning,
        connection: Some(connection),
        // Plugins run here only when somebody says so.
        look_around: false,
        // Files come from elsewhere: what containers see of them, `mounts` says.
        roots: Vec::new(),
        libraries: up::named(&args.libraries),
        files: args.files.clone(),
        temporary: false,
    };
    let fleet = launch.start(app, data_dir).await?;
    app.out.say(&format!("the coordinator is up: broker {url}"));
    up::serve(fleet, Vec::new(), None).await
}
