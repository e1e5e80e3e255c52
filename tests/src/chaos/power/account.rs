//! What was acknowledged, held against what is still there; pure.

use std::collections::BTreeMap;

/// What was written to: a stream, by its place in the list, and a key of it.
pub type Key = (usize, String);

/// One acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// To what.
    pub key: Key,
    /// What: later writes have higher numbers.
    pub value: u64,
    /// When it was acknowledged, in microseconds.
    pub at: i64,
}

/// What a cut has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Acknowledged writes that are gone.
    pub writes: u64,
    /// How long before the cut the oldest of them was acknowledged, in milliseconds.
    pub oldest_ms: u64,
}

/// All that was acknowledged and that nobody found missing yet.
#[derive(Clone, Debug, Default)]
pub struct Account {
    writes: BTreeMap<Key, Vec<(u64, i64)>>,
}

impl Account {
    /// Notes what was acknowledged.
    pub fn acknowledge(&mut self, writes: Vec<Write>) {
        for Write { key, value, at } in writes {
            self.writes.entry(key).or_default().push((value, at));
        }
    }

    /// Counts what is gone after a cut, and forgets it: nothing is counted twice. A key holds the last
    /// that was written to it, so that it shows all the writes before, too.
    pub fn check(&mut self, found: &BTreeMap<Key, u64>, cut: i64) -> Loss {
        let mut loss = Loss::default();
        self.writes.retain(|key, writes| {
            let there = found.get(key);
            for (_, at) in writes.iter().filter(|(value, _)| there.is_none_or(|it| value > it)) {
                loss.writes += 1;
                let age = u64::try_from((cut - at) / 1_000).unwrap_or(0);
                loss.oldest_ms = loss.oldest_ms.max(age);
            }
            // What was not written over is still to be there after the next cut.
            writes.retain(|(value, _)| there.is_some_and(|it| value <= it));
            let last = writes.iter().max().copied();
            *writes = last.into_iter().collect();
            !writes.is_empty()
        });
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (0, name.to_owned())
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        let none = Loss::default();
        for (case, acknowledged, found, expected) in [
            ("nothing was written", vec![], vec![], none),
            ("it is there", vec![("a", 1, 0)], vec![("a", 1)], none),
            ("more is there", vec![("a", 1, 0)], vec![("a", 3), ("b", 2)], none),
            ("it is gone", vec![("a", 1, 0)], vec![], Loss { writes: 1, oldest_ms: 9 }),
            (
                "another one is there",
                vec![("a", 1, 4_000)],
                vec![("b", 1)],
                Loss { writes: 1, oldest_ms: 5 },
            ),
            (
                "an older value is there",
                vec![("a", 1, 0), ("a", 2, 1_000), ("a", 3, 2_000)],
                vec![("a", 1)],
                Loss { writes: 2, oldest_ms: 8 },
            ),
            (
                "out of order",
                vec![("a", 3, 2_000), ("a", 1, 5_000)],
                vec![("a", 2)],
                Loss { writes: 1, oldest_ms: 7 },
            ),
            (
                "both are gone",
                vec![("a", 1, 0), ("b", 2, 8_999)],
                vec![],
                Loss { writes: 2, oldest_ms: 9 },
            ),
        ] {
            let mut account = Account::default();
            let writes = acknowledged.into_iter();
            let writes = writes.map(|(name, value, at)| Write { key: key(name), value, at });
            account.acknowledge(writes.collect());
            let found = found.into_iter().map(|(name, value)| (key(name), value)).collect();

            assert_eq!(account.check(&found, 9_000), expected, "{case}");
            assert_eq!(account.check(&found, 9_000), none, "{case}: counted twice");
        }
    }

    #[test]
    fn what_survived_a_cut_is_to_survive_the_next_one() {
        let mut account = Account::default();
        account.acknowledge(vec![Write { key: key("a"), value: 1, at: 0 }]);
        let there = BTreeMap::from([(key("a"), 1)]);

        assert_eq!(account.check(&there, 1_000).writes, 0);
        assert_eq!(account.check(&BTreeMap::new(), 2_000), Loss { writes: 1, oldest_ms: 2 });
    }
}
