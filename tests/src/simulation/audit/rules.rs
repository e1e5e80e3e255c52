//! The rules that need more than one look.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_config::wire::event::Outcome;
use broker_config::wire::signal::What;
use broker_config::{Cid, PluginId, RecordStatus, Submission, Task};

use super::{Audit, Body, Checked, Message, Stream, Written};

impl Audit {
    pub(super) fn on_submission_gone(&self, message: &Message) -> Checked {
        match self.accepted.get(&message.sequence) {
            Some(accepted) if !accepted.has_ended => Err(format!(
                "submission {} of {} has gone and nobody was told that it is settled",
                message.sequence, accepted.submission.cid
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Nothing is queued that nobody handed in, that is queued already, or whose time has not come.
    pub(super) fn on_task(&mut self, message: &Message, scheduled: bool) -> Checked {
        let Body::Task(task) = &message.body else { return Ok(()) };
        let Some(address) = self.names.parse_task(&message.subject) else {
            self.scheduled.insert(task.task_id.clone(), message.stored_at);
            return Ok(());
        };
        let (cid, plugin) = (&address.cid, &address.plugin);
        if scheduled {
            self.tasks.insert(message.sequence, (message.subject.clone(), task.clone()));
            return Ok(());
        }
        if !self.handed_in.contains(cid) {
            return Err(format!("{plugin} is to run on {cid}, which nobody handed in"));
        }
        let twice = self
            .tasks
            .values()
            .any(|(subject, other)| *subject == message.subject || other.task_id == task.task_id);
        if twice {
            return Err(format!("the work of {plugin} on {cid} is queued twice"));
        }
        self.comes_after_its_needs(task, cid, plugin)?;
        *self.published.entry(task.task_id.clone()).or_default() += 1;
        self.tasks.insert(message.sequence, (message.subject.clone(), task.clone()));
        self.is_within_limit(plugin)
    }

    /// No more tasks of a plugin are out than it may have, as long as the coordinator is sure what it
    /// has published.
    fn is_within_limit(&self, plugin: &PluginId) -> Checked {
        let Some(most) = self.plugins.get(plugin).and_then(|plan| plan.most) else { return Ok(()) };
        let is_out = |task: &Task| {
            task.plugin_id == *plugin && !self.is_done(task, &task.cid, &task.plugin_id)
        };
        let out = self.tasks.values().filter(|(_, task)| is_out(task)).count();
        if self.is_calm && !self.can_lie(plugin) && u32::try_from(out).is_ok_and(|out| out > most) {
            return Err(format!("{out} tasks of {plugin} are out, which may have {most}"));
        }
        Ok(())
    }

    fn comes_after_its_needs(&self, task: &Task, cid: &Cid, plugin: &PluginId) -> Checked {
        let Some(plan) = self.plugins.get(plugin) else { return Ok(()) };
        let run = self.accepted.get(&task.run_id.0);
        for need in &plan.needs {
            let needed = self.plugins.values().find(|other| other.at == *need);
            let Some(needed) = needed.filter(|needed| !needed.skips) else { continue };
            let written = self.records.get(&(cid.clone(), needed.id()));
            let since = run
                .filter(|run| is_forced(&run.submission, &needed.id()))
                .map_or(0, |run| run.stored_at);
            if !written.is_some_and(|all| all.iter().any(|one| one.stored_at > since)) {
                let id = needed.id();
                return Err(format!("{plugin} is to run on {cid} before {id}, which it needs"));
            }
        }
        Ok(())
    }

    /// A task has one outcome, and a failure has a reason.
    pub(super) fn on_record(&mut self, message: &Message) -> Checked {
        let Some(address) = self.names.parse_record(&message.subject) else { return Ok(()) };
        let (cid, plugin) = (address.cid, address.plugin);
        self.revisions.insert((cid.clone(), plugin.clone()), message.sequence);
        let Body::Record(record) = &message.body else {
            return if self.can_lie(&plugin) { Ok(()) } else { Err("junk in a record".to_owned()) };
        };
        if !self.can_lie(&plugin) {
            if !self.outcomes.insert(record.task_id.clone()) {
                return Err(format!("a task of {plugin} on {cid} has got a second outcome"));
            }
            let id = &record.task_id;
            let has_reason = self.failed.contains(&(plugin.clone(), id.clone()))
                || self.exhausted.contains(id)
                // Put off while nobody led, and back before anybody could schedule it: it looks as
                // if it had been delivered as often as it may be.
                || self.back.contains(id) && self.deferred.contains(id)
                || self.published.get(id).is_some_and(|times| *times >= 3);
            if record.status == RecordStatus::Failed && !has_reason {
                return Err(format!("{plugin} on {cid} has failed, and nobody said so"));
            }
        }
        self.records
            .entry((cid, plugin))
            .or_default()
            .push(Written { stored_at: message.stored_at, status: record.status });
        Ok(())
    }

    /// A file is settled when all that it wants is done with.
    pub(super) fn on_event(&mut self, message: &Message) -> Checked {
        match &message.body {
            Body::Settled { run, plugins } => {
                let Some(accepted) = self.accepted.get(&run.0) else {
                    return Err(format!("run {run} is settled, which nobody handed in"));
                };
                let submission = accepted.submission.clone();
                for id in self.wanted(&submission) {
                    let Some(outcome) = plugins.get(&id) else {
                        return Err(format!("run {run} is settled without {id}"));
                    };
                    if !self.is_recorded(&submission, &id, *outcome, accepted.stored_at) {
                        return Err(format!(
                            "run {run} is settled, and no record says that {id} is {outcome:?}"
                        ));
                    }
                }
                self.end(run.0);
            }
            Body::Rejected(run) => self.end(run.0),
            Body::Junk
            | Body::Submission(_)
            | Body::Task(_)
            | Body::Record(_)
            | Body::Signal(_)
            | Body::Told
            | Body::Letter(_)
            | Body::Advisory(_)
            | Body::Lease(_) => {}
        }
        Ok(())
    }

    fn end(&mut self, run: u64) {
        if let Some(accepted) = self.accepted.get_mut(&run) {
            accepted.has_ended = true;
        }
    }

    /// The plugins that a submission is for.
    fn wanted(&self, submission: &Submission) -> BTreeSet<PluginId> {
        if submission.only.is_empty() {
            return self.plugins.keys().cloned().collect();
        }
        let mut wanted: BTreeSet<PluginId> = submission.only.iter().cloned().collect();
        let mut next: Vec<PluginId> = submission.only.clone();
        while let Some(id) = next.pop() {
            let needs = self.plugins.get(&id).map(|plan| plan.needs.clone()).unwrap_or_default();
            for plan in self.plugins.values().filter(|plan| needs.contains(&plan.at)) {
                if wanted.insert(plan.id()) {
                    next.push(plan.id());
                }
            }
        }
        wanted
    }

    fn is_recorded(
        &self,
        submission: &Arc<Submission>,
        id: &PluginId,
        outcome: Outcome,
        since: i64,
    ) -> bool {
        let key = (submission.cid.clone(), id.clone());
        let written = self.records.get(&key).map(Vec::as_slice).unwrap_or_default();
        let new = |status| written.iter().any(|one| one.stored_at > since && one.status == status);
        match outcome {
            Outcome::Completed => new(RecordStatus::Completed),
            Outcome::Failed => new(RecordStatus::Failed),
            Outcome::Skipped => {
                let skips = self.plugins.get(id).is_some_and(|plan| plan.skips);
                skips || new(RecordStatus::Skipped)
            }
            Outcome::Cached => !written.is_empty() && !is_forced(submission, id),
            Outcome::Gone => false,
        }
    }

    /// No message is delivered more often than its plugin allows.
    pub(super) fn on_delivered(
        &mut self,
        message: &Message,
        delivered: u32,
        most: Option<u32>,
    ) -> Checked {
        let Body::Task(task) = &message.body else { return Ok(()) };
        let allowed = task.retry.deliveries();
        if most.is_none_or(|most| most > allowed) && delivered > allowed {
            return Err(format!("delivery {delivered} of a task that may have {allowed}"));
        }
        if delivered >= allowed {
            self.exhausted.insert(task.task_id.clone());
        }
        Ok(())
    }

    /// What the coordinator was told is done with only after what follows from it is stored.
    pub(super) fn on_acknowledged(&self, stream: Stream, message: &Message) -> Checked {
        match (&message.body, stream) {
            (Body::Signal(signal), Stream::Signals) => {
                let plugin = self.names.parse_signal(&message.subject).map(|(plugin, _)| plugin);
                let Some(plugin) = plugin else { return Ok(()) };
                match &signal.what {
                    What::Failed { task, .. } => {
                        if self.revision(&task.cid, &plugin) == task.record_revision {
                            let cid = &task.cid;
                            return Err(format!(
                                "the failure of {plugin} on {cid} is not recorded"
                            ));
                        }
                    }
                    What::Deferred { task, .. } => {
                        let at = self.scheduled.get(&task.task_id);
                        if at.is_none_or(|at| *at < message.stored_at) {
                            return Err(format!("{plugin} on {} is not scheduled", task.cid));
                        }
                    }
                    What::Retrying { .. } | What::Progress { .. } => {}
                }
                Ok(())
            }
            (Body::Advisory(sequence), Stream::Advisories) => {
                if self.tasks.contains_key(sequence) {
                    return Err("an advisory is done with and its task is there".to_owned());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn is_forced(submission: &Submission, id: &PluginId) -> bool {
    submission.force && (submission.only.is_empty() || submission.only.contains(id))
}
