//! `metafleet plugin pause ID` and `resume ID`

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::{OnePlugin, unknown};
use crate::store::pause::Paused;

pub(crate) async fn run(app: &App, args: &OnePlugin, pause: bool) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let id = &args.id;
        let paused = session.store.pause(id, pause).await?;
        app.out.say(&match (pause, paused) {
            (_, Paused::Unknown) => return Err(unknown(id)),
            (true, Paused::Changed) => {
                format!("{id} is paused; `metafleet plugin resume {id}` lets it go on")
            }
            (true, Paused::Same) => format!("{id} was paused already"),
            (false, Paused::Changed) => format!("{id} goes on"),
            (false, Paused::Same) => format!("{id} was not paused"),
        });
        Ok(Exit::Ok)
    })
    .await
}
