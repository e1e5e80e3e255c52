//! A plugin that means harm, with a login of its own, against all that is not its own.

mod attempts;
mod digest;
mod embedded;
mod flood;
mod live;
mod shared;
pub(crate) mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use attempts::{Attempt, attempts};
use digest::{differences, look};
use integration_tests::{eventually, heavy};
use stage::{Ear, SECRET, Stage, VICTIM, Walls};
use tokio::time::timeout;

/// Where the hostile plugin has its answers sent.
const INBOX: &str = "_INBOX.hostile";
/// How long it waits for the broker to have taken what it sent.
const TAKEN: Duration = Duration::from_millis(300);

/// Most effects of one attempt that are shown.
const SHOWN: usize = 4;

/// What came of all attempts.
struct Outcome {
    attempts: usize,
    /// How often each kind of attempt had an effect.
    kinds: BTreeMap<&'static str, usize>,
    /// Each attempt that had an effect outside of the hostile plugin, and the effect.
    effects: Vec<String>,
    /// What it overheard.
    overheard: Vec<String>,
}

/// Carries out all attempts, one by one, and compares what is not the hostile plugin's own.
async fn attack(stage: &mut Stage) -> anyhow::Result<Outcome> {
    stage.quiet().await?;
    let targets = stage.hold().await?;
    let (victim, hostile) = (stage.victim.clone(), stage.hostile.clone());
    let fleet_client = stage.fleet.client.clone();
    let of_victim =
        stage.listen(&victim, &["_INBOX.victim.*", "mf.control.victim", "mf.control.victim.*"]);
    let of_victim = of_victim.await?;
    let of_fleet = ["_INBOX.fleet.*", "mf.signal.victim.>", "mf.control.>"];
    let of_fleet = stage.listen(&fleet_client, &of_fleet).await?;
    let answers = stage.listen(&hostile, &["_INBOX.hostile.>"]).await?;
    let nosy = [">", "_INBOX.victim.>", "_R_.>", "$JS.>", "$KV.>", "mf.>", "$SYS.>"];
    let overheard = stage.listen(&hostile, &nosy).await?;
    let events = stage.fleet.state(&stage.fleet.names.event_stream()).await?.1;
    let mut before = settled(stage, events).await?;
    let attempts = attempts(&targets);
    let (mut effects, mut leaks, mut kinds) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (number, attempt) in attempts.iter().enumerate() {
        stage.live().await.ok();
        send(&hostile, attempt, number).await?;
        if attempt.goes_on {
            continue;
        }
        let after = look(&stage.fleet, events).await;
        let mut effect = differences(&before, &after);
        effect.extend(heard("the victim", &of_victim));
        effect.extend(heard("the fleet", &of_fleet));
        effect.extend(told(&answers));
        let hits = kinds.entry(attempt.kind).or_default();
        if !effect.is_empty() {
            *hits += 1;
            effect.truncate(SHOWN);
            effects.push(format!("{}\n    {}", attempt.what, effect.join("\n    ")));
        }
        leaks.extend(overheard.take().into_iter().filter(is_victims));
        before = after;
    }
    // What takes its time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.live().await.ok();
    let late = differences(&before, &look(&stage.fleet, events).await);
    effects.extend(late.into_iter().map(|effect| format!("later\n    {effect}")));
    let overheard = leaks.into_iter().map(|(subject, body)| format!("{subject}: {body}")).collect();
    Ok(Outcome { attempts: attempts.len(), kinds, effects, overheard })
}

/// Waits until nothing changes any more by itself.
async fn settled(stage: &Stage, events: u64) -> anyhow::Result<digest::Digest> {
    eventually("the fleet to come to rest", async || {
        stage.live().await?;
        let first = look(&stage.fleet, events).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let changed = differences(&first, &look(&stage.fleet, events).await);
        anyhow::ensure!(changed.is_empty(), "{changed:?}");
        Ok(Some(first))
    })
    .await
}

