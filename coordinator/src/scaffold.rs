//! PURE: the files of a new plugin, out of templates that are part of this program.
//!
//! A template is a real file under `scaffold/templates`; what differs from plugin to plugin stands
//! there as `@MARKER@`. A line that holds nothing but markers without a value goes away.

mod catalogue;
mod fill;

use std::path::{Path, PathBuf};

use broker_config::PluginId;
use clap::ValueEnum;

use self::catalogue::Template;
use self::fill::{Values, fill};

/// How Go knows its SDK.
const GO_MODULE: &str = "github.com/metafleet/metafleet/worker-sdk/go";

/// The languages there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// With the crate `worker-sdk`.
    Rust,
    /// With the package `metafleet`.
    Python,
    /// With the package `@metafleet/worker`.
    Typescript,
    /// With the module `worker-sdk/go`.
    Go,
    /// Any command, run by `metafleet-shim`.
    Shell,
}

impl Lang {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rust, Self::Python, Self::Typescript, Self::Go, Self::Shell];

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Typescript => "TypeScript",
            Self::Go => "Go",
            Self::Shell => "shell",
        }
    }
}

/// Where the plugin gets the SDK of its language from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// The registry of the language, in the version of this program.
    Published,
    /// A folder like `worker-sdk` of a checkout, absolute.
    Folder(PathBuf),
}

/// A file that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its path within the plugin's folder.
    pub path: &'static str,
    /// What it holds.
    pub text: String,
    /// Whether it is a program.
    pub executable: bool,
}

/// The path of the SDK cannot be written into the files of the plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path of the SDK, {0}, holds a character that build files do not take")]
pub struct OddPath(pub String);

/// All files of a new plugin.
///
/// # Errors
///
/// [`OddPath`] when the SDK lies where no build file can name it.
pub fn files(lang: Lang, id: &PluginId, sdk: &Sdk) -> Result<Vec<NewFile>, OddPath> {
    let values = values(lang, id, sdk)?;
    let all = catalogue::COMMON.iter().chain(catalogue::of(lang));
    Ok(all
        .map(|Template { path, text, executable }| NewFile {
            path,
            text: fill(text, &values),
            executable: *executable,
        })
        .collect())
}

fn values(lang: Lang, id: &PluginId, sdk: &Sdk) -> Result<Values, OddPath> {
    let folder = match sdk {
        Sdk::Published => None,
        Sdk::Folder(folder) => Some(plain(folder)?),
    };
    let entry = entry_point(lang, id);
    let mut values = Values::from([
        ("ID", id.to_string()),
        ("TITLE", title(id)),
        // Never the name of something else in its language, and never begun by a number.
        ("PACKAGE", format!("plugin-{id}")),
        ("LIBRARY", format!("plugin_{}", id.as_str().replace('-', "_"))),
        ("LANGUAGE", lang.name().to_owned()),
        ("SDK_VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        ("ENTRY_POINT", entry),
        ("RUN", run(lang, id)),
        ("SOURCES", sources(lang).to_owned()),
        ("NEEDS", needs(lang).to_owned()),
        ("SCHEMA", schema(folder.as_deref())),
    ]);
    values.extend(dependency(lang, folder.as_deref()));
    Ok(values)
}

/// Quotes and the like would need an escape of their own in each kind of file.
fn plain(folder: &Path) -> Result<String, OddPath> {
    let odd = || OddPath(folder.display().to_string());
    let text = folder.to_str().ok_or_else(odd)?;
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { Ok(text.to_owned()) } else { Err(odd()) }
}

/// `word-count` as `Word count`.
fn title(id: &PluginId) -> String {
    let mut letters = id.as_str().chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters.map(|c| if c == '-' { ' ' } else { c })).collect()
}

/// The program that `./build` makes, and its arguments.
fn program(lang: Lang, id: &PluginId) -> Vec<&str> {
    match lang {
        Lang::Rust | Lang::Go => vec![id.as_str()],
        Lang::Python => vec!["main.py"],
        Lang::Typescript => vec!["main.js"],
        Lang::Shell => {
            let manifest = ["--manifest", "manifest.json", "--check-settings"];
            [&["metafleet-shim"][..], &manifest, &["--", "./extract.sh"]].concat()
        }
    }
}

