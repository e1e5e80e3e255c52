use std::process::ExitCode;

use worker_sdk::{Classify, Context, Failure, Manifest, Meta, Outcome, Plugin};

/// Counts the lines of text files.
struct Lines;

impl Plugin for Lines {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(MANIFEST)
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let text = tokio::fs::read_to_string(ctx.path()).await.retryable()?;
        let mut meta = Meta::new();
        meta.text("text/lines", text.lines().count());
        Ok(Outcome::Completed(meta))
    }
}

const MANIFEST: &str = r#"{
    "id": "lines", "name": "Line counter", "version": "1.0.0", "priority": 50, "queue": "fast",
    "filter": {"mimeTypes": ["text/*"]},
    "dataSchema": {"text/lines": {"label": "Lines", "type": "string"}}
}"#;

fn main() -> ExitCode {
    worker_sdk::run(Lines)
}
