use proptest::prelude::*;

use super::*;

/// Case, text, format, cues, first, last.
type Row = (&'static str, &'static str, Format, usize, Option<u64>, Option<u64>);

#[test]
fn every_format_is_known_by_its_content() {
    let table: &[Row] = &[
        (
            "two cues, the first one later",
            "1\r\n00:00:05,000 --> 00:00:06,500\r\nB\r\n\r\n2\r\n00:00:01,000 --> 00:00:02,000 X1:1\r\nA\r\n",
            Format::Srt,
            2,
            Some(1000),
            Some(6500),
        ),
        (
            "a line in front, a broken time",
            "junk\n1\n00:00:01,0 --> 00:00:02,0\nA\n\n2\n0:x --> 1\n",
            Format::Srt,
            1,
            Some(1000),
            Some(2000),
        ),
        (
            "vtt",
            "WEBVTT - t\n\nNOTE a --> b\n\n00:01.000 --> 00:02.000 line:0\nA\n",
            Format::Vtt,
            1,
            Some(1000),
            Some(2000),
        ),
        ("vtt without cues", "WEBVTT", Format::Vtt, 0, None, None),
        (
            "ass",
            "[Script Info]\nScriptType: v4.00+\n[V4+ Styles]\nFormat: Name, End, Start\n[Events]\n\
             Format: Layer, Start, End, Style, Text\nComment: 0,0:00:00.00,0:00:09.00,D,x\n\
             Dialogue: 0,0:00:00.50,0:00:01.80,D,a, b\n",
            Format::Ass,
            1,
            Some(500),
            Some(1800),
        ),
        (
            "ssa with other columns",
            "; made by hand\n[Script Info]\n[Events]\nFormat: Marked, Style, Start, End, Text\n\
             Dialogue: Marked=0,D,0:00:01.00,0:00:02.00,a\n",
            Format::Ssa,
            1,
            Some(1000),
            Some(2000),
        ),
        (
            "microdvd with its rate",
            "{1}{1}25.000\n{25}{50}A|B\n{75}{}C\n",
            Format::MicroDvd,
            2,
            Some(1000),
            Some(3000),
        ),
        ("microdvd without a rate", "{25}{50}A\n", Format::MicroDvd, 1, None, None),
        ("mpl2", "[10][25]A\n[30][45]B\n", Format::Mpl2, 2, Some(1000), Some(4500)),
        (
            "subviewer",
            "[INFORMATION]\n[END INFORMATION]\n00:00:01.00,00:00:02.50\nA\n",
            Format::SubViewer,
            1,
            Some(1000),
            Some(2500),
        ),
        (
            "sami",
            "<SAMI>\n<BODY>\n<SYNC Start=1000><P Class=EN>A\n<SYNC Start=\"2000\"><P>&nbsp;\n",
            Format::Sami,
            1,
            Some(1000),
            Some(2000),
        ),
        (
            "ttml",
            "<?xml version=\"1.0\"?><tt:tt xmlns:tt=\"http://www.w3.org/ns/ttml\"><tt:body begin=\"9s\">\
             <tt:p xml:id=\"p1\" begin=\"00:00:01.000\" end=\"00:00:02.000\">A</tt:p>\
             <tt:p begin='3s' dur='500ms'>B</tt:p></tt:body></tt:tt>",
            Format::Ttml,
            2,
            Some(1000),
            Some(3500),
        ),
        (
            "vobsub",
            "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 0\n\
             timestamp: 00:00:03:000, filepos: 800\nid: --, index: 1\nid: pt, index: 2\n",
            Format::VobSub,
            2,
            Some(1000),
            Some(3000),
        ),
    ];
    for (case, text, format, cues, first, last) in table {
        let found = read(text.as_bytes()).unwrap_or_else(|| panic!("{case} is not known"));
        assert_eq!(found.format, *format, "{case}");
        assert_eq!((found.cues, found.first, found.last), (*cues, *first, *last), "{case}");
    }
}

#[test]
fn an_index_names_its_languages() {
    let found = read(b"# VobSub index file\nid: en, index: 0\nid: --, index: 1\nid: pt\n").unwrap();

    assert_eq!(found.languages, ["en", "pt"]);
}

#[test]
fn what_is_no_subtitle_has_no_format() {
    for text in
        ["", "\n\n", "plain words", "a --> b", "{not}{numbers}", "<?xml version=\"1.0\"?><movie/>"]
    {
        assert_eq!(read(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn pictures_are_known_by_their_first_bytes() {
    let pgs = b"PG\x00\x00\x00\x00\x00\x00\x00\x00\x16\x00\x13";
    for (head, expected) in [
        (b"\x00\x00\x01\xba\x44".as_slice(), Some(Format::VobSub)),
        (pgs, Some(Format::Pgs)),
        (b"PG rated films", None),
        (b"", None),
    ] {
        assert_eq!(pictures(head), expected, "{head:?}");
    }
}

const BEGINNINGS: [&str; 9] = [
    "WEBVTT\n",
    "[Script Info]\n[Events]\nFormat: Start, End\n",
    "{1}{1}25\n",
    "[0][1]",
    "<sami>",
    "<tt xmlns='http://www.w3.org/ns/ttml'>",
    "# VobSub index file\n",
    "00:00:01.00,00:00:02.00\n",
    "",
];

const PIECES: &str = "(-->|:|,|\\.|[0-9]{1,22}|\n|<sync |start=|'|\"|<p |begin=|>|\\{|\\}|\\[|\\]|Dialogue:|timestamp:|é| ){0,60}";

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(pictures(&bytes).is_none_or(|_| bytes.len() > 3));
        prop_assert!(read(&bytes).is_none_or(|found| found.cues <= bytes.len()));
    }

    #[test]
    fn any_text_that_looks_like_a_format_is_read_without_a_panic(
        beginning in proptest::sample::select(BEGINNINGS.to_vec()),
        rest in PIECES,
    ) {
        let found = read(format!("{beginning}{rest}").as_bytes());
        prop_assert!(found.is_none_or(|found| found.cues <= rest.len() + 1));
    }
}
