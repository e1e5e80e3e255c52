//! The instances of one HTTP plugin: which are there, which may get tasks, which is least busy.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_config::{InstanceId, Manifest};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use worker_sdk::Settings;

use super::urls::Urls;
use crate::config::BaseUrl;

/// Where one instance listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub url: BaseUrl,
    /// Another number each time it was started anew: it has forgotten its settings, and its tasks.
    pub incarnation: u64,
    /// Where it reaches the bridge, if not at the bridge's own addresses.
    pub bridge: Option<Urls>,
}

/// Where all instances of a plugin listen, as whoever runs them says.
pub type Places = BTreeMap<InstanceId, Place>;

/// Settings with a number that grows with each change.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) generation: u64,
    /// `None` until the coordinator has said something.
    pub(super) settings: Option<Arc<Settings>>,
}

/// What is known of one instance.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) place: Place,
    /// Whether its health allows tasks.
    pub(super) serves: bool,
    pub(super) manifest: Option<Arc<Manifest>>,
    /// What it said to settings, and to which.
    pub(super) configured: Option<(u64, Result<(), String>)>,
    /// Tasks it works on.
    pub(super) running: usize,
    /// Cancelled when it is gone, with all it works on.
    pub(super) life: CancellationToken,
    /// It gave no answer to a task.
    pub(super) suspect: Arc<Notify>,
    /// Why it does not serve, for people.
    pub(super) trouble: Option<String>,
}

impl Known {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            serves: false,
            manifest: None,
            configured: None,
            running: 0,
            life: CancellationToken::new(),
            suspect: Arc::default(),
            trouble: None,
        }
    }

    fn runs(&self, manifest: &Manifest) -> bool {
        self.serves && self.manifest.as_deref() == Some(manifest)
    }
}

pub(super) type Table = BTreeMap<InstanceId, Known>;

/// All instances of one plugin; shared by those who watch them and those who use them.
#[derive(Debug)]
pub(super) struct Board {
    table: watch::Sender<Table>,
    pub(super) wanted: watch::Sender<Wanted>,
    /// Tasks that one instance may work on at once.
    room: usize,
}

/// The right to give one task to an instance.
#[derive(Debug)]
pub(super) struct Hold {
    board: Arc<Board>,
    name: InstanceId,
    pub(super) place: Place,
    /// Cancelled when the instance is gone.
    pub(super) life: CancellationToken,
    suspect: Arc<Notify>,
}

