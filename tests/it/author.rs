//! What authors of plugins work with: `metafleet plugin new`, `check`, `test` and `dev`.

mod check;
mod dev;
mod scaffold;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use integration_tests::cli::Home;
use serde_json::{Value, json};

use crate::protocol::python::{interpreter, manifest, programs};

/// A folder with the manifest of `scripted.py`, changed, and files beside it that say what it does.
struct Bench {
    home: Home,
    /// What runs the plugin.
    command: Vec<String>,
}

impl Bench {
    async fn new(change: &Value) -> anyhow::Result<Self> {
        let home = Home::new()?;
        let temporary = home.root().join("tmp");
        std::fs::create_dir_all(&temporary)?;
        std::fs::create_dir_all(home.root().join("plugin"))?;
        let home = home.with_var("TMPDIR", temporary.display().to_string());
        let bench = Self { command: scripted().await?, home };
        bench.write_manifest(change)?;
        Ok(bench)
    }

    /// The folder of the plugin.
    fn folder(&self) -> PathBuf {
        self.home.root().join("plugin")
    }

    fn manifest(&self) -> String {
        self.folder().join("manifest.json").display().to_string()
    }

    fn write_manifest(&self, change: &Value) -> anyhow::Result<()> {
        Ok(std::fs::write(self.manifest(), manifest(change)?.to_string())?)
    }

    /// A file that says what is to be done with it; it is what is handed in.
    fn file(&self, name: &str, script: &str) -> anyhow::Result<String> {
        self.home.write(name, script)?;
        Ok(self.home.file(name))
    }

    /// The arguments of `plugin test`, with the command that runs the plugin at their end.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let manifest = self.manifest();
        let fixed = ["plugin", "test", "--manifest", &manifest];
        let all = fixed.iter().chain(more).map(|text| (*text).to_owned());
        all.chain(["--".to_owned()]).chain(self.command.iter().cloned()).collect()
    }

    /// Folders of fleets that should be gone with their command.
    fn left(&self) -> anyhow::Result<Vec<PathBuf>> {
        let left = std::fs::read_dir(self.home.root().join("tmp"))?;
        Ok(left.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
    }
}

/// What runs `scripted.py` with the manifest of the folder it is started in.
async fn scripted() -> anyhow::Result<Vec<String>> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is text");
    let python = text(&interpreter().await?)?;
    let script = text(&programs().join("scripted.py"))?;
    Ok(vec![python, "-B".to_owned(), script, "manifest.json".to_owned()])
}

/// The manifest that tests of the graph write.
fn plain(id: &str, change: &Value) -> anyhow::Result<Value> {
    let mut plain = json!({
        "id": id, "name": id, "version": "1.0.0", "priority": 50, "queue": "fast", "dataSchema": {},
    });
    for (field, value) in change.as_object().context("an object of fields")? {
        plain[field] = value.clone();
    }
    Ok(plain)
}
