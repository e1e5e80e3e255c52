mod load;

use std::collections::BTreeMap;

use broker_config::PluginId;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn work(waiting: u64, held: u64, task_ms: u64, concurrency: u32) -> Work {
    Work {
        waiting,
        held,
        task: (task_ms > 0).then(|| Duration::from_millis(task_ms)),
        concurrency: NonZeroU32::new(concurrency).unwrap(),
        elsewhere: 0,
    }
}

fn bounds(min: u32, max: u32) -> Bounds {
    Bounds::new(min, NonZeroU32::new(max).unwrap()).unwrap()
}

#[test]
fn what_is_needed_follows_the_table() {
    let elsewhere = |work: Work, elsewhere| Work { elsewhere, ..work };
    for (case, work, present, expected) in [
        ("nothing to do", work(0, 0, 500, 1), 3, 0),
        ("one task", work(1, 0, 500, 1), 0, 1),
        ("one task, nobody knows how long", work(1, 0, 0, 1), 0, 1),
        ("many, nobody knows how long", work(1_000, 0, 0, 1), 0, 1),
        ("many, nobody knows how long, some there", work(1_000, 2, 0, 1), 2, 2),
        ("quick ones are done in time by one", work(900, 1, 10, 1), 1, 1),
        ("a minute of work in ten seconds", work(59, 1, 1_000, 1), 1, 6),
        ("the same, two at once", work(59, 1, 1_000, 2), 1, 3),
        ("no more than there are tasks", work(2, 1, 60_000, 1), 1, 3),
        ("no more than there are tasks, four at once", work(5, 4, 60_000, 4), 1, 3),
        ("all are busy and nothing waits", work(0, 5, 1_000, 1), 5, 5),
        ("half are busy", work(0, 5, 1_000, 2), 5, 3),
        ("what is held waits for its next attempt", work(0, 1_000, 1, 1), 2, 2),
        ("somebody else serves it", elsewhere(work(59, 1, 1_000, 1), 4), 1, 2),
        ("somebody else is enough", elsewhere(work(5, 1, 1_000, 1), 4), 1, 0),
        ("more than can be counted", work(u64::MAX, u64::MAX, u64::MAX, 1), 1, u32::MAX),
    ] {
        assert_eq!(needed(&work, present), expected, "{case}");
    }
}

