use broker_config::wire::instance::{InstanceType, Totals};

use super::super::selection::start;
use super::*;
use crate::config::connection::{Connection, Login, Origin, Tls};
use crate::config::vars::vars;
use crate::config::{Overrides, PluginsFile};
use crate::docker::naming::FleetId;
use crate::fleet::plugins::{Hosts, PluginPlan};
use crate::fleet::versions::Decided;
use crate::internal::Builtins;

const SECOND: Duration = Duration::from_secs(1);
const PACE: Pace = Pace { grow_after: SECOND, shrink_after: Duration::from_secs(10) };

/// The plan of a file; each process has a command and so no manifest on disk.
fn planned(text: &str) -> Planned {
    let connection = Connection {
        url: "nats://127.0.0.1:1".to_owned(),
        login: Login::Anonymous,
        tls: Tls::default(),
        origin: Origin::Fleet,
    };
    let (prefix, none) = (broker_config::Prefix::default(), vars(&[]));
    let confines = crate::process::confine::tests::confines();
    let shared =
        process::Surroundings::new(connection, prefix.clone(), Duration::ZERO, confines, &none);
    let file = PluginsFile::parse(std::path::Path::new("plugins.yml"), text, &none).unwrap();
    assert_eq!(file.problems, []);
    let fleet = FleetId::new(&prefix, "node");
    let boxed = docker::Surroundings::new(fleet, prefix, Duration::ZERO, &[], &none);
    let hosts = Hosts { processes: shared, containers: boxed, builtins: Builtins::new() };
    PluginPlan::of((file, Overrides::default()), &[], &hosts, &Decided::new()).planned()
}

fn id() -> PluginId {
    "p".parse().unwrap()
}

/// A fleet with one plugin `p`, looked at once a second.
struct Scene {
    mind: Mind,
    planned: Planned,
    numbers: BTreeSet<u32>,
    by_hand: Option<u32>,
    facts: Facts,
    leads: bool,
    second: u32,
}

impl Scene {
    fn new(text: &str) -> Self {
        let planned = planned(text);
        let begun = start(&planned, &BTreeMap::new(), |_| 0);
        let numbers = (1..=begun[&id()].number).collect();
        let facts = Facts { version: Some("1.0.0".to_owned()), ..Facts::default() };
        let mind = Mind::default();
        Self { mind, planned, numbers, by_hand: None, facts, leads: true, second: 0 }
    }

    /// What each instance says of itself at this second.
    fn signs(&mut self, sign: impl Fn(u32) -> (InstanceState, bool)) {
        let at = self.second.to_string();
        let signs = self.numbers.iter().map(|n| {
            let (state, is_busy) = sign(*n);
            instance(*n, state, is_busy, &at)
        });
        self.facts.signs = signs.collect();
    }

    fn look(&mut self) -> Decision {
        let now = Now::of(
            self.planned.clone(),
            [(id(), self.numbers.clone())].into(),
            self.by_hand.map(|number| (id(), number)).into_iter().collect(),
        );
        let facts = [(id(), self.facts.clone())].into();
        let (pace, at) = (self.leads.then_some(&PACE), SECOND * self.second);
        let decision = self.mind.decide(&now, &facts, pace, at);
        self.numbers.clone_from(&decision.numbers[&id()]);
        self.second += 1;
        decision
    }

    /// Looks so often while all serve, and are told to pause or not.
    fn pass(&mut self, seconds: u32) -> Vec<(u32, u32)> {
        let mut changes = Vec::new();
        let mut paused = BTreeSet::new();
        for _ in 0..seconds {
            let is_paused = paused.clone();
            self.signs(|n| {
                let state = if is_paused.contains(&n) {
                    InstanceState::Paused
                } else {
                    InstanceState::Ready
                };
                (state, false)
            });
            let decision = self.look();
            paused = told(&decision, &Control::Pause).into_iter().collect();
            changes.extend(decision.changes.iter().map(|change| (change.from, change.to)));
        }
        changes
    }
}

fn instance(n: u32, state: InstanceState, is_busy: bool, at: &str) -> Instance {
    let running = serde_json::json!({"taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59", "cid": "c", "forMs": 1});
    Instance {
        kind: InstanceType::V1,
        plugin_id: id(),
        instance: name(&id(), n).unwrap(),
        state,
        error: None,
        healthy: true,
        version: "1.0.0".to_owned(),
        route: None,
        host: String::new(),
        pid: 0,
        started_at: String::new(),
        at: at.to_owned(),
        concurrency: 1,
        running: is_busy.then(|| serde_json::from_value(running).unwrap()).into_iter().collect(),
        totals: Totals::default(),
    }
}

/// The numbers of those who are told this.
fn told(decision: &Decision, what: &Control) -> Vec<u32> {
    let told = decision.tell.iter().filter(|(_, _, control)| control == what);
    let number = |name: &InstanceId| name.as_str().rsplit('-').next().unwrap().parse().unwrap();
    told.map(|(_, name, _)| number(name)).collect()
}

