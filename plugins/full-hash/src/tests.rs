use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use worker_sdk::testing::{Bench, pipe_in};

use super::*;

#[tokio::test]
async fn checksums_are_those_of_the_usual_programs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for size in [0, 1, 1024 * 1024, 5_000_001] {
        let path = folder.path().join(format!("{size} bytes"));
        let bytes: Vec<u8> =
            (0..size).map(|n: u32| n.to_be_bytes()[3] ^ n.to_be_bytes()[2]).collect();
        std::fs::write(&path, bytes)?;

        let report = Bench::new(FullHash).run(&path).await;

        for (key, program) in
            [("hash/sha256", "sha256sum"), ("hash/sha1", "sha1sum"), ("hash/md5", "md5sum")]
        {
            let output = Command::new(program).arg(&path).output()?;
            ensure!(output.status.success(), "{program}");
            let text = String::from_utf8(output.stdout)?;
            let expected = text.trim_start_matches('\\').split_whitespace().next();
            assert_eq!(report.text(key), expected, "{size}: {:?}", report.outcome);
        }
        assert_eq!(report.text("hash/crc32").context("crc32")?.len(), 8);
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (path, retryable, words) in [
        (folder.path().join("gone"), true, "gone: No such file"),
        (pipe_in(folder.path())?, false, "pipe is not a regular file"),
    ] {
        Bench::new(FullHash).run(&path).await.assert_failed(retryable, words);
    }
    Ok(())
}

#[test]
fn progress_is_a_fraction_of_the_size() {
    for (done, size, expected) in
        [(0, 0, 1.0), (0, 10, 0.0), (5, 10, 0.5), (10, 10, 1.0), (20, 10, 1.0), (u64::MAX, 1, 1.0)]
    {
        assert!((fraction(done, size) - expected).abs() < 0.001, "{done} of {size}");
    }
}
