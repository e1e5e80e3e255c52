//! The judge finds every kind of breach, and nothing where there is none.

use super::*;

const SECOND: i64 = 1_000_000;

fn execution(cid: &str, plugin: &str, pid: u32, began: i64, ended: Option<i64>) -> Execution {
    let task = format!("{cid}.{plugin}");
    Execution {
        plugin: plugin.to_owned(),
        cid: cid.to_owned(),
        task,
        attempt: 1,
        pid,
        began,
        ended,
    }
}

/// Two files, each plugin once, one after the other, by a worker per plugin.
fn good() -> Seen {
    let files = ["a", "b"];
    let mut seen = Seen {
        files: files.into_iter().map(str::to_owned).collect(),
        settled: files.into_iter().map(|cid| (cid.to_owned(), 1)).collect(),
        written: 12,
        work: vec![(0, 6 * SECOND)],
        written_at: (0..6).map(|at| at * SECOND + 10).collect(),
        stall_limit_ms: 1_000,
        ..Seen::default()
    };
    for cid in files {
        for (at, (pid, (plugin, ..))) in (0_i64..).zip((1_u32..).zip(GRAPH)) {
            let began = at * SECOND;
            seen.executions.push(execution(cid, plugin, pid, began, Some(began + 10)));
            seen.records.push((cid.to_owned(), plugin.to_owned(), RecordStatus::Completed));
        }
    }
    seen
}

/// The worker of `ffmpeg` is killed in the middle of file `a`, which runs again `later`. There is
/// another one, which serves from the beginning.
fn killed(later: i64) -> Seen {
    let mut seen = good();
    seen.executions[7].pid = 9;
    seen.executions[1].ended = None;
    let at = SECOND + 5;
    seen.kills.push(Kill { victim: Victim::Worker(2), at, back: at + 10 });
    let began = at + later;
    seen.executions.push(execution("a", "ffmpeg", 9, began, Some(began + 10)));
    seen
}

#[test]
fn what_was_promised_passes() {
    let mut skewed = good();
    skewed.executions[5].began = 4 * SECOND + 10 - SKEW;
    for (case, seen, again) in
        [("no kill", good(), 0), ("a kill", killed(9 * SECOND), 1), ("two clocks", skewed, 0)]
    {
        let verdict = judge(&seen);
        assert_eq!(verdict.problems, [""; 0], "{case}");
        assert_eq!(verdict.reexecutions, again, "{case}");
        assert!(verdict.bound >= again, "{case}: {}", verdict.bound);
    }
    let taken_away = Seen { repaired: 3, may_repair: true, ..good() };
    assert_eq!(judge(&taken_away).problems, [""; 0]);
    let turned = Seen { clock_jumps: 2, wrong_times: 1, ..good() };
    assert_eq!(judge(&turned).problems, [""; 0]);
}

#[test]
fn every_breach_is_found() {
    type Edit = fn(&mut Seen);
    let cases: [(&str, Edit); 18] = [
        ("were told of again", |seen| seen.told_twice = 1),
        ("no record shows", |seen| seen.clock_jumps = 2),
        ("without a record although there was work", |seen| {
            seen.written_at.retain(|at| *at != 2 * SECOND + 10);
        }),
        ("without a completed record", |seen| drop(seen.records.pop())),
        ("without a completed record", |seen| seen.records[3].2 = RecordStatus::Failed),
        ("nobody heard", |seen| seen.settled.retain(|cid, _| cid != "a")),
        ("replaced another one", |seen| seen.written += 1),
        ("submissions left", |seen| seen.submissions_left = 1),
        ("tasks left", |seen| seen.tasks_left = 1),
        ("dead letters", |seen| seen.dead_letters = 1),
        ("gone without a record", |seen| seen.repaired = 1),
        ("nobody handed in", |seen| seen.executions[0].cid = "c".to_owned()),
        ("nobody handed in", |seen| {
            seen.records.push(("a".to_owned(), "other".to_owned(), RecordStatus::Completed));
        }),
        ("before what they depend on", |seen| seen.executions[5].began = 4 * SECOND + 9 - SKEW),
        ("before what they depend on", |seen| seen.executions[0].ended = None),
        ("over the bound", |seen| seen.executions.push(seen.executions[0].clone())),
        ("no kill explains", |seen| {
            // There is room under the bound, but not for this one.
            seen.kills.push(Kill { victim: Victim::Worker(6), at: 6 * SECOND, back: 6 * SECOND });
            let again = execution("a", "file-info", 9, 20 * SECOND, Some(21 * SECOND));
            seen.executions.push(again);
        }),
        ("too late", |seen| *seen = killed(11 * SECOND)),
    ];
    for (problem, breach) in cases {
        let mut seen = good();
        breach(&mut seen);
        let found = judge(&seen).problems;
        assert!(found.iter().any(|text| text.contains(problem)), "{problem}: {found:?}");
    }
}

