//! Counts the lines and words of text files.

use std::sync::atomic::{AtomicUsize, Ordering};

use worker_sdk::{
    Classify as _, Context, Failure, InvalidSettings, Manifest, Meta, OpenError, Outcome, Plugin,
    Settings,
};

/// The plugin; one value serves all tasks of a process.
#[derive(Debug, Default)]
pub struct TextStats {
    min_word_length: AtomicUsize,
}

impl Plugin for TextStats {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        let length = settings.get("minWordLength").and_then(serde_json::Value::as_f64).unwrap_or(1.0);
        if length < 1.0 || length > 1000.0 {
            return Err(InvalidSettings::new("minWordLength must be 1 to 1000"));
        }
        self.min_word_length.store(length as usize, Ordering::Relaxed);
        Ok(())
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        // The file may come back, or the disk may: that is worth another attempt.
        let file = ctx.local_path().await.map_err(OpenError::failure)?;
        let bytes = tokio::fs::read(&*file).await.retryable()?;
        if bytes.is_empty() {
            return Ok(Outcome::skipped("the file is empty"));
        }
        // What is not text now will not be text at the next attempt.
        let text = std::str::from_utf8(&bytes).permanent()?;
        let least = self.min_word_length.load(Ordering::Relaxed);
        let words = text.split_whitespace().filter(|word| word.chars().count() >= least).count();

        let mut meta = Meta::new();
        meta.text("@ID@/lines", text.lines().count());
        meta.text("@ID@/words", words);
        Ok(Outcome::Completed(meta))
    }
}
