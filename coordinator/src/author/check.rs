//! PURE: what is wrong with a plugin, alone and beside the others.

pub mod advice;
pub mod beside;
pub mod overlap;
pub mod rules;

use serde::Serialize;
use serde_json::Value;

use broker_config::Manifest;

use crate::permission::Permission;

/// A plugin that is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Its manifest as it was written, for pointers into it.
    pub raw: Value,
    /// The manifest.
    pub manifest: Manifest,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The plugin cannot serve like this.
    Error,
    /// It can, but perhaps not as its author thinks.
    Warning,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something that is to be mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where in the manifest, as a JSON pointer (RFC 6901); empty = the whole of it.
    pub pointer: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl Finding {
    fn error(pointer: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Severity::Error, pointer.into(), what.into())
    }

    fn warning(pointer: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, pointer.into(), what.into())
    }

    fn new(severity: Severity, pointer: String, what: String) -> Self {
        let advice = advice::of(&pointer).to_owned();
        Self { severity, pointer, what, advice }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// What is found where the program of a plugin should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main {
    /// A program.
    Runs,
    /// A file that may not be executed.
    NotExecutable,
    /// Nothing, but a script `build` that may make it.
    NotBuilt,
    /// Nothing.
    Missing,
}

/// Judges the program that `entryPoint` names.
#[must_use]
pub fn judge_main(manifest: &Manifest, found: Main) -> Option<Finding> {
    let main = &manifest.entry_point.as_ref()?.main;
    let pointer = "/entryPoint/main";
    match found {
        Main::Runs => None,
        Main::NotExecutable => Some(
            Finding::error(pointer, format!("`{main}` is not executable"))
                .advise(format!("chmod +x {main}")),
        ),
        Main::NotBuilt => Some(
            Finding::warning(pointer, format!("`{main}` is not built yet"))
                .advise("run ./build, which puts it into dist/"),
        ),
        Main::Missing => Some(Finding::error(pointer, format!("there is no file `{main}`"))),
    }
}

/// Judges what the plugin wants to be allowed: with a word that there is not, it is neither packed nor started.
pub fn judge_permissions(manifest: &Manifest) -> impl Iterator<Item = Finding> {
    manifest.permissions.iter().enumerate().filter_map(|(at, text)| {
        let unknown = text.parse::<Permission>().err()?;
        Some(Finding::error(format!("/permissions/{at}"), unknown))
    })
}

/// One more segment of a pointer.
fn push(pointer: &str, segment: &str) -> String {
    format!("{pointer}/{}", segment.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_must_be_there_and_executable() {
        let text = r#"{"id":"a","name":"A","version":"1.0.0","priority":50,"queue":"fast",
            "dataSchema":{},"entryPoint":{"main":"run"}}"#;
        let manifest = Manifest::from_json(text).unwrap();
        for (found, severity, what) in [
            (Main::Runs, None, ""),
            (Main::NotExecutable, Some(Severity::Error), "not executable"),
            (Main::NotBuilt, Some(Severity::Warning), "not built yet"),
            (Main::Missing, Some(Severity::Error), "there is no file `run`"),
        ] {
            let finding = judge_main(&manifest, found);
            assert_eq!(finding.as_ref().map(|finding| finding.severity), severity, "{found:?}");
            assert!(finding.is_none_or(|finding| finding.what.contains(what)), "{found:?}");
        }
    }

    #[test]
    fn a_permission_that_there_is_not_is_told_with_its_place() {
        for (permissions, pointers) in [
            (r#"[]"#, &[][..]),
            (r#"["network.http", "root"]"#, &[]),
            (r#"["network.http", "network", ""]"#, &["/permissions/1", "/permissions/2"]),
        ] {
            let text = format!(
                r#"{{"id":"a","name":"A","version":"1.0.0","priority":50,"queue":"fast",
                "dataSchema":{{}},"permissions":{permissions}}}"#
            );
            let manifest = Manifest::from_json(&text).unwrap();
            let found: Vec<Finding> = judge_permissions(&manifest).collect();
            let at: Vec<&str> = found.iter().map(|finding| finding.pointer.as_str()).collect();
            assert_eq!(at, pointers, "{permissions}");
            let words = ["unknown permission", "network.http"];
            assert!(
                found.iter().all(|finding| words.iter().all(|word| finding.what.contains(word)))
            );
        }
    }

    #[test]
    fn pointers_are_escaped() {
        assert_eq!(push("/dataSchema", "a/b~c"), "/dataSchema/a~1b~0c");
    }
}
