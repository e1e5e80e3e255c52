use broker_config::wire::file::FilePath;
use broker_config::wire::record::RecordStatus;
use broker_config::{FileFacts, MetaMap, Queue, Submission, Task};

use super::*;
use crate::graph::tests::spec;
use crate::run::Trace;

mod anew;
mod graph;
mod routes;

fn opening(id: u64, cid: &str) -> Arc<Opening> {
    let path = FilePath { file_path: format!("/{cid}"), file_path_bytes: None };
    Arc::new(Opening {
        id: RunId(id),
        queue: Queue::Fast,
        submitted_at: 0,
        submission: Submission::new(cid.parse().unwrap(), path, FileFacts::default()),
        trace: Trace::default(),
    })
}

struct Bench {
    dispatcher: Dispatcher,
    revision: u64,
}

impl Bench {
    fn new(graph: Graph) -> Self {
        let timing = Timing {
            check_every: 10,
            check_after: 100,
            stall_after: 1_000,
            retry_publish: 50,
            retry_blocked: 20,
        };
        Self { dispatcher: Dispatcher::new(Arc::new(graph), timing), revision: 0 }
    }

    fn tell(&mut self, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        self.dispatcher.on_event(event, &mut commands);
        commands
    }

    fn open(&mut self, id: u64, cid: &str) -> Vec<Command> {
        self.tell(Event::Opened { opening: opening(id, cid), records: BTreeMap::new() })
    }

    fn answer(&mut self, task: &Task) -> Vec<Command> {
        self.revision += 1;
        let record = KnownRecord {
            revision: self.revision,
            stored_at: 1,
            status: RecordStatus::Completed,
            fingerprint: task.fingerprint.clone(),
            version: None,
            meta: Arc::new(MetaMap::new()),
            hidden: Arc::new([]),
        };
        let (cid, plugin) = (task.cid.clone(), task.plugin_id.clone());
        self.tell(Event::Record { cid, plugin, record })
    }
}

fn one_plugin(max_in_flight: Option<u32>) -> Graph {
    let mut spec = spec("a", 10, &[]);
    spec.max_in_flight = max_in_flight.and_then(std::num::NonZeroU32::new);
    Graph::build(vec![spec]).0
}

fn tasks(commands: &[Command]) -> Vec<Task> {
    commands
        .iter()
        .filter_map(|command| match command {
            Command::Publish { task, .. } => Some((**task).clone()),
            Command::GiveUp { .. }
            | Command::Trial { .. }
            | Command::Settle { .. }
            | Command::Reopen { .. }
            | Command::Check { .. }
            | Command::Repaired { .. }
            | Command::Alarm { .. }
            | Command::Recovered { .. } => None,
        })
        .collect()
}

fn kinds(commands: &[Command]) -> Vec<&'static str> {
    commands
        .iter()
        .map(|command| match command {
            Command::Publish { .. } => "publish",
            Command::Trial { .. } => "trial",
            Command::GiveUp { .. } => "give up",
            Command::Settle { .. } => "settle",
            Command::Reopen { .. } => "reopen",
            Command::Check { .. } => "check",
            Command::Repaired { .. } => "repaired",
            Command::Alarm { .. } => "alarm",
            Command::Recovered { .. } => "recovered",
        })
        .collect()
}

#[test]
fn a_file_handed_in_twice_runs_once_after_the_other() {
    let mut bench = Bench::new(one_plugin(None));
    let first = bench.open(1, "x");
    assert_eq!(kinds(&first), ["publish"]);
    assert!(bench.open(1, "x").is_empty(), "the same submission again");
    assert!(bench.open(2, "x").is_empty());
    assert!(bench.open(2, "x").is_empty());
    assert_eq!(bench.dispatcher.open(), 2);

    let commands = bench.answer(&tasks(&first)[0]);

    assert_eq!(kinds(&commands), ["settle", "reopen"]);
    assert_eq!(kinds(&bench.open(2, "x")), ["publish"]);
    assert_eq!(bench.dispatcher.open(), 1);
}

#[test]
fn the_limit_of_a_plugin_holds_over_all_files() {
    let mut bench = Bench::new(one_plugin(Some(2)));
    let mut out: VecDeque<Task> = VecDeque::new();
    for id in 1..=6 {
        out.extend(tasks(&bench.open(id, &format!("f{id}"))));
        assert!(out.len() <= 2);
    }
    let mut settled = 0;
    while let Some(task) = out.pop_front() {
        let commands = bench.answer(&task);
        settled += kinds(&commands).iter().filter(|kind| **kind == "settle").count();
        out.extend(tasks(&commands));
        assert!(out.len() <= 2);
    }
    assert_eq!(settled, 6);
}

#[test]
fn a_deferred_task_gives_its_place_to_another() {
    let mut bench = Bench::new(one_plugin(Some(1)));
    assert_eq!(tasks(&bench.open(1, "x")).len(), 1);
    assert_eq!(tasks(&bench.open(2, "y")).len(), 0);
    let deferred = Event::Deferred { cid: "x".parse().unwrap(), plugin: "a".parse().unwrap() };
    let commands = bench.tell(deferred.clone());
    assert_eq!(tasks(&commands)[0].cid.as_str(), "y");
    assert!(bench.tell(deferred).is_empty(), "told twice");
    assert_eq!(bench.dispatcher.numbers().parked, Parked { fast: 1, background: 0 });
}

