//! PURE: whether a manifest and the files beside it make a plugin that can be installed.

use broker_config::Manifest;

use super::{EntryName, MANIFEST};
use crate::permission::Permission;

/// Reads the manifest of a package; `is_executable` says it of a file, `None` = there is none.
///
/// # Errors
///
/// All that is wrong.
pub(super) fn check(
    text: &[u8],
    is_executable: impl Fn(&str) -> Option<bool>,
) -> Result<Manifest, Vec<String>> {
    let told = |reason: String| vec![format!("{MANIFEST}: {reason}")];
    let text = std::str::from_utf8(text).map_err(|error| told(error.to_string()))?;
    let manifest = Manifest::from_json(text).map_err(|error| told(error.to_string()))?;
    let mut reasons = Vec::new();
    let mut reason = |text: String| reasons.push(format!("{MANIFEST}: {text}"));
    match &manifest.entry_point {
        None => reason("entryPoint: is required, to start it as a process".to_owned()),
        Some(entry) => match program(&entry.main) {
            None => reason("entryPoint.main: must be a path inside the plugin's folder".to_owned()),
            Some(name) => match is_executable(name.as_str()) {
                Some(true) => {}
                Some(false) => {
                    reason(format!("entryPoint.main: `{name}` is not executable (chmod +x)"));
                }
                None => reason(format!("entryPoint.main: there is no file `{name}`")),
            },
        },
    }
    for permission in &manifest.permissions {
        if let Err(unknown) = permission.parse::<Permission>() {
            reason(format!("permissions: {unknown}"));
        }
    }
    if reasons.is_empty() { Ok(manifest) } else { Err(reasons) }
}

/// The program as a file of the package: `./run` is `run`.
fn program(main: &str) -> Option<EntryName> {
    let parts: Vec<&str> = main.split('/').filter(|part| *part != ".").collect();
    parts.join("/").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_installed() {
        let manifest = |more: &str| {
            format!(
                r#"{{"id":"p","name":"P","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{{}}{more}}}"#
            )
        };
        let main = |main: &str| manifest(&format!(r#","entryPoint":{{"main":"{main}"}}"#));
        let files = |name: &str| match name {
            "run" | "bin/run" => Some(true),
            "data" => Some(false),
            _ => None,
        };
        for (text, problem) in [
            (main("run"), None),
            (main("./run"), None),
            (main("./bin/./run"), None),
            (main("data"), Some("`data` is not executable")),
            (main("gone"), Some("there is no file `gone`")),
            (main("/run"), Some("must be a path inside")),
            (main("bin/../run"), Some("must be a path inside")),
            (main(""), Some("must be a path inside")),
            (main("."), Some("must be a path inside")),
            (manifest(""), Some("entryPoint: is required")),
            (manifest(r#","permissions":["all"]"#), Some("unknown permission `all`")),
            ("{".to_owned(), Some("manifest.json: invalid manifest")),
        ] {
            let found = check(text.as_bytes(), files).err().map(|reasons| reasons.join("; "));
            assert_eq!(found.is_none(), problem.is_none(), "{text}: {found:?}");
            assert!(problem.is_none_or(|rule| found.unwrap_or_default().contains(rule)), "{text}");
        }
        assert!(check(b"\xff", files).unwrap_err()[0].contains("utf-8"));
    }
}
