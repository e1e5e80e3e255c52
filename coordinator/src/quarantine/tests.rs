use super::*;

const T0: &str = "2026-01-02T03:00:00Z";

fn at(seconds: u64) -> Timestamp {
    let begun: Timestamp = T0.parse().unwrap();
    begun + Duration::from_secs(seconds)
}

fn rules() -> Rules {
    Rules { enough: 4, trial: 2, ..Rules::default() }
}

fn note(instance: &str, cid: &str, ending: Ending) -> Note {
    let (plugin, instance) = ("p".parse().unwrap(), instance.parse().unwrap());
    Note { plugin, instance, cid: cid.parse().unwrap(), ending }
}

/// Instances of version 1 by default; `-` before a name: it takes no tasks, `~`: of another version,
/// `/`: of another route.
fn seen(names: &[&str]) -> Vec<Seen> {
    let one = |name: &&str| Seen {
        plugin: "p".parse().unwrap(),
        instance: name.trim_start_matches(['-', '~', '/']).parse().unwrap(),
        version: if name.starts_with('~') { "2.0.0" } else { "1.0.0" }.to_owned(),
        route: name.starts_with('/').then(|| "gpu".parse().unwrap()),
        is_ready: !name.starts_with('-'),
    };
    names.iter().map(one).collect()
}

/// Takes in what is written as `instance: outcomes`, outcome by outcome: `f3` failed at file 3,
/// `p3` failed for good, `w3` ended well. A second passes with each.
fn play(ward: &mut Ward, begin: u64, story: &str) -> u64 {
    let mut now = begin;
    for words in story.split_whitespace() {
        let (instance, outcome) = words.split_once(':').unwrap();
        let (ending, file) = outcome.split_at(1);
        let ending = match ending {
            "w" => Ending::Well,
            "f" => Ending::Failed { permanent: false },
            _ => Ending::Failed { permanent: true },
        };
        now += 1;
        ward.note(note(instance, file, ending), at(now));
    }
    now
}

/// Shows steps in short.
fn short(steps: &[Step]) -> Vec<String> {
    let show = |step: &Step| match step {
        Step::Quarantined(term) => format!("quarantine {} {}", term.instance, term.times),
        Step::Released(_, instance, _) => format!("release {instance}"),
        Step::Pause(_, instance) => format!("pause {instance}"),
        Step::Announce(_, instance) => format!("announce {instance}"),
        Step::Doubt(_, instance, _) => format!("doubt {instance}"),
    };
    steps.iter().map(show).collect()
}