#[test]
fn a_number_follows_only_what_lasts() {
    let pace = Pace { grow_after: SECOND * 3, shrink_after: SECOND * 10 };
    for (case, begin, asked, expected) in [
        ("as asked", 2, vec![2; 20], vec![(0, 2)]),
        ("one look is nothing", 2, vec![2, 9, 2, 2, 9, 9, 2], vec![(0, 2)]),
        (
            "more for long enough, by doubling",
            2,
            vec![9; 20],
            vec![(0, 2), (3, 4), (7, 8), (11, 9)],
        ),
        ("the least of what was asked", 2, vec![9, 3, 8, 9, 9], vec![(0, 2), (3, 3)]),
        ("not beyond the most", 4, vec![99; 9], vec![(0, 4), (3, 8), (7, 10)]),
        ("a task wakes the first at once", 0, vec![0, 5], vec![(0, 0), (1, 1)]),
        ("fewer for long enough", 5, vec![1; 12], vec![(0, 5), (10, 1)]),
        (
            "the most of what was asked",
            5,
            vec![1, 1, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            vec![(0, 5), (10, 4)],
        ),
        (
            "one busy moment and it begins anew",
            5,
            [vec![1; 9], vec![5], vec![1; 9]].concat(),
            vec![(0, 5)],
        ),
        ("to zero", 1, vec![0; 11], vec![(0, 1), (10, 0)]),
        (
            "who shrank too soon waits longer the next time",
            2,
            [vec![1; 11], vec![2; 4], vec![1; 41]].concat(),
            vec![(0, 2), (10, 1), (14, 2), (55, 1)],
        ),
        (
            "but not with nothing to do",
            2,
            [vec![1; 11], vec![2; 4], vec![0; 11]].concat(),
            vec![(0, 2), (10, 1), (14, 2), (25, 0)],
        ),
        (
            "and no longer once it was right",
            2,
            [vec![1; 11], vec![2; 4], vec![1; 3_700], vec![2; 4], vec![1; 12]].concat(),
            vec![(0, 2), (10, 1), (14, 2), (55, 1), (3_718, 2), (3_729, 1)],
        ),
    ] {
        let mut history = History::new(begin, Moment::ZERO);
        let mut seen = vec![(0, begin)];
        for (second, needed) in (0..).zip(asked) {
            let now = SECOND * second;
            let number = history.look((needed, 0), bounds(0, 10), &pace, now);
            if number != history.number() {
                history.stands(number, now);
                seen.push((second, number));
            }
        }
        assert_eq!(seen, expected, "{case}");
    }
}

#[test]
fn what_keeps_instances_busy_is_kept_although_looks_meet_it_in_quiet_moments() {
    let pace = Pace { grow_after: SECOND, shrink_after: SECOND * 10 };
    for (case, places, expected) in
        [("nothing was done", 0.0, 1), ("three and a half", 3.5, 4), ("less than one", 0.2, 1)]
    {
        let (mut history, mut busy) = (History::new(5, Moment::ZERO), Busy::default());
        for second in 0..30 {
            let (now, seconds) = (SECOND * second, f64::from(second) * places);
            busy.look(seconds, pace.shrink_after, now);
            let busy = busy.instances(seconds, NonZeroU32::MIN, now);
            let number = history.look((1, busy), bounds(0, 10), &pace, now);
            history.stands(number, now);
        }
        assert_eq!(history.number(), expected, "{case}");
    }
}

#[test]
fn a_number_that_the_file_no_longer_allows_is_mended_at_once() {
    let mut history = History::new(8, Moment::ZERO);
    assert_eq!(history.look((8, 0), bounds(1, 3), &Pace::default(), Moment::ZERO), 3);
    let mut history = History::new(0, Moment::ZERO);
    assert_eq!(history.look((0, 0), bounds(2, 3), &Pace::default(), Moment::ZERO), 2);
}

#[test]
fn the_mean_is_that_of_the_last_tasks() {
    let mut mean = Mean::default();
    assert_eq!(mean.get(), None);
    mean.look(0, 0.0);
    assert_eq!(mean.get(), None, "none has ended");
    mean.look(10, 5.0);
    assert_eq!(mean.get(), Some(Duration::from_millis(500)));
    mean.look(11, 105.0);
    assert!(mean.get().unwrap() < SECOND * 11, "one that is long counts a tenth: {mean:?}");
    mean.look(200, 105.0 + 189.0 * 2.0);
    let settled = mean.get().unwrap();
    assert!(settled > SECOND * 19 / 10 && settled < SECOND * 21 / 10, "{settled:?}");
    mean.look(200, 483.0);
    assert_eq!(mean.get(), Some(settled), "nothing new");
}

#[test]
fn one_is_stopped_only_when_it_can_hold_nothing_any_more() {
    let sign = |at: &'static str, is_paused, is_idle| Some(Sign { at, is_paused, is_idle });
    let limit = SECOND * 60;
    for (case, looks) in [
        (
            "idle when its last requests are over, and told of it after that",
            vec![
                (0, sign("a", false, true), Step::Pause),
                (1, sign("b", true, true), Step::Pause),
                (6, sign("c", true, true), Step::Pause),
                (9, sign("c", true, true), Step::Pause),
                (11, sign("d", true, true), Step::Stop),
            ],
        ),
        (
            "it finishes what it holds",
            vec![
                (0, sign("a", true, false), Step::Pause),
                (30, sign("b", true, false), Step::Pause),
                (40, sign("c", true, true), Step::Stop),
            ],
        ),
        (
            "it took tasks again meanwhile, e.g. because it announced itself",
            vec![
                (0, sign("a", true, true), Step::Pause),
                (5, sign("b", false, true), Step::Pause),
                (10, sign("c", true, true), Step::Pause),
                (15, sign("d", true, true), Step::Pause),
                (20, sign("e", true, true), Step::Stop),
            ],
        ),
        (
            "it never gets done",
            vec![
                (0, sign("a", true, false), Step::Pause),
                (15, sign("b", true, false), Step::Pause),
                (30, sign("c", true, false), Step::Pause),
                (45, sign("d", true, false), Step::Pause),
                (60, sign("e", true, false), Step::GiveUp),
            ],
        ),
        (
            "it is silent",
            vec![(0, None, Step::Pause), (19, None, Step::Pause), (20, None, Step::Stop)],
        ),
    ] {
        let mut drain = Drain::new(Moment::ZERO);
        for (second, sign, expected) in looks {
            let step = drain.look(sign, limit, SECOND * second);
            assert_eq!(step, expected, "{case}, second {second}");
        }
    }
}

fn cap(cores: u64, gigabytes: u64) -> Cap {
    let some = |amount: u64| (amount > 0).then_some(amount);
    Cap { millicpus: some(cores * 1_000), memory: some(gigabytes << 30) }
}

fn wish(cores: u64, min: u32, present: u32, wanted: u32, waits: u64) -> Wish {
    Wish {
        share: Share { millicpus: cores * 1_000, memory: 1 << 30 },
        min,
        present,
        draining: 0,
        wanted,
        waits: SECOND * u32::try_from(waits).unwrap(),
    }
}

fn grants(cap: Cap, wishes: &[(&str, Wish)]) -> Vec<(u32, Option<String>)> {
    let wishes = wishes.iter().map(|(id, wish)| (id.parse().unwrap(), *wish)).collect();
    let grants: BTreeMap<PluginId, Grant> = grant(cap, &wishes);
    grants.into_values().map(|grant| (grant.number, grant.refused)).collect()
}

#[test]
fn the_cap_is_shared_out_by_the_table() {
    let leaving = |wish: Wish, draining| Wish { draining, ..wish };
    for (case, cap, wishes, expected) in [
        ("no cap", cap(0, 0), vec![wish(1, 0, 1, 9, 0), wish(1, 1, 0, 9, 0)], vec![9, 9]),
        ("room for all", cap(4, 0), vec![wish(1, 1, 1, 2, 0), wish(1, 1, 1, 2, 0)], vec![2, 2]),
        ("minimums first", cap(3, 0), vec![wish(1, 0, 0, 9, 99), wish(1, 2, 0, 2, 0)], vec![1, 2]),
        (
            "memory counts, too",
            cap(0, 3),
            vec![wish(9, 0, 0, 9, 0), wish(9, 1, 1, 1, 0)],
            vec![2, 1],
        ),
        (
            "the longest wait goes first",
            cap(3, 0),
            vec![wish(1, 1, 1, 3, 1), wish(1, 1, 1, 3, 5)],
            vec![1, 2],
        ),
        ("then in turn", cap(6, 0), vec![wish(1, 1, 1, 9, 1), wish(1, 1, 1, 9, 5)], vec![3, 3]),
        (
            "what runs is not taken away for another's growth",
            cap(4, 0),
            vec![wish(1, 1, 3, 3, 0), wish(1, 1, 1, 4, 99)],
            vec![3, 1],
        ),
        (
            "but for another's minimum",
            cap(4, 0),
            vec![wish(1, 1, 3, 3, 0), wish(1, 2, 1, 2, 0)],
            vec![2, 2],
        ),
        ("a smaller cap", cap(2, 0), vec![wish(1, 1, 4, 4, 0)], vec![2]),
        (
            "no room for all minimums",
            cap(2, 0),
            vec![wish(1, 2, 0, 2, 0), wish(1, 2, 2, 2, 0)],
            vec![0, 2],
        ),
        (
            "who drains still takes room",
            cap(4, 0),
            vec![leaving(wish(1, 0, 1, 1, 0), 2), wish(1, 1, 1, 4, 9)],
            vec![1, 1],
        ),
        (
            "a large one is not overtaken",
            cap(4, 0),
            vec![wish(3, 0, 0, 1, 9), wish(1, 0, 2, 4, 5)],
            vec![0, 2],
        ),
        (
            "unless it can never fit",
            cap(4, 0),
            vec![wish(5, 0, 0, 1, 9), wish(1, 0, 2, 4, 5)],
            vec![0, 4],
        ),
    ] {
        let named: Vec<(&str, Wish)> = ["a", "b"].into_iter().zip(wishes).collect();
        let numbers: Vec<u32> = grants(cap, &named).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, expected, "{case}");
    }
}

