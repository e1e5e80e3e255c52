//! Lets a world go on until it has settled, is over, or something is wrong.

use std::rc::Rc;
use std::sync::Arc;

use broker_config::wire::file::FilePath;
use broker_config::wire::lease::LEASE_KEY;
use broker_config::{FileFacts, Names, Submission};

use super::Breach;
use super::broker::{Body, Headers, Stream};
use super::coordinator::{DURABLE, coordinate};
use super::plan::{Blow, FilePlan, World, cid_of, plugin_id};
use super::runtime::{Actor, Time, Turn};
use super::sim::Sim;
use super::worker;

/// Everything has to settle so soon after the last fault.
const BOUND: Time = 20 * 60_000;
/// How long is watched after that where faults do not end.
const AFTER: Time = 10_000;
/// How often is looked whether everything has settled.
const LOOK: Time = 500;
/// So many steps no world of this size needs.
const MOST_STEPS: u64 = 400_000;

/// What came of a world.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// The first thing that went wrong.
    pub wrong: Option<String>,
    /// How often something was done.
    pub steps: u64,
    /// How long it took in the world's own time, in milliseconds.
    pub lasted: u64,
    /// What happened, one line each, where that was asked for.
    pub trace: Vec<String>,
}

/// Lets a world go on to its end.
#[must_use]
pub fn play(world: &World, breach: Option<Breach>, traced: bool) -> Played {
    let sim = Rc::new(Sim::new(world.clone(), breach, traced));
    begin(&sim);
    let calms_down = world.calms_down;
    let end = world.storm + if calms_down { BOUND } else { AFTER };
    let (mut next_look, mut settled) = (world.storm, false);
    while let Some(turn) = sim.rt.next(end) {
        match turn {
            Turn::Broker => sim.tick_broker(),
            Turn::Task(id) => sim.rt.poll(id),
        }
        if sim.wrong.borrow().is_some() || sim.rt.steps() > MOST_STEPS {
            break;
        }
        if calms_down && sim.rt.now() >= next_look {
            next_look = sim.rt.now() + LOOK;
            settled = left(&sim).is_none();
            if settled {
                break;
            }
        }
    }
    let mut wrong = sim.wrong.take();
    if wrong.is_none() && sim.rt.steps() > MOST_STEPS {
        wrong = Some("it goes round and round".to_owned());
    }
    if wrong.is_none() && settled {
        wrong = leftover(&sim);
    }
    if wrong.is_none() && calms_down && !settled {
        wrong = left(&sim).map(|left| format!("it does not settle: {left}"));
    }
    let (steps, lasted, trace) = (sim.rt.steps(), sim.rt.now(), sim.trace());
    sim.rt.clear();
    Played { wrong, steps, lasted, trace }
}

fn begin(sim: &Rc<Sim>) {
    for file in &sim.world.files {
        let (me, file) = (sim.clone(), file.clone());
        sim.rt.spawn(Actor::Submitter, 0, async move { hand_in(&me, &file).await });
    }
    for at in 0..sim.world.coordinators {
        sim.rt.spawn(Actor::Coordinator(at), 0, coordinate(sim.clone(), at));
    }
    for plan in &sim.world.plugins {
        for (at, nature) in plan.workers.iter().enumerate() {
            worker::start(sim, plan, plan.first_worker + at, *nature);
        }
    }
    for fault in &sim.world.faults {
        let (me, fault) = (sim.clone(), *fault);
        sim.rt.spawn(Actor::Network, 0, async move {
            me.rt.sleep(fault.when).await;
            me.note(|| format!("{:?}", fault.blow));
            strike(&me, fault.blow).await;
        });
    }
}

/// Hands a file in until that is acknowledged; perhaps twice, then.
async fn hand_in(sim: &Sim, file: &FilePlan) {
    sim.rt.sleep(file.when).await;
    let cid = cid_of(file.content);
    sim.audit.borrow_mut().hands_in(cid.clone());
    let path = FilePath { file_path: format!("/{}", file.content), file_path_bytes: None };
    let mut submission = Submission::new(cid, path, FileFacts::default());
    submission.force = file.force;
    submission.override_queue = file.overrides;
    submission.only = file.only.map(plugin_id).into_iter().collect();
    let body = Body::Submission(Arc::new(submission));
    let subject = sim.names.submit(file.queue);
    while sim.publish(Stream::Submit, &subject, Headers::default(), body.clone()).await.is_err() {
        sim.rt.sleep(1_000).await;
    }
    sim.to_hand_in.set(sim.to_hand_in.get() - 1);
}

