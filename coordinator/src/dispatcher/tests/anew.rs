//! A broker that has lost its last moments gives numbers a second time.

use super::*;

/// A submission that was handed in at this time.
fn at(submitted_at: i64, id: u64, cid: &str) -> Event {
    let opening = Opening { submitted_at, ..Arc::unwrap_or_clone(opening(id, cid)) };
    Event::Opened { opening: Arc::new(opening), records: BTreeMap::new() }
}

#[test]
fn a_number_that_was_given_anew_is_that_of_the_later_submission() {
    let mut bench = Bench::new(one_plugin(Some(1)));
    let first = tasks(&bench.tell(at(10, 1, "x")));
    assert!(bench.tell(at(11, 2, "x")).is_empty(), "it waits for its turn");

    let commands = bench.tell(at(20, 1, "y"));

    assert_eq!(kinds(&commands), ["reopen", "publish"], "the place of the lost one is free");
    let second = tasks(&commands);
    assert_eq!(second[0].cid.as_str(), "y");
    assert!(bench.answer(&first[0]).is_empty(), "nobody waits for it");
    assert_eq!(kinds(&bench.answer(&second[0])), ["settle"]);
    assert_eq!(bench.dispatcher.open(), 0);
}

#[test]
fn a_submission_that_waited_while_its_number_was_given_anew_is_passed_over() {
    let mut bench = Bench::new(one_plugin(None));
    let first = tasks(&bench.tell(at(10, 1, "x")));
    bench.tell(at(11, 2, "x"));
    bench.tell(at(12, 3, "x"));
    let other = tasks(&bench.tell(at(20, 2, "y")));
    assert_eq!(kinds(&bench.answer(&first[0])), ["settle", "reopen"]);

    assert_eq!(kinds(&bench.tell(at(11, 2, "x"))), ["reopen"], "of the next one");

    assert_eq!(kinds(&bench.answer(&other[0])), ["settle"]);
    assert_eq!(tasks(&bench.tell(at(12, 3, "x"))).len(), 1);
}

#[test]
fn the_same_file_handed_in_again_under_the_same_number_is_another_run() {
    let mut bench = Bench::new(one_plugin(None));
    let first = tasks(&bench.tell(at(10, 1, "x")));
    assert!(bench.tell(at(10, 1, "x")).is_empty(), "delivered a second time");

    let again = tasks(&bench.tell(at(20, 1, "x")));

    assert_eq!(again, first, "the same work");
    assert_eq!(bench.dispatcher.open(), 1);
}

#[test]
fn a_task_is_fenced_against_the_record_that_the_broker_has() {
    let record = |revision| KnownRecord {
        revision,
        stored_at: 1,
        status: RecordStatus::Completed,
        fingerprint: "of another version".into(),
        version: None,
        meta: Arc::new(MetaMap::new()),
        hidden: Arc::new([]),
    };
    for (case, since, record, expected) in [
        ("as it was known", 0, Some(record(100)), 100),
        ("the one before", 0, Some(record(50)), 50),
        ("none", 0, None, 0),
        ("read for an earlier task", 7, None, 100),
    ] {
        let mut bench = Bench::new(one_plugin(None));
        let mut stale = tasks(&bench.open(1, "x")).remove(0);
        stale.fingerprint = "of another version".into();
        bench.revision = 99;
        assert_eq!(tasks(&bench.answer(&stale))[0].record_revision, 100, "{case}");
        let (run, plugin): (_, PluginId) = (RunId(1), "a".parse().unwrap());

        bench.tell(Event::Reread { run, plugin: plugin.clone(), since, record });

        let again = tasks(&bench.tell(Event::Missing { run, plugin, since: 0 }));
        assert_eq!(again[0].record_revision, expected, "{case}");
    }
}

#[test]
fn the_place_of_an_inherited_task_that_waits_for_a_time_goes_to_who_waits() {
    // An acknowledgement that got lost leaves the task in its stream although it was put off.
    let mut bench = Bench::new(one_plugin(Some(1)));
    let both: BTreeMap<_, _> = [(("a".parse().unwrap(), "x".parse().unwrap()), Lane::Main)].into();
    bench.tell(Event::Inherited { tasks: both.clone() });
    bench.tell(Event::Scheduled { tasks: both });
    assert!(bench.open(2, "y").is_empty(), "the place is taken");

    let commands = bench.open(1, "x");

    assert_eq!(tasks(&commands).iter().map(|task| task.cid.as_str()).collect::<Vec<_>>(), ["y"]);
}

#[test]
fn a_task_that_was_in_a_lane_that_is_gone_takes_a_place_in_its_own() {
    let mut bench = Bench::new(one_plugin(Some(1)));
    let gone = Lane::Route("gone".parse().unwrap());
    let inherited = [(("a".parse().unwrap(), "x".parse().unwrap()), gone)].into();
    bench.tell(Event::Inherited { tasks: inherited });

    assert_eq!(tasks(&bench.open(1, "x")).len(), 1, "there is a place in its own line");
    assert_eq!(tasks(&bench.open(2, "y")).len(), 0);
}

#[test]
fn what_is_given_up_on_holds_its_place_until_its_record_is_there() {
    let mut bench = Bench::new(one_plugin(Some(1)));
    let task = tasks(&bench.open(1, "x")).remove(0);
    let plugin: PluginId = "a".parse().unwrap();
    let missing = Event::Missing { run: RunId(1), plugin: plugin.clone(), since: 0 };
    for _ in 0..2 {
        assert_eq!(kinds(&bench.tell(missing.clone())), ["repaired", "publish"]);
    }
    // It gives its place back, as what waits for a time does.
    bench.tell(Event::Deferred { cid: "x".parse().unwrap(), plugin });
    assert_eq!(kinds(&bench.tell(missing)), ["give up"]);

    assert!(bench.open(2, "y").is_empty(), "the place is taken");
    let commands = bench.answer(&task);

    assert_eq!(tasks(&commands).iter().map(|task| task.cid.as_str()).collect::<Vec<_>>(), ["y"]);
}
