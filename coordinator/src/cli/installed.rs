//! What lies among the installed plugins of the data folder, beside what its fleet knows.

use super::App;
use super::exit::Failure;
use super::session::{self, Session};
use crate::config::DataDir;
use crate::process::{Discovered, discover};

/// What is installed for the fleet of the session; nothing where that is not the data folder's.
pub(crate) fn installed(app: &App, session: &Session) -> Result<Discovered, Failure> {
    if session.is_of_data_dir { Ok(within(&app.data_dir()?)) } else { Ok(Discovered::default()) }
}

/// What is installed where no fleet runs and none has left anything.
pub(crate) fn before_any_fleet(app: &App) -> Result<Option<Discovered>, Failure> {
    let data_dir = app.data_dir()?;
    if data_dir.has_broker() || session::running(app, &data_dir)?.is_some() {
        return Ok(None);
    }
    let found = within(&data_dir);
    let is_empty = found.plugins.is_empty() && found.problems.is_empty();
    Ok((!is_empty).then_some(found))
}

fn within(data_dir: &DataDir) -> Discovered {
    let folder = Some(data_dir.plugins()).filter(|folder| folder.is_dir());
    discover(&folder.into_iter().collect::<Vec<_>>())
}