async fn strike(sim: &Rc<Sim>, blow: Blow) {
    let now = sim.rt.now();
    match blow {
        Blow::KillWorker(number) => {
            let plan = sim.world.plugins.iter().find(|plan| {
                let all = plan.first_worker..plan.first_worker + plan.workers.len();
                all.contains(&number)
            });
            let Some(plan) = plan else { return };
            let nature = plan.workers.get(number - plan.first_worker).copied();
            let Some(nature) = nature else { return };
            // One that dies by itself in the same moment comes back by itself.
            sim.rt.kill(Actor::Worker(number));
            sim.rt.sleep(sim.draw(500, 3_000)).await;
            sim.rt.kill(Actor::Worker(number));
            worker::start(sim, plan, number, nature);
        }
        Blow::PauseWorker(number, duration) => {
            sim.rt.pause(Actor::Worker(number), now + duration);
        }
        Blow::KillCoordinator(at) => {
            let actor = Actor::Coordinator(at);
            sim.rt.kill(actor);
            sim.rt.sleep(sim.draw(200, 8_000)).await;
            sim.rt.kill(actor);
            sim.rt.spawn(actor, 0, coordinate(sim.clone(), at));
        }
        Blow::PauseCoordinator(at, duration) => {
            sim.rt.pause(Actor::Coordinator(at), now + duration);
        }
        Blow::KillBroker(duration) => {
            sim.go_away(duration);
            sim.rt.sleep(duration).await;
            if sim.draw(0, 2) == 0 {
                sim.broker(super::broker::Broker::bring_back);
            }
        }
        Blow::FillBroker(duration) => {
            sim.broker(|broker| broker.is_full = true);
            sim.rt.sleep(duration).await;
            sim.broker(|broker| broker.is_full = false);
        }
        Blow::PurgeTasks => {
            sim.broker(|broker| broker.purge(Stream::Tasks, ""));
        }
        Blow::SpoilLease => {
            let key = Names::key_subject(&sim.names.lease_bucket(), LEASE_KEY);
            let spoilt = sim.broker(|broker| {
                broker.publish(Stream::Lease, &key, Headers::default(), Body::Junk)
            });
            spoilt.ok();
        }
    }
}

/// What is wrong with what is left for people: a failed record has its dead letter.
fn leftover(sim: &Sim) -> Option<String> {
    let subjects = sim.broker(|broker| broker.subjects(Stream::Records, ""));
    for subject in subjects {
        let plugin = sim.names.parse_record(&subject)?.plugin;
        let record = sim.broker(|broker| broker.last_on(Stream::Records, &subject));
        let Some(letter) = record.and_then(|record| record.headers.letter) else { continue };
        let is_there = sim.broker(|broker| broker.at(Stream::Dead, letter).is_some());
        if !is_there && !sim.audit.borrow().can_lie(&plugin) {
            return Some(format!("{subject} names a dead letter that is not there"));
        }
    }
    None
}

/// What has not settled yet.
fn left(sim: &Sim) -> Option<String> {
    let to_hand_in = sim.to_hand_in.get();
    if to_hand_in > 0 {
        return Some(format!("{to_hand_in} files are not accepted"));
    }
    let open = sim.audit.borrow().open();
    if open > 0 {
        return Some(format!("{open} submissions are open"));
    }
    let counts = [Stream::Submit, Stream::Tasks]
        .map(|stream| (stream, sim.broker(|broker| broker.count(stream))));
    if let Some((stream, count)) = counts.iter().find(|(_, count)| *count > 0) {
        return Some(format!("{count} messages are left in {stream:?}"));
    }
    for stream in [Stream::Signals, Stream::Advisories] {
        let name = format!("{DURABLE}_{stream:?}");
        let info = sim.broker(|broker| broker.info(&name));
        let last = sim.broker(|broker| broker.last_sequence(stream));
        if info.is_none_or(|info| info.held > 0 || info.delivered < last) {
            return Some(format!("something is left in {stream:?}"));
        }
    }
    let leading = sim.leading.borrow();
    let sessions: Vec<_> = leading.values().filter_map(std::rc::Weak::upgrade).collect();
    if sessions.is_empty() {
        return Some("nobody leads".to_owned());
    }
    if sessions.iter().any(|session| !session.is_idle()) {
        return Some("a coordinator has something in hand".to_owned());
    }
    None
}
