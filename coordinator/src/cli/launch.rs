//! Options of the commands that run a fleet, and how one is started for them.

use std::path::PathBuf;
use std::time::Duration;

use broker_config::Names;
use clap::Args;

use super::App;
use super::broker::replicas;
use super::exit::{Exit, Failure};
use super::files::FilesArgs;
use super::http::HttpArgs;
use super::output::complain;
use super::time::duration;
use crate::config::plugins::{Isolation, Libraries, ReadPluginsError};
use crate::config::{Connection, DataDir};
use crate::files::FilesError;
use crate::fleet::plugins::PluginSources;
use crate::fleet::{Fleet, FleetError, FleetOptions, GRACE, default_plugins_file};
use crate::scale::Pace;
use crate::service::{CoordinatorError, CoordinatorOptions};

/// For so long files are not opened while a plugin that was started does not announce itself; one
/// that crashes must not hold up the others for much longer than one that starts slowly.
const PLUGIN_PATIENCE: Duration = Duration::from_secs(15);

/// Which plugins run.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PluginArgs {
    /// Which plugins run and how [default: plugins.yml in the data folder, if it is there]
    #[arg(long, value_name = "FILE", env = "METAFLEET_PLUGINS")]
    pub(crate) plugins: Option<PathBuf>,
    /// A folder with plugins as ID/vVERSION/manifest.json; may be given several times
    #[arg(
        long = "plugin-dir",
        value_name = "DIR",
        env = "METAFLEET_PLUGIN_PATH",
        value_delimiter = ':'
    )]
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// Whether plugin processes are kept apart from the rest of the machine
    #[arg(
        long,
        value_name = "on|off",
        env = "METAFLEET_ISOLATION",
        default_value = "on",
        value_parser = isolation
    )]
    pub(crate) isolation: Isolation,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
}

/// How a fleet works.
#[derive(Clone, Debug, Args)]
pub(crate) struct TuningArgs {
    /// Files in hand at once
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = at_least_one)]
    pub(crate) max_files_in_flight: usize,
    /// Let background files wait while there is a fast one; they may wait for ever
    #[arg(long)]
    pub(crate) strict_priority: bool,
    /// No event for each settled task
    #[arg(long)]
    pub(crate) no_task_events: bool,
    /// Copies of every message in a cluster
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = replicas)]
    pub(crate) replicas: usize,
    /// How long plugins may take to finish what they hold when the fleet stops
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) grace: Duration,
    /// For how long fewer instances must have been enough before a plugin with `scale` has fewer
    #[arg(
        long,
        value_name = "TIME",
        env = "METAFLEET_SHRINK_AFTER",
        default_value = "60s",
        value_parser = duration
    )]
    pub(crate) shrink_after: Duration,
}

fn isolation(text: &str) -> Result<Isolation, &'static str> {
    match text {
        "on" => Ok(Isolation::On),
        "off" => Ok(Isolation::Off),
        _ => Err("must be on or off"),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "must be 1 or more".to_owned())
}

impl Default for TuningArgs {
    fn default() -> Self {
        Self {
            max_files_in_flight: 1024,
            strict_priority: false,
            no_task_events: false,
            replicas: 1,
            grace: GRACE,
            shrink_after: Pace::default().shrink_after,
        }
    }
}

impl PluginArgs {
    /// Where plugins are: as told, else beside this program and in the data folder.
    fn sources(&self, data_dir: &DataDir, look_around: bool) -> PluginSources {
        // An empty variable names no folder.
        let told: Vec<PathBuf> =
            self.plugin_dirs.iter().filter(|dir| !dir.as_os_str().is_empty()).cloned().collect();
        let installed = look_around.then(|| data_dir.plugins());
        let dirs = match (told.is_empty(), look_around) {
            (true, false) => Vec::new(),
            (true, true) => installed.iter().cloned().chain(beside_program()).collect(),
            (false, _) => told.into_iter().chain(installed.clone()).collect(),
        };
        PluginSources {
            file: Some(self.plugins.clone().unwrap_or_else(|| default_plugins_file(data_dir))),
            is_named: self.plugins.is_some(),
            dirs,
            installed,
            overrides: Some(data_dir.overrides()),
            libraries: Libraries::new(),
        }
    }
}

/// Plugins that came with this program.
fn beside_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.parent()?.join("plugins")).filter(|dir| dir.is_dir())
}

/// Where plugins are beside those that were installed, as far as the environment says.
pub(crate) fn other_dirs() -> Vec<PathBuf> {
    let told = std::env::var_os("METAFLEET_PLUGIN_PATH").unwrap_or_default();
    let told: Vec<PathBuf> =
        std::env::split_paths(&told).filter(|dir| !dir.as_os_str().is_empty()).collect();
    if told.is_empty() { beside_program().into_iter().collect() } else { told }
}

/// What a command wants of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) plugins: &'a PluginArgs,
    pub(crate) tuning: &'a TuningArgs,
    /// A broker that exists.
    pub(crate) connection: Option<(Connection, Names)>,
    /// Whether plugins are looked for in the usual places when none are named.
    pub(crate) look_around: bool,
    /// What plugins read, for containers to see.
    pub(crate) roots: Vec<PathBuf>,
    /// Folders that have a name.
    pub(crate) libraries: Libraries,
    /// Where the files of these are offered.
    pub(crate) files: FilesArgs,
    /// Whether the fleet ends with the command's work.
    pub(crate) temporary: bool,
}

