//! What a container uses, as the engine says.

use std::time::Duration;

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt as _;
use jiff::Timestamp;

use super::{Engine, EngineError, within};
use crate::usage::Reading;

/// How long the engine may take; one that does not know the quick way takes two seconds.
const CALL: Duration = Duration::from_secs(5);
/// A limit from here on is none: without one the engine names the machine's memory, or as much as
/// there are numbers for.
const NO_LIMIT: u64 = 1 << 60;

impl Engine {
    /// Looks at what a container uses; `None` when it does not run.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn usage(&self, id: &str) -> Result<Option<Reading>, EngineError> {
        let what = format!("ask what the container {id} uses");
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let ask = async {
            let mut answers = std::pin::pin!(self.docker.stats(id, Some(options)));
            answers.next().await.transpose()
        };
        match within(&what, CALL, ask).await {
            Ok(answer) => Ok(answer.and_then(|stats| reading(id, &stats))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// `None` when the engine says nothing, which it does of a container that does not run.
fn reading(id: &str, stats: &ContainerStatsResponse) -> Option<Reading> {
    let read: Timestamp = stats.read.as_deref()?.parse().ok()?;
    let cpu_time = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    let memory = stats.memory_stats.as_ref()?;
    let of_files = memory.stats.as_ref().and_then(|all| {
        // What the kernel would give back at once, as `docker stats` has it: control groups 1, then 2.
        all.get("total_inactive_file").or_else(|| all.get("inactive_file")).copied()
    });
    Some(Reading {
        life: id.to_owned(),
        clock: Duration::from_nanos(u64::try_from(read.as_nanosecond()).ok()?),
        cpu_time: Duration::from_nanos(cpu_time),
        memory: memory.usage?.saturating_sub(of_files.unwrap_or_default()),
        memory_limit: memory.limit.filter(|limit| (1..NO_LIMIT).contains(limit)),
        pids: stats.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(stats: &Value) -> Option<Reading> {
        reading("c1", &serde_json::from_value(stats.clone()).unwrap())
    }

    #[test]
    fn both_kinds_of_control_groups_are_read() {
        let answer = |of_files: &str| {
            json!({
                "read": "2026-01-02T03:04:05.5Z", "pids_stats": {"current": 3},
                "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000_u64}},
                "memory_stats": {"usage": 5000, "limit": 1 << 20, "stats": {of_files: 1000, "rss": 7}},
            })
        };
        for of_files in ["total_inactive_file", "inactive_file"] {
            let reading = read(&answer(of_files)).unwrap();
            assert_eq!((reading.memory, reading.memory_limit), (4000, Some(1 << 20)), "{of_files}");
            assert_eq!((reading.cpu_time, reading.pids), (Duration::from_millis(1500), 3));
            assert_eq!(reading.clock.subsec_millis(), 500);
        }
        // Where control groups cannot be read, as without root on old machines, little is said.
        let mut bare = answer("rss");
        bare["memory_stats"] = json!({"usage": 9, "limit": u64::MAX, "stats": null});
        bare["pids_stats"] = json!({});
        let reading = read(&bare).unwrap();
        assert_eq!((reading.memory, reading.memory_limit, reading.pids), (9, None, 0));
    }

    #[test]
    fn one_that_does_not_run_uses_nothing() {
        // What the engine answers then.
        let answer = json!({
            "read": "0001-01-01T00:00:00Z", "preread": "0001-01-01T00:00:00Z", "pids_stats": {},
            "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {},
        });
        assert_eq!(read(&answer), None);
        assert_eq!(read(&json!({})), None);
    }
}
