//! Looks after one instance of an HTTP plugin: checks it, fetches its manifest, configures it.

use std::sync::Arc;
use std::time::Duration;

use broker_config::{Chain, InstanceId, Manifest, PluginId};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answer;
use super::client::{self, Bounds};
use super::health::{Seen, Watch};
use super::instances::{Board, Place};

/// A check of health.
const HEALTH: Bounds = Bounds { time: Duration::from_secs(5), bytes: 64 << 10 };
/// A manifest.
const MANIFEST: Bounds = Bounds { time: Duration::from_secs(10), bytes: 1 << 20 };
/// Settings; less than the minute that the worker gives a plugin for them.
const CONFIGURE: Bounds = Bounds { time: Duration::from_secs(30), bytes: 64 << 10 };
/// How soon what an instance could not do is asked of it again.
const AGAIN: Duration = Duration::from_secs(5);

/// Whoever runs the instances is asked here to start one anew.
pub type Restarts = mpsc::Sender<InstanceId>;

/// What looks after one incarnation of an instance.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) plugin: PluginId,
    pub(super) name: InstanceId,
    pub(super) place: Place,
    pub(super) board: Arc<Board>,
    pub(super) restarts: Option<Restarts>,
}

impl Keeper {
    /// Looks after it until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let begun = Instant::now();
        let mut watch = Watch::default();
        let mut wanted = self.board.wanted.subscribe();
        let suspect = self.suspect();
        let mut ready = false;
        loop {
            let step = async {
                let seen = self.check().await;
                let step = watch.on(seen, begun.elapsed());
                if let Some(why) = &step.lost {
                    self.lost(why);
                }
                if !step.serves {
                    self.note(|known| known.serves = false);
                    return (false, step.wait);
                }
                let taken = if ready { Ok(()) } else { self.take_in().await };
                let configured = match taken {
                    Ok(()) => self.configure().await,
                    Err(why) => Err(why),
                };
                match configured {
                    Ok(()) => (true, step.wait),
                    Err(why) => {
                        self.trouble(why);
                        (false, AGAIN)
                    }
                }
            };
            let Some((is_ready, wait)) = stop.run_until_cancelled(step).await else { return };
            ready = is_ready;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = suspect.notified() => {
                    watch.suspect();
                    ready = false;
                }
                changed = wanted.changed(), if ready => if changed.is_err() { return },
                () = sleep(wait) => {}
            }
        }
    }

    fn suspect(&self) -> Arc<Notify> {
        let table = self.board.watch();
        let known = table.borrow().get(&self.name).map(|known| known.suspect.clone());
        known.unwrap_or_default()
    }

    async fn check(&self) -> Seen {
        match client::get(&self.place.url, "/health", HEALTH).await {
            Ok(answer) => answer::health(answer.status, &answer.body),
            Err(error) => Seen::Unhealthy(Chain(&error).to_string()),
        }
    }

    /// Fetches the manifest of an instance that is well; it has no settings yet.
    async fn take_in(&self) -> Result<(), String> {
        let answer = client::get(&self.place.url, "/manifest", MANIFEST)
            .await
            .map_err(|error| format!("no manifest: {}", Chain(&error)))?;
        if answer.status != 200 {
            return Err(format!("no manifest: HTTP {}", answer.status));
        }
        let text = std::str::from_utf8(&answer.body)
            .map_err(|error| format!("the manifest is no text: {error}"))?;
        let mut manifest = Manifest::from_json(text).map_err(|error| error.to_string())?;
        // There is no way for it to report progress.
        manifest.progress_timeout = None;
        if manifest.id != self.plugin {
            return Err(format!("it is the plugin `{}`, not `{}`", manifest.id, self.plugin));
        }
        let version = &manifest.version;
        info!(plugin.id = %self.plugin, instance.id = %self.name, %version, "an HTTP plugin is up");
        self.note(|known| {
            known.manifest = Some(Arc::new(manifest));
            known.configured = None;
            known.serves = true;
            known.trouble = None;
        });
        Ok(())
    }

    /// Hands over the settings of now unless the instance has them; also well if it refuses them.
    async fn configure(&self) -> Result<(), String> {
        let wanted = self.board.wanted.borrow().clone();
        // Without settings nothing is pulled, so that no task can come before them.
        let Some(settings) = wanted.settings else { return Ok(()) };
        let table = self.board.watch();
        let has = table.borrow().get(&self.name).is_some_and(
            |known| matches!(&known.configured, Some((of, Ok(()))) if *of == wanted.generation),
        );
        if has {
            return Ok(());
        }
        let body = serde_json::to_vec(&*settings).map(Bytes::from).unwrap_or_default();
        match client::post(&self.place.url, "/configure", body, CONFIGURE).await {
            Ok(answer) => {
                let said = answer::configured(answer.status, &answer.body);
                if let Err(why) = &said {
                    warn!(plugin.id = %self.plugin, instance.id = %self.name, why, "settings are refused");
                }
                self.note(|known| {
                    known.trouble = said.as_ref().err().map(|why| format!("settings: {why}"));
                    known.configured = Some((wanted.generation, said));
                });
                Ok(())
            }
            Err(error) => Err(format!("/configure: {}", Chain(&error))),
        }
    }

    fn lost(&self, why: &str) {
        warn!(plugin.id = %self.plugin, instance.id = %self.name, why, "an HTTP plugin is lost");
        self.note(|known| {
            // What it works on goes elsewhere.
            known.life.cancel();
            known.life = CancellationToken::new();
            known.trouble = Some(why.to_owned());
        });
        if let Some(restarts) = &self.restarts
            && restarts.try_send(self.name.clone()).is_err()
        {
            warn!(instance.id = %self.name, "it could not be asked to be started anew");
        }
    }

    /// It cannot serve, for a reason that is said once.
    fn trouble(&self, why: String) {
        let table = self.board.watch();
        let said = table.borrow().get(&self.name).and_then(|known| known.trouble.clone());
        if said.as_ref() != Some(&why) {
            warn!(plugin.id = %self.plugin, instance.id = %self.name, why, "an HTTP plugin cannot serve");
        }
        self.note(|known| {
            known.serves = false;
            known.trouble = Some(why);
        });
    }

    fn note(&self, change: impl FnOnce(&mut super::instances::Known)) {
        self.board.update(&self.name, self.place.incarnation, change);
    }
}
