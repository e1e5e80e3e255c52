//! Every number the coordinator keeps, with name, unit and meaning.
//!
//! Names follow Prometheus: base units, `_total` for what only rises. No label has many values:
//! plugins and outcomes, never files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use broker_config::{Cid, PluginId, Record, RecordStatus};

use crate::stats::Stats;

/// Upper bounds of the duration histogram, in seconds.
pub const BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0];

/// What is counted per plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PluginMetrics {
    /// `metafleet_tasks_published_total`
    pub published: u64,
    /// `metafleet_tasks_total{outcome="completed"}`
    pub completed: u64,
    /// `metafleet_tasks_total{outcome="skipped"}`
    pub skipped: u64,
    /// `metafleet_tasks_total{outcome="failed"}`
    pub failed: u64,
    /// `metafleet_task_retries_total`
    pub retries: u64,
    /// `metafleet_tasks_deferred_total`
    pub deferred: u64,
    /// `metafleet_tasks_repaired_total`: lost and published again.
    pub repaired: u64,
    /// `metafleet_task_duration_seconds`: counts per bucket, the last one without bound.
    pub durations: [u64; BUCKETS.len() + 1],
    /// Sum of the durations, in seconds.
    pub duration_sum: f64,
}

/// All numbers of one coordinator.
#[derive(Debug)]
pub struct Metrics {
    since: String,
    plugins: Mutex<BTreeMap<PluginId, PluginMetrics>>,
    stats: Mutex<BTreeMap<PluginId, Stats>>,
    settled: AtomicU64,
    open: AtomicU64,
    parked: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            since: jiff::Timestamp::now().to_string(),
            plugins: Mutex::default(),
            stats: Mutex::default(),
            settled: AtomicU64::default(),
            open: AtomicU64::default(),
            parked: AtomicU64::default(),
        }
    }
}

impl Metrics {
    /// Since when it is counted, RFC 3339.
    #[must_use]
    pub fn since(&self) -> &str {
        &self.since
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PluginId, PluginMetrics>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self, plugin: &PluginId, edit: impl FnOnce(&mut PluginMetrics)) {
        let mut plugins = self.lock();
        if let Some(numbers) = plugins.get_mut(plugin) {
            edit(numbers);
        } else {
            edit(plugins.entry(plugin.clone()).or_default());
        }
    }

    /// A task was handed to the broker.
    pub fn published(&self, plugin: &PluginId) {
        self.edit(plugin, |n| n.published += 1);
    }

    /// A record came.
    pub fn record(&self, plugin: &PluginId, status: RecordStatus) {
        self.edit(plugin, |n| match status {
            RecordStatus::Completed => n.completed += 1,
            RecordStatus::Skipped => n.skipped += 1,
            RecordStatus::Failed => n.failed += 1,
        });
    }

    /// A record came, for the plugin's statistics.
    pub fn ended(&self, plugin: &PluginId, record: &Record) {
        self.note(plugin, |stats| {
            stats.ended(record.status, record.duration_ms);
            if let Some(error) = &record.error {
                stats.erred(error, &record.cid, &record.finished_at);
            }
        });
    }

    /// An attempt has failed, for the plugin's statistics.
    pub fn erred(&self, plugin: &PluginId, cid: &Cid, error: &str, at: &str) {
        self.note(plugin, |stats| stats.erred(error, cid, at));
    }

    fn note(&self, plugin: &PluginId, note: impl FnOnce(&mut Stats)) {
        let mut all = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        note(all.entry(plugin.clone()).or_default());
    }

    /// What became of the tasks of a plugin since the coordinator started.
    #[must_use]
    pub fn stats(&self, plugin: &PluginId) -> Stats {
        let all = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(plugin).cloned().unwrap_or_default()
    }

    /// An attempt took this long.
    pub fn duration(&self, plugin: &PluginId, duration_ms: u64) {
        let seconds = std::time::Duration::from_millis(duration_ms).as_secs_f64();
        let at = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.edit(plugin, |n| {
            if let Some(count) = n.durations.get_mut(at) {
                *count += 1;
            }
            n.duration_sum += seconds;
        });
    }

    /// An attempt failed and another follows.
    pub fn retried(&self, plugin: &PluginId) {
        self.edit(plugin, |n| n.retries += 1);
    }

