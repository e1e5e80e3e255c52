//! `plugins.yml` is changed while a fleet runs.
//!
//! What is not valid changes nothing: a person who saves a half-written file must not lose the
//! plugins that run. Instances get their settings when they announce themselves, and each task
//! names the settings that its record is to be made with; so those whose settings change are stopped
//! before the coordinator hears of the change, and started after it.

mod ordered;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broker_config::wire::event::Fact;
use broker_config::{Chain, InstanceId, PluginId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::admission::{Admission, together};
use super::http::HttpPlugins;
use super::plugins::{Hosts, Known, PluginPlan, PluginSources};
use super::scaling::selection::Selection;
use super::steer::Request;
use super::versions::{Decided, begin_new, decided, hurried};
use crate::config::plugins::ReadPluginsError;
use crate::docker::DockerHandle;
use crate::internal::InternalHandle;
use crate::nats_server::Plugins;
use crate::package::CHANGED;
use crate::process::{Masks, ProcessHandle, Wanted};
use crate::registry::Policies;
use crate::service::CoordinatorHandle;
use crate::store::Store;

/// How often the file is looked at; a change counts when it is the same at two looks, so that a file
/// that is being written is not read.
const LOOK: Duration = Duration::from_secs(1);
/// How much longer than their grace period instances may take to stop.
const MARGIN: Duration = Duration::from_secs(5);

/// Follows the file for a fleet.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) sources: PluginSources,
    pub(super) hosts: Hosts,
    pub(super) processes: ProcessHandle,
    pub(super) internal: InternalHandle,
    /// `None` when this fleet was started without containers.
    pub(super) containers: Option<DockerHandle>,
    /// Decides how many of what is planned run.
    pub(super) selection: Selection,
    pub(super) coordinator: CoordinatorHandle,
    pub(super) store: Store,
    /// Somebody wants the file and the plugin folders to be read now.
    pub(super) asked: Arc<Notify>,
    /// What somebody wants of single plugins.
    pub(super) requests: mpsc::Receiver<Request>,
    /// What is in effect, for others to see.
    pub(super) shown: watch::Sender<Arc<Known>>,
    /// What of the output of plugins is not to be seen.
    pub(super) masks: Masks,
    /// What was decided on the versions of plugins.
    pub(super) decided: Decided,
    /// Who may log in; `None` where all have the same login.
    pub(super) admission: Option<Admission>,
}

/// What tells one state of a file from another; `None` = it is not there.
type Stamp = Option<(u64, Option<SystemTime>)>;

/// What is to be done about a new plan.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is what is in effect.
    Same,
    /// These are wrong in it and were not before.
    Refused(Vec<String>),
    /// It differs; these instances must have stopped before the coordinator hears of it.
    Applied { stop_first: BTreeSet<InstanceId> },
}

