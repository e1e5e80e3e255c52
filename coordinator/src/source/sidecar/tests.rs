use super::*;

fn of(owner: &str, names: &[&str]) -> Vec<String> {
    let mut candidates = Candidates::default();
    for name in names {
        candidates.add(OsStr::new(name));
    }
    candidates.of(OsStr::new(owner)).iter().map(|n| n.to_string_lossy().into_owned()).collect()
}

#[test]
fn what_belongs_to_a_file_table() {
    let none: &[&str] = &[];
    let table: &[(&str, &[&str], &[&str])] = &[
        ("a.mkv", &["a.nfo", "a.srt", "b.srt"], &["a.nfo", "a.srt"]),
        (
            "a.mkv",
            &["a.en.srt", "a.eng.forced.srt", "a.pt-BR.sdh.cc.srt"],
            &["a.en.srt", "a.eng.forced.srt", "a.pt-BR.sdh.cc.srt"],
        ),
        ("a.mkv", &["a.en.forced.sdh.cc.srt"], none),
        ("a.mkv", &["a.English.2.ass", "a.zh-Hans.vtt"], &["a.English.2.ass", "a.zh-Hans.vtt"]),
        ("Movie.mkv", &["Movie.2024.srt", "Movie.Extras.srt", "Movie 2.srt"], none),
        (
            "Movie.2024.mkv",
            &["Movie.2024.srt", "Movie.2024.de.srt"],
            &["Movie.2024.de.srt", "Movie.2024.srt"],
        ),
        ("a.mkv", &["movie.nfo", "tvshow.nfo"], &["movie.nfo", "tvshow.nfo"]),
        ("a.mp3", &["movie.nfo", "a.lrc"], &["a.lrc"]),
        ("A.MKV", &["A.SRT"], &["A.SRT"]),
        ("a.jpg", &["a.nfo"], none),
        ("a.srt", &["a.nfo"], none),
        ("a.mkv", &["a.mp4", "a.jpg", "a"], none),
        (".mkv", &[".srt"], &[".srt"]),
        ("noextension", &["noextension.srt"], none),
    ];
    for (owner, names, expected) in table {
        assert_eq!(of(owner, names), *expected, "{owner} among {names:?}");
    }
}

#[test]
fn one_owner_has_a_bounded_list() {
    let names: Vec<_> = (0..200).map(|n| format!("a.{}.srt", code(n))).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();

    assert_eq!(of("a.mkv", &names).len(), MOST_PER_FILE);
}

fn code(n: u8) -> String {
    [char::from(b'a' + n / 26), char::from(b'a' + n % 26)].iter().collect()
}

#[test]
fn names_that_are_not_utf8_have_sidecars_too() {
    let mut candidates = Candidates::default();
    candidates.add(OsStr::from_bytes(b"f\xff.en.srt"));

    assert_eq!(candidates.of(OsStr::from_bytes(b"f\xff.mkv")).len(), 1);
    assert!(candidates.of(OsStr::from_bytes(b"f\xfe.mkv")).is_empty());
}

#[test]
fn the_hash_tells_every_difference() {
    let nfo = SidecarFile { name: "a.nfo".into(), size: 10, mtime_ns: 5 };
    let lists = [
        vec![],
        vec![nfo.clone()],
        vec![SidecarFile { size: 11, ..nfo.clone() }],
        vec![SidecarFile { mtime_ns: 6, ..nfo.clone() }],
        vec![SidecarFile { name: "b.nfo".into(), ..nfo.clone() }],
        vec![nfo.clone(), nfo],
    ];
    for (a, left) in lists.iter().enumerate() {
        for (b, right) in lists.iter().enumerate() {
            let same = SidecarHash::of(left) == SidecarHash::of(right);
            assert_eq!(same, a == b, "{left:?} and {right:?}");
        }
    }
}
