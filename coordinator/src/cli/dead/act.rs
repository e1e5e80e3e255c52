//! `metafleet dead requeue` and `drop`

use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session::{self, Session};
use super::{Selection, existing};
use crate::store::StoreError;
use crate::store::dead::DeadEntry;

/// What is to be done with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Requeue,
    Drop,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    /// How many were requeued or dropped.
    done: usize,
    /// Those that were not, by number.
    failed: Vec<u64>,
}

pub(crate) async fn run(app: &App, selection: &Selection, act: Act) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let entries = selected(session, selection).await?;
        let mut done = Done { done: 0, failed: Vec::new() };
        for entry in &entries {
            match carry_out(session, entry, act).await {
                Ok(()) => done.done += 1,
                // The rest would fare no better.
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => {
                    app.out.say(&Failure::from(error).what);
                    done.failed.push(entry.id);
                }
            }
        }
        let verb = match act {
            Act::Requeue => "requeued",
            Act::Drop => "dropped",
        };
        app.out.document(&done, |lines| lines.line(&format!("{} {verb}", done.done)))?;
        if act == Act::Requeue && done.done > 0 && session.is_private() {
            app.out.say("no fleet is running; they are tried again when one starts");
        }
        Ok(if done.failed.is_empty() { Exit::Ok } else { Exit::Partial })
    })
    .await
}

async fn selected(session: &Session, selection: &Selection) -> Result<Vec<DeadEntry>, Failure> {
    if selection.ids.is_empty() {
        return Ok(session.store.dead_letters(selection.plugin.as_ref()).await?);
    }
    // All must exist before anything is done to any of them.
    let mut entries = Vec::with_capacity(selection.ids.len());
    for id in &selection.ids {
        entries.push(existing(&session.store, *id).await?);
    }
    Ok(entries)
}

async fn carry_out(session: &Session, entry: &DeadEntry, act: Act) -> Result<(), StoreError> {
    match act {
        Act::Requeue => session.store.requeue(entry).await,
        Act::Drop => session.store.drop_dead(entry.id).await,
    }
}
