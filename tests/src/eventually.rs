//! Waiting for a condition, with a limit and a message that says what was waited for.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

/// How long anything may take before its test gives up; far more than it takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `probe` has a value; an error of the probe counts as "not yet".
pub async fn eventually<T>(
    what: &str,
    probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    within(LIMIT, what, probe).await
}

/// As [`eventually`], with a limit of its own.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        let found = probe().await;
        if let Ok(Some(value)) = found {
            return Ok(value);
        }
        if begun.elapsed() > limit {
            match found {
                Err(error) => return Err(error.context(format!("waited in vain for {what}"))),
                Ok(_) => bail!("waited {limit:?} in vain for {what}"),
            }
        }
        sleep(LOOK).await;
    }
}
