//! Lists and manifests that are not what they should be.

use data_encoding::{BASE64, HEXLOWER};
use fastrand::Rng;
use nkeys::KeyPair;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::super::{LISTING, SIGNATURE};
use super::super::{Member, Parts, gzip, tar, with_listing};
use super::{Case, Expected, Make};

/// A package whose list is changed.
fn list(rng: &mut Rng, says: &'static str, change: impl FnOnce(&mut Value)) -> Case {
    let parts = Parts::new(rng);
    let mut listing = parts.listing();
    change(&mut listing);
    raw(&parts, says, listing.to_string())
}

/// A package with this list.
fn raw(parts: &Parts, says: &'static str, listing: impl Into<Vec<u8>>) -> Case {
    let members = with_listing(listing, parts.members());
    Case { bytes: gzip(&tar(&members)), expected: Expected::Error(says) }
}

/// A package with an honest list of a manifest that is changed.
fn manifest(rng: &mut Rng, says: &'static str, change: impl FnOnce(&mut Value)) -> Case {
    let mut parts = Parts::new(rng);
    change(&mut parts.manifest);
    raw(&parts, says, parts.listing().to_string())
}

/// A package with a file of any name, of which the list says what would be right.
fn named(rng: &mut Rng, says: &'static str, name: &str) -> Case {
    let parts = Parts::new(rng);
    let mut listing = parts.listing();
    let sha256 = HEXLOWER.encode(&Sha256::digest(b"x"));
    let file = json!({"path": name, "size": 1, "sha256": sha256, "executable": false});
    listing["files"].as_array_mut().unwrap().insert(1, file);
    let mut members = parts.members();
    if name.len() <= 100 {
        members.push(Member::new(name, "x", false));
    }
    let members = with_listing(listing.to_string(), members);
    Case { bytes: gzip(&tar(&members)), expected: Expected::Error(says) }
}

fn signed(
    rng: &mut Rng,
    says: &'static str,
    sign: impl FnOnce(&mut Rng, &[u8]) -> Vec<u8>,
) -> Case {
    let parts = Parts::new(rng);
    let listing = parts.listing().to_string();
    let signature = Member::new(SIGNATURE, sign(rng, listing.as_bytes()), false);
    let mut members = with_listing(listing, parts.members());
    members.insert(1, signature);
    Case { bytes: gzip(&tar(&members)), expected: Expected::Error(says) }
}

fn signature(key: &str, bytes: &[u8]) -> Vec<u8> {
    let kind = "metafleet.package-signature.v1";
    json!({"type": kind, "key": key, "signature": BASE64.encode(bytes)}).to_string().into_bytes()
}

/// The same key in each run.
fn pair(rng: &mut Rng) -> KeyPair {
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    KeyPair::new_from_raw(nkeys::KeyPairType::User, seed).unwrap()
}

