use std::io::Write;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vector {
    input: String,
    size: usize,
    sha256: String,
    cid: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn content(vector: &Vector) -> Vec<u8> {
    match vector.input.as_str() {
        "empty" => Vec::new(),
        "ASCII hello" => b"hello".to_vec(),
        "zeros" => vec![0; vector.size],
        "byte i = i mod 251" => (0..251).cycle().take(vector.size).collect(),
        other => panic!("unknown input `{other}`"),
    }
}

#[test]
fn every_vector_gives_its_id() {
    let mut buffer = Vec::new();
    for vector in vectors() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content(&vector)).unwrap();

        read_sample(&file, vector.size as u64, &mut buffer).unwrap();

        let name = format!("{} of {} bytes", vector.input, vector.size);
        let cid = cid_of(vector.size as u64, &buffer);
        assert_eq!(cid.as_str(), vector.cid, "{name}");
        assert_eq!(HEXLOWER_PERMISSIVE.encode(&digest(&vector.cid).unwrap()), vector.sha256);
    }
}

#[test]
fn every_accepted_spelling_becomes_the_canonical_one() {
    for vector in vectors() {
        let bytes = digest(&vector.cid).unwrap();
        let mut raw = RAW_CODEC.to_vec();
        raw.extend_from_slice(&bytes);
        let raw = format!("b{}", BASE32_NOPAD.encode(&raw).to_ascii_lowercase());
        assert!(raw.starts_with("bafkyaiba"), "{raw}");
        let base32 = BASE32_NOPAD.encode(&bytes);
        let spellings = [
            vector.cid.clone(),
            raw,
            format!("midhash256:{}", vector.sha256),
            format!("midhash256:{}", vector.sha256.to_uppercase()),
            format!("midhash256:{base32}"),
            format!("midhash256:{}", base32.to_lowercase()),
            format!("midhash256:{base32}===="),
        ];
        for spelling in spellings {
            assert_eq!(parse(&spelling).unwrap().as_str(), vector.cid, "{spelling}");
        }
    }
}

#[test]
fn what_is_no_midhash_is_refused() {
    let good = &vectors()[0].cid;
    let cases = [
        String::new(),
        "b".into(),
        "hello".into(),
        "midhash256:".into(),
        "midhash256:abc".into(),
        format!("midhash256:{}", "g".repeat(64)),
        good[..61].into(),
        format!("{good}a"),
        good.to_uppercase(),
        format!("z{}", &good[1..]),
        format!("bz{}", &good[2..]),
        "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".into(),
    ];
    for text in cases {
        assert!(parse(&text).is_err(), "{text}");
    }
}

#[test]
fn the_sample_of_a_large_file_is_its_middle() {
    let table = [
        (0, (0, 0)),
        (5, (0, 5)),
        (SAMPLE_BYTES, (0, 1_048_576)),
        (SAMPLE_BYTES + 1, (0, 1_048_576)),
        (SAMPLE_BYTES + 2, (1, 1_048_576)),
        (SAMPLE_BYTES + 3, (1, 1_048_576)),
        (u64::MAX, ((u64::MAX - SAMPLE_BYTES) / 2, 1_048_576)),
    ];
    for (size, expected) in table {
        assert_eq!(sample_of(size), expected, "{size}");
    }
}

#[test]
fn a_file_that_is_shorter_than_its_size_is_an_error() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"short").unwrap();

    let error = read_sample(&file, 6, &mut Vec::new()).unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
