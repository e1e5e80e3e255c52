//! Processes that live on from task to task.

use std::collections::BTreeMap;

use crate::harness::eventually;
use crate::shim::{Bed, left_of};

/// Answers each line with its process number; does what the file says first.
const SERVE: &str = r#"
while IFS= read -r line; do
    file=${line#*'"file":"'}; file=${file%%'"'*}
    id=${line#*'"id":'}; id=${id%%[,\}]*}
    . "$file"
    echo "{\"a\": \"$$\"}"
done
"#;

#[tokio::test]
async fn processes_serve_many_tasks_and_are_replaced_after_so_many() -> anyhow::Result<()> {
    let bed = Bed::with(&["--persistent", "--recycle-after", "5"], SERVE).await?;
    let path = bed.file("x", ":")?;

    for n in 0..40 {
        bed.hand_in(&format!("t{n}"), &path, |_| {}).await?;
    }

    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..40 {
        let record = bed.fleet.settled(&format!("t{n}")).await?;
        *served.entry(record.meta["a"].as_text().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert!(served.len() >= 8 && served.len() <= 12, "{served:?}");
    assert!(served.values().all(|&tasks| tasks <= 5), "{served:?}");
    Ok(())
}

#[tokio::test]
async fn each_task_has_a_result_of_its_own() -> anyhow::Result<()> {
    let bed = Bed::with(&["--persistent", "--concurrency", "1"], SERVE).await?;

    bed.record("good", ":").await?;
    let skipped = bed
        .record("skip", "echo '{\"outcome\": \"skipped\", \"reason\": \"no\"}'; continue")
        .await?;
    assert_eq!(skipped.reason.as_deref(), Some("no"));
    for (cid, script, permanent, words) in [
        ("failed", "echo '{\"outcome\": \"failed\", \"error\": \"bad\"}'; continue", true, "bad"),
        ("retry", "echo '{\"outcome\": \"retry\", \"error\": \"busy\"}'; continue", false, "busy"),
        ("exit", "echo oh >&2; exit 3", false, "oh"),
        ("exit0", "exit 0", false, "the command ended without an answer"),
        ("killed", "kill -9 $$", false, "signal 9"),
        ("closes", "exec >&-; sleep 1000", false, "closed its output without an answer"),
        (
            "other",
            "echo '{\"outcome\": \"completed\", \"id\": 4711}'; continue",
            false,
            "another request",
        ),
        ("nonsense", "echo hello; continue", true, "key=value"),
    ] {
        let (for_good, error) = bed.failure(cid, script).await?;
        assert!(error.contains(words), "{cid}: {error}");
        assert_eq!(for_good, permanent, "{cid}: {error}");
        // Whatever became of the process, the next task is done.
        bed.record(&format!("after-{cid}"), ":").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_process_that_hangs_or_speaks_unasked_is_replaced() -> anyhow::Result<()> {
    let bed = Bed::with(&["--persistent", "--grace", "100ms"], SERVE).await?;
    let path = bed.file("hangs", "sleep 1000")?;

    bed.hand_in("hangs", &path, |task| task.deadline_ms = 2000).await?;
    let (for_good, error) = bed.failed("hangs").await?;
    assert!(!for_good && error.contains("timed out after 2000 ms"), "{error}");

    // What is said too much does not become the answer to the next question.
    bed.record("chatty", "echo '{\"b\": 1}'").await?;
    for n in 0..5 {
        let record = bed.record(&format!("after{n}"), ":").await?;
        assert!(record.meta.contains_key("a"), "{:?}", record.meta);
    }
    Ok(())
}

#[tokio::test]
async fn idle_processes_end_in_good_order_with_the_shim() -> anyhow::Result<()> {
    let script = format!("export METAFLEET_CID=idle\n{SERVE}\necho > ended");
    let mut bed = Bed::with(&["--persistent"], &script).await?;
    bed.record("x", "(sleep 1000 & ) >/dev/null 2>&1 </dev/null").await?;
    // Only what a shell starts has its exported variables: it may have answered before that begins.
    eventually("a program of the idle process", async || !left_of("idle").is_empty()).await?;

    bed.signal("TERM")?;

    assert_eq!(bed.ended().await?, Some(0));
    crate::shim::written(&bed.home.path().join("ended")).await?;
    eventually("the end of what was idle", async || left_of("idle").is_empty()).await
}

/// Answers each line with its `id` and the name of the file, and the first one twice, the second time
/// when the next task has begun.
const TWICE: &str = r#"
while IFS= read -r line; do
    file=${line#*'"file":"'}; file=${file%%'"'*}
    id=${line#*'"id":'}; id=${id%%[,\}]*}
    answer="{\"outcome\": \"completed\", \"id\": $id, \"meta\": {\"a\": \"${file##*/}\"}}"
    if mkdir first 2>/dev/null; then
        echo "$answer"
        (sleep 0.3; echo "$answer") &
    else
        sleep 0.7
        echo "$answer"
    fi
done
"#;

#[tokio::test]
async fn an_answer_to_another_request_is_the_last_of_its_process() -> anyhow::Result<()> {
    let bed = Bed::with(&["--persistent"], TWICE).await?;
    let names: Vec<String> = (0..5).map(|n| format!("f{n}")).collect();

    for name in &names {
        let path = bed.file(name, "")?;
        bed.hand_in(name, &path, |task| task.retry = crate::harness::policy(4, &[50])).await?;
        // The next one goes to the same process: there is no other.
        let record = bed.fleet.settled(name).await?;
        assert_eq!(record.meta["a"].as_text(), Some(name.as_str()));
    }
    let failed = bed.fleet.count_signals("retrying");
    assert!(failed <= 1, "{failed} attempts failed");
    Ok(())
}
