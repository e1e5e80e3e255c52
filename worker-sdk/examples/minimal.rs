use std::process::ExitCode;

use tokio::io::AsyncReadExt;
use worker_sdk::{Classify, Context, Failure, Manifest, Meta, OpenError, Outcome, Plugin};

/// Counts the lines of text files.
struct Lines;

impl Plugin for Lines {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(MANIFEST)
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let mut text = String::new();
        let mut file = ctx.open().await.map_err(OpenError::failure)?;
        file.read_to_string(&mut text).await.retryable()?;
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
