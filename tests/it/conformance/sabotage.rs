//! Workers that do one thing wrong: `tests/protocol/sabotage.py`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use integration_tests::heavy;

use super::{kit, manifest, python, words};

/// Cases that a worker passes in spite of what it does wrong, unless they are named.
const SOUND: [&str; 6] = [
    "record-is-right",
    "skips",
    "fails-permanently",
    "answers-ping",
    "serves-both-queues",
    "manifest-valid",
];

/// What is wrong, and the cases that find it.
const WRONG: &[(&str, &[&str])] = &[
    ("AcksBeforeRecord", &["record-before-ack"]),
    ("NoFence", &["fence", "second-writer", "new-record-replaces"]),
    (
        "NeverRenews",
        &["record-before-ack", "keeps-lease-while-waiting", "keeps-lease-while-blocked"],
    ),
    ("Hoards", &["never-hoards", "fills-its-places-only"]),
    ("IgnoresPause", &["pauses-and-resumes", "pause-leaves-running"]),
    ("NoGoodbye", &["says-goodbye"]),
    ("BareNak", &["retries", "crashes", "other-version", "grace-over-gives-back"]),
    ("AlwaysFirstAttempt", &["retries", "counts-attempts-on"]),
    ("CidOfTheBody", &["identity-from-subject"]),
    ("TermsBeforeSignal", &["last-attempt"]),
    ("AcksBeforeDeferral", &["retries-later"]),
    ("LaterCostsAnAttempt", &["retries-later", "grace-over-on-last-attempt"]),
    ("PullsTooEarly", &["waits-to-be-accepted"]),
    ("RunsTwice", &["delivered-again-while-running"]),
    ("AnnouncesOnce", &["reconnects"]),
    ("DropsWhatRuns", &["sigterm-finishes-what-runs"]),
    ("AnyVersion", &["other-version"]),
    ("OneLane", &["obeys-lane", "serves-route"]),
    ("NoTrace", &["copies-trace"]),
    ("ReadablePath", &["paths-that-are-not-utf-8"]),
    ("DiesOfGarbage", &["unreadable-task"]),
    ("ForgetsFingerprint", &["record-is-right", "skips"]),
    ("AgreesToEverything", &["refuses-unknown-action", "refuses-unreadable-request"]),
    ("SaysNothingOfLife", &["sign-of-life"]),
    ("LooksAround", &["keeps-to-its-permissions"]),
    ("HeedlessOfPlaces", &["places-of-the-operator", "fills-its-places-only"]),
    ("LongErrors", &["cuts-long-errors"]),
    ("AnyKey", &["refuses-unknown-key", "refuses-wrong-kind", "refuses-deep-value"]),
];

#[tokio::test]
async fn a_worker_that_does_one_thing_wrong_fails_just_that() -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    let tried = stream::iter(WRONG).map(|(what, found_by)| async move {
        let mut command = python("sabotage.py").await?;
        command.extend(words([Path::new(what), &manifest()]));
        let mut options = vec!["--format", "json", "--jobs", "4"];
        let cases: BTreeSet<&str> = found_by.iter().chain(&SOUND).copied().collect();
        options.extend(cases.iter().flat_map(|case| ["--case", case]));
        let tried = kit(&options, &command).await.with_context(|| (*what).to_owned())?;
        let failed: BTreeSet<String> = tried.with("failed")?.into_iter().collect();
        let expected: BTreeSet<String> = found_by.iter().map(|case| (*case).to_owned()).collect();
        anyhow::ensure!(
            failed == expected,
            "{what} fails {failed:?}, it should fail {expected:?}:\n{}",
            tried.err
        );
        anyhow::ensure!(tried.code == Some(1), "{what}: {:?}", tried.code);
        Ok(())
    });
    tried.buffer_unordered(4).try_collect::<Vec<()>>().await?;
    Ok(())
}