#[test]
fn only_who_fails_everything_while_another_works_is_taken_out() {
    let out = &["quarantine a 1", "pause a"][..];
    let table: [(&str, &str, &[&str], &[&str]); 19] = [
        ("enough in a row while b works", "a:f1 b:w9 a:f2 a:f3 a:f4", &["a", "b"], out),
        ("too few", "a:f1 b:w9 a:f2 a:f3", &["a", "b"], &[]),
        ("one that ended well in between", "a:f1 a:f2 a:w3 b:w9 a:f4 a:f5 a:f6", &["a", "b"], &[]),
        ("one file over and over", "b:w9 a:f1 a:f1 a:f1 a:f1 a:f1 b:w8", &["a", "b"], &[]),
        ("the last that serves", "a:f1 a:f2 a:f3 a:f4", &["a"], &["doubt a"]),
        ("b worked only before it", "b:w9 a:f1 a:f2 a:f3 a:f4", &["a", "b"], &["doubt a"]),
        ("b takes no tasks", "a:f1 b:w9 a:f2 a:f3 a:f4", &["a", "-b"], &["doubt a"]),
        ("b has gone", "a:f1 b:w9 a:f2 a:f3 a:f4", &["a"], &["doubt a"]),
        ("b is another version", "a:f1 b:w9 a:f2 a:f3 a:f4", &["a", "~b"], &["doubt a"]),
        ("b does another route", "a:f1 b:w9 a:f2 a:f3 a:f4", &["a", "/b"], &["doubt a"]),
        ("a takes none already", "a:f1 b:w9 a:f2 a:f3 a:f4", &["-a", "b"], &[]),
        ("b fails as well", "a:f1 b:w9 b:f5 a:f2 b:f6 a:f3 b:f7 a:f4", &["a", "b"], &["doubt a"]),
        (
            "b has failed as much, and ends one well at last",
            "a:f1 b:f1 a:f2 b:f2 a:f3 b:f3 a:f4 b:f4 b:w9",
            &["a", "b"],
            &["doubt a"],
        ),
        (
            "bad files, which fail at b, too",
            "b:w9 a:f1 a:f2 b:f1 b:w8 b:f2 a:f3 a:f4",
            &["a", "b"],
            &[],
        ),
        (
            "bad files, which b had first",
            "b:w9 b:f1 b:w8 b:f2 b:w7 a:f1 a:f2 a:f3 a:f4 b:w6",
            &["a", "b"],
            &[],
        ),
        (
            "files that failed at a and ended well at b",
            "a:f1 b:w1 a:f2 b:w2 a:f3 b:w3 a:f4 b:w4",
            &["a", "b"],
            out,
        ),
        (
            "permanent failures count half",
            "a:p1 a:p2 a:p3 b:w9 a:p4 a:p5 a:p6 a:p7",
            &["a", "b"],
            &[],
        ),
        ("but they count", "a:p1 a:p2 a:p3 b:w9 a:p4 a:p5 a:p6 a:p7 a:p8", &["a", "b"], out),
        (
            "what fails where all fails says nothing of files",
            "a:w9 b:w9 a:f1 a:f2 a:f3 b:f1 b:f2 b:f3 a:f4 c:w8",
            &["a", "b", "c"],
            &["quarantine a 1", "pause a"],
        ),
    ];
    for (case, story, names, expected) in table {
        let mut ward = Ward::new(rules(), Vec::new());
        let now = play(&mut ward, 0, story);
        let steps = ward.decide(&seen(names), at(now));
        assert_eq!(short(&steps), expected, "{case}");
    }
}

#[test]
fn what_lies_far_back_does_not_count_and_doubt_is_told_once() {
    let mut ward = Ward::new(rules(), Vec::new());
    play(&mut ward, 0, "a:f1 a:f2 a:f3");
    let now = play(&mut ward, 700, "a:f4 b:w9");
    assert_eq!(short(&ward.decide(&seen(&["a", "b"]), at(now))), [""; 0]);

    let mut ward = Ward::new(rules(), Vec::new());
    let now = play(&mut ward, 0, "a:f1 a:f2 a:f3 a:f4");
    assert_eq!(short(&ward.decide(&seen(&["a", "b"]), at(now))), ["doubt a"]);
    let now = play(&mut ward, now, "a:f5");
    assert_eq!(short(&ward.decide(&seen(&["a", "b"]), at(now))), [""; 0]);
    // Somebody does better after all.
    let now = play(&mut ward, now, "b:w9");
    assert_eq!(short(&ward.decide(&seen(&["a", "b"]), at(now))), ["quarantine a 1", "pause a"]);
}

#[test]
fn of_two_that_fail_everything_one_goes_on_where_nobody_else_is_left() {
    let mut ward = Ward::new(rules(), Vec::new());
    let now = play(&mut ward, 0, "a:f1 b:f2 c:w9 a:f3 b:f4 a:f5 b:f6 a:f7 b:f8");
    let both = ward.decide(&seen(&["a", "b", "c"]), at(now));
    assert_eq!(short(&both), ["quarantine a 1", "pause a", "quarantine b 1", "pause b"]);
    // Now the one that works begins to fail, too: it is the last one.
    let now = play(&mut ward, now, "c:f1 c:f2 c:f3 c:f4");
    let steps = ward.decide(&seen(&["-a", "-b", "c"]), at(now));
    assert_eq!(short(&steps), ["doubt c"]);
}

