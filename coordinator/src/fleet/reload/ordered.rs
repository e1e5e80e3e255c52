//! Orders of the API: checked against a new plan, kept, and only then carried out.

use std::collections::BTreeSet;

use broker_config::{Chain, InstanceId, PluginId};
use tokio::sync::oneshot;
use tracing::info;

use super::super::http::HttpPlugins;
use super::super::plugins::PluginPlan;
use super::super::steer::{Order, Request};
use super::{Reload, Verdict, compare};
use crate::config::Overrides;
use crate::config::overrides::{Change, OverridesError, Refusal};

impl Reload {
    /// Carries out an order; `served` are the HTTP plugins as the bridge knows them.
    pub(super) async fn do_request(
        &mut self,
        plan: &mut PluginPlan,
        served: &HttpPlugins,
        request: Request,
    ) {
        let Request { order, answer } = request;
        let (done, in_effect) = oneshot::channel();
        // Whoever asked may have gone; the order stands.
        match order {
            Order::Restart(id) => {
                let names = instances_of(plan, &id);
                if names.is_empty() {
                    let why = "none of its instances is started here".to_owned();
                    answer.send(Err(Refusal::Conflict(why))).ok();
                    return;
                }
                answer.send(Ok(in_effect)).ok();
                info!(plugin.id = %id, instances = names.len(), "its instances are started anew");
                self.want(plan, &names);
                self.until_stopped(&names).await;
                self.want(plan, &BTreeSet::new());
            }
            Order::Change(id, change) => match self.keep(plan, served, &id, &change) {
                Err(refusal) => {
                    answer.send(Err(refusal)).ok();
                    return;
                }
                Ok(new) => {
                    answer.send(Ok(in_effect)).ok();
                    // The folders were read again for it, too.
                    let is_begun = self.has_begun(&new).await;
                    let again = is_begun.then(|| self.plan().ok()).flatten();
                    let new = again.unwrap_or(*new);
                    if let Verdict::Applied { stop_first } = compare(plan, &new) {
                        let left = instances_of(&new, &id);
                        let ending = &instances_of(plan, &id) - &left;
                        self.let_in_both((plan, &new), served).await;
                        self.apply((plan, &new), &stop_first, true).await;
                        if left.is_empty() && !ending.is_empty() {
                            // Whoever has disabled it may take its files away when this is done.
                            self.until_stopped(&ending).await;
                        }
                    }
                    self.put(plan, new);
                }
            },
        }
        done.send(()).ok();
    }

    /// Makes the plan that a change leads to, and keeps the change if that plan is valid.
    fn keep(
        &self,
        plan: &PluginPlan,
        served: &HttpPlugins,
        id: &PluginId,
        change: &Change,
    ) -> Result<Box<PluginPlan>, Refusal> {
        let failed =
            |error: &(dyn std::error::Error + 'static)| Refusal::Failed(Chain(error).to_string());
        let Some(path) = &self.sources.overrides else {
            return Err(Refusal::Conflict("this fleet keeps no changes".to_owned()));
        };
        let _alone = Overrides::lock(path).map_err(|error| match error {
            OverridesError::Busy { .. } => Refusal::Conflict(format!("{error}; try again")),
            error @ (OverridesError::Io { .. } | OverridesError::Unreadable { .. }) => {
                failed(&error)
            }
        })?;
        let mut overrides = self.sources.read_overrides().map_err(|error| failed(&error))?;
        let changed = overrides.of(id).changed(change, &plan.known.written(id))?;
        overrides.set(id, changed);
        let (hosts, decided) = (&self.hosts, &self.decided);
        let new = PluginPlan::make_with(&self.sources, overrides.clone(), hosts, decided)
            .map_err(|error| Refusal::Conflict(Chain(&error).to_string()))?;
        if let Verdict::Refused(reasons) = compare(plan, &new) {
            let reasons = reasons.join("; ");
            return Err(Refusal::Conflict(format!("plugins.yml is not valid now: {reasons}")));
        }
        if self.containers.is_none() && !new.containers.is_empty() {
            let why = "this fleet was started without containers; enable it in plugins.yml and \
                       start the fleet anew";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        let is_http = new.http.ids().any(|plugin| plugin == id);
        if is_http && new.http.differs_for(served).contains(id) {
            let why = "an HTTP plugin comes, goes or changes its number only when the fleet \
                       starts; change it in plugins.yml";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        overrides.write(path).map_err(|error| failed(&error))?;
        Ok(Box::new(new))
    }
}

/// The instances of a plugin that are started here.
fn instances_of(plan: &PluginPlan, id: &PluginId) -> BTreeSet<InstanceId> {
    let processes = plan.instances.iter().map(|(name, wanted)| (name, &wanted.plugin));
    let containers = plan.containers.iter().map(|(name, wanted)| (name, &wanted.plugin));
    let inside = plan.internal.iter().map(|(name, wanted)| (name, &wanted.plugin));
    let its = processes.chain(containers).chain(inside).filter(|(_, plugin)| *plugin == id);
    its.map(|(name, _)| name.clone()).collect()
}