/// The same for a manifest.
fn entry_point(lang: Lang, id: &PluginId) -> String {
    let all: Vec<String> = program(lang, id).iter().map(|word| format!("\"{word}\"")).collect();
    match all.as_slice() {
        [] => "{}".to_owned(),
        [main] => format!("{{ \"main\": {main} }}"),
        [main, args @ ..] => format!("{{ \"main\": {main}, \"args\": [{}] }}", args.join(", ")),
    }
}

/// The same for a shell.
fn run(lang: Lang, id: &PluginId) -> String {
    format!("./{}", program(lang, id).join(" "))
}

const fn sources(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "`src/lib.rs`, its tests in `tests/plugin.rs`",
        Lang::Python => "`text_stats.py`, its tests in `tests/`",
        Lang::Typescript => "`src/plugin.ts`, its tests in `tests/plugin.test.ts`",
        Lang::Go => "`plugin.go`, its tests in `plugin_test.go`",
        Lang::Shell => "`extract.sh`, its tests in `test`",
    }
}

const fn needs(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "Rust 1.95 or newer",
        Lang::Python => "Python 3.10 or newer with pip",
        Lang::Typescript => "Node 20 or newer with npm",
        Lang::Go => "Go 1.26 or newer",
        Lang::Shell => {
            "a POSIX shell with awk and iconv, and `metafleet-shim` beside `metafleet` or on `PATH`"
        }
    }
}

/// Editors check and complete a manifest by its first line.
fn schema(folder: Option<&str>) -> String {
    match folder {
        Some(folder) => {
            let checkout = folder.rsplit_once('/').map_or("", |(checkout, _)| checkout);
            format!("{checkout}/broker-config/schema/manifest.schema.json")
        }
        None => format!(
            "https://raw.githubusercontent.com/metafleet/metafleet/v{}/broker-config/schema/manifest.schema.json",
            env!("CARGO_PKG_VERSION")
        ),
    }
}

/// How the build files name the SDK; an image is built where the folder of the SDK is handed in as
/// a second context.
fn dependency(lang: Lang, folder: Option<&str>) -> Values {
    let version = env!("CARGO_PKG_VERSION");
    let context = folder.and_then(|folder| context(lang, folder));
    let copy = context.as_ref().map(|from| format!("COPY --from=sdk . {from}"));
    let context = context.map(|from| format!(" --build-context sdk={from}"));
    let named = match (lang, folder) {
        (Lang::Rust, Some(folder)) => format!(r#"{{ path = "{folder}" }}"#),
        (Lang::Rust, None) => format!(r#"{{ version = "{version}" }}"#),
        (Lang::Python, Some(folder)) => format!("metafleet @ file://{folder}/python"),
        (Lang::Python, None) => format!("metafleet=={version}"),
        (Lang::Typescript, Some(folder)) => format!("file:{folder}/typescript"),
        (Lang::Typescript, None) => version.to_owned(),
        (Lang::Go, Some(folder)) => format!("replace {GO_MODULE} => {folder}/go"),
        (Lang::Go, None) | (Lang::Shell, _) => String::new(),
    };
    // For its tests, the crate has a feature.
    let testing = named.replace(" }", r#", features = ["testing"] }"#);
    Values::from([
        ("SDK_COPY", copy.unwrap_or_default()),
        ("SDK_CONTEXT", context.unwrap_or_default()),
        ("SDK", named),
        ("SDK_TESTING", testing),
        ("GO_MODULE", GO_MODULE.to_owned()),
    ])
}

/// The folder that an image build needs of the SDK.
fn context(lang: Lang, folder: &str) -> Option<String> {
    match lang {
        // The crate leans on others of its checkout.
        Lang::Rust => folder.rsplit_once('/').map(|(checkout, _)| checkout.to_owned()),
        Lang::Python => Some(format!("{folder}/python")),
        Lang::Typescript => Some(format!("{folder}/typescript")),
        Lang::Go => Some(format!("{folder}/go")),
        Lang::Shell => None,
    }
}

#[cfg(test)]
mod tests;