#[test]
fn who_gets_less_is_told_why() {
    let all = grants(cap(2, 3), &[("a", wish(1, 1, 1, 4, 9)), ("b", wish(1, 1, 1, 1, 0))]);
    let why = "4 wanted, 1 allowed by the cap of the fleet: one more takes 1 cpus, 2 of maxCpus 2 \
               are given away";
    assert_eq!(all, [(1, Some(why.to_owned())), (1, None)]);
    let half = Share { millicpus: 250, memory: 1536 << 20 };
    let all = grants(cap(0, 2), &[("a", Wish { share: half, ..wish(1, 1, 1, 2, 9) })]);
    let why = "2 wanted, 1 allowed by the cap of the fleet: one more takes 1536m, 1536m of \
               maxMemory 2g are given away";
    assert_eq!(all[0].1.as_deref(), Some(why));
    let all = grants(cap(4, 0), &[("a", wish(3, 0, 0, 1, 9)), ("b", wish(1, 0, 2, 4, 5))]);
    assert!(
        all[1].1.as_deref().unwrap().ends_with("is kept for a, which has waited longer"),
        "{all:?}"
    );
}

proptest! {
    #[test]
    fn a_cap_is_never_exceeded_and_room_is_used(
        cores in 1u64..20,
        gigabytes in 1u64..20,
        wishes in proptest::collection::vec(
            (1u64..5, 1u64..5, 0u32..4, 0u32..6, 0u32..3, 0u32..6, 0u64..9), 1..6),
    ) {
        let cap = cap(cores, gigabytes);
        let wishes: BTreeMap<PluginId, Wish> = (b'a'..).zip(&wishes).map(|(letter, wish)| {
            let (cpu, memory, min, present, draining, more, waits) = *wish;
            let id = char::from(letter).to_string().parse().unwrap();
            let share = Share { millicpus: cpu * 500, memory: memory << 29 };
            let waits = Duration::from_secs(waits);
            (id, Wish { share, min, present, draining, wanted: min + more, waits })
        }).collect();

        let grants = grant(cap, &wishes);

        let sum = |of: &dyn Fn(&Share) -> u64, count: &dyn Fn(&PluginId, &Wish) -> u32| -> u64 {
            wishes.iter().map(|(id, wish)| of(&wish.share) * u64::from(count(id, wish))).sum()
        };
        let all = |id: &PluginId, wish: &Wish| grants[id].number + wish.draining;
        let leaving = |_: &PluginId, wish: &Wish| wish.draining;
        for (of, most) in [
            ((|share| share.millicpus) as fn(&Share) -> u64, cap.millicpus),
            (|share| share.memory, cap.memory),
        ] {
            // Those that drain cannot be made to go faster.
            let most = most.unwrap().max(sum(&of, &leaving));
            prop_assert!(sum(&of, &all) <= most, "{:?}", &grants);
        }
        for (id, wish) in &wishes {
            let Grant { number, refused } = &grants[id];
            prop_assert!(*number <= wish.wanted);
            prop_assert_eq!(refused.is_some(), *number < wish.wanted, "{}", id);
        }
    }
}