pub(super) const LISTED: &[(&str, Make)] = &[
    ("a name in the list that is none", |rng, _| {
        let (name, says) = *rng
            .choice(&[
                ("/etc/passwd", "is not relative"),
                ("../escape", "leads out"),
                ("lib/../../escape", "leads out"),
                ("a\\b", "backslash"),
                ("a\u{0}b", "control character"),
                ("a\u{1b}[2J", "control character"),
                ("", "is empty"),
                ("a//b", "empty part"),
                ("lib/", "empty part"),
            ])
            .unwrap();
        named(rng, says, name)
    }),
    ("a name that is too deep or too long", |rng, _| match rng.u8(..3) {
        0 => named(rng, "more than 31 folders", &["d"; 40].join("/")),
        1 => {
            let name = "long/".repeat(rng.usize(60..5000));
            named(rng, "longer than 255 bytes", &name)
        }
        _ => {
            let name = "p".repeat(rng.usize(101..255));
            named(rng, "longer than 100 bytes", &name)
        }
    }),
    ("names that some file system takes for one", |rng, _| {
        let (name, says) = *rng
            .choice(&[
                ("LIB/data.txt", "differ in case only"),
                ("Bin/other", "differ in case only"),
                ("Manifest.json", "differ in case only"),
                ("lib/data.txt", "is there twice"),
                ("lib", "is a file and a folder"),
                ("lib/data.txt/x", "is a file and a folder"),
            ])
            .unwrap();
        named(rng, says, name)
    }),
    ("our own entries in the list", |rng, _| {
        let name = *rng.choice(&[LISTING, SIGNATURE]).unwrap();
        named(rng, "cannot be a file of the plugin", name)
    }),
    ("sizes that lie", |rng, _| match rng.u8(..3) {
        0 => list(rng, "bytes are more than", |list| list["files"][1]["size"] = json!(1_u64 << 40)),
        1 => list(rng, "bytes in all are more", |list| {
            for file in list["files"].as_array_mut().unwrap() {
                file["size"] = json!(500_u64 << 20);
            }
        }),
        _ => list(rng, "", |list| list["files"][2]["size"] = json!(u64::MAX)),
    }),
    ("so few bytes that become so many", |rng, _| {
        let size = rng.u64(20 << 20..500 << 20);
        list(rng, "times as many", |list| list["files"][1]["size"] = json!(size))
    }),
    ("a bomb that is listed", |rng, _| {
        let mut parts = Parts::new(rng);
        parts.files[1].1 = vec![0; 17 << 20];
        raw(&parts, "times as many", parts.listing().to_string())
    }),
    ("a bomb behind a list that says little", |rng, _| {
        let mut parts = Parts::new(rng);
        let listing = parts.listing().to_string();
        parts.files[1].1 = vec![0; 17 << 20];
        raw(&parts, "and is listed with", listing)
    }),
    ("more files than may be", |rng, _| {
        list(rng, "files are more than 20000", |list| {
            let sha256 = "0".repeat(64);
            let file = |n| json!({"path": format!("f/{n}"), "size": 0, "sha256": sha256, "executable": false});
            list["files"].as_array_mut().unwrap().extend((0..20_001).map(file));
        })
    }),
    ("numbers that are none", |rng, _| {
        let number =
            *rng.choice(&["-1", "1.5", "1e400", "18446744073709551616", "\"1\"", "null"]).unwrap();
        let parts = Parts::new(rng);
        let listing = parts.listing().to_string();
        let at = listing.find("\"size\":").unwrap() + 7;
        let end = at + listing[at..].find([',', '}']).unwrap();
        let listing = format!("{}{number}{}", &listing[..at], &listing[end..]);
        raw(&parts, "cannot be understood", listing)
    }),
    ("a sum that is none", |rng, _| {
        let sum =
            rng.choice(["".to_owned(), "x".repeat(64), "A".repeat(64), "0".repeat(65)]).unwrap();
        list(rng, "sha256 must be 64", |list| list["files"][0]["sha256"] = json!(sum))
    }),
    ("the sum of another file", |rng, _| {
        list(rng, "has another SHA-256", |list| {
            list["files"][0]["sha256"] = json!("0".repeat(64));
        })
    }),
    ("a list of another type", |rng, _| match rng.u8(..4) {
        0 => list(rng, "cannot be understood", |list| list["type"] = json!("metafleet.package.v2")),
        1 => list(rng, "cannot be understood", |list| list["files"] = json!({})),
        2 => list(rng, "cannot be understood", |list| *list = json!([1, 2])),
        _ => list(rng, "cannot be understood", |list| {
            drop(list.as_object_mut().unwrap().remove("id"));
        }),
    }),
    ("an id or a version that leads elsewhere", |rng, _| {
        let field = *rng.choice(&["id", "version"]).unwrap();
        let text = *rng.choice(&["../../x", "1.0.0/../../x", "/abs", "", ".", "user/x"]).unwrap();
        list(rng, "cannot be understood", |list| list[field] = json!(text))
    }),
    ("a very long version", |rng, _| {
        let version = format!("1.0.0-{}", "a".repeat(rng.usize(200..5000)));
        list(rng, "its version is longer", |list| list["version"] = json!(version))
    }),
    ("a list and a manifest that differ", |rng, _| match rng.u8(..3) {
        0 => list(rng, "says id `r`", |list| list["id"] = json!("r")),
        1 => list(rng, "says version `2.0.0`", |list| list["version"] = json!("2.0.0")),
        _ => list(rng, "says engine range", |list| list["maxEngineVersion"] = json!("99")),
    }),
    ("another engine", |rng, _| {
        list(rng, "it needs MetaFleet 99.0.0", |list| list["minEngineVersion"] = json!("99.0.0"))
    }),
    ("JSON that is deep", |rng, _| {
        let (depth, field) = (rng.usize(200..100_000), if rng.bool() { "x" } else { "id" });
        let parts = Parts::new(rng);
        let listing = format!("{{\"{field}\":{}", "[".repeat(depth));
        // What nobody asked for is passed over without a stack.
        raw(&parts, "cannot be understood", listing)
    }),
    ("JSON that is large", |rng, _| {
        let parts = Parts::new(rng);
        let listing = parts.listing().to_string();
        raw(&parts, "bytes are more than 8388608", listing + &" ".repeat(9 << 20))
    }),
    ("JSON with all the files that 8 MiB hold", |rng, _| {
        let parts = Parts::new(rng);
        let file = format!(
            "{{\"path\":\"a\",\"size\":0,\"sha256\":\"{}\",\"executable\":true}},",
            "0".repeat(64)
        );
        let many = file.repeat(70_000);
        let listing = parts.listing().to_string().replacen('[', &format!("[{many}"), 1);
        raw(&parts, "files are more than 20000", listing)
    }),
    ("JSON that is none", |rng, _| {
        let parts = Parts::new(rng);
        let text =
            rng.choice([&b""[..], b"{", b"\xff\xfe", b"null", b"{\"type\":\"\\ud800\"}"]).unwrap();
        raw(&parts, "cannot be understood", text)
    }),
    ("a signature of other bytes", |rng, _| {
        signed(rng, "is not of this list", |rng, list| {
            let pair = pair(rng);
            let other = [list, b" "].concat();
            signature(&pair.public_key(), &pair.sign(&other).unwrap())
        })
    }),
    ("a signature by another key", |rng, _| {
        signed(rng, "is not of this list", |rng, list| {
            let (one, other) = (pair(rng), pair(rng));
            signature(&other.public_key(), &one.sign(list).unwrap())
        })
    }),
    ("a signature that is none", |rng, _| {
        signed(rng, SIGNATURE, |rng, list| {
            let pair = pair(rng);
            let key = pair.public_key();
            let right = pair.sign(list).unwrap();
            match rng.u8(..6) {
                0 => signature(&key, &right[..63]),
                1 => signature(&key, b""),
                2 => signature("U", &right),
                3 => signature(&"U".repeat(56), &right),
                4 => b"\xff".to_vec(),
                _ => b"{}".to_vec(),
            }
        })
    }),
    ("a signature that is large", |rng, _| {
        signed(rng, "bytes are more than 4096", |rng, _| vec![b' '; rng.usize(5000..3_000_000)])
    }),
    ("a manifest that breaks rules", |rng, _| match rng.u8(..8) {
        0 => manifest(rng, "priority: 1", |manifest| manifest["priority"] = json!(1)),
        1 => manifest(rng, "id: plugin id", |manifest| manifest["id"] = json!("../p")),
        2 => manifest(rng, "version:", |manifest| manifest["version"] = json!("one")),
        3 => manifest(rng, "entryPoint: is required", |manifest| {
            manifest["entryPoint"] = Value::Null;
        }),
        4 => manifest(rng, "inside the plugin's folder", |manifest| {
            manifest["entryPoint"] = json!({"main": "../../bin/sh"});
        }),
        5 => manifest(rng, "inside the plugin's folder", |manifest| {
            manifest["entryPoint"] = json!({"main": "/bin/sh"});
        }),
        6 => manifest(rng, "is not executable", |manifest| {
            manifest["entryPoint"] = json!({"main": "lib/data.txt"});
        }),
        _ => {
            manifest(rng, "unknown permission", |manifest| manifest["permissions"] = json!(["all"]))
        }
    }),
    ("a manifest that is large", |rng, _| {
        manifest(rng, "bytes are more than 1048576", |it| it["x"] = json!("x".repeat(2 << 20)))
    }),
    ("no manifest", |rng, _| {
        list(rng, "`manifest.json` is not in it", |list| {
            drop(list["files"].as_array_mut().unwrap().pop());
        })
    }),
];
