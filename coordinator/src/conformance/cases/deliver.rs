//! Pulling, for every plugin.

use std::time::Duration;

use anyhow::ensure;
use broker_config::Queue;
use serde_json::json;

use super::check;
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::What;
use crate::conformance::stage::Stage;

pub(super) const CASES: &[Case] = table! { Any;
    "never-hoards" 7 hoards:
        "A worker asks for no more tasks, over all its requests, than it has free places.";
    "waits-at-its-queue" 7 waits:
        "While it is idle, a worker has a waiting request at the queue that its manifest names.";
    "serves-both-queues" 7 both:
        "Tasks of both queues are done.";
};

async fn hoards(stage: &mut Stage) -> anyhow::Result<()> {
    const PLACES: u8 = 2;
    const TASKS: usize = 40;
    stage.accept_with(&json!({"concurrency": PLACES}));
    let _worker = stage.serve().await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    check(judge::asked(&stage.requests(), PLACES.into()))?;
    let mut sent = Vec::new();
    for number in 0..TASKS {
        sent.push(stage.send_sample(&format!("many-{number}")).await?);
    }
    let mut most = 0;
    while sent.iter().any(|sent| stage.ended(sent).is_none()) {
        most = most.max(stage.held(stage.plugin()).await?);
        // What fails comes again, and waits meanwhile in the hands of nobody.
        if stage.tape.now() > Duration::from_secs(40) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let single = stage.requests().iter().map(|(_, pull)| pull.batch).max().unwrap_or(0);
    ensure!(
        single <= PLACES.into(),
        "{single} tasks were asked for at once; the worker has {PLACES} places"
    );
    let again = stage
        .tape
        .count(|seen| matches!(seen.what, What::Answer { .. }) && seen.body.starts_with(b"-NAK"));
    // An answer is on its way when the next request goes out.
    let may = usize::from(PLACES) * 2 + again;
    ensure!(most <= may, "{most} tasks were held at once; the worker has {PLACES} places");
    Ok(())
}

async fn waits(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let home = stage.about.manifest.queue;
    let consumer = broker_config::Names::consumer(stage.plugin(), home);
    let waiting = stage
        .requests()
        .into_iter()
        .filter(|(_, pull)| pull.consumer == consumer && pull.waits > Duration::ZERO)
        .count();
    ensure!(
        waiting > 0,
        "no request waits at {consumer}; there are only those that wait for nothing"
    );
    Ok(())
}

async fn both(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    for queue in Queue::ALL {
        let name = format!("in-{queue}");
        let file = stage.sample(&name)?;
        let sent = stage.send(stage.task(&name, &file)?.queue(queue)).await?;
        stage.settled(&sent).await?;
    }
    Ok(())
}
