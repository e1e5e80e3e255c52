//! `metafleet plugin pause ID` and `resume ID`

use broker_config::PluginId;
use broker_config::wire::event::Fact;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::{OnePlugin, known};
use crate::store::{Store, StoreError};

pub(crate) async fn run(app: &App, args: &OnePlugin, pause: bool) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let id = &args.id;
        let changed = mark(&session.store, id, pause).await?;
        session.store.hold_tasks(id, pause).await?;
        if changed {
            let plugin_id = id.clone();
            let fact = if pause {
                Fact::PluginPaused { plugin_id }
            } else {
                Fact::PluginResumed { plugin_id }
            };
            session.store.tell(fact).await?;
        }
        app.out.say(&match (pause, changed) {
            (true, true) => format!("{id} is paused; `metafleet plugin resume {id}` lets it go on"),
            (true, false) => format!("{id} was paused already"),
            (false, true) => format!("{id} goes on"),
            (false, false) => format!("{id} was not paused"),
        });
        Ok(Exit::Ok)
    })
    .await
}

/// Writes the mark into the registry, so that consumers made later are paused as well.
async fn mark(store: &Store, id: &PluginId, pause: bool) -> Result<bool, Failure> {
    loop {
        let mut known = known(store, id).await?;
        if known.entry.paused == pause {
            return Ok(false);
        }
        known.entry.paused = pause;
        match store.put_plugin(&known).await {
            // The coordinator wrote it at the same time: read it again.
            Err(StoreError::Conflict { .. }) => {}
            done => return done.map(|()| true).map_err(Failure::from),
        }
    }
}
