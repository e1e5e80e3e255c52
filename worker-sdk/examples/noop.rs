//! A plugin that does nothing, as fast as the SDK lets it: what a task costs.

use std::process::ExitCode;

use worker_sdk::{Context, Failure, Manifest, Meta, Outcome, Plugin};

/// Reads nothing and completes.
struct Noop;

impl Plugin for Noop {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(
            r#"{
                "id": "noop", "name": "No-op", "version": "1.0.0", "priority": 50, "queue": "fast",
                "concurrency": 64, "dataSchema": {"noop/done": {}}
            }"#,
        )
    }

    async fn process(&self, _ctx: &Context) -> Result<Outcome, Failure> {
        let mut meta = Meta::new();
        meta.text("noop/done", 1);
        Ok(Outcome::Completed(meta))
    }
}

fn main() -> ExitCode {
    worker_sdk::run(Noop)
}