#[test]
fn only_who_leads_goes_by_what_waits() {
    let mut scene = Scene::new("plugins: {p: {command: [x], scale: {min: 1, max: 3}}}");
    scene.facts.waiting = 90;
    scene.facts.ended = (10, 100.0);
    scene.leads = false;
    assert_eq!((scene.pass(30), scene.numbers.len()), (vec![], 1));
    scene.leads = true;
    assert_eq!(scene.pass(30), [(1, 2), (2, 3)]);
    scene.facts.waiting = 0;
    scene.leads = false;
    assert_eq!((scene.pass(60), scene.numbers.len()), (vec![], 3), "it keeps what it has");
    scene.leads = true;
    assert_eq!((scene.pass(60), scene.numbers.len()), (vec![(3, 1)], 1));
}

#[test]
fn what_a_person_has_wait_wakes_nobody() {
    let mut scene = Scene::new("plugins: {p: {command: [x], scale: {min: 0, max: 3}}}");
    scene.facts.waiting = 90;
    scene.facts.is_paused = true;
    assert_eq!(scene.pass(60).last(), Some(&(1, 0)));
    scene.facts.is_paused = false;
    assert_eq!(scene.pass(1), [(0, 1)]);
}

#[test]
fn one_instance_says_what_nothing_on_disk_does() {
    let mut scene = Scene::new("plugins: {p: {image: i, scale: {min: 0, max: 3}}}");
    scene.facts.version = None;
    assert_eq!(scene.numbers.len(), 1, "nobody knows its manifest");
    for _ in 0..60 {
        scene.signs(|_| (InstanceState::Starting, false));
        assert_eq!(scene.look().changes, [], "as long as that takes");
    }
    scene.facts.version = Some("1.0.0".to_owned());
    assert_eq!(scene.pass(60), [(1, 0)]);

    scene.planned = planned("plugins: {p: {image: other, scale: {min: 0, max: 3}}}");
    assert_eq!(scene.pass(60), [(0, 1), (1, 0)], "another image may hold another");
}

#[test]
fn what_goes_is_paused_until_it_holds_nothing_and_may_be_called_back() {
    let mut scene = Scene::new("plugins: {p: {command: [x], instances: 3}}");
    scene.by_hand = Some(1);
    for _ in 0..30 {
        scene.signs(|n| (InstanceState::Paused, n > 1));
        let decision = scene.look();
        assert_eq!((told(&decision, &Control::Pause), decision.overdue), (vec![2, 3], vec![]));
        assert_eq!(decision.shown[&id()].draining, 2);
    }
    scene.signs(|n| (InstanceState::Paused, n == 2));
    let decision = scene.look();
    assert_eq!(told(&decision, &Control::Pause), [2], "3 is done");
    assert_eq!(scene.numbers, [1, 2].into());

    scene.by_hand = None;
    let decision = scene.look();
    assert_eq!(told(&decision, &Control::Resume), [2]);
    assert_eq!((scene.numbers.len(), decision.changes[0].why.as_str()), (3, "plugins.yml says so"));
}

#[test]
fn who_does_not_get_done_is_stopped_after_the_time_for_one_task() {
    let mut scene = Scene::new("plugins: {p: {command: [x], instances: 2, timeout: 60000}}");
    scene.by_hand = Some(0);
    scene.signs(|_| (InstanceState::Paused, true));
    while scene.numbers.len() == 2 {
        scene.signs(|_| (InstanceState::Paused, true));
        let decision = scene.look();
        assert_eq!(decision.overdue.is_empty(), scene.numbers.len() == 2);
    }
    assert_eq!((scene.second, scene.numbers.len()), (91, 0));
}

#[test]
fn a_person_sets_any_number_and_the_cap_holds() {
    let mut scene = Scene::new("{fleet: {maxCpus: 3}, plugins: {p: {command: [x], instances: 2}}}");
    let decision = scene.look();
    assert!(decision.shown.is_empty() && decision.changes.is_empty(), "nothing to tell");
    scene.by_hand = Some(5);
    let decision = scene.look();
    let refused = decision.shown[&id()].refused.as_deref().unwrap();
    assert!(refused.starts_with("5 wanted, 3 allowed by the cap"), "{refused}");
    assert_eq!((scene.numbers.len(), decision.changes[0].to), (3, 3));
    scene.by_hand = Some(3);
    assert_eq!(scene.look().shown[&id()].refused, None);
}

#[test]
fn instances_of_others_count() {
    let mut scene = Scene::new("plugins: {p: {command: [x], scale: {min: 0, max: 9}}}");
    scene.facts.waiting = 40;
    scene.facts.ended = (10, 10.0);
    let others = (100..103).map(|n| instance(n, InstanceState::Ready, false, ""));
    scene.facts.signs = others.collect();
    for _ in 0..9 {
        scene.look();
        scene.second += 1;
    }
    assert_eq!(scene.numbers.len(), 1, "four are needed, three are elsewhere");
}