impl Launch<'_> {
    /// Starts the fleet and says what is wrong with its plugins.
    pub(crate) async fn start(self, app: &App, data_dir: DataDir) -> Result<Fleet, Failure> {
        let look_around = self.look_around;
        let token = data_dir.api_token();
        let fleet = Fleet::start(self.options(app, data_dir)).await?;
        for problem in &fleet.problems {
            // Also with -q: somebody wanted a plugin that does not run.
            complain(&format!("warning: {problem}"));
        }
        if let Some(api) = &fleet.api {
            let token = token.display();
            app.out.say(&format!("the API is at {api}, the token for it in {token}"));
        }
        if let Some(files) = &fleet.files {
            app.out.say(&format!("files of the libraries are offered to workers at {files}"));
        }
        if let Some(bridge) = &fleet.bridge {
            let urls = &bridge.urls;
            app.out.say(&format!(
                "HTTP plugins call back to {}, and metadata is at {}",
                urls.api, urls.kv
            ));
        }
        if look_around && !fleet.has_plugins {
            app.out.say(
                "no plugin was found; name a folder of them with --plugin-dir or METAFLEET_PLUGIN_PATH",
            );
        }
        Ok(fleet)
    }

    /// What the fleet is started with.
    pub(crate) fn options(self, app: &App, data_dir: DataDir) -> FleetOptions {
        let prefix = app.globals.prefix.clone().unwrap_or_default();
        let (connection, names) = match self.connection {
            Some((connection, names)) => (Some(connection), names),
            None => (None, Names::new(prefix)),
        };
        let offered = self.libraries.values().flatten().cloned().collect();
        FleetOptions {
            files: self.files.options(offered),
            plugins: PluginSources {
                libraries: self.libraries,
                ..self.plugins.sources(&data_dir, self.look_around)
            },
            http: self.plugins.http.addresses(),
            data_dir,
            connection,
            roots: self.roots,
            isolation: self.plugins.isolation,
            builtins: (app.builtins)(),
            grace: self.tuning.grace,
            pace: Pace { shrink_after: self.tuning.shrink_after, ..Pace::default() },
            temporary: self.temporary,
            coordinator: CoordinatorOptions {
                names,
                max_files_in_flight: self.tuning.max_files_in_flight,
                strict_priority: self.tuning.strict_priority,
                task_events: !self.tuning.no_task_events,
                replicas: self.tuning.replicas,
                expected_timeout: PLUGIN_PATIENCE,
                ..CoordinatorOptions::default()
            },
        }
    }
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Embedded(error) => error.into(),
            FleetError::DataDir(error) => error.into(),
            FleetError::Connect(error) => error.into(),
            FleetError::Apply(error) => error.into(),
            FleetError::Store(error) => error.into(),
            FleetError::Admission(error) => {
                Self::new(Exit::Failure, broker_config::Chain(&error).to_string())
            }
            FleetError::Http(error) => {
                Self::new(Exit::Failure, broker_config::Chain(&error).to_string()).advise(
                    "choose other addresses with --api-listen and --kv-listen; \
                     port 0 takes a free one",
                )
            }
            FleetError::Files(error @ FilesError::NoUrl(_)) => {
                Self::usage(broker_config::Chain(&error).to_string())
                    .advise("say with --files-url how other machines reach this one")
            }
            FleetError::Files(error) => {
                Self::new(Exit::Failure, broker_config::Chain(&error).to_string())
                    .advise("choose another address with --files-listen; port 0 takes a free one")
            }
            FleetError::Plugins(error) => {
                let failure = Self::usage(broker_config::Chain(&error).to_string());
                match error {
                    ReadPluginsError::Io { .. } | ReadPluginsError::TooLarge { .. } => {
                        failure.advise("--plugins (or METAFLEET_PLUGINS) must name a readable file")
                    }
                    ReadPluginsError::NoList(_) => failure
                        .advise("nothing was started; a file without plugins says `plugins: {}`"),
                    ReadPluginsError::Overrides(_) => failure.advise("nothing was started"),
                }
            }
        }
    }
}

impl From<CoordinatorError> for Failure {
    fn from(error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::Broker(error) => error.into(),
            CoordinatorError::Closed(_) => {
                Self::new(Exit::Unreachable, broker_config::Chain(&error).to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PluginsFile;
    use crate::config::vars::vars;

    #[test]
    fn a_plugins_file_that_lists_none_is_a_configuration_error_that_says_where()
    -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("plugins.yml");
        for text in ["plugins: [", "plugin:\n  a: {enabled: false}\n"] {
            std::fs::write(&path, text)?;
            let error = PluginsFile::read(&path, &vars(&[])).unwrap_err();
            let failure = Failure::from(FleetError::Plugins(error));
            assert_eq!(failure.exit, Exit::Usage, "{text}");
            assert!(failure.what.contains("plugins.yml:"), "{}", failure.what);
        }
        Ok(())
    }
}