    /// A plugin asked to be called later.
    pub fn deferred(&self, plugin: &PluginId) {
        self.edit(plugin, |n| n.deferred += 1);
    }

    /// A lost task was published again.
    pub fn repaired(&self, plugin: &PluginId) {
        self.edit(plugin, |n| n.repaired += 1);
    }

    /// A file is settled.
    pub fn settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    /// Files in hand, and those that only wait for a time.
    pub fn open_files(&self, open: usize, parked: usize) {
        self.open.store(open as u64, Ordering::Relaxed);
        self.parked.store(parked as u64, Ordering::Relaxed);
    }

    /// The numbers per plugin.
    #[must_use]
    pub fn plugins(&self) -> BTreeMap<PluginId, PluginMetrics> {
        self.lock().clone()
    }

    /// Files settled since the start.
    #[must_use]
    pub fn settled_files(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// All numbers in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, lines: Vec<(String, f64)>| {
            // Writing to a String cannot fail.
            writeln!(text, "# TYPE {name} {kind}").unwrap_or_default();
            for (labels, value) in lines {
                writeln!(text, "{labels} {value}").unwrap_or_default();
            }
        };
        let one = |name: &str, value: &AtomicU64| {
            vec![(name.to_owned(), count(value.load(Ordering::Relaxed)))]
        };
        family("metafleet_files_open", "gauge", one("metafleet_files_open", &self.open));
        family("metafleet_files_parked", "gauge", one("metafleet_files_parked", &self.parked));
        let name = "metafleet_files_settled_total";
        family(name, "counter", one(name, &self.settled));
        let plugins = self.lock();
        let each = |name: &str, of: fn(&PluginMetrics) -> u64| -> Vec<(String, f64)> {
            let line = |(id, n): (&PluginId, &PluginMetrics)| {
                (format!("{name}{{plugin=\"{id}\"}}"), count(of(n)))
            };
            plugins.iter().map(line).collect()
        };
        for (name, of) in [
            ("metafleet_tasks_published_total", (|n| n.published) as fn(&PluginMetrics) -> u64),
            ("metafleet_task_retries_total", |n| n.retries),
            ("metafleet_tasks_deferred_total", |n| n.deferred),
            ("metafleet_tasks_repaired_total", |n| n.repaired),
        ] {
            family(name, "counter", each(name, of));
        }
        let mut outcomes = Vec::new();
        let mut durations = Vec::new();
        for (id, n) in plugins.iter() {
            for (outcome, value) in
                [("completed", n.completed), ("skipped", n.skipped), ("failed", n.failed)]
            {
                let labels = format!("{{plugin=\"{id}\",outcome=\"{outcome}\"}}");
                outcomes.push((format!("metafleet_tasks_total{labels}"), count(value)));
            }
            let mut below = 0;
            let name = "metafleet_task_duration_seconds";
            for (at, in_bucket) in n.durations.iter().enumerate() {
                below += in_bucket;
                let bound = BUCKETS.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
                let labels = format!("{{plugin=\"{id}\",le=\"{bound}\"}}");
                durations.push((format!("{name}_bucket{labels}"), count(below)));
            }
            durations.push((format!("{name}_sum{{plugin=\"{id}\"}}"), n.duration_sum));
            durations.push((format!("{name}_count{{plugin=\"{id}\"}}"), count(below)));
        }
        family("metafleet_tasks_total", "counter", outcomes);
        family("metafleet_task_duration_seconds", "histogram", durations);
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts under 2^53 are exact")]
fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rendered_with_cumulative_buckets() {
        let metrics = Metrics::default();
        let plugin: PluginId = "p".parse().unwrap();
        metrics.record(&plugin, RecordStatus::Completed);
        for duration in [1, 7, 8, 9_999_999] {
            metrics.duration(&plugin, duration);
        }
        let text = metrics.render();
        for line in [
            r#"metafleet_tasks_total{plugin="p",outcome="completed"} 1"#,
            r#"metafleet_task_duration_seconds_bucket{plugin="p",le="0.005"} 1"#,
            r#"metafleet_task_duration_seconds_bucket{plugin="p",le="0.01"} 3"#,
            r#"metafleet_task_duration_seconds_bucket{plugin="p",le="3600"} 3"#,
            r#"metafleet_task_duration_seconds_bucket{plugin="p",le="+Inf"} 4"#,
            r#"metafleet_task_duration_seconds_count{plugin="p"} 4"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
