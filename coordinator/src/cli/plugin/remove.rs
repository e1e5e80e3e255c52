//! `metafleet plugin remove ID`

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::{OnePlugin, known};

pub(crate) async fn run(app: &App, args: &OnePlugin) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let revision = known(&session.store, &args.id).await?.revision;
        session.store.remove_plugin(&args.id, revision).await?;
        app.out.say(&format!("{} takes no part any more; its records stay", args.id));
        Ok(Exit::Ok)
    })
    .await
}
