//! Whether anything grew while a fleet soaked; pure.
//!
//! Of the last two thirds of the time, in which the broker and the coordinators are the same processes all the time,
//! the first quarter is compared with the last one, by medians: what is short, a fault for example, does not count.
//! Of a role those processes count that were there in both, if there are any.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::sample::{BROKER, HARNESS, ProcessState, Sample, StreamState};
use crate::chaos::plan::Soak;

/// Memory may be so much more in the end, in kB …
const MORE_KB: u64 = 16 * 1_024;
/// … or this part of what it was.
const MORE_PART: u64 = 10;
/// Descriptors may be so many more.
const MORE_DESCRIPTORS: u64 = 8;
/// The broker keeps every record, and its subject in memory: so many bytes may be for each.
const BYTES_A_RECORD: u64 = 2_000;
/// So many seconds' worth of work may wait more than before …
const MORE_WAITING: u64 = 10;
/// … and so many at any time.
const MOST_WAITING: u64 = 60;
/// Consumers of who watches a stream: so many more.
const MORE_WATCHING: u64 = 1;
/// One of so many is the median …
const MEDIAN: usize = 2;
/// … and what is there nearly always.
const NEARLY_ALWAYS: usize = 10;
/// In less neither memory says anything, because every process still takes what it needs, nor do consumers of
/// who watches: one that was cut off leaves its consumer behind for a minute.
const SHORTEST: Duration = Duration::from_secs(15 * 60);

/// The streams that are not judged by their consumers alone.
#[derive(Clone, Copy, Debug)]
pub struct Streams<'a> {
    /// Of submissions and of tasks: messages there wait.
    pub waiting: [&'a str; 2],
    /// Of records: its messages stay.
    pub records: &'a str,
}

/// What came of a soak.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flat {
    /// How long files were handed in.
    pub lasting_seconds: u64,
    /// Tasks a second that were handed in.
    pub wanted_rate: u32,
    /// Tasks a second that were settled, from the first file until nothing was left.
    pub reached_rate: f64,
    /// How often was looked.
    pub samples: usize,
    /// Bytes of the broker's memory for each record that came to be stored meanwhile; less than 0 when it shrank.
    pub broker_bytes_a_record: Option<i64>,
    /// What was compared.
    pub lines: Vec<Line>,
    /// What is wrong.
    #[serde(skip)]
    pub problems: Vec<String>,
}

/// Something in the first and in the last quarter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What.
    pub what: String,
    /// Its median in the first quarter.
    pub first: u64,
    /// Its median in the last quarter.
    pub last: u64,
    /// More than this it may not be then; `None` = it is not judged.
    pub most: Option<u64>,
    /// Less than this neither.
    pub least: u64,
}

impl Line {
    fn is_wrong(&self) -> bool {
        self.last < self.least || self.most.is_some_and(|most| self.last > most)
    }
}

/// Judges what was seen; `settled` are tasks, in the `seconds` that all took.
#[must_use]
pub fn judge(
    soak: Soak,
    samples: &[Sample],
    streams: Streams<'_>,
    settled: usize,
    took: Duration,
) -> Flat {
    let settled = u32::try_from(settled).unwrap_or(u32::MAX);
    let reached_rate = f64::from(settled) / took.as_secs_f64().max(0.001);
    let mut flat = Flat {
        lasting_seconds: soak.lasting.as_secs(),
        wanted_rate: soak.rate,
        reached_rate: (reached_rate * 10.0).round() / 10.0,
        samples: samples.len(),
        ..Flat::default()
    };
    if reached_rate < f64::from(soak.at_least) {
        let at_least = soak.at_least;
        flat.problems.push(format!("{reached_rate:.1} tasks a second, less than {at_least}"));
    }
    let is_long = soak.lasting >= SHORTEST;
    let quarters = Quarters::of(soak, samples);
    if quarters.first.is_empty() || quarters.last.is_empty() {
        flat.problems.push("nobody has looked whether anything grows".to_owned());
        return flat;
    }
    let records = quarters.stream(streams.records, |stream| stream.messages);
    let records = records.map_or(0, |(first, last)| last.saturating_sub(first));
    for role in quarters.roles() {
        let steady = quarters.steady(&role);
        let of = |get: fn(&ProcessState) -> u64| quarters.process(&role, &steady, get);
        let Some((memory, descriptors)) =
            of(|process| process.held.memory_kb).zip(of(|process| process.held.descriptors))
        else {
            flat.problems.push(format!("{role} was not there at the beginning or at the end"));
            continue;
        };
        let is_judged = role != HARNESS;
        let (first, last) = memory;
        let more = if role == BROKER {
            if records > 0 {
                let grown = i64::try_from(last).ok().zip(i64::try_from(first).ok());
                let grown = grown.map(|(last, first)| (last - first).saturating_mul(1_024));
                flat.broker_bytes_a_record =
                    grown.zip(i64::try_from(records).ok()).map(|(grown, records)| grown / records);
            }
            (records.saturating_mul(BYTES_A_RECORD) / 1_024).max(MORE_KB)
        } else {
            MORE_KB.max(first / MORE_PART)
        };
        let most = (is_judged && is_long).then_some(first.saturating_add(more));
        flat.lines.push(Line {
            what: format!("{role}, memory in kB"),
            first,
            last,
            most,
            least: 0,
        });
        let (first, last) = descriptors;
        let most = is_judged.then_some(first.saturating_add(MORE_DESCRIPTORS));
        flat.lines.push(Line { what: format!("{role}, descriptors"), first, last, most, least: 0 });
    }
    for stream in quarters.streams() {
        if let Some((first, last)) = quarters.stream(&stream, |stream| stream.durable) {
            let what = format!("{stream}, consumers");
            flat.lines.push(Line { what, first, last, most: Some(first), least: first });
        }
        if let Some((first, last)) = quarters.least(&stream, |stream| stream.ephemeral) {
            let what = format!("{stream}, consumers that watch");
            let most = is_long.then_some(first.saturating_add(MORE_WATCHING));
            flat.lines.push(Line { what, first, last, most, least: 0 });
        }
    }
    let rate = u64::from(soak.rate);
    for stream in streams.waiting {
        let Some((first, last)) = quarters.stream(stream, |stream| stream.messages) else {
            flat.problems.push(format!("{stream} was not there at the beginning or at the end"));
            continue;
        };
        let most = Some(first.saturating_add(rate.saturating_mul(MORE_WAITING)));
        flat.lines.push(Line { what: format!("{stream}, waiting"), first, last, most, least: 0 });
        let its = quarters.all.iter().flat_map(|sample| sample.streams.iter());
        let peak = its.filter(|state| state.name == stream).map(|state| state.messages).max();
        let peak = peak.unwrap_or(0);
        if peak > rate.saturating_mul(MOST_WAITING) {
            flat.problems.push(format!("{peak} messages waited in {stream}"));
        }
    }
    for line in flat.lines.iter().filter(|line| line.is_wrong()) {
        let Line { what, first, last, .. } = line;
        flat.problems.push(format!("{what}: {first} at first, {last} at last"));
    }
    flat
}

