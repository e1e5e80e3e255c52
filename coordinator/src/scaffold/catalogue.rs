//! PURE: which file of a new plugin comes from which template.

use super::Lang;

/// A file of a plugin with markers in it.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) path: &'static str,
    pub(super) text: &'static str,
    pub(super) executable: bool,
}

macro_rules! file {
    ($path:literal, $from:literal) => {
        Template {
            path: $path,
            text: include_str!(concat!("templates/", $from)),
            executable: false,
        }
    };
}

macro_rules! program {
    ($path:literal, $from:literal) => {
        Template { path: $path, text: include_str!(concat!("templates/", $from)), executable: true }
    };
}

/// Files that every plugin has, whatever its language.
pub(super) const COMMON: &[Template] = &[
    file!("manifest.json", "common/manifest.json"),
    file!("README.md", "common/README.md"),
    file!("sample.txt", "common/sample.txt"),
];

/// The files of one language.
pub(super) const fn of(lang: Lang) -> &'static [Template] {
    match lang {
        Lang::Rust => RUST,
        Lang::Python => PYTHON,
        Lang::Typescript => TYPESCRIPT,
        Lang::Go => GO,
        Lang::Shell => SHELL,
    }
}

const RUST: &[Template] = &[
    file!("Cargo.toml", "rust/Cargo.toml.in"),
    file!("src/lib.rs", "rust/lib.rs"),
    file!("src/main.rs", "rust/main.rs"),
    file!("tests/plugin.rs", "rust/plugin.rs"),
    program!("build", "rust/build"),
    program!("test", "rust/test"),
    file!("Dockerfile", "rust/Dockerfile"),
    file!(".dockerignore", "rust/gitignore"),
    file!(".gitignore", "rust/gitignore"),
    file!(".github/workflows/ci.yml", "rust/ci.yml"),
];

const PYTHON: &[Template] = &[
    file!("requirements.txt", "python/requirements.txt"),
    file!("text_stats.py", "python/text_stats.py"),
    program!("main.py", "python/main.py"),
    file!("tests/__init__.py", "python/tests_init.py"),
    file!("tests/test_text_stats.py", "python/text_stats_tests.py"),
    program!("build", "python/build"),
    program!("test", "python/test"),
    file!("Dockerfile", "python/Dockerfile"),
    file!(".dockerignore", "python/gitignore"),
    file!(".gitignore", "python/gitignore"),
    file!(".github/workflows/ci.yml", "python/ci.yml"),
];

const TYPESCRIPT: &[Template] = &[
    file!("package.json", "typescript/package.json.in"),
    file!("tsconfig.json", "typescript/tsconfig.json.in"),
    file!(".npmrc", "typescript/npmrc"),
    file!("src/plugin.ts", "typescript/plugin.ts.in"),
    file!("src/main.ts", "typescript/main.ts.in"),
    file!("tests/plugin.test.ts", "typescript/plugin.test.ts.in"),
    program!("build", "typescript/build"),
    program!("test", "typescript/test"),
    file!("Dockerfile", "typescript/Dockerfile"),
    file!(".dockerignore", "typescript/gitignore"),
    file!(".gitignore", "typescript/gitignore"),
    file!(".github/workflows/ci.yml", "typescript/ci.yml"),
];

const GO: &[Template] = &[
    file!("go.mod", "go/go.mod.in"),
    file!("main.go", "go/main.go.in"),
    file!("plugin.go", "go/plugin.go.in"),
    file!("plugin_test.go", "go/plugin_test.go.in"),
    program!("build", "go/build"),
    program!("test", "go/test"),
    file!("Dockerfile", "go/Dockerfile"),
    file!(".dockerignore", "go/gitignore"),
    file!(".gitignore", "go/gitignore"),
    file!(".github/workflows/ci.yml", "go/ci.yml"),
];

const SHELL: &[Template] = &[
    program!("extract.sh", "shell/extract.sh"),
    program!("build", "shell/build"),
    program!("test", "shell/test"),
    file!("Dockerfile", "shell/Dockerfile"),
    file!(".gitignore", "shell/gitignore"),
    file!(".github/workflows/ci.yml", "shell/ci.yml"),
];
