use std::time::Duration;

use broker_config::Manifest;

use super::*;
use crate::files::OpenError;
use crate::meta::Meta;
use crate::outcome::Forward;

struct Scripted(fn(&Context) -> Result<Outcome, Failure>);

impl Plugin for Scripted {
    fn manifest(&self) -> Manifest {
        Manifest::from_json(
            r#"{"id":"scripted","name":"S","version":"1.0.0","priority":50,"queue":"fast",
            "timeout":200,"reads":["file/size","other/*"],"dataSchema":{"a":{},"s":{"type":"set"}},
            "configSchema":{"key":{"type":"string","required":true,"default":""}}}"#,
        )
        .unwrap()
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        if ctx.existing_text("other/hang").is_some() {
            std::future::pending::<()>().await;
        }
        (self.0)(ctx)
    }
}

fn bench(script: fn(&Context) -> Result<Outcome, Failure>) -> Bench<Scripted> {
    Bench::new(Scripted(script)).settings(serde_json::json!({"key": "k"}))
}

fn completed(fill: fn(&mut Meta) -> &mut Meta) -> Outcome {
    let mut meta = Meta::new();
    fill(&mut meta);
    Outcome::Completed(meta)
}

#[tokio::test]
async fn a_plugin_sees_the_file_and_what_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mkv");
    std::fs::write(&path, "12345").unwrap();
    std::fs::write(folder.path().join("a.en.srt"), "x").unwrap();

    let report = bench(|ctx| {
        assert_eq!(ctx.file().sidecars[0].name, "a.en.srt");
        assert_eq!(ctx.existing_text("file/name"), None, "not in `reads`");
        assert_eq!(ctx.existing_text("other/x"), Some("y"));
        let mut meta = Meta::new();
        meta.text_opt("a", ctx.existing_text("file/size")).add("s", ctx.file().extension.clone());
        Ok(Outcome::Completed(meta))
    })
    .existing([("other/x", "y")])
    .run(&path)
    .await;

    assert_eq!(report.text("a"), Some("5"), "{:?}", report.outcome);
    assert_eq!(report.meta()["s"], MetaValue::Set(["mkv".to_owned()].into()));
}

#[tokio::test]
async fn what_a_worker_would_refuse_is_refused() {
    for (script, retryable, words) in [
        (
            (|_| Ok(completed(|m| m.text("b", 1)))) as fn(&Context) -> _,
            false,
            "key `b` is not in the",
        ),
        (|_| Ok(completed(|m| m.text("s", 1))), false, "key `s` must be"),
        (|_| Ok(completed(|m| m.text("/", 1))), false, "metadata key `/`"),
        (|_| panic!("oh no"), true, "panicked: oh no"),
        (|_| Err(Failure::permanent("broken")), false, "broken"),
    ] {
        let failure = bench(script).run("/nowhere").await.outcome.unwrap_err();
        assert_eq!(failure.is_retryable(), retryable, "{failure}");
        assert!(failure.to_string().contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_handler_that_hangs_fails_at_its_deadline() {
    let report = bench(|_| unreachable!()).existing([("other/hang", "")]).run("/nowhere").await;
    let failure = report.outcome.unwrap_err();
    assert!(failure.is_retryable());
    assert_eq!(failure.to_string(), "timed out after 200 ms");
}

#[tokio::test]
async fn missing_settings_are_named() {
    let failure = Bench::new(Scripted(|_| Ok(Outcome::skipped("x")))).run("/x").await.outcome;
    assert!(failure.unwrap_err().to_string().contains("key: is required"));
}

#[tokio::test]
async fn other_outcomes_have_no_metadata_of_their_own() {
    let later = bench(|_| Ok(Outcome::retry_later(Duration::from_secs(1), "busy"))).run("/x").await;
    assert!(matches!(later.outcome, Ok(Outcome::RetryLater { .. })) && later.meta().is_empty());
    let forward = bench(|_| {
        let mut meta = Meta::new();
        meta.text("a", 1);
        Ok(Outcome::Forward(Forward::file("/y").with_meta(meta)))
    });
    assert_eq!(forward.run("/x").await.text("a"), Some("1"));
}

/// Its file grows after it was found.
struct Grown;

impl Plugin for Grown {
    fn manifest(&self) -> Manifest {
        Scripted(|_| unreachable!()).manifest()
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        ctx.open().await.map_err(OpenError::failure)?;
        std::fs::write(ctx.path(), "longer than before").map_err(Failure::retryable)?;
        ctx.open().await.map_err(OpenError::failure)?;
        Ok(Outcome::skipped("read another file"))
    }
}

#[tokio::test]
async fn a_file_that_has_changed_is_not_taken_for_the_one_that_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mkv");
    std::fs::write(&path, "12345").unwrap();
    let report = Bench::new(Grown).settings(serde_json::json!({"key": "k"})).run(&path).await;
    report.assert_failed(true, "has 18 bytes, but had 5 when it was found");
}