impl Flat {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        let rate = format!("{:.1} tasks/s reached, {} wanted", self.reached_rate, self.wanted_rate);
        // Writing to a string cannot fail.
        writeln!(table, "{:<24}{rate}, for {} s", "soak", self.lasting_seconds).ok();
        if let Some(bytes) = self.broker_bytes_a_record {
            writeln!(table, "{BROKER:<24}{bytes} bytes of memory for each record").ok();
        }
        // Most streams have no consumers.
        let lines = self.lines.iter().filter(|line| line.first + line.last > 0);
        for Line { what, first, last, most, .. } in lines {
            let most =
                most.map_or_else(|| "not judged".to_owned(), |most| format!("at most {most}"));
            writeln!(table, "  {what:<44}{first:>10} → {last:>10} ({most})").ok();
        }
        table
    }
}

/// The times that are compared.
struct Quarters<'a> {
    first: Vec<&'a Sample>,
    last: Vec<&'a Sample>,
    all: Vec<&'a Sample>,
}

impl<'a> Quarters<'a> {
    fn of(soak: Soak, samples: &'a [Sample]) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (from, until) = (millis(soak.judged_from()), millis(soak.lasting));
        let quarter = (until - from) / 4;
        let within = |times: Range<u64>| {
            samples.iter().filter(|sample| times.contains(&sample.at_ms)).collect()
        };
        Self {
            first: within(from..from + quarter),
            last: within(until - quarter..until),
            all: within(from..until),
        }
    }

    fn roles(&self) -> BTreeSet<String> {
        let both = self.first.iter().chain(&self.last);
        let all = both.flat_map(|sample| &sample.processes);
        all.map(|process| process.role.clone()).collect()
    }

    fn streams(&self) -> BTreeSet<String> {
        let both = self.first.iter().chain(&self.last);
        both.flat_map(|sample| &sample.streams).map(|stream| stream.name.clone()).collect()
    }

    /// Processes of a role that were there at the beginning and at the end.
    fn steady(&self, role: &str) -> BTreeSet<u32> {
        let pids = |samples: &[&Sample]| -> BTreeSet<u32> {
            let all = samples.iter().flat_map(|sample| &sample.processes);
            all.filter(|process| process.role == role).map(|process| process.pid).collect()
        };
        &pids(&self.first) & &pids(&self.last)
    }

    /// What the processes of a role hold together, each by its median, if some were there all the time; else what
    /// one of them does.
    fn process(
        &self,
        role: &str,
        steady: &BTreeSet<u32>,
        get: fn(&ProcessState) -> u64,
    ) -> Option<(u64, u64)> {
        let of = |samples: &[&Sample], is_its: &dyn Fn(u32) -> bool| {
            let all = samples.iter().flat_map(|sample| &sample.processes);
            let its = all.filter(|process| process.role == role && is_its(process.pid));
            value(its.map(get).collect(), MEDIAN)
        };
        let held = |samples: &[&Sample]| {
            if steady.is_empty() {
                return of(samples, &|_| true);
            }
            steady.iter().map(|pid| of(samples, &|its| its == *pid)).sum()
        };
        held(&self.first).zip(held(&self.last))
    }

    fn stream(&self, name: &str, get: fn(&StreamState) -> u64) -> Option<(u64, u64)> {
        self.both(stream_of(name, get), MEDIAN)
    }

    /// What there were nearly all the time.
    fn least(&self, name: &str, get: fn(&StreamState) -> u64) -> Option<(u64, u64)> {
        self.both(stream_of(name, get), NEARLY_ALWAYS)
    }

    fn both(&self, get: impl Fn(&Sample) -> Option<u64>, part: usize) -> Option<(u64, u64)> {
        let of = |samples: &[&Sample]| {
            value(samples.iter().filter_map(|sample| get(sample)).collect(), part)
        };
        of(&self.first).zip(of(&self.last))
    }
}

/// The value that one of so many does not reach: the median, of [`MEDIAN`].
fn value(mut values: Vec<u64>, part: usize) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / part).copied()
}

/// A number of a stream, where the broker says one.
fn stream_of(name: &str, get: fn(&StreamState) -> u64) -> impl Fn(&Sample) -> Option<u64> {
    move |sample| sample.streams.iter().find(|stream| stream.name == name).map(get)
}

#[cfg(test)]
mod tests;
