//! The plugin on real files, as a worker would run it, without a broker.

use @LIBRARY@::TextStats;
use tempfile::TempDir;
use worker_sdk::Outcome;
use worker_sdk::testing::{Bench, Report};

async fn run(bench: Bench<TextStats>, content: &[u8]) -> Report {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file.txt");
    std::fs::write(&path, content).unwrap();
    bench.run(&path).await
}

#[tokio::test]
async fn lines_and_words_are_counted() {
    let report = run(Bench::new(TextStats::default()), "one two\nthree – vier\n".as_bytes()).await;
    assert_eq!(report.text("@ID@/lines"), Some("2"));
    assert_eq!(report.text("@ID@/words"), Some("5"));
}

#[tokio::test]
async fn short_words_count_only_when_the_setting_says_so() {
    let bench = Bench::new(TextStats::default()).settings(serde_json::json!({"minWordLength": 4}));
    let report = run(bench, b"one two three four\n").await;
    assert_eq!(report.text("@ID@/words"), Some("2"));
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_refused() {
    let bench = Bench::new(TextStats::default()).settings(serde_json::json!({"minWordLength": 0}));
    run(bench, b"text").await.assert_failed(false, "must be 1 to 1000");
}

#[tokio::test]
async fn an_empty_file_is_skipped() {
    let report = run(Bench::new(TextStats::default()), b"").await;
    assert_eq!(report.outcome.unwrap(), Outcome::skipped("the file is empty"));
}

#[tokio::test]
async fn what_is_not_text_fails_for_good() {
    run(Bench::new(TextStats::default()), b"\xff\xfe\xff").await.assert_failed(false, "utf-8");
}
