//! Plugins that do nothing, in the shape of the seed's graph.

use broker_config::{Manifest, PluginId};
use worker_sdk::{Context, Failure, Meta, Outcome, Plugin};

/// Ids, priorities and dependencies: file-info → ffmpeg, filename-parser → nfo, anime → tmdb.
const GRAPH: [(&str, u8, &[&str]); 6] = [
    ("info", 10, &[]),
    ("ffmpeg", 15, &["info"]),
    ("parser", 20, &["info"]),
    ("nfo", 25, &["parser"]),
    ("anime", 28, &["parser"]),
    ("tmdb", 30, &["anime"]),
];

/// Writes two values and does nothing else.
#[derive(Debug)]
pub(super) struct Noop {
    manifest: Manifest,
}

impl Noop {
    /// The first `count` plugins of the graph.
    pub(super) fn graph(count: usize) -> anyhow::Result<Vec<Self>> {
        GRAPH
            .iter()
            .take(count)
            .map(|(id, priority, dependencies)| {
                let manifest = serde_json::json!({
                    "id": id, "name": id, "version": "1.0.0", "priority": priority,
                    "queue": "fast", "dependencies": dependencies,
                    "dataSchema": {format!("{id}/done"): {}, format!("{id}/at"): {}},
                });
                Ok(Self { manifest: Manifest::from_json(&manifest.to_string())? })
            })
            .collect()
    }

    /// For each of the first `count` plugins, the places of those it depends on, as bits.
    pub(super) fn needs(count: usize) -> Vec<u32> {
        let at = |id: &str| GRAPH.iter().position(|(other, ..)| *other == id).unwrap_or(0);
        let bits = |needs: &[&str]| needs.iter().map(|id| 1 << at(id)).sum();
        GRAPH.iter().take(count).map(|(_, _, needs)| bits(needs)).collect()
    }

    pub(super) fn id(&self) -> PluginId {
        self.manifest.id.clone()
    }
}

impl Plugin for Noop {
    fn manifest(&self) -> Manifest {
        self.manifest.clone()
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let mut meta = Meta::new();
        let id = &self.manifest.id;
        meta.text(format!("{id}/done"), "true").text(format!("{id}/at"), ctx.file().size);
        Ok(Outcome::Completed(meta))
    }
}
