//! What grows is found out, and what only comes and goes is not.

use super::*;
use crate::chaos::soak::sample::{COORDINATOR, Held};

const SOAK: Soak = Soak { lasting: Duration::from_secs(3_600), rate: 220, at_least: 200 };
const STREAMS: Streams<'_> = Streams { waiting: ["SUBMIT", "TASKS"], records: "RECORDS" };
const SETTLED: usize = 790_000;
const TOOK: Duration = Duration::from_secs(3_610);

fn process(role: &str, pid: u32, memory_kb: u64, descriptors: u64) -> ProcessState {
    ProcessState { role: role.to_owned(), pid, held: Held { memory_kb, descriptors } }
}

fn stream(name: &str, durable: u64, messages: u64) -> StreamState {
    StreamState { name: name.to_owned(), durable, ephemeral: 1, messages, bytes: messages * 300 }
}

/// An hour in which nothing is wrong: a worker is replaced every ten minutes, the other one stays, the broker
/// takes a kB for each record.
fn hour() -> Vec<Sample> {
    (0..720)
        .map(|number| {
            let records = 1_100 * u64::from(number);
            Sample {
                at_ms: 5_000 * u64::from(number),
                streams: vec![
                    stream("RECORDS", 1, records),
                    stream("SUBMIT", 1, 3),
                    stream("TASKS", 6, 20),
                ],
                processes: vec![
                    process(BROKER, 1, 100_000 + records, 40),
                    process(COORDINATOR, 2, 40_000, 15),
                    process(COORDINATOR, 3, 30_000, 14),
                    process("ffmpeg", 4, 25_000, 13),
                    process("ffmpeg", 100 + number / 120, 20_000, 13),
                    process(HARNESS, 5, 50_000 + records, 40),
                ],
                ..Sample::default()
            }
        })
        .collect()
}

fn problems(samples: &[Sample]) -> Vec<String> {
    judge(SOAK, samples, STREAMS, SETTLED, TOOK).problems
}

#[test]
fn an_hour_in_which_nothing_grows_is_good() {
    let flat = judge(SOAK, &hour(), STREAMS, SETTLED, TOOK);

    assert!(flat.problems.is_empty(), "{flat:#?}");
    assert_eq!((flat.reached_rate, flat.broker_bytes_a_record), (218.8, Some(1_024)));
    let of = |what: &str| flat.lines.iter().find(|line| line.what == what);
    let consumers = of("TASKS, consumers").map(|line| (line.first, line.last));
    assert_eq!(consumers, Some((6, 6)));
    assert_eq!(of("harness, memory in kB").map(|line| line.most), Some(None));
    assert_eq!(of("ffmpeg, memory in kB").map(|line| line.first), Some(25_000));
}

#[test]
fn whatever_grows_is_found_out() {
    type Change = fn(&mut Sample, u64);
    let cases: [(&str, Change, &str); 11] = [
        (
            "a coordinator leaks 400 kB a minute",
            |sample, minute| of(sample, 2).memory_kb += 400 * minute * 2,
            "coordinator, memory in kB: ",
        ),
        (
            "a worker that stays leaks",
            |sample, minute| of(sample, 4).memory_kb += 800 * minute,
            "ffmpeg, memory in kB: ",
        ),
        (
            "the broker takes 5 kB for each record",
            |sample, minute| of(sample, 1).memory_kb += 4 * 13_200 * minute,
            "nats-server, memory in kB: ",
        ),
        (
            "a coordinator forgets to close a descriptor every two minutes",
            |sample, minute| of(sample, 2).descriptors += minute,
            "coordinator, descriptors: ",
        ),
        (
            "so does the broker",
            |sample, minute| of(sample, 1).descriptors += minute / 2,
            "nats-server, descriptors: ",
        ),
        (
            "consumers are left behind",
            |sample, minute| {
                sample.streams[0].durable += minute / 10;
            },
            "RECORDS, consumers: ",
        ),
        (
            "who watches leaves its consumers behind for ever",
            |sample, minute| sample.streams[0].ephemeral += minute / 10,
            "RECORDS, consumers that watch: 3 at first, 6 at last",
        ),
        (
            "a consumer is gone in the end",
            |sample, minute| sample.streams[2].durable -= u64::from(minute > 45),
            "TASKS, consumers: 6 at first, 5 at last",
        ),
        (
            "tasks are left lying",
            |sample, minute| sample.streams[2].messages += 100 * minute,
            "TASKS, waiting: ",
        ),
        (
            "once very many submissions wait",
            |sample, minute| sample.streams[1].messages += 20_000 * u64::from(minute == 40),
            "20003 messages waited in SUBMIT",
        ),
        (
            "a stream of ours is gone",
            |sample, minute| sample.streams.truncate(if minute > 40 { 2 } else { 3 }),
            "TASKS was not there",
        ),
    ];
    for (case, change, problem) in cases {
        let mut samples = hour();
        for sample in &mut samples {
            let minute = sample.at_ms / 60_000;
            change(sample, minute);
        }
        let found = problems(&samples);
        assert!(found.iter().any(|found| found.contains(problem)), "{case}: {found:?}");
    }
}

