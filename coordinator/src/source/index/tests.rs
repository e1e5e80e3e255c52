use serde_json::json;

use super::*;

fn file(path: &Path) -> PathEntry {
    let facts = EntryFacts::File(FileEntry {
        cid: Cid::try_from("bafy".to_owned()).unwrap(),
        size: 7,
        mtime_ns: 1_700_000_000_123_456_789,
        inode: Some(9),
        mime: "text/plain".into(),
        sidecars: None,
    });
    PathEntry { path: path.to_owned(), facts, missed: 0 }
}

#[test]
fn a_key_is_the_hash_of_the_folder_and_of_the_name() {
    let key = EntryKey::of(Path::new("/films/a.mkv"));

    assert_eq!(key.dir, DirHash::of(Path::new("/films")));
    assert_eq!(key.name, NameHash::of(OsStr::new("a.mkv")));
    let text = key.to_string();
    assert_eq!(text.len(), 65, "{text}");
    assert_eq!(DirHash::of(Path::new("")).to_string(), "seoc8gkovge196nruj49irtp4gjqsgf4");
}

#[test]
fn entries_are_written_as_documented() {
    assert_eq!(
        serde_json::to_value(file(Path::new("/films/a.txt"))).unwrap(),
        json!({
            "type": "metafleet.path.v1", "kind": "file", "path": "/films/a.txt", "cid": "bafy",
            "size": 7, "mtimeNs": 1_700_000_000_123_456_789_i64, "inode": 9, "mime": "text/plain",
        })
    );
    let dir = serde_json::to_value(PathEntry::dir("/films".into())).unwrap();
    assert_eq!(dir["kind"], "dir");
    assert_eq!(dir.get("cid"), None);
}

#[test]
fn every_entry_survives_json() {
    let odd = Path::new(OsStr::from_bytes(b"/films/\xff\xfe.mkv"));
    let entries = [
        file(Path::new("/films/ä b.mkv")),
        file(odd),
        PathEntry::dir(odd.to_owned()),
        PathEntry { missed: 3, ..file(odd) },
    ];
    for entry in entries {
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<PathEntry>(&json).unwrap(), entry, "{json}");
    }
}

#[test]
fn what_is_no_entry_is_refused() {
    let refused = [
        json!({"type": "metafleet.path.v2", "kind": "dir", "path": "/a"}),
        json!({"type": "metafleet.path.v1", "kind": "file", "path": "/a"}),
        json!({"type": "metafleet.path.v1", "kind": "socket", "path": "/a"}),
    ];
    for json in refused {
        assert!(serde_json::from_value::<PathEntry>(json.clone()).is_err(), "{json}");
    }
}
