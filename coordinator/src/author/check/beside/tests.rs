use serde_json::{Value, json};

use super::super::Severity;
use super::*;

fn subject(id: &str, change: &Value) -> Subject {
    let mut raw = json!({
        "id": id, "name": id, "version": "1.0.0", "priority": 50, "queue": "fast", "dataSchema": {},
    });
    for (field, value) in change.as_object().unwrap() {
        raw[field] = value.clone();
    }
    Subject { manifest: Manifest::from_json(&raw.to_string()).unwrap(), raw }
}

fn installed() -> Vec<Manifest> {
    [
        subject("info", &json!({"priority": 10, "dataSchema": {"file/type": {}}})),
        subject(
            "video",
            &json!({"priority": 20, "dependencies": ["info"], "dataSchema": {
                "title": {}, "tracks": {"pattern": "tracks/{n}/*"}, "genres": {"type": "set"}}}),
        ),
        subject("ring", &json!({"dependencies": ["mine"]})),
    ]
    .map(|subject| subject.manifest)
    .to_vec()
}

#[test]
fn a_plugin_is_judged_beside_those_that_are_installed() {
    use Severity::{Error, Warning};
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"dependencies": ["video"], "reads": ["title", "tracks/*", "file/type", "file/size"]}),
            vec![],
        ),
        (
            json!({"dependencies": ["info", "zz"]}),
            vec![(Error, "/dependencies/1", "not known: mine → zz")],
        ),
        (
            json!({"dependencies": ["ring"]}),
            vec![(Error, "/dependencies/0", "depends on itself: mine → ring → mine")],
        ),
        (
            json!({"dataSchema": {"title": {}}}),
            vec![(
                Warning,
                "/dataSchema/title",
                "by video too; what mine says counts (priority 50 over 20)",
            )],
        ),
        (
            json!({"dataSchema": {"title": {}}, "priority": 20}),
            vec![(Warning, "/dataSchema/title", "what video says counts (both have priority 20")],
        ),
        (
            json!({"dataSchema": {"tracks/0/codec": {}}, "priority": 15}),
            vec![(
                Warning,
                "/dataSchema/tracks~10~1codec",
                "as `tracks/{n}/*`; what video says counts",
            )],
        ),
        (json!({"dataSchema": {"genres": {"type": "set"}}}), vec![]),
        (
            json!({"dataSchema": {"genres": {}}}),
            vec![(Warning, "/dataSchema/genres", "`genres` is written by video too")],
        ),
        (
            json!({"reads": ["file/name", "nothing"]}),
            vec![(Warning, "/reads/1", "nobody writes `nothing`")],
        ),
        (
            json!({"reads": ["tracks/0/codec"], "dependencies": ["info"]}),
            vec![(Warning, "/reads/0", "is written by video, which it does not depend on")],
        ),
    ] {
        let found = judge(&[subject("mine", &change)], &installed());
        let found = &found[&"mine".parse().unwrap()];
        assert_eq!(found.len(), expected.len(), "{change}: {found:?}");
        for (finding, (severity, pointer, what)) in found.iter().zip(expected) {
            assert_eq!(
                (finding.severity, finding.pointer.as_str()),
                (severity, pointer),
                "{change}"
            );
            assert!(finding.what.contains(what), "{change}: {}", finding.what);
            assert!(!finding.advice.is_empty(), "{change}");
        }
    }
}

#[test]
fn a_plugin_stands_in_the_place_of_the_installed_one_and_beside_other_subjects() {
    let one = subject("info", &json!({"dataSchema": {"file/kind": {}}}));
    let two = subject("two", &json!({"dependencies": ["info"], "reads": ["file/kind"]}));

    let found = judge(&[one, two], &installed());

    assert!(found.values().all(Vec::is_empty), "{found:?}");
}
