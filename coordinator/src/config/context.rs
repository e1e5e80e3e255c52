//! The contexts of the `nats` command line tool: where they are and what they say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::secret::Secret;
use super::vars::Vars;

/// What was found on disk: the selected context, and the text of those that may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextFiles {
    /// The name in `context.txt`.
    pub selected: Option<String>,
    /// Name → the text of `context/<name>.json`.
    pub texts: BTreeMap<String, Secret>,
}

/// One context; fields that are left out or empty say nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Context {
    /// Address, or several with commas between.
    pub url: String,
    /// Login by name.
    pub user: String,
    /// Login by name.
    pub password: Option<Secret>,
    /// Login by token.
    pub token: Option<Secret>,
    /// Login by credentials file: its path.
    pub creds: String,
    /// Login by key: the path of the seed.
    pub nkey: String,
    /// Certificate of the client: its path.
    pub cert: String,
    /// Key of that certificate: its path.
    pub key: String,
    /// Certificates of those who may sign the server's: their path.
    pub ca: String,
    /// Login by JWT; not supported here.
    pub user_jwt: Option<Secret>,
    /// A `JetStream` domain; not supported here.
    pub jetstream_domain: String,
    /// Another prefix of the `JetStream` API; not supported here.
    pub jetstream_api_prefix: String,
}

impl ContextFiles {
    /// Reads the selection, and the selected context, that of `NATS_CONTEXT` and the one named
    /// `wanted`.
    ///
    /// What cannot be read is as if it were not there; using it is then an error that names it.
    #[must_use]
    pub fn load(vars: &dyn Vars, wanted: Option<&str>) -> Self {
        let Some(home) = folder(vars) else { return Self::default() };
        let selected = std::fs::read_to_string(home.join("context.txt"))
            .map(|text| text.trim().to_owned())
            .ok()
            .filter(|name| !name.is_empty());
        let from_vars = vars.non_empty("NATS_CONTEXT");
        let texts = [selected.as_deref(), from_vars.as_deref(), wanted]
            .into_iter()
            .flatten()
            .filter_map(|name| Some((name.to_owned(), read(&home, name)?)))
            .collect();
        Self { selected, texts }
    }
}

fn folder(vars: &dyn Vars) -> Option<PathBuf> {
    let config = match vars.non_empty("XDG_CONFIG_HOME") {
        Some(config) => PathBuf::from(config),
        None => Path::new(&vars.non_empty("HOME")?).join(".config"),
    };
    Some(config.join("nats"))
}

fn read(home: &Path, name: &str) -> Option<Secret> {
    // A name is a file name; anything else could read any file.
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return None;
    }
    let path = home.join("context").join(format!("{name}.json"));
    std::fs::read_to_string(path).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::super::vars::vars;
    use super::*;

    #[test]
    fn contexts_are_read_from_where_the_tool_keeps_them() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let nats = home.path().join(".config/nats");
        std::fs::create_dir_all(nats.join("context"))?;
        std::fs::write(nats.join("context.txt"), "prod\n")?;
        std::fs::write(nats.join("context/prod.json"), "{}")?;
        std::fs::write(nats.join("context/lab.json"), "{\"url\":\"x\"}")?;
        std::fs::write(nats.join("context/night.json"), "{}")?;
        std::fs::write(nats.join("secret.json"), "{}")?;
        let home = home.path().display().to_string();
        let by_name = vars(&[("HOME", &home), ("NATS_CONTEXT", "night")]);
        let vars = vars(&[("HOME", &home)]);

        let files = ContextFiles::load(&vars, Some("lab"));
        let outside = ContextFiles::load(&vars, Some("../secret"));
        let by_name = ContextFiles::load(&by_name, None);

        assert_eq!(files.selected.as_deref(), Some("prod"));
        assert_eq!(files.texts.keys().collect::<Vec<_>>(), ["lab", "prod"]);
        assert_eq!(outside.texts.keys().collect::<Vec<_>>(), ["prod"]);
        assert_eq!(by_name.texts.keys().collect::<Vec<_>>(), ["night", "prod"]);
        Ok(())
    }
}
