use std::collections::BTreeSet;

use broker_config::Manifest;

use super::fill::marker_left;
use super::*;

fn made(lang: Lang, id: &str, sdk: &Sdk) -> Vec<NewFile> {
    files(lang, &id.parse().unwrap(), sdk).unwrap()
}

fn sdks() -> [Sdk; 2] {
    [Sdk::Published, Sdk::Folder("/src/metafleet/worker-sdk".into())]
}

#[test]
fn every_file_of_every_language_is_filled_in() {
    for lang in Lang::ALL {
        for sdk in sdks() {
            let files = made(lang, "word-count", &sdk);
            for file in &files {
                let left = marker_left(&file.text);
                assert_eq!(left, None, "{lang:?} {sdk:?} {}", file.path);
                assert!(
                    file.text.ends_with('\n') || file.text.is_empty(),
                    "{lang:?} {}: the last line has no end",
                    file.path
                );
                // Sources are compiled into programs.
                let is_script = file.text.starts_with("#!") && !file.path.ends_with(".ts");
                assert_eq!(is_script, file.executable, "{lang:?} {}", file.path);
            }
            let paths: BTreeSet<&str> = files.iter().map(|file| file.path).collect();
            assert_eq!(paths.len(), files.len(), "{lang:?}: a file comes twice");
            for wanted in [
                "manifest.json",
                "README.md",
                "Dockerfile",
                "build",
                "test",
                ".gitignore",
                ".github/workflows/ci.yml",
            ] {
                assert!(paths.contains(wanted), "{lang:?} has no {wanted}");
            }
        }
    }
}

#[test]
fn the_manifest_names_its_schema_first_and_keeps_all_rules() {
    for lang in Lang::ALL {
        for id in ["a", "word-count", "9-lives"] {
            let files = made(lang, id, &Sdk::Published);
            let manifest = &files.iter().find(|file| file.path == "manifest.json").unwrap().text;
            let first = manifest.lines().nth(1).unwrap();
            assert!(first.contains(r#""$schema": "https://"#), "{first}");
            let manifest = Manifest::from_json(manifest).unwrap();
            assert_eq!(manifest.id.as_str(), id);
            assert!(manifest.entry_point.is_some());
            assert!(manifest.data_field(&format!("{id}/lines")).is_some());
        }
    }
}

#[test]
fn an_image_runs_as_nobody_and_gets_the_sdk_where_that_is_a_folder() {
    for lang in Lang::ALL {
        for sdk in sdks() {
            let files = made(lang, "word-count", &sdk);
            let image = &files.iter().find(|file| file.path == "Dockerfile").unwrap().text;
            assert!(image.contains("\nUSER 65532:65532\n"), "{lang:?}: {image}");
            let copies = image.contains("COPY --from=sdk . /src/metafleet");
            let wants = sdk != Sdk::Published && lang != Lang::Shell;
            assert_eq!(copies, wants, "{lang:?} {sdk:?}: {image}");
        }
    }
}

#[test]
fn names_are_made_from_the_id() {
    for (id, shown, package, library) in [
        ("a", "A", "plugin-a", "plugin_a"),
        ("word-count", "Word count", "plugin-word-count", "plugin_word_count"),
        ("9-lives", "9 lives", "plugin-9-lives", "plugin_9_lives"),
    ] {
        let id: PluginId = id.parse().unwrap();
        let values = values(Lang::Rust, &id, &Sdk::Published).unwrap();
        let found = ["TITLE", "PACKAGE", "LIBRARY"].map(|name| values[name].as_str());
        assert_eq!(found, [shown, package, library]);
    }
}

#[test]
fn the_program_is_named_for_manifests_and_for_shells() {
    let id: PluginId = "word-count".parse().unwrap();
    let shown = |lang| (entry_point(lang, &id), run(lang, &id));
    assert_eq!(shown(Lang::Go), (r#"{ "main": "word-count" }"#.into(), "./word-count".into()));
    let (entry, run) = shown(Lang::Shell);
    assert!(entry.starts_with(r#"{ "main": "metafleet-shim", "args": ["--manifest", "#), "{entry}");
    assert!(run.ends_with("--check-settings -- ./extract.sh"), "{run}");
}

#[test]
fn a_path_that_build_files_do_not_take_is_refused() {
    for path in ["/a b", "/a\"b", "/a'b", "/a\nb", "/a$b", "/a@b"] {
        let error = files(Lang::Python, &"x".parse().unwrap(), &Sdk::Folder(path.into()));
        assert!(error.is_err(), "{path}");
    }
}
