//! The longest time in which nothing was written although there was work; pure.

/// The longest stretch, in the same unit, within times of `work` (from handed in until settled) in
/// which nothing was `written`.
#[must_use]
pub fn longest(mut work: Vec<(i64, i64)>, mut written: Vec<i64>) -> i64 {
    work.sort_unstable();
    written.sort_unstable();
    let mut busy: Vec<(i64, i64)> = Vec::new();
    for (from, until) in work {
        match busy.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            Some(_) | None => busy.push((from, until)),
        }
    }
    let mut longest = 0;
    for (from, until) in busy {
        // A long experiment has many of both.
        let (first, last) =
            (written.partition_point(|at| *at < from), written.partition_point(|at| *at <= until));
        let mut since = from;
        for at in written.get(first..last).unwrap_or_default().iter().chain([&until]) {
            longest = longest.max(at - since);
            since = *at;
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_in_which_there_was_work_counts() {
        for (case, work, written, expected) in [
            ("nothing", vec![], vec![], 0),
            ("at the beginning", vec![(0, 50)], vec![30, 45], 30),
            ("in the middle", vec![(0, 50)], vec![45, 5], 40),
            ("at the end", vec![(0, 50)], vec![10], 40),
            ("no work between", vec![(40, 50), (0, 10)], vec![8, 45], 8),
            ("one after the other", vec![(20, 50), (0, 20)], vec![8, 45], 37),
            ("one within the other", vec![(0, 60), (10, 20)], vec![], 60),
        ] {
            assert_eq!(longest(work, written), expected, "{case}");
        }
    }
}