fn of(sample: &mut Sample, pid: u32) -> &mut Held {
    let found = sample.processes.iter_mut().find(|process| process.pid == pid);
    &mut found.expect("a process").held
}

#[test]
fn what_comes_and_goes_is_not_held_against_anybody() {
    type Change = fn(&mut Sample, u64);
    let cases: [(&str, Change); 7] = [
        ("more in the first third", |sample, minute| {
            of(sample, 2).memory_kb += 1_000 * minute.min(20);
        }),
        (
            "a second worker of a plugin lives from the end of the first quarter on",
            |sample, minute| {
                sample.processes.retain(|process| process.pid < 100);
                if minute > 27 {
                    sample.processes.push(process("ffmpeg", 200, 25_000, 13));
                }
            },
        ),
        ("a consumer is deleted and made anew", |sample, minute| {
            sample.streams[2].durable -= u64::from(minute.is_multiple_of(7));
        }),
        ("who is cut off leaves a consumer behind for a minute", |sample, minute| {
            sample.streams[0].ephemeral += 5 * u64::from(!minute.is_multiple_of(3));
        }),
        ("the broker does not say", |sample, minute| {
            if minute.is_multiple_of(5) {
                sample.streams.clear();
            }
        }),
        ("a worker is stopped", |sample, minute| {
            sample.processes.retain(|process| process.pid != 4 || !minute.is_multiple_of(6));
        }),
        ("a worker that dies soon takes more each time", |sample, minute| {
            for process in sample.processes.iter_mut().filter(|process| process.pid >= 100) {
                process.held.memory_kb += 1_000 * minute;
            }
        }),
    ];
    for (case, change) in cases {
        let mut samples = hour();
        for sample in &mut samples {
            let minute = sample.at_ms / 60_000;
            change(sample, minute);
        }
        assert_eq!(problems(&samples), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn too_few_tasks_and_too_few_looks_are_problems() {
    let slow = judge(SOAK, &hour(), STREAMS, 700_000, TOOK).problems;
    assert_eq!(slow, ["193.9 tasks a second, less than 200"]);
    let blind = judge(SOAK, &[], STREAMS, SETTLED, TOOK).problems;
    assert_eq!(blind, ["nobody has looked whether anything grows"]);
}

#[test]
fn a_short_soak_does_not_judge_memory_and_judges_the_rest() {
    let short = Soak { lasting: Duration::from_secs(30), ..SOAK };
    let mut samples = hour();
    for sample in &mut samples {
        sample.at_ms /= 120;
        let second = sample.at_ms / 1_000;
        of(sample, 2).memory_kb += 10_000 * second;
        of(sample, 4).descriptors += second;
    }

    let found = judge(short, &samples, STREAMS, 6_600, Duration::from_secs(31)).problems;

    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("ffmpeg, descriptors"), "{found:?}");
}
