//! `metafleet plugin login ID`: a login for a worker that somebody starts by hand.

use std::path::PathBuf;
use std::time::Duration;

use broker_config::PluginId;
use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session::{self, Running};
use crate::config::connection::Origin;
use crate::config::{Connection, DataDir, private_file};
use crate::fleet::confines::login_dir;
use crate::nats_server::Users;

/// How long the fleet may take to let a plugin in; it looks once a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The plugin's id
    id: PluginId,
    /// Let it in no more, unless the fleet itself knows of the plugin
    #[arg(long)]
    forget: bool,
}

/// What a worker is started with; no secret is in it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    url: String,
    variables: std::collections::BTreeMap<String, String>,
}

pub(crate) async fn run(app: &App, args: &LoginArgs) -> Result<Exit, Failure> {
    let LoginArgs { id, forget } = args;
    let data_dir = app.data_dir()?;
    if *forget {
        forget_guest(&data_dir, id)?;
        app.out.say(&format!("{id} is let in only while the fleet knows of it"));
        return Ok(Exit::Ok);
    }
    let reach = async |running: Running| Ok(running);
    let otherwise = async || {
        Err(Failure::new(Exit::Unreachable, "no fleet runs here")
            .advise("start one with `metafleet up`"))
    };
    let running = session::running_or(app, &data_dir, reach, otherwise).await?;
    let guest = Guest::let_in(&running.connection, &data_dir, id).await?;
    if !guest.is_own {
        return Err(Failure::usage("this fleet uses a broker of yours, which has its own logins"));
    }
    let variables = guest.connection.login_files(&login_dir(&data_dir).join(id.as_str())).variables;
    let told = Told { url: guest.connection.url, variables };
    app.out.document(&told, |lines| {
        lines.title(&format!("NATS_URL={}", told.url));
        for (name, value) in &told.variables {
            lines.title(&format!("{name}={value}"));
        }
    })?;
    Ok(Exit::Ok)
}

/// A plugin that somebody runs besides those that the fleet starts.
#[derive(Debug)]
pub(super) struct Guest {
    /// How it reaches the broker.
    pub(super) connection: Connection,
    /// Whether that is with a login of its own.
    is_own: bool,
    /// What asks the fleet to let it in, where nothing did before.
    note: Option<PathBuf>,
}

impl Guest {
    /// Has the fleet let the plugin in, if need be, and waits until its broker does.
    pub(super) async fn let_in(
        fleet: &Connection,
        data_dir: &DataDir,
        id: &PluginId,
    ) -> Result<Self, Failure> {
        let users_file = data_dir.nats().join("users.json");
        let users = || {
            let text = std::fs::read(&users_file).ok()?;
            serde_json::from_slice::<Users>(&text).ok()
        };
        let is_own = fleet.origin == Origin::Fleet
            && users().is_some_and(|users| users.coordinator_login() == fleet.login);
        if !is_own {
            return Ok(Self { connection: fleet.clone(), is_own, note: None });
        }
        let note = data_dir.asked_logins().join(id.as_str());
        let is_new = !note.exists();
        private_file::make_dir(&data_dir.asked_logins())
            .and_then(|()| private_file::write(&note, b""))
            .map_err(|error| {
                Failure::because(Exit::Failure, &format!("write {}", note.display()), &error)
            })?;
        let since = Instant::now();
        loop {
            if let Some(login) = users().and_then(|users| users.plugin_login(id)) {
                let connection = Connection { login, ..fleet.clone() };
                match connection.connect("metafleet-login").await {
                    Ok(client) => {
                        // It was made only to see whether it can be.
                        client.drain().await.ok();
                        return Ok(Self { connection, is_own, note: is_new.then_some(note) });
                    }
                    Err(error) if since.elapsed() > PATIENCE => return Err(error.into()),
                    Err(_) => {}
                }
            } else if since.elapsed() > PATIENCE {
                return Err(Failure::new(
                    Exit::Failure,
                    format!("the fleet does not let {id} in; its log says why"),
                ));
            }
            sleep(LOOK).await;
        }
    }

    /// It is not there any more; nothing that was asked for before is taken back.
    pub(super) fn leave(self) {
        if let Some(note) = self.note
            && let Err(error) = std::fs::remove_file(&note)
        {
            tracing::debug!(path = %note.display(), %error, "the note is left");
        }
    }
}

fn forget_guest(data_dir: &DataDir, id: &PluginId) -> Result<(), Failure> {
    let note = data_dir.asked_logins().join(id.as_str());
    match std::fs::remove_file(&note) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::not_found(format!("nobody has asked for a login of {id}")))
        }
        Err(error) => {
            Err(Failure::because(Exit::Failure, &format!("remove {}", note.display()), &error))
        }
    }
}