#[test]
fn a_lost_task_is_looked_for_and_published_again() {
    let mut bench = Bench::new(one_plugin(None));
    bench.tell(Event::Tick { now: 500 });
    let first = tasks(&bench.open(1, "x"));
    assert!(bench.tell(Event::Tick { now: 599 }).is_empty(), "it is young");
    let commands = bench.tell(Event::Tick { now: 610 });
    let [Command::Check { suspects }] = commands.as_slice() else { panic!("{commands:?}") };
    let suspect = suspects[0].clone();
    let missing = Event::Missing { run: suspect.run, plugin: suspect.plugin, since: suspect.since };

    let commands = bench.tell(missing.clone());

    assert_eq!(kinds(&commands), ["repaired", "publish"]);
    assert_eq!(tasks(&commands)[0].task_id, first[0].task_id, "the same work has the same id");
    assert!(bench.tell(missing).is_empty(), "the check was about the first");
}

#[test]
fn a_publish_that_failed_is_tried_again_after_a_while() {
    let mut bench = Bench::new(one_plugin(None));
    for (event, wait) in [("failed", 50), ("blocked", 20)] {
        let now = bench.dispatcher.now;
        let id = now + 1;
        bench.open(id, event);
        let (run, plugin) = (RunId(id), "a".parse().unwrap());
        let told = match event {
            "failed" => Event::PublishFailed { run, plugin },
            _ => Event::Blocked { run, plugin },
        };
        assert!(bench.tell(told).is_empty());
        assert!(tasks(&bench.tell(Event::Tick { now: now + wait - 1 })).is_empty(), "{event}");
        assert_eq!(tasks(&bench.tell(Event::Tick { now: now + wait })).len(), 1, "{event}");
    }
}

#[test]
fn a_publish_that_stays_blocked_is_tried_less_and_less_until_what_is_in_the_way_is_looked_for() {
    let mut bench = Bench::new(one_plugin(None));
    bench.open(1, "x");
    let blocked = Event::Blocked { run: RunId(1), plugin: "a".parse().unwrap() };
    let (mut tries, mut looked) = (Vec::new(), false);
    bench.tell(blocked.clone());
    for now in 1..=1_000 {
        let commands = bench.tell(Event::Tick { now });
        looked |= kinds(&commands).contains(&"check");
        if !tasks(&commands).is_empty() {
            tries.push(now);
            bench.tell(blocked.clone());
        }
    }
    assert_eq!(tries, [20, 60, 140, 300, 500, 700, 900]);
    assert!(looked);
}

#[test]
fn once_what_was_in_the_way_is_done_a_block_is_the_first_one_again() {
    let mut bench = Bench::new(one_plugin(None));
    let blocked = Event::Blocked { run: RunId(1), plugin: "a".parse().unwrap() };
    let mut older = tasks(&bench.open(1, "x")).remove(0);
    older.fingerprint = "of another version".into();
    bench.tell(blocked.clone());
    assert_eq!(tasks(&bench.tell(Event::Tick { now: 20 })).len(), 1);
    bench.tell(blocked.clone());

    assert_eq!(tasks(&bench.answer(&older)).len(), 1, "published at once");
    bench.tell(blocked);

    assert_eq!(tasks(&bench.tell(Event::Tick { now: 39 })).len(), 0);
    assert_eq!(tasks(&bench.tell(Event::Tick { now: 40 })).len(), 1);
}

#[test]
fn a_submission_that_is_delivered_again_leaves_nothing_behind() {
    let mut bench = Bench::new(one_plugin(None));
    bench.open(1, "x");
    assert!(bench.dispatcher.holds(RunId(1)));
    bench.tell(Event::Opening { cids: vec!["x".parse().unwrap()] });
    assert!(bench.open(1, "x").is_empty());
    assert!(bench.dispatcher.opening.is_empty());
}

#[test]
fn silence_is_an_alarm_once_and_its_end_is_told() {
    let mut bench = Bench::new(one_plugin(None));
    assert!(bench.tell(Event::Tick { now: 5_000 }).is_empty(), "nothing is open");
    let task = tasks(&bench.open(1, "x")).remove(0);
    bench.tell(Event::Tick { now: 5_900 });
    bench.tell(Event::Busy);
    assert!(!kinds(&bench.tell(Event::Tick { now: 6_800 })).contains(&"alarm"));
    let commands = bench.tell(Event::Tick { now: 6_900 });
    let Some(Command::Alarm { open_files: 1, for_ms: 1_000, waiting_for }) = commands.last() else {
        panic!("{commands:?}");
    };
    assert_eq!(waiting_for.len(), 1);
    assert!(!kinds(&bench.tell(Event::Tick { now: 9_000 })).contains(&"alarm"), "once");
    assert!(kinds(&bench.answer(&task)).contains(&"recovered"));
}

