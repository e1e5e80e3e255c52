//! The files of this checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Folders that hold no sources of ours.
const PASSED_OVER: [&str; 9] =
    ["target", ".git", ".tools", "demo", ".venv", "node_modules", "__pycache__", "data", "dist"];

/// One file.
pub(super) struct Source {
    /// From the root of the checkout on.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Whether it is part of what is shipped, tests left out.
    pub(super) fn is_product(&self) -> bool {
        let tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        !tests && !self.path.starts_with("tests/") && self.path.contains("/src/")
    }

    /// Whether a program wrote it, as its first line says.
    pub(super) fn is_generated(&self) -> bool {
        self.text.lines().next().is_some_and(|line| line.to_lowercase().contains("generated"))
    }

    /// The code without comments and without its tests, which stand at the end.
    pub(super) fn code(&self) -> String {
        let tests = self.text.find("#[cfg(test)]\nmod tests {");
        let tests = tests.or_else(|| self.text.find("#[cfg(test)]\npub(crate) mod tests {"));
        let code = &self.text[..tests.unwrap_or(self.text.len())];
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The root of the checkout.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file as text.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// All files with one of these extensions, in order.
pub(super) fn all(extensions: &[&str]) -> anyhow::Result<Vec<Source>> {
    let mut found = Vec::new();
    walk(&root(), extensions, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    ensure!(!found.is_empty(), "no sources under {}", root().display());
    Ok(found)
}

fn walk(folder: &Path, extensions: &[&str], found: &mut Vec<Source>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            if !PASSED_OVER.contains(&name.as_str()) {
                walk(&path, extensions, found)?;
            }
        } else if extensions.iter().any(|extension| name.ends_with(&format!(".{extension}"))) {
            let text = text(&path)?;
            let path = path.strip_prefix(root())?.to_string_lossy().into_owned();
            found.push(Source { path, text });
        }
    }
    Ok(())
}