impl Reload {
    /// Follows the file until `stop`; `plan` is in effect.
    pub(super) async fn run(mut self, mut plan: PluginPlan, stop: CancellationToken) {
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let served = plan.http.clone();
        let mut known = self.stamp();
        let mut last = known;
        loop {
            let is_asked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.asked.notified() => true,
                Some(request) = self.requests.recv() => {
                    let done = Box::pin(self.do_request(&mut plan, &served, request));
                    if stop.run_until_cancelled(done).await.is_none() {
                        return;
                    }
                    continue;
                }
                _ = due.tick() => false,
            };
            let stamp = self.stamp();
            let is_settled = stamp == last;
            last = stamp;
            let is_changed = is_asked || (is_settled && stamp != known);
            if is_changed {
                known = stamp;
            }
            let look = Box::pin(async {
                let is_decided = self.look_at_versions().await;
                if is_changed || is_decided {
                    self.read_again(&mut plan, &served, is_changed).await;
                }
                let tenants = plan.tenants();
                self.let_in(tenants, &served).await;
            });
            if stop.run_until_cancelled(look).await.is_none() {
                return;
            }
        }
    }

    /// Of both files, since commands and persons write the second one, too, and of what is installed.
    fn stamp(&self) -> [Stamp; 3] {
        let PluginSources { file, overrides, installed, .. } = &self.sources;
        let changed = installed.as_deref().map(|folder| folder.join(CHANGED));
        [file.as_deref(), overrides.as_deref(), changed.as_deref()].map(|path| stamp(path?))
    }

    /// Reads what is decided on versions; says whether it has changed.
    async fn look_at_versions(&mut self) -> bool {
        match decided(&self.store).await {
            Ok(decided) => {
                let runs =
                    |all: &Decided| all.iter().map(|(id, it)| (id.clone(), it.runs())).collect();
                let (before, now): (Vec<_>, Vec<_>) = (runs(&self.decided), runs(&decided));
                self.decided = decided;
                before != now
            }
            Err(error) => {
                debug!(error = %Chain(&error), "the versions of plugins cannot be read");
                false
            }
        }
    }

    fn plan(&self) -> Result<PluginPlan, ReadPluginsError> {
        PluginPlan::make(&self.sources, &self.hosts, &self.decided)
    }

    /// Begins the transitions that are asked for where a new version was found; says whether the plan
    /// is to be made anew.
    async fn has_begun(&mut self, found: &PluginPlan) -> bool {
        match begin_new(&self.store, found).await {
            Ok(true) => {
                self.look_at_versions().await;
                true
            }
            Ok(false) => false,
            Err(error) => {
                warn!(error = %Chain(&error), "no transition to a new version begins");
                false
            }
        }
    }

    /// `for_new`: whether new versions may have been put there.
    async fn read_again(&mut self, plan: &mut PluginPlan, served: &HttpPlugins, for_new: bool) {
        let mut new = self.plan();
        if let Ok(found) = &new
            && for_new
            && self.has_begun(found).await
        {
            new = self.plan();
        }
        let new = match new {
            Ok(new) => new,
            Err(error) => {
                let reason = Chain(&error).to_string();
                return self.refuse(vec![reason]).await;
            }
        };
        let at_once = replaced(plan, &new, &hurried(&self.decided).collect());
        self.processes.hurry(at_once);
        match compare(plan, &new) {
            Verdict::Same => self.put(plan, new),
            Verdict::Refused(reasons) => self.refuse(reasons).await,
            Verdict::Applied { stop_first } => {
                self.let_in_both((plan, &new), served).await;
                self.apply((plan, &new), &stop_first, for_new).await;
                self.put(plan, new);
            }
        }
    }

    /// The new plan is in effect.
    fn put(&self, plan: &mut PluginPlan, new: PluginPlan) {
        self.shown.send_replace(new.known.clone());
        *plan = new;
    }

    async fn refuse(&self, reasons: Vec<String>) {
        for reason in &reasons {
            error!(reason, "plugins.yml is not valid; the one before stays in effect");
        }
        self.tell(Fact::PluginsRefused { reasons }).await;
    }

    async fn apply(
        &self,
        (old, new): (&PluginPlan, &PluginPlan),
        stop_first: &BTreeSet<InstanceId>,
        for_file: bool,
    ) {
        // Before anybody has the new settings.
        self.masks.learn(&new.known.effective, &new.known.manifests);
        for problem in new.problems.iter().filter(|problem| !old.problems.contains(problem)) {
            warn!("{problem}");
        }
        for plugin in new.http.differs_for(&old.http) {
            warn!(plugin.id = %plugin, "an HTTP plugin comes, goes or moves at the next start only");
        }
        if !stop_first.is_empty() {
            let plugins = old.plugins_of(stop_first);
            let running = self.selection.names_of(&plugins);
            let all: BTreeSet<InstanceId> = stop_first.union(&running).cloned().collect();
            self.want(new, &all);
            self.until_stopped(&all).await;
        }
        let word = new.word();
        let plugin_ids: Vec<PluginId> = word.differs_for(&old.word()).into_iter().collect();
        self.coordinator.say(word);
        self.want(new, &BTreeSet::new());
        info!(?plugin_ids, "what is to run has changed");
        if for_file {
            self.tell(Fact::PluginsApplied { plugin_ids }).await;
        }
    }

    /// Lets in whoever is new, before any instance starts; nobody is shut out yet.
    async fn let_in_both(&mut self, (old, new): (&PluginPlan, &PluginPlan), served: &HttpPlugins) {
        self.let_in(together(old.tenants(), new.tenants()), served).await;
    }

    /// Lets in these, and shuts out all others but those that still run or are served by the bridge.
    async fn let_in(&mut self, tenants: Plugins, served: &HttpPlugins) {
        let Some(admission) = &mut self.admission else { return };
        let mut run: BTreeSet<PluginId> = served.ids().cloned().collect();
        run.extend(self.processes.watch().borrow().values().map(|info| info.plugin.clone()));
        run.extend(self.internal.watch().borrow().values().map(|info| info.plugin.clone()));
        if let Some(containers) = &self.containers {
            run.extend(containers.list().into_iter().map(|info| info.plugin));
        }
        admission.follow(tenants, |id| run.contains(id)).await;
    }

    /// Has everything run that is planned, except for some.
    fn want(&self, plan: &PluginPlan, except: &BTreeSet<InstanceId>) {
        let mut internal = plan.internal.clone();
        internal.retain(|name, _| !except.contains(name));
        self.internal.set_wanted(internal);
        self.selection.plan(plan.planned(), except);
    }

    async fn until_stopped(&self, names: &BTreeSet<InstanceId>) {
        let limit = self.hosts.processes.grace + MARGIN;
        let processes = gone(self.processes.watch(), names);
        let internal = gone(self.internal.watch(), names);
        let containers = async {
            if let Some(handle) = &self.containers {
                handle.until_gone(names).await;
            }
        };
        let stopped = async { tokio::join!(processes, internal, containers) };
        if timeout(limit, stopped).await.is_err() {
            warn!(?limit, "instances with the settings before do not stop; going on without them");
        }
    }

    async fn tell(&self, fact: Fact) {
        if let Err(error) = self.store.tell(fact).await {
            warn!(error = %Chain(&error), "event not stored");
        }
    }
}