#[test]
fn a_plugin_that_comes_in_mid_run_is_published_and_one_that_leaves_releases_the_run() {
    let mut bench = Bench::new(one_plugin(None));
    let task = tasks(&bench.open(1, "x")).remove(0);
    let both = Graph::build(vec![spec("a", 10, &[]), spec("b", 20, &[])]).0;
    let commands = bench.tell(Event::GraphChanged(Arc::new(both)));
    assert_eq!(tasks(&commands)[0].plugin_id.as_str(), "b");
    assert!(bench.answer(&task).is_empty());
    let commands = bench.tell(Event::GraphChanged(Arc::new(one_plugin(None))));
    assert_eq!(kinds(&commands), ["settle"]);
}

#[test]
fn a_record_written_while_the_records_are_read_is_not_missed() {
    let mut bench = Bench::new(one_plugin(None));
    let task = tasks(&bench.open(1, "x")).remove(0);
    let mut later = Bench::new(one_plugin(None));
    later.tell(Event::Opening { cids: vec!["x".parse().unwrap()] });
    assert!(later.answer(&task).is_empty());
    assert_eq!(kinds(&later.open(1, "x")), ["settle"]);
}

#[test]
fn a_task_that_the_broker_will_publish_itself_is_not_published_again() {
    let mut bench = Bench::new(one_plugin(Some(1)));
    let tasks_known = [(("a".parse().unwrap(), "x".parse().unwrap()), Lane::Main)];
    bench.tell(Event::Scheduled { tasks: tasks_known.into() });
    assert!(bench.open(1, "x").is_empty());
    assert_eq!(bench.dispatcher.numbers().parked, Parked { fast: 1, background: 0 });
    assert_eq!(tasks(&bench.open(2, "y")).len(), 1, "it takes no place");
}

#[test]
fn a_task_that_goes_missing_every_time_is_given_up() {
    let mut bench = Bench::new(one_plugin(None));
    bench.open(1, "x");
    let missing = Event::Missing { run: RunId(1), plugin: "a".parse().unwrap(), since: 0 };
    for _ in 0..2 {
        assert_eq!(kinds(&bench.tell(missing.clone())), ["repaired", "publish"]);
    }
    let commands = bench.tell(missing);
    let [Command::GiveUp { task, .. }] = commands.as_slice() else { panic!("{commands:?}") };
    let task = (**task).clone();
    assert_eq!(kinds(&bench.answer(&task)), ["settle"]);
}

#[test]
fn a_task_that_is_lost_by_accident_is_not_given_up_however_few_attempts_it_has() {
    let mut spec = spec("a", 10, &[]);
    spec.retry.max_attempts = std::num::NonZeroU32::MIN;
    let mut bench = Bench::new(Graph::build(vec![spec]).0);
    bench.open(1, "x");
    let missing = Event::Missing { run: RunId(1), plugin: "a".parse().unwrap(), since: 0 };
    for _ in 0..2 {
        assert_eq!(kinds(&bench.tell(missing.clone())), ["repaired", "publish"]);
    }
    assert_eq!(kinds(&bench.tell(missing)), ["give up"]);
}

#[test]
fn a_task_that_was_never_stored_is_not_lost_however_often_it_is_missed() {
    for blocked in [false, true] {
        let mut bench = Bench::new(one_plugin(None));
        bench.open(1, "x");
        let (run, plugin): (_, PluginId) = (RunId(1), "a".parse().unwrap());
        let mut since = 0;
        for turn in 1..=5 {
            bench.tell(if blocked {
                Event::Blocked { run, plugin: plugin.clone() }
            } else {
                Event::PublishFailed { run, plugin: plugin.clone() }
            });
            let missing = Event::Missing { run, plugin: plugin.clone(), since };
            assert!(bench.tell(missing).is_empty(), "blocked {blocked}, turn {turn}");
            // Its turn comes again, at the latest by now.
            since += 99_000;
            let again = bench.tell(Event::Tick { now: since });
            assert!(
                kinds(&again).contains(&"publish"),
                "blocked {blocked}, turn {turn}: {again:?}"
            );
        }
        let missing = Event::Missing { run, plugin, since };
        assert_eq!(kinds(&bench.tell(missing)), ["repaired", "publish"], "blocked {blocked}");
    }
}

#[test]
fn a_task_of_an_earlier_leader_is_looked_for_and_later_ones_are_published() {
    let mut bench = Bench::new(one_plugin(None));
    let tasks = [(("a".parse().unwrap(), "x".parse().unwrap()), Lane::Main)].into();
    assert!(bench.tell(Event::Inherited { tasks }).is_empty());

    let found =
        |commands: &[Command]| matches!(commands, [Command::Publish { inherited: true, .. }]);

    assert!(found(&bench.open(1, "x")));
    assert!(!found(&bench.open(2, "y")));
    // It is gone and has left no record: nobody has it, so it may be published.
    let blocked = Event::Blocked { run: RunId(1), plugin: "a".parse().unwrap() };
    assert!(bench.tell(blocked).is_empty());
    let again = bench.tell(Event::Tick { now: 20 });
    assert!(kinds(&again).contains(&"publish") && !found(&again), "{again:?}");
}