#[test]
fn a_trial_sets_free_or_sends_back_for_twice_as_long() {
    let mut ward = Ward::new(rules(), Vec::new());
    let now = play(&mut ward, 0, "a:f1 b:w9 a:f2 a:f3 a:f4");
    ward.decide(&seen(&["a", "b"]), at(now));
    let mut out = now;
    for (times, seconds) in [(2, 30), (3, 60), (4, 120)] {
        // It is told again as long as it takes tasks.
        assert_eq!(short(&ward.decide(&seen(&["a", "b"]), at(out + 1))), ["pause a"]);
        assert_eq!(short(&ward.decide(&seen(&["-a", "b"]), at(out + seconds - 1))), [""; 0]);
        assert_eq!(ward.held().len(), 1);
        let steps = ward.decide(&seen(&["-a", "b"]), at(out + seconds));
        assert_eq!(short(&steps), ["announce a"], "trial {times}");
        assert_eq!((ward.held().len(), ward.terms().count()), (0, 1));
        // Who does not hear it is told again, but not at once.
        assert_eq!(short(&ward.decide(&seen(&["-a", "b"]), at(out + seconds + 1))), [""; 0]);
        let steps = ward.decide(&seen(&["-a", "b"]), at(out + seconds + 31));
        assert_eq!(short(&steps), ["announce a"]);
        out = play(&mut ward, out + seconds + 31, "a:f1");
        assert_eq!(short(&ward.decide(&seen(&["a", "b"]), at(out))), [""; 0]);
        out = play(&mut ward, out, "b:w9 a:f2");
        let steps = ward.decide(&seen(&["a", "b"]), at(out));
        assert_eq!(short(&steps), [format!("quarantine a {times}"), "pause a".to_owned()]);
    }

    ward.decide(&seen(&["-a", "b"]), at(out + 240));
    let now = play(&mut ward, out + 240, "a:f1 a:w2");
    assert_eq!(short(&ward.decide(&seen(&["a", "b"]), at(now))), ["release a"]);
    assert_eq!(ward.terms().count(), 0);

    assert_eq!(rules().pause(40), rules().longest);
}

#[test]
fn one_that_goes_is_forgotten_and_the_last_one_left_is_tried_soon() {
    let quarantined = || {
        let mut ward = Ward::new(rules(), Vec::new());
        let now = play(&mut ward, 0, "a:f1 b:w9 a:f2 a:f3 a:f4");
        let steps = ward.decide(&seen(&["a", "b"]), at(now));
        let Some(Step::Quarantined(term)) = steps.first() else { panic!("{steps:?}") };
        (term.clone(), now)
    };
    let (term, now) = quarantined();
    let mut ward = Ward::new(rules(), vec![term.clone()]);
    // Another coordinator has taken over and has heard nobody yet.
    assert_eq!(short(&ward.decide(&[], at(now + 30))), [""; 0]);
    assert_eq!(short(&ward.decide(&seen(&["b"]), at(now + 60))), ["release a"]);

    let long = Term { until: at(now + 1_000), ..term };
    let mut ward = Ward::new(rules(), vec![long.clone()]);
    assert_eq!(short(&ward.decide(&seen(&["-a", "b"]), at(now + 30))), [""; 0]);
    assert_eq!(short(&ward.decide(&seen(&["-a", "-b"]), at(now + 30))), ["announce a"]);
    // What comes with another version starts with a clean sheet, and is told.
    let mut ward = Ward::new(rules(), vec![long.clone()]);
    let mut others = seen(&["~a", "b"]);
    others[0].is_ready = false;
    assert_eq!(short(&ward.decide(&others, at(now + 1))), ["release a", "announce a"]);
    let back: Term = serde_json::from_str(&serde_json::to_string(&long).unwrap()).unwrap();
    assert_eq!(back, long, "it survives the wire");
}