impl Board {
    pub(super) fn new(room: usize) -> Arc<Self> {
        let (table, wanted) = (watch::Sender::default(), watch::Sender::default());
        Arc::new(Self { table, wanted, room })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Table> {
        self.table.subscribe()
    }

    /// Puts an instance there that is not known yet, or another incarnation of one that is.
    pub(super) fn put(&self, name: &InstanceId, place: Place) {
        self.table.send_modify(|table| {
            if let Some(old) = table.insert(name.clone(), Known::new(place)) {
                old.life.cancel();
            }
        });
    }

    /// Takes away an incarnation of an instance, if it is still there.
    pub(super) fn remove(&self, name: &InstanceId, incarnation: u64) {
        self.table.send_modify(|table| {
            if table.get(name).is_some_and(|known| known.place.incarnation == incarnation)
                && let Some(old) = table.remove(name)
            {
                old.life.cancel();
            }
        });
    }

    /// Changes what is known of an incarnation of an instance, if it is still there.
    pub(super) fn update(
        &self,
        name: &InstanceId,
        incarnation: u64,
        change: impl FnOnce(&mut Known),
    ) {
        self.table.send_modify(|table| {
            let known = table.get_mut(name);
            if let Some(known) = known.filter(|known| known.place.incarnation == incarnation) {
                change(known);
            }
        });
    }

    /// Takes the least busy instance that serves with this manifest and the settings of now;
    /// waits while there is none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn pick(self: &Arc<Self>, manifest: &Manifest) -> Hold {
        let mut table = self.table.subscribe();
        loop {
            table.mark_unchanged();
            if let Some(hold) = self.try_pick(manifest) {
                return hold;
            }
            if table.changed().await.is_err() {
                // The sender is in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    fn try_pick(self: &Arc<Self>, manifest: &Manifest) -> Option<Hold> {
        let generation = self.wanted.borrow().generation;
        let mut taken = None;
        self.table.send_if_modified(|table| {
            let room = self.room;
            let free = table.iter_mut().filter(|(_, known)| {
                let ready = matches!(&known.configured, Some((of, Ok(()))) if *of == generation);
                ready && known.running < room && known.runs(manifest)
            });
            if let Some((name, known)) = free.min_by_key(|(_, known)| known.running) {
                known.running += 1;
                taken = Some(Hold {
                    board: self.clone(),
                    name: name.clone(),
                    place: known.place.clone(),
                    life: known.life.clone(),
                    suspect: known.suspect.clone(),
                });
            }
            // Nobody waits for an instance to be busier.
            false
        });
        taken
    }

    /// Hands settings to all instances; answers when each that serves has said what it says.
    pub(super) async fn configure(
        &self,
        settings: &Settings,
        manifest: &Manifest,
    ) -> Result<(), String> {
        let mut generation = 0;
        self.wanted.send_modify(|wanted| {
            wanted.generation += 1;
            wanted.settings = Some(Arc::new(settings.clone()));
            generation = wanted.generation;
        });
        let mut table = self.table.subscribe();
        let answered = table.wait_for(|table| {
            let mut serving = table.values().filter(|known| known.runs(manifest));
            serving.all(|known| known.configured.as_ref().is_some_and(|(of, _)| *of >= generation))
        });
        let Ok(table) = answered.await else { return Ok(()) };
        for (name, known) in table.iter().filter(|(_, known)| known.runs(manifest)) {
            if let Some((_, Err(why))) = &known.configured {
                return Err(format!("{name}: {why}"));
            }
        }
        Ok(())
    }

    /// Why instances do not serve, each with its reason.
    pub(super) fn troubles(&self) -> Vec<(InstanceId, String)> {
        let table = self.table.borrow();
        let told = table.iter().filter_map(|(name, known)| Some((name, known.trouble.as_ref()?)));
        told.map(|(name, why)| (name.clone(), why.clone())).collect()
    }

    /// Why nothing serves; `None` while something does.
    pub(super) fn trouble(&self, manifest: &Manifest) -> Option<String> {
        let table = self.table.borrow();
        if table.values().any(|known| known.runs(manifest)) {
            return None;
        }
        let told = table.iter().find_map(|(name, known)| Some((name, known.trouble.as_ref()?)));
        Some(told.map_or_else(
            || "no instance answers".to_owned(),
            |(name, why)| format!("{name}: {why}"),
        ))
    }
}

/// The manifest to serve with: the one of now as long as an instance that serves has it, else that
/// of the first instance that does.
pub(super) fn manifest_to_serve(
    table: &Table,
    current: Option<&Arc<Manifest>>,
) -> Option<Arc<Manifest>> {
    let mut serving = table.values().filter(|known| known.serves);
    let first = serving.clone().find_map(|known| known.manifest.clone());
    match current {
        Some(current) if serving.any(|known| known.runs(current)) => Some(current.clone()),
        _ => first.or_else(|| current.cloned()),
    }
}

impl Hold {
    /// The instance gave no answer: it gets nothing more until it was checked.
    pub(super) fn suspect(&self) {
        self.board.update(&self.name, self.place.incarnation, |known| known.serves = false);
        self.suspect.notify_one();
    }

    pub(super) const fn name(&self) -> &InstanceId {
        &self.name
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.board.update(&self.name, self.place.incarnation, |known| {
            known.running = known.running.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn manifest(version: &str) -> Arc<Manifest> {
        let text = format!(
            r#"{{"id":"p","name":"P","version":"{version}","priority":15,"queue":"fast","dataSchema":{{}}}}"#
        );
        Arc::new(Manifest::from_json(&text).unwrap())
    }

    fn name(n: u32) -> InstanceId {
        format!("plugin-p-{n}").parse().unwrap()
    }

    fn serve(board: &Board, n: u32, manifest: &Arc<Manifest>, generation: u64) {
        board.put(&name(n), Place { url: BaseUrl::usual(), incarnation: 0, bridge: None });
        board.update(&name(n), 0, |known| {
            known.serves = true;
            known.manifest = Some(manifest.clone());
            known.configured = Some((generation, Ok(())));
        });
    }

    #[tokio::test]
    async fn the_least_busy_instance_that_serves_is_taken() {
        let (board, one) = (Board::new(2), manifest("1.0.0"));
        serve(&board, 1, &one, 0);
        serve(&board, 2, &one, 0);
        serve(&board, 3, &manifest("2.0.0"), 0);
        serve(&board, 4, &one, 7);
        let mut holds = Vec::new();
        for expected in [1, 2, 1, 2] {
            let hold = board.pick(&one).await;
            assert_eq!(*hold.name(), name(expected));
            holds.push(hold);
        }
        assert!(board.try_pick(&one).is_none(), "both are full");
        holds.remove(0);
        assert_eq!(*board.pick(&one).await.name(), name(1));
    }

    #[tokio::test]
    async fn one_that_is_suspect_or_started_anew_gets_nothing_and_what_it_holds_is_told()
    -> anyhow::Result<()> {
        let (board, one) = (Board::new(2), manifest("1.0.0"));
        serve(&board, 1, &one, 0);
        let hold = board.pick(&one).await;
        hold.suspect();
        assert!(board.try_pick(&one).is_none());
        assert!(board.trouble(&one).is_some() && !hold.life.is_cancelled());
        board.put(&name(1), Place { url: BaseUrl::usual(), incarnation: 1, bridge: None });
        assert!(hold.life.is_cancelled());
        drop(hold);
        assert_eq!(board.watch().borrow()[&name(1)].running, 0);
        let waiting = board.pick(&one);
        let served = async {
            board.remove(&name(1), 0);
            board.update(&name(1), 1, |known| {
                known.serves = true;
                known.manifest = Some(one.clone());
                known.configured = Some((0, Ok(())));
            });
        };
        let (hold, ()) =
            timeout(Duration::from_secs(20), async { tokio::join!(waiting, served) }).await?;
        assert_eq!(*hold.name(), name(1));
        Ok(())
    }

    #[test]
    fn a_manifest_is_kept_as_long_as_an_instance_serves_with_it() {
        let (board, one, two) = (Board::new(1), manifest("1.0.0"), manifest("2.0.0"));
        let serves =
            |current: Option<&Arc<Manifest>>| manifest_to_serve(&board.watch().borrow(), current);
        assert_eq!(serves(None), None);
        assert_eq!(serves(Some(&one)).as_ref(), Some(&one), "nothing better");
        serve(&board, 1, &two, 0);
        assert_eq!(serves(Some(&one)).as_ref(), Some(&two));
        serve(&board, 2, &one, 0);
        assert_eq!(serves(Some(&one)).as_ref(), Some(&one));
    }
}
