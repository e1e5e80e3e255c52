//! `metafleet plugin remove ID`

use broker_config::PluginId;
use clap::Args;
use semver::Version;

use super::super::App;
use super::super::api::ApiClient;
use super::super::exit::{Exit, Failure};
use super::super::launch::other_dirs;
use super::super::session;
use super::known;
use crate::config::{DataDir, Overrides};
use crate::package::{self, Which};
use crate::process::discover;

#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct RemoveArgs {
    /// The plugin's id
    id: PluginId,
    /// Remove its files, too, in all versions that were installed
    #[arg(long, conflicts_with = "version")]
    files: bool,
    /// Remove the files of this version only
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
}

pub(crate) async fn run(app: &App, args: RemoveArgs) -> Result<Exit, Failure> {
    let id = args.id;
    let which = match args.version {
        Some(version) => Which::Version(version),
        None if args.files => Which::All,
        None => return forget(app, &id).await,
    };
    let data_dir = app.data_dir()?;
    // Those beside the program are not ours to remove, and take its place.
    let stays = stays(&data_dir, &id, &which);
    let runs = data_dir.running()?.is_some();
    // What is not there is told below, and nothing is changed for it.
    if runs && !stays && package::is_installed(&data_dir.plugins(), &id, &which) {
        // Its instances end before their files go.
        let disabled = format!("/api/plugins/{id}/disable");
        match ApiClient::of(app)?.post(&disabled, None).await {
            Ok(answer) if answer["inEffect"] == true => {}
            Ok(_) => {
                let what = format!("the instances of {id} have not ended yet");
                return Err(Failure::new(Exit::Conflict, what).advise("try again"));
            }
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    let (plugins, of) = (data_dir.plugins(), id.clone());
    let removing = tokio::task::spawn_blocking(move || package::remove(&plugins, &of, &which));
    let removed = removing.await;
    removed.map_err(|error| Failure::because(Exit::Failure, "the work", &error))??;
    if stays {
        app.out.say(&format!("its files are removed; another version of {id} is there"));
        return Ok(Exit::Ok);
    }
    // What the person has set stays for the next time, but it does not take part by itself then.
    Overrides::change(&data_dir.overrides(), &id, |changed| changed.enabled = None).await?;
    if runs || data_dir.has_broker() {
        session::with(app, async |session| {
            if let Some(known) = session.store.plugin(&id).await? {
                session.store.remove_plugin(&id, known.revision).await?;
            }
            Ok(Exit::Ok)
        })
        .await?;
    }
    app.out.say(&format!("{id} and its files are removed; its records stay"));
    Ok(Exit::Ok)
}

/// Forgets a plugin and leaves its files alone.
async fn forget(app: &App, id: &PluginId) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let revision = known(&session.store, id).await?.revision;
        session.store.remove_plugin(id, revision).await?;
        app.out.say(&format!("{id} takes no part any more; its records stay"));
        Ok(Exit::Ok)
    })
    .await
}

/// Whether a version of the plugin is there afterwards.
fn stays(data_dir: &DataDir, id: &PluginId, which: &Which) -> bool {
    let installed = data_dir.plugins();
    if discover(&other_dirs()).plugins.contains_key(id) {
        return true;
    }
    let Which::Version(version) = which else { return false };
    let mut versions = discover(&[installed]).versions_of(id);
    versions.remove(version);
    !versions.is_empty()
}