/// Waits until none of the names is on the board.
async fn gone<T>(
    mut board: watch::Receiver<BTreeMap<InstanceId, T>>,
    names: &BTreeSet<InstanceId>,
) {
    // An error says that its runtime has ended, and so have they.
    board.wait_for(|board| !names.iter().any(|name| board.contains_key(name))).await.ok();
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

fn compare(old: &PluginPlan, new: &PluginPlan) -> Verdict {
    let is_new = |broken: &&(String, String)| !old.broken.iter().any(|(rule, _)| *rule == broken.0);
    let reasons: Vec<String> =
        new.broken.iter().filter(is_new).map(|(_, whole)| whole.clone()).collect();
    if !reasons.is_empty() {
        return Verdict::Refused(reasons);
    }
    let is_served_alike = new.http.differs_for(&old.http).is_empty();
    let runs_alike = old.planned() == new.planned() && old.internal == new.internal;
    if old.policies == new.policies && runs_alike && is_served_alike {
        return Verdict::Same;
    }
    Verdict::Applied { stop_first: with_other_settings(old, new) }
}

/// The processes of these plugins that are another version's, or nobody's, in the new plan.
fn replaced(
    old: &PluginPlan,
    new: &PluginPlan,
    plugins: &BTreeSet<&PluginId>,
) -> BTreeSet<InstanceId> {
    let is_other = |(name, wanted): &(&InstanceId, &Wanted)| {
        let version = new.instances.get(*name).map(|new| &new.version);
        plugins.contains(&wanted.plugin) && version != Some(&wanted.version)
    };
    old.instances.iter().filter(is_other).map(|(name, _)| name.clone()).collect()
}

/// The instances that run with settings that are not those of the new plan.
fn with_other_settings(old: &PluginPlan, new: &PluginPlan) -> BTreeSet<InstanceId> {
    let empty = serde_json::Map::new();
    let differs = |plugin: &PluginId| {
        let of = |policies: &Policies| {
            policies.get(plugin).map_or_else(|| empty.clone(), |policy| policy.config.clone())
        };
        of(&old.policies) != of(&new.policies)
    };
    let processes = old.instances.iter().map(|(name, wanted)| (name, &wanted.plugin));
    let containers = old.containers.iter().map(|(name, wanted)| (name, &wanted.plugin));
    let internal = old.internal.iter().map(|(name, wanted)| (name, &wanted.plugin));
    let all = processes.chain(containers).chain(internal);
    all.filter(|(_, plugin)| differs(plugin)).map(|(name, _)| name.clone()).collect()
}
