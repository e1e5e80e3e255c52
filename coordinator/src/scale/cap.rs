//! PURE: who gets instances when the fleet may not use more of this machine.
//!
//! Minimums go first, then what runs, then who has waited longest, one instance each in turn. Who
//! waits longest and does not fit is not overtaken by those who would, unless it could never fit.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use broker_config::PluginId;

/// What all instances of the fleet may use together; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cap {
    /// Thousandths of processor cores.
    pub millicpus: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// What one instance counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Thousandths of processor cores.
    pub millicpus: u64,
    /// Bytes.
    pub memory: u64,
}

/// What a plugin would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What one instance counts for.
    pub share: Share,
    /// The fewest that it should have.
    pub min: u32,
    /// How many it has, without those that drain.
    pub present: u32,
    /// How many more are still there and drain.
    pub draining: u32,
    /// How many it would have; at least `min`.
    pub wanted: u32,
    /// For how long it has wanted more than it has.
    pub waits: Duration,
}

/// What a plugin gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// So many instances.
    pub number: u32,
    /// Why not as many as it wants.
    pub refused: Option<String>,
}

impl Default for Share {
    fn default() -> Self {
        Self { millicpus: 1_000, memory: 1 << 30 }
    }
}

/// Thousandths of so many cores, at least one.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held between bounds that fit"
)]
pub fn millis(cores: f64) -> u64 {
    (cores * 1e3).clamp(1.0, 1e15).round() as u64
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    millicpus: u64,
    memory: u64,
}

impl Used {
    fn with(self, share: Share, count: u32) -> Self {
        let count = u64::from(count);
        Self {
            millicpus: self.millicpus.saturating_add(share.millicpus.saturating_mul(count)),
            memory: self.memory.saturating_add(share.memory.saturating_mul(count)),
        }
    }

    fn fits(self, cap: Cap) -> bool {
        cap.millicpus.is_none_or(|most| self.millicpus <= most)
            && cap.memory.is_none_or(|most| self.memory <= most)
    }
}

/// Shares out what the fleet may use.
#[must_use]
pub fn grant(cap: Cap, wishes: &BTreeMap<PluginId, Wish>) -> BTreeMap<PluginId, Grant> {
    let leaving =
        wishes.values().fold(Used::default(), |used, wish| used.with(wish.share, wish.draining));
    let mut round = Round { cap, wishes, used: leaving, numbers: BTreeMap::new() };
    let by_id: Vec<&PluginId> = wishes.keys().collect();
    let mut by_wait = by_id.clone();
    // Stable: the order of ids where they have waited equally long.
    by_wait.sort_by_key(|id| std::cmp::Reverse(wishes.get(*id).map(|wish| wish.waits)));
    round.fill(&by_id, |wish| wish.min.min(wish.present));
    round.fill(&by_id, |wish| wish.min);
    round.fill(&by_wait, |wish| wish.present.min(wish.wanted));
    let blocked_by = round.grow(&by_wait);
    let used = round.used;
    let granted = |id: &PluginId, wish: &Wish| {
        let number = round.numbers.get(id).copied().unwrap_or_default();
        let refused = (number < wish.wanted).then(|| {
            let waits_for = blocked_by.as_ref().filter(|by| *by != id);
            reason(cap, used, wish, number, waits_for)
        });
        Grant { number, refused }
    };
    wishes.iter().map(|(id, wish)| (id.clone(), granted(id, wish))).collect()
}

struct Round<'a> {
    cap: Cap,
    wishes: &'a BTreeMap<PluginId, Wish>,
    used: Used,
    numbers: BTreeMap<PluginId, u32>,
}

impl Round<'_> {
    /// Gives each one instance in turn up to what `most` says, as long as they fit.
    fn fill(&mut self, order: &[&PluginId], most: impl Fn(&Wish) -> u32) {
        let mut left: Vec<&PluginId> = order.to_vec();
        while !left.is_empty() {
            left.retain(|id| self.give(id, &most) == Some(true));
        }
    }

    /// As [`Round::fill`] up to what they want; ends at the first that does not fit but could.
    fn grow(&mut self, order: &[&PluginId]) -> Option<PluginId> {
        let mut left: Vec<&PluginId> = order.to_vec();
        while !left.is_empty() {
            let mut next = Vec::new();
            for id in left {
                match self.give(id, |wish| wish.wanted) {
                    Some(true) => next.push(id),
                    Some(false) if self.could_fit(id) => return Some(id.clone()),
                    Some(false) | None => {}
                }
            }
            left = next;
        }
        None
    }

    /// One more; `None` when it has enough, `false` when there is no room.
    fn give(&mut self, id: &PluginId, most: impl Fn(&Wish) -> u32) -> Option<bool> {
        let wish = self.wishes.get(id)?;
        let number = self.numbers.entry(id.clone()).or_default();
        if *number >= most(wish) {
            return None;
        }
        let used = self.used.with(wish.share, 1);
        let fits = used.fits(self.cap);
        if fits {
            self.used = used;
            *number += 1;
        }
        Some(fits)
    }

    /// Whether one more would fit if all had their minimums only.
    fn could_fit(&self, id: &PluginId) -> bool {
        let least = self
            .wishes
            .iter()
            .fold(Used::default(), |used, (_, wish)| used.with(wish.share, wish.min));
        self.wishes.get(id).is_some_and(|wish| least.with(wish.share, 1).fits(self.cap))
    }
}

fn reason(cap: Cap, used: Used, wish: &Wish, number: u32, waits_for: Option<&PluginId>) -> String {
    let Wish { wanted, share, .. } = wish;
    let begin = format!("{wanted} wanted, {number} allowed by the cap of the fleet");
    let over = used.with(*share, 1);
    let mut lacks = Vec::new();
    if let Some(most) = cap.millicpus.filter(|most| over.millicpus > *most) {
        let (share, used, most) = (Cores(share.millicpus), Cores(used.millicpus), Cores(most));
        lacks.push(format!("one more takes {share} cpus, {used} of maxCpus {most} are given away"));
    }
    if let Some(most) = cap.memory.filter(|most| over.memory > *most) {
        let (share, used, most) = (Bytes(share.memory), Bytes(used.memory), Bytes(most));
        lacks.push(format!("one more takes {share}, {used} of maxMemory {most} are given away"));
    }
    match (lacks.is_empty(), waits_for) {
        (true, Some(other)) => {
            format!("{begin}: what is left is kept for {other}, which has waited longer")
        }
        (true, None) => begin,
        (false, _) => format!("{begin}: {}", lacks.join("; ")),
    }
}

struct Cores(u64);

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{}", format!("{whole}.{part:03}").trim_end_matches('0'))
    }
}

struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "g"), (20, "m"), (10, "k")];
        let whole = units
            .iter()
            .find(|(shift, _)| self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift));
        match whole {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None if self.0 >= 1 << 20 => write!(f, "{}m", self.0 >> 20),
            None => write!(f, "{}", self.0),
        }
    }
}
