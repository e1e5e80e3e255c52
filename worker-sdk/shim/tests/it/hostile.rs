//! Commands that mean harm, or are badly made: each fails with a clear error, and nothing is left of it.

use crate::harness::eventually;
use crate::shim::{Bed, left_of, written};

/// What a task comes to: whether it failed for good, and words of the error; or the value of `a`.
enum Comes {
    ToFailure(bool, &'static str),
    To(&'static str),
}
use Comes::{To, ToFailure};

/// A process with a session and a parent of its own, which hears no signal but SIGKILL.
const DAEMON: &str =
    "setsid sh -c 'trap \"\" HUP INT TERM; (sleep 1000 & sleep 1000) & sleep 1000' &\n";

#[tokio::test]
async fn commands_that_mean_harm_fail_clearly_and_leave_nothing() -> anyhow::Result<()> {
    let bed = Bed::start(&["--grace", "200ms", "--max-output", "1M"]).await?;
    let too_much = "wrote more than 1048576 bytes";
    let cases = [
        ("endless-lines", "yes a=1".to_owned(), ToFailure(true, too_much)),
        ("endless-line", "cat /dev/zero".to_owned(), ToFailure(true, too_much)),
        ("endless-json", "printf '{'; yes '\"a\": 1,'".to_owned(), ToFailure(true, too_much)),
        (
            "endless-words",
            "yes oh no >&2".to_owned(),
            ToFailure(false, "timed out after 3000 ms; the command said: oh no"),
        ),
        (
            "endless-reports",
            "yes '{\"progress\": 0.5}'".to_owned(),
            ToFailure(false, "timed out after 3000 ms"),
        ),
        (
            "deaf",
            "trap '' TERM INT HUP; echo a=1; while :; do sleep 1; done".to_owned(),
            ToFailure(false, "timed out"),
        ),
        ("forks", format!("{DAEMON}{DAEMON}{DAEMON}echo a=1"), To("1")),
        ("forks-and-hangs", format!("{DAEMON}sleep 1000"), ToFailure(false, "timed out")),
        ("forks-and-fails", format!("{DAEMON}echo bad >&2; exit 65"), ToFailure(true, "bad")),
        ("grandchild-holds-pipes", "sleep 1000 & echo a=1".to_owned(), To("1")),
        ("closes-early", "echo a=1; exec >&- 2>&-; sleep 0.3".to_owned(), To("1")),
        (
            "closes-and-hangs",
            "exec >&- 2>&- <&-; sleep 1000".to_owned(),
            ToFailure(false, "timed out"),
        ),
        ("never-reads", "exec <&-; echo a=1".to_owned(), To("1")),
        ("not-text", "printf 'a=\\377\\n'".to_owned(), ToFailure(true, "not UTF-8 from byte 2 on")),
        (
            "no-form",
            "echo hello".to_owned(),
            ToFailure(true, "line 1 of the output is not of the form key=value"),
        ),
        ("wrong-key", "echo c=1".to_owned(), ToFailure(true, "key `c`")),
        ("half-json", "printf '{\"a\": '".to_owned(), ToFailure(true, "not a JSON object")),
        (
            "signals-its-group",
            "trap 'exit 3' TERM; kill 0; sleep 1000".to_owned(),
            ToFailure(false, "exit code 3"),
        ),
        ("crashes", "kill -SEGV $$".to_owned(), ToFailure(false, "ended by signal 11")),
    ];
    for (cid, script, _) in &cases {
        let path = bed.file(cid, script)?;
        bed.hand_in(cid, &path, |task| task.deadline_ms = 3000).await?;
    }

    for (cid, _, comes) in &cases {
        match comes {
            To(value) => {
                let record = bed.fleet.settled(cid).await?;
                assert_eq!(record.meta["a"].as_text(), Some(*value), "{cid}");
            }
            ToFailure(permanent, words) => {
                let (for_good, error) = bed.failed(cid).await?;
                assert!(error.contains(words), "{cid}: {error:.300}");
                assert_eq!(for_good, *permanent, "{cid}: {error:.300}");
            }
        }
        bed.nothing_left(cid).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_command_is_asked_to_end_before_it_is_killed() -> anyhow::Result<()> {
    let bed = Bed::start(&["--grace", "5s"]).await?;
    let path =
        bed.file("x", "trap 'echo cleaned > cleaned; exit 0' TERM; while :; do sleep 0.05; done")?;

    bed.hand_in("x", &path, |task| task.deadline_ms = 5000).await?;

    let (for_good, error) = bed.failed("x").await?;
    assert!(!for_good && error.contains("timed out after 5000 ms"), "{error}");
    assert_eq!(written(&bed.home.path().join("cleaned")).await?, "cleaned\n");
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_when_the_shim_is_killed() -> anyhow::Result<()> {
    for options in [&[][..], &["--persistent"]] {
        let cid = format!("killed{}", options.len());
        // A persistent process is not told the file by its environment.
        let mut bed = Bed::with(options, &format!("METAFLEET_CID={cid} exec sh ./x")).await?;
        let begun = bed.home.path().join("begun");
        let path = bed.file("x", &format!("{DAEMON}echo > begun; sleep 1000"))?;
        bed.hand_in(&cid, &path, |_| {}).await?;
        written(&begun).await?;
        eventually("all of them to run", async || left_of(&cid).len() > 3).await?;

        bed.signal("KILL")?;

        bed.ended().await?;
        bed.nothing_left(&cid).await?;
    }
    Ok(())
}