#[test]
fn a_worker_is_given_its_time_anew_when_the_broker_comes_back() {
    // The worker of the task dies a second after the beginning.
    for (again, absences, expected) in [
        (11, &[(0, 4)][..], 8_000),
        (18, &[(4, 9)], 10_000),
        (18, &[(14, 15)], 13_000),
        (28, &[(20, 21), (6, 11)], 9_000),
        (9, &[(30, 40), (0, 1)], 9_000),
    ] {
        let mut seen = killed(again * SECOND);
        for (at, back) in absences {
            let [at, back] = [at, back].map(|time| time * SECOND + 5);
            seen.kills.push(Kill { victim: Victim::Broker, at, back });
        }

        let verdict = judge(&seen);

        let ms = again.unsigned_abs() * 1_000;
        assert_eq!(verdict.recoveries, [Recovery { ms, attended_ms: expected }], "{absences:?}");
        let is_late = verdict.problems.iter().any(|text| text.contains("too late"));
        assert_eq!(is_late, expected > RECOVERED_WITHIN_MS, "{absences:?}");
    }
}

#[test]
fn nobody_is_late_where_no_worker_is_there() {
    let mut seen = killed(18 * SECOND);
    // The other one dies after four seconds; a third one comes after eleven.
    seen.kills.push(Kill { victim: Victim::Worker(9), at: 5 * SECOND + 5, back: 6 * SECOND });
    for again in seen.executions.iter_mut().filter(|execution| execution.began > 10 * SECOND) {
        again.pid = 10;
    }
    let first = execution("b", "ffmpeg", 10, 12 * SECOND + 5, Some(12 * SECOND + 10));
    seen.executions.push(first);

    let recoveries = judge(&seen).recoveries;

    assert_eq!(recoveries, [Recovery { ms: 18_000, attended_ms: 7_000 }]);
}

/// A worker of `ffmpeg`, or the coordinator, is away from the second on, for nine seconds; file `a`
/// is done again by the worker `pid`, `later`.
fn away(victim: Victim, pid: u32, later: i64) -> Seen {
    let mut seen = good();
    let at = SECOND + 5;
    seen.kills.push(Kill { victim, at, back: at + 9 * SECOND });
    let began = at + later;
    seen.executions.push(execution("a", "ffmpeg", pid, began, Some(began + 10)));
    seen
}

#[test]
fn who_was_away_explains_what_it_held_and_what_it_does_when_it_comes_back() {
    let (held, back) = (8 * SECOND, 9 * SECOND);
    let absent = |pid| Victim::Absent(vec![pid]);
    for (case, victim, pid, later, stale, explained) in [
        ("what it held, elsewhere", absent(2), 9, held, 0, true),
        ("what another one held", absent(8), 9, held, 0, false),
        ("what it was given before", absent(9), 9, back + SECOND, 1, true),
        ("long after it is back", absent(9), 9, back + 3 * SECOND, 0, false),
        ("the word of a deposed leader", Victim::Deposed, 9, back + SECOND, 1, true),
        ("while it is away", Victim::Deposed, 9, held, 0, false),
        ("what it tried again", Victim::Unreachable, 9, held, 1, true),
        ("long after", Victim::Deposed, 9, back + 3 * SECOND, 0, false),
        ("long after it was reached", Victim::Unreachable, 9, back + 3 * SECOND, 0, false),
    ] {
        let verdict = judge(&away(victim, pid, later));

        assert_eq!(verdict.stale, stale, "{case}");
        assert_eq!(verdict.unexplained, usize::from(!explained), "{case}");
        assert_eq!(verdict.problems.is_empty(), explained, "{case}: {:?}", verdict.problems);
    }
}

#[test]
fn a_deposed_leader_explains_only_what_it_was_about_to_send_when_it_was_stopped() {
    for (case, plugin, at, explained) in [
        ("ready right before", "tmdb", 4 * SECOND + 20, true),
        ("ready long before", "tmdb", 5 * SECOND + 20, false),
        ("ready only after", "tmdb", 4 * SECOND + 5, false),
        ("needs nothing", "file-info", 4 * SECOND + 20, true),
    ] {
        let mut seen = good();
        let back = at + 9 * SECOND;
        seen.kills.push(Kill { victim: Victim::Deposed, at, back });
        seen.executions.push(execution("a", plugin, 9, back + 10, Some(back + 20)));

        assert_eq!(judge(&seen).problems.is_empty(), explained, "{case}");
    }
}

#[test]
fn nobody_is_late_while_the_other_worker_is_away() {
    let mut seen = killed(18 * SECOND);
    // The other one is stopped after four seconds, for nine.
    let at = 5 * SECOND + 5;
    seen.kills.push(Kill { victim: Victim::Absent(vec![9]), at, back: at + 9 * SECOND });

    let recoveries = judge(&seen).recoveries;

    assert_eq!(recoveries, [Recovery { ms: 18_000, attended_ms: 5_000 }]);
}