async fn send(client: &async_nats::Client, attempt: &Attempt, number: usize) -> anyhow::Result<()> {
    let mut headers = HeaderMap::new();
    for (name, value) in &attempt.headers {
        headers.insert(*name, value.as_str());
    }
    let reply = attempt.reply.clone().unwrap_or_else(|| format!("{INBOX}.{number}"));
    let (subject, body) = (attempt.subject.clone(), attempt.body.clone());
    client.publish_with_reply_and_headers(subject, reply, headers, body.into()).await?;
    // The broker takes one message after the other, and this one is its own.
    drop(timeout(TAKEN, client.request("$KV.mf-records.sync.hostile", "".into())).await);
    Ok(())
}

/// Messages that somebody else got.
fn heard(who: &str, ear: &Ear) -> Vec<String> {
    let messages = ear.take();
    messages.into_iter().map(|(subject, body)| format!("{who} got {subject}: {body}")).collect()
}

/// Answers that tell the hostile plugin of what is not its own.
fn told(answers: &Ear) -> Vec<String> {
    let messages = answers.take().into_iter();
    let is_leak = |message: &(String, String)| {
        let body = &message.1;
        let is_done = body.contains("io.nats.jetstream.api") && !body.contains("\"error\"");
        is_done || body.contains(VICTIM) || is_victims(message)
    };
    let shown = |(subject, body): (String, String)| {
        format!("it was told {subject}: {}", body.chars().take(160).collect::<String>())
    };
    messages.filter(is_leak).map(shown).collect()
}

/// No attempt has such a body.
fn is_victims((_, body): &(String, String)) -> bool {
    body.contains(SECRET) || body.contains("\"pluginId\":\"victim\"")
}

/// After all of it the victim does its work, exactly once, and its failure is told.
async fn victim_goes_on(stage: &Stage) -> anyhow::Result<()> {
    let before = stage.script.calls().len();
    let worker = stage.worker(VICTIM).await?;
    for run in &stage.waiting {
        stage.fleet.settled(*run).await?;
    }
    let calls: Vec<_> = stage.script.calls().into_iter().skip(before).collect();
    assert_eq!(calls.len(), stage.waiting.len(), "{:?}", stage.script);
    let dead = stage.fleet.stored(&stage.fleet.names.dead_stream()).await?;
    let of_victim = dead.iter().filter(|stored| stored.subject == "mf.dead.fast.victim").count();
    assert_eq!(of_victim, 2, "a failure before and one after");
    worker.stop().await
}

async fn no_attempt_has_an_effect(walls: Walls) -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    let mut stage = Stage::start(walls).await?;

    let outcome = attack(&mut stage).await?;

    println!("{walls:?}: {} attempts, {} effects", outcome.attempts, outcome.effects.len());
    assert!(outcome.attempts > 150, "{}", outcome.attempts);
    assert!(outcome.effects.is_empty(), "{}", outcome.effects.join("\n"));
    assert!(outcome.overheard.is_empty(), "{:?}", outcome.overheard);
    victim_goes_on(&stage).await
}

#[tokio::test]
async fn a_hostile_plugin_reaches_nothing_outside_of_its_account() -> anyhow::Result<()> {
    Box::pin(no_attempt_has_an_effect(Walls::Rendered)).await
}

#[tokio::test]
async fn the_accounts_alone_keep_a_hostile_plugin_in() -> anyhow::Result<()> {
    Box::pin(no_attempt_has_an_effect(Walls::AccountsAlone)).await
}

#[tokio::test]
async fn a_hostile_plugin_reaches_nothing_outside_of_an_account_that_was_issued()
-> anyhow::Result<()> {
    Box::pin(no_attempt_has_an_effect(Walls::Issued)).await
}

#[tokio::test]
async fn accounts_that_were_issued_alone_keep_a_hostile_plugin_in() -> anyhow::Result<()> {
    Box::pin(no_attempt_has_an_effect(Walls::IssuedAlone)).await
}

#[tokio::test]
async fn a_hostile_plugin_reaches_nothing_outside_of_its_account_at_the_embedded_broker()
-> anyhow::Result<()> {
    Box::pin(no_attempt_has_an_effect(Walls::Embedded)).await
}
