//! Starts instances of this machine anew that were quarantined: what ails them may end with the process.
//!
//! It happens once each time they are taken out of work, by the coordinator that leads, wherever that is; it
//! is the list that it keeps which is followed here. They drain as always, and stay out until their trial.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_config::{Chain, InstanceId};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::docker::DockerHandle;
use crate::process::ProcessHandle;
use crate::quarantine::Term;
use crate::store::Store;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(2);
/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Starts single instances of this machine anew; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Renewer {
    pub(super) processes: ProcessHandle,
    /// `None` when this fleet was started without containers.
    pub(super) containers: Option<DockerHandle>,
}

/// Starts those anew that are quarantined.
#[derive(Debug)]
pub(super) struct Renewal {
    pub(super) store: Store,
    pub(super) renewer: Renewer,
}

/// Tells one time out of work from the next.
type Mark = (InstanceId, Timestamp);

impl Renewal {
    /// Follows the list until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known: Option<BTreeSet<Mark>> = None;
        loop {
            if stop.run_until_cancelled(due.tick()).await.is_none() {
                return;
            }
            let read = timeout(ANSWER, self.store.quarantined());
            let terms = match stop.run_until_cancelled(read).await {
                None => return,
                Some(Ok(Ok(terms))) => terms,
                Some(Ok(Err(error))) => {
                    debug!(error = %Chain(&error), "who is quarantined cannot be read");
                    continue;
                }
                Some(Err(_)) => continue,
            };
            let marks = marks(&terms);
            // Those that were out when this fleet started have been started anew by that.
            for (name, _) in known.iter().flat_map(|known| marks.difference(known)) {
                self.renewer.renew(name);
            }
            known = Some(marks);
        }
    }
}

impl Renewer {
    /// Has an instance stopped and started again; nothing where it is not started here.
    pub(super) fn renew(&self, name: &InstanceId) {
        let is_process = self.processes.list().iter().any(|info| info.name == *name);
        let containers = self.containers.as_ref();
        let its = containers.filter(|all| all.list().iter().any(|info| info.name == *name));
        let restarts: mpsc::Sender<InstanceId> = match its {
            _ if is_process => self.processes.restarts(),
            Some(containers) => containers.restarts(),
            // It runs elsewhere, or inside this program.
            None => return,
        };
        info!(instance.id = %name, "it is started anew");
        if restarts.try_send(name.clone()).is_err() {
            debug!(instance.id = %name, "too many are being started anew; it is not");
        }
    }
}

fn marks(terms: &[Term]) -> BTreeSet<Mark> {
    let out = terms.iter().filter(|term| !term.on_trial);
    out.map(|term| (term.instance.clone(), term.since)).collect()
}
