//! One process for each task: what the command is told, and what follows from what it says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use broker_config::wire::instance::InstanceState;
use broker_config::wire::signal::What;
use broker_config::{Control, RecordStatus};
use serde_json::json;

use crate::shim::Bed;

#[tokio::test]
async fn metadata_is_taken_from_lines_and_from_json() -> anyhow::Result<()> {
    let bed = Bed::start(&[]).await?;

    let lines =
        bed.record("lines", "echo a=1=2; echo s=x; echo s=y; echo 'j={\"k\": [1]}'").await?;
    let object =
        bed.record("object", "echo '{\"a\": 5, \"s\": [\"y\", \"x\"], \"j\": [1, \"z\"]}'").await?;
    let empty = bed.record("empty", "true").await?;

    assert_eq!(
        serde_json::to_value(&lines.meta)?,
        json!({"a": "1=2", "s": ["x", "y"], "j": {"k": [1]}})
    );
    assert_eq!(
        serde_json::to_value(&object.meta)?,
        json!({"a": "5", "s": ["x", "y"], "j": [1, "z"]})
    );
    assert_eq!(empty.status, RecordStatus::Completed);
    assert!(empty.meta.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_task_is_told_by_the_environment_and_on_standard_input() -> anyhow::Result<()> {
    let bed = Bed::start(&[]).await?;
    let script = "echo \"a=$METAFLEET_CID|$METAFLEET_ATTEMPT|$METAFLEET_SETTING_MODE|$METAFLEET_SETTING_API_KEY|$NATS_URL$NATS_CA_NOT_USED$METAFLEET_CONCURRENCY|$METAFLEET_INSTANCE\"; printf j=; cat";
    bed.fleet.in_state(InstanceState::Ready).await?;
    bed.fleet.control(&configure(&json!({"mode": "loud", "apiKey": "hush"}))?).await?;
    let bytes = bed.home.path().join(OsStr::from_bytes(b"n\xff\xfem.sh"));
    std::fs::write(&bytes, script)?;

    let size = u64::try_from(script.len())?;
    bed.hand_in("file:1", &bytes, |task| task.file.size = size).await?;
    let record = bed.fleet.settled("file:1").await?;

    assert_eq!(record.meta["a"].as_text(), Some("file:1|1|loud|||w0"));
    let told = serde_json::to_value(&record.meta["j"])?;
    assert_eq!(told["event"], "task");
    assert_eq!(told["task"]["file"]["size"], size);
    assert_eq!(told["settings"], json!({"mode": "loud", "apiKey": "hush"}));
    Ok(())
}

/// Tells the shim new settings.
fn configure(settings: &serde_json::Value) -> anyhow::Result<Control> {
    Ok(serde_json::from_value(json!({"action": "configure", "settings": settings}))?)
}

#[tokio::test]
async fn exit_codes_say_skipped_later_failed_and_failed_for_good() -> anyhow::Result<()> {
    let bed = Bed::start(&["--skipped-codes", "3", "--permanent-codes", "4"]).await?;

    for (code, reason) in [(80, "no words"), (3, "no words")] {
        let cid = format!("skipped{code}");
        let record = bed.record(&cid, &format!("echo no words >&2; exit {code}")).await?;
        assert_eq!(record.status, RecordStatus::Skipped, "{code}");
        assert_eq!(record.reason.as_deref(), Some(reason), "{code}");
    }
    for (code, permanent) in
        [(1, false), (75, false), (70, false), (64, true), (65, true), (78, true), (4, true)]
    {
        let cid = format!("failed{code}");
        let script = format!("echo a=1; echo first >&2; echo it is broken >&2; exit {code}");
        let (for_good, error) = bed.failure(&cid, &script).await?;
        assert_eq!(for_good, permanent, "{code}");
        assert!(error.ends_with("it is broken"), "{code}: {error}");
    }
    let (for_good, error) = bed.failure("127", "exec /no/such/program").await?;
    assert!(!for_good && error.contains("could not be started"), "{error}");
    let (for_good, error) = bed.failure("killed", "kill -9 $$").await?;
    assert!(!for_good && error.contains("signal 9"), "{error}");

    let path = bed.file("later", "echo 0.3; echo ask again >&2; exit 81")?;
    bed.hand_in("later", &path, |_| {}).await?;
    let What::Deferred { reason, delay_ms, .. } = bed.fleet.signal("deferred", 0).await?.what
    else {
        anyhow::bail!("deferred")
    };
    assert_eq!((reason.as_str(), delay_ms), ("ask again", 300));
    Ok(())
}

#[tokio::test]
async fn an_answer_in_full_and_reports_of_progress_are_understood() -> anyhow::Result<()> {
    let bed = Bed::start(&[]).await?;
    let other = bed.file("other", "x")?;

    let script = format!(
        "echo '{{\"progress\": 0.5, \"note\": \"half\"}}'; echo '{{\"outcome\": \"completed\", \"meta\": {{\"a\": 1}}, \"submit\": [\"{}\"]}}'",
        other.display()
    );
    let record = bed.record("x", &script).await?;

    assert_eq!(record.meta["a"].as_text(), Some("1"));
    let What::Progress { fraction, note } = bed.fleet.signal("progress", 0).await?.what else {
        anyhow::bail!("progress")
    };
    assert_eq!((fraction.to_string(), note.as_str()), ("0.5".to_owned(), "half"));
    let stream = bed.fleet.js.get_stream(bed.fleet.names.submit_stream()).await?;
    let submitted = stream.get_raw_message(1).await?;
    let submitted: serde_json::Value = serde_json::from_slice(&submitted.payload)?;
    assert_eq!(submitted["filePath"], other.display().to_string());
    let (for_good, error) =
        bed.failure("y", "echo '{\"outcome\": \"retry\", \"error\": \"busy\"}'").await?;
    assert_eq!((for_good, error.as_str()), (false, "busy"));
    Ok(())
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_with_the_next_number() -> anyhow::Result<()> {
    let bed = Bed::start(&[]).await?;
    let path =
        bed.file("x", "[ $METAFLEET_ATTEMPT -eq 3 ] || exit 1; echo a=$METAFLEET_ATTEMPT")?;

    bed.hand_in("x", &path, |task| task.retry = crate::harness::policy(4, &[50])).await?;

    assert_eq!(bed.fleet.settled("x").await?.meta["a"].as_text(), Some("3"));
    Ok(())
}

#[tokio::test]
async fn a_command_may_refuse_settings() -> anyhow::Result<()> {
    let script = "[ $METAFLEET_EVENT = task ] && exec sh \"$METAFLEET_FILE\"; cat >/dev/null; \
        [ \"$METAFLEET_SETTING_MODE\" != bad ] || { echo mode bad is not served >&2; exit 1; }";
    let bed = Bed::with(&["--check-settings"], script).await?;
    assert_eq!(bed.record("x", "echo a=1").await?.meta["a"].as_text(), Some("1"));

    bed.fleet.control(&configure(&json!({"mode": "bad"}))?).await?;

    bed.fleet.in_state(InstanceState::Failed).await?;
    let entry = bed.fleet.presence().await?;
    assert_eq!(entry.and_then(|it| it.error).as_deref(), Some("mode bad is not served"));
    Ok(())
}

#[tokio::test]
async fn a_signal_drains_what_runs() -> anyhow::Result<()> {
    let mut bed = Bed::start(&[]).await?;
    let begun = bed.home.path().join("begun");
    let script =
        format!("echo > {}; while [ ! -e go ]; do sleep 0.05; done; echo a=1", begun.display());
    let path = bed.file("x", &script)?;
    bed.hand_in("x", &path, |_| {}).await?;
    crate::shim::written(&begun).await?;

    bed.signal("TERM")?;
    bed.fleet.in_state(InstanceState::Draining).await?;
    bed.file("go", "")?;

    assert_eq!(bed.fleet.settled("x").await?.meta["a"].as_text(), Some("1"));
    assert_eq!(bed.ended().await?, Some(0));
    Ok(())
}
