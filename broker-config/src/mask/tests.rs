use data_encoding::{BASE64, BASE64URL};
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_secret_is_masked_however_it_is_written() {
    let mask = Mask::new(["p@ss/wörd \"+1\n"]);
    for (case, text, expected) in [
        ("as it is", "key=p@ss/wörd \"+1\n!", "key=***!"),
        ("percent", "?key=p%40ss%2Fw%C3%B6rd%20%22%2B1%0A&x=1", "?key=***&x=1"),
        ("percent, lower, slash kept", "?key=p%40ss/w%c3%b6rd%20%22%2b1%0a", "?key=***"),
        ("form", "key=p%40ss%2Fw%C3%B6rd+%22%2B1%0A", "key=***"),
        ("JSON", r#"{"key":"p@ss/wörd \"+1\n"}"#, r#"{"key":"***"}"#),
        ("JSON in ASCII", r#"{"key":"p@ss\/w\u00f6rd \"+1\n"}"#, r#"{"key":"***"}"#),
        ("JSON in JSON", r#""{\"key\":\"p@ss/wörd \\\"+1\\n\"}""#, r#""{\"key\":\"***\"}""#),
        ("hexadecimal", "7040 704073732f77c3b6726420222b310a", "7040 ***"),
        ("HEXADECIMAL", "704073732F77C3B6726420222B310A.", "***."),
        ("nothing", "p@ss/word and w%C3%B6rd, \\u00f6", "p@ss/word and w%C3%B6rd, \\u00f6"),
    ] {
        assert_eq!(mask.text(text.to_owned()), expected, "{case}");
        assert_eq!(mask.line(text.as_bytes()), expected, "{case}");
    }
    assert!(!format!("{mask:?}").contains("ss"));
}

#[test]
fn a_character_outside_of_the_first_plane_is_two_escapes() {
    let mask = Mask::new(["key😀🔑"]);
    assert_eq!(mask.text(r"=key\ud83d\ude00\ud83d\udd11;".to_owned()), "=***;");
    assert_eq!(mask.text(r"\ud83d \u12 \x \".to_owned()), r"\ud83d \u12 \x \");
}

#[test]
fn the_secrets_of_a_plugin_are_all_that_its_manifest_does_not_say_are_none() {
    let manifest = json!({
        "id": "p", "name": "P", "version": "1.0.0", "priority": 20, "queue": "fast",
        "dataSchema": {}, "configSchema": {
            "key": {"secret": true}, "longer": {"secret": true}, "pin": {"type": "number", "secret": true},
            "short": {"secret": true}, "deep": {"secret": true}, "site": {},
        },
    });
    let manifest = Manifest::from_json(&manifest.to_string()).unwrap();
    let settings = json!({
        "key": "hush", "longer": "hush-more", "pin": 123_456, "short": "x", "site": "example",
        "unknown": "who?", "deep": {"a": ["inner-1", {"b": r#"{"c": "inner-2"}"#}], "c": true},
    });
    let settings = settings.as_object().unwrap();
    let mask = Mask::of(Some(&manifest), settings);
    let shown = mask.line(b"GET example?k=hush&l=hush-more&pin=123456 x who? inner-1 inner-2 \xff");
    assert_eq!(shown, "GET example?k=***&l=***&pin=*** x *** *** *** \u{fffd}");
    assert_eq!(Mask::of(None, settings).line(b"example"), "***");
    let both = Mask::new(["before-1"]).with(&Mask::new(["after-22"]));
    assert_eq!(both.text("before-1 after-22".to_owned()), "*** ***");
    assert!(Mask::new(["abc"]).is_empty(), "it is too short to be told from other words");
}

proptest! {
    #[test]
    fn in_base64_not_more_than_its_edges_are_left(
        secret in "[ -~]{6,40}", before in "[a-z]{0,7}", after in "[a-z]{0,7}",
    ) {
        let mask = Mask::new([secret.as_str()]);
        let whole = format!("{before}{secret}{after}");
        for base64 in [BASE64, BASE64URL] {
            let encoded = base64.encode(whole.as_bytes());
            let masked = mask.text(encoded.clone());
            prop_assert!(masked.contains(MASK), "{encoded}");
            // Of the secret's characters, at most the two at the edges that it shares.
            let left = masked.len() - MASK.len();
            let around = encoded.len() - secret.len() * 8 / 6;
            prop_assert!(left <= around + 2, "{encoded} → {masked}");
        }
    }

    #[test]
    fn any_text_is_masked_without_panic_and_only_where_there_is_a_secret(text in "\\PC*") {
        let mask = Mask::new(["a secret that no text holds by chance"]);
        prop_assert_eq!(mask.text(text.clone()), text);
    }

    #[test]
    fn what_was_encoded_by_others_is_found(secret in "\\PC{4,20}") {
        let mask = Mask::new([secret.as_str()]);
        let json = serde_json::to_string(&secret).unwrap();
        prop_assert_eq!(mask.text(json), format!("\"{MASK}\""));
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(mask.text(percent), MASK);
    }
}
