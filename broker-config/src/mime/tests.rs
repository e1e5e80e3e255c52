use proptest::prelude::*;

use super::*;

fn ebml(doc_type: &[u8]) -> Vec<u8> {
    let mut head = vec![0x1a, 0x45, 0xdf, 0xa3, 0xa3, 0x42, 0x86, 0x81, 1, 0x42, 0x82];
    head.push(0x80 + u8::try_from(doc_type.len()).unwrap());
    head.extend_from_slice(doc_type);
    head
}

fn transport(packet: usize, offset: usize) -> Vec<u8> {
    let mut head = vec![0xff; packet * 5];
    for n in 0..5 {
        head[offset + n * packet] = 0x47;
    }
    head
}

#[test]
fn content_decides_and_the_name_helps_where_it_is_silent() {
    let png = b"\x89PNG\r\n\x1a\n0000";
    let flac = b"fLaC\x00\x00\x00\x22";
    let binary = b"\x00\x01\x02\x03\x04\x05\x06\x07";
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty.mkv", b"", "inode/x-empty"),
        ("film.mkv", &ebml(b"matroska"), "video/x-matroska"),
        ("film.mkv", &ebml(b"webm"), "video/webm"),
        ("film.avi", &ebml(b"matroska\0"), "video/x-matroska"),
        ("cut.txt", b"\x1a\x45\xdf\xa3", "video/x-matroska"),
        ("film.ts", &transport(188, 0), "video/mp2t"),
        ("film.m2ts", &transport(192, 4), "video/mp2t"),
        ("code.ts", b"export const a = 1;\n", "text/plain"),
        ("picture.txt", png, "image/png"),
        ("song.mp3", flac, "audio/flac"),
        ("song.ogg", b"OggS\0\0\0\0\x01vorbis", "audio/ogg"),
        ("film.ogg", b"OggS\0\0\0\0\x80theora", "video/ogg"),
        ("a.srt", b"1\r\n00:00:01,000 --> 00:00:02,000\r\nHi\r\n", "application/x-subrip"),
        ("a.txt", b"\xef\xbb\xbf1\n00:00:01,000 --> 00:00:02,000\n", "application/x-subrip"),
        ("a.srt", b"\xff\xfe1\0\n\0", "application/x-subrip"),
        ("a.vtt", b"WEBVTT\n\n", "text/vtt"),
        ("a.ass", b"[Script Info]\n", "text/x-ssa"),
        ("a.smi", b"<SAMI>\n", "application/x-sami"),
        ("a.sub", b"{0}{25}Hello\n", "text/x-microdvd"),
        ("movie.nfo", b"<?xml version=\"1.0\"?><movie/>", "text/xml"),
        ("movie.nfo", b"<movie><title>A</title></movie>", "text/xml"),
        ("movie.nfo", b"Some release notes", "text/x-nfo"),
        ("picture.svg", b"<?xml version=\"1.0\"?><svg/>", "image/svg+xml"),
        ("data.json", b"{\"a\": 1}", "application/json"),
        ("latin.srt.bak", b"1\nna\xefve caf\xe9 text here\n", "text/plain"),
        ("readme", b"plain words", "text/plain"),
        ("tricky.mp4", b"this is not a film", "text/plain"),
        ("notes.txt", binary, "application/octet-stream"),
        ("thing", binary, "application/octet-stream"),
        ("film.avi", binary, "video/x-msvideo"),
    ];
    for (name, head, expected) in cases {
        assert_eq!(mime_of(Path::new(name), head), *expected, "{name} {head:?}");
    }
}

#[test]
fn a_character_cut_at_the_end_of_the_head_is_still_text() {
    let mut head = "é".repeat(HEAD_BYTES / 2).into_bytes();
    head.insert(0, b'a');
    head.truncate(HEAD_BYTES);

    assert_eq!(mime_of(Path::new("long.txt"), &head), "text/plain");
}

proptest! {
    #[test]
    fn any_bytes_under_any_name_have_a_media_type(name in ".{0,20}", head: Vec<u8>) {
        prop_assert!(mime_of(Path::new(&name), &head).contains('/'));
    }
}
