use proptest::prelude::*;
use serde_json::json;

use super::*;

fn manifest() -> Manifest {
    let text = json!({
        "id": "probe", "name": "Probe", "version": "1.0.0", "priority": 50, "queue": "fast",
        "dataSchema": {"t": {}, "t/*": {}, "s": {"type": "set"}, "j": {"type": "json"}},
    });
    Manifest::from_json(&text.to_string()).unwrap()
}

/// The output as metadata, in the way that a record has it.
fn meta(output: &[u8]) -> Result<String, Unreadable> {
    let answer = read(output, &manifest())?;
    Ok(format!("{:?}", answer.said.unwrap()))
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may fail")]
fn completed(fill: impl FnOnce(&mut Meta)) -> Result<String, Unreadable> {
    let mut meta = Meta::new();
    fill(&mut meta);
    Ok(format!("{:?}", Outcome::Completed(meta)))
}

#[test]
fn lines_become_texts_sets_and_json() {
    assert_eq!(meta(b""), completed(|_| {}));
    assert_eq!(meta(b" \n\t\n"), completed(|_| {}));
    let output = b"\n t = a=b \r\nt/x=\ns=one\nj={\"a\": [1]}\n";
    assert_eq!(
        meta(output),
        completed(|meta| {
            meta.text("t", " a=b ").text("t/x", "").set("s", ["one"]).json("j", json!({"a": [1]}));
        })
    );
    assert_eq!(
        meta(b"s=b\ns=a\ns=b\nother=1\nother=2\nj=\"x\"\n"),
        completed(|meta| {
            meta.set("s", ["a", "b"]).set("other", ["1", "2"]).text("j", "\"x\"");
        })
    );
    assert_eq!(meta(b"j=not json"), completed(|meta| _ = meta.text("j", "not json")));
}

#[test]
fn objects_become_texts_sets_and_json() {
    let output = json!({
        "t": 1.5, "t/a": true, "t/b": "x", "t/c": null, "s": ["b", "a"], "s/none": [], "j": 7,
    });
    assert_eq!(
        meta(format!("\n  {output:#}\n").as_bytes()),
        completed(|meta| {
            meta.text("t", "1.5").text("t/a", "true").text("t/b", "x").set("s", ["a", "b"]);
            meta.json("j", json!(7));
        })
    );
}

#[test]
fn answers_in_full_say_every_outcome() {
    let said = |answer: Value| {
        let read = read(answer.to_string().as_bytes(), &manifest()).unwrap();
        match read.said {
            Ok(outcome) => format!("{outcome:?}"),
            Err(failure) => format!("{} {failure}", failure.is_retryable()),
        }
    };
    let shown = |outcome: Outcome| format!("{outcome:?}");
    assert_eq!(
        said(json!({"outcome": "skipped", "reason": "r", "new": 1})),
        shown(Outcome::skipped("r"))
    );
    assert_eq!(
        said(json!({"outcome": "later", "afterMs": 1500})),
        shown(Outcome::retry_later(Duration::from_millis(1500), ""))
    );
    assert_eq!(said(json!({"outcome": "retry", "error": "e"})), "true e");
    assert_eq!(said(json!({"outcome": "failed", "error": "e"})), "false e");
    assert_eq!(
        said(json!({"outcome": "forward", "file": "/a"})),
        shown(Outcome::Forward(Forward::file("/a")))
    );
    let mut meta = Meta::new();
    meta.text("t", "1");
    assert_eq!(
        said(json!({"outcome": "forward", "plugin": "ffmpeg", "meta": {"t": 1}})),
        shown(Outcome::Forward(Forward::plugin("ffmpeg".parse().unwrap()).with_meta(meta)))
    );

    let answer = json!({"outcome": "completed", "id": 4, "submit": ["/a", "/b"]}).to_string();
    let answer = read(answer.as_bytes(), &manifest()).unwrap();
    assert_eq!(answer.id, Some(4));
    assert_eq!(answer.submit, [PathBuf::from("/a"), PathBuf::from("/b")]);
}

#[test]
fn what_cannot_be_read_says_where_and_why() {
    for (output, words) in [
        (b"t=\xff".as_slice(), "not UTF-8 from byte 2 on"),
        (b"t=1\n\nwords\n", "line 3 of the output is not of the form key=value"),
        (b"[1]", "line 1 of the output"),
        (b"{\"t\": 1} {\"t\": 2}", "not a JSON object: trailing"),
        (b"{\"t\": ", "not a JSON object: EOF"),
        (b"{\"outcome\": \"done\"}", "the answer makes no sense: unknown variant `done`"),
        (b"{\"outcome\": \"skipped\"}", "missing field `reason`"),
        (b"{\"outcome\": \"forward\"}", "either `file` or `plugin`"),
        (b"{\"outcome\": \"forward\", \"file\": \"a\"}", "a is no absolute path"),
        (b"{\"outcome\": \"completed\", \"submit\": [\"b/c\"]}", "b/c is no absolute path"),
        (b"{\"outcome\": \"forward\", \"plugin\": \"A\"}", "the answer makes no sense"),
        (b"{\"outcome\": \"completed\", \"submit\": 1}", "the answer makes no sense"),
    ] {
        let said = read(output, &manifest()).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_key_that_is_none_fails_by_its_name() {
    let read = read(b"=1\n", &manifest()).unwrap();
    assert!(format!("{:?}", read.said).contains("metadata key ``"), "{:?}", read.said);
}

#[test]
fn reports_are_told_from_metadata() {
    for (line, report) in [
        (b"{\"progress\": 0.5, \"note\": \"half\"}\n".as_slice(), Some((0.5, "half"))),
        (b" {\"progress\":1}\r\n", Some((1.0, ""))),
        (b"{\"progress\": \"x\"}", None),
        (b"{\"progress\": 0.5", None),
        (b"{\"t\": 1}", None),
        (b"progress=1", None),
    ] {
        let found = Report::of(line).map(|report| (report.fraction, report.note));
        assert_eq!(found, report.map(|(fraction, note)| (fraction, note.to_owned())), "{line:?}");
    }
}

#[test]
fn delays_are_seconds() {
    for (output, delay_ms) in [
        (b"30\n".as_slice(), Some(30_000)),
        (b" 0.25 seconds", Some(250)),
        (b"", None),
        (b"soon", None),
        (b"-1", None),
        (b"NaN", None),
        (b"1e300", None),
        (b"\xff", None),
    ] {
        assert_eq!(delay(output), delay_ms.map(Duration::from_millis), "{output:?}");
    }
}

proptest! {
    #[test]
    fn no_output_makes_it_panic(output in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&output, &manifest()));
        drop((Report::of(&output), delay(&output)));
    }

    #[test]
    fn text_near_to_what_is_right_is_read_or_refused(
        output in "[{}\\[\\]\":, =\n\r\tabst/01é]{0,60}"
    ) {
        drop(read(output.as_bytes(), &manifest()));
    }

    #[test]
    fn a_line_is_kept_whatever_its_value_is(value in "[^\r\n]{0,80}") {
        let read = meta(format!("t={value}\n").as_bytes());
        prop_assert_eq!(read, completed(|meta| _ = meta.text("t", value)));
    }
}
