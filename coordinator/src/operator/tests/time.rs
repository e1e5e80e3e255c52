//! Tokens whose time is over, and logins that were all revoked at once.

use super::broken_off::is_whole;
use super::*;

/// Has somebody else say something of a user or an account.
fn say(files: &mut Files, path: String, signer: char, change: impl FnOnce(&mut Claims)) {
    let beginning = format!("keys/keys/{signer}/");
    let mut claims = Claims::read(files.get(&path).unwrap()).unwrap();
    let signer = files.all().filter(|(path, _)| path.starts_with(&beginning));
    let keys = signer.map(|(_, seed)| KeyPair::from_seed(seed).unwrap());
    let key = keys.into_iter().find(|key| key.public_key() == claims.issuer).unwrap();
    change(&mut claims);
    let at = claims.issued_at;
    files.put(path, claims.sign(&key, at).unwrap());
}

#[test]
fn whose_time_is_over_gets_another_login_or_is_named() {
    let ends_at = |files: &mut Files, path: String, signer, time: u64| {
        say(files, path, signer, |claims| {
            claims.rest.insert("exp".to_owned(), time.into());
        });
    };
    let mut first = Files::default();
    make(&mut first, &["a"], &[], 100).unwrap();
    let mut files = first.clone();
    ends_at(&mut files, files::user("metafleet", "MF-a", "a"), 'A', 150);

    let before = make(&mut files.clone(), &["a"], &[], 149).unwrap();
    let after = make(&mut files, &["a"], &[], 150).unwrap();

    let is_new = |issued: &Issued| issued.logins.iter().any(|login| login.is_new);
    assert_eq!((is_new(&before), is_new(&after)), (false, true));
    assert_eq!(is_whole(&files, &after), Ok(()));
    for (path, whose) in [
        (files::account("metafleet", "MF-a"), "account MF-a"),
        (files::operator("metafleet"), "operator metafleet"),
    ] {
        let mut files = first.clone();
        ends_at(&mut files, path, 'O', 150);
        let refused = make(&mut files, &["a"], &[], 150);
        assert_eq!(refused, Err(Refused::Over(whose.to_owned())));
    }
}

#[test]
fn a_login_that_is_made_when_all_were_revoked_is_none_of_them() {
    let mut files = Files::default();
    make(&mut files, &["a"], &[], 100).unwrap();
    say(&mut files, files::account("metafleet", "MF-a"), 'O', |claims| {
        claims.nats.insert("revocations".to_owned(), serde_json::json!({ "*": 200 }));
    });

    let issued = make(&mut files, &["a"], &[], 200).unwrap();

    assert!(issued.logins.iter().any(|login| login.user == "a" && login.is_new));
    assert!(user(&files, "MF-a", "a").issued_at > 200, "it is one of those who were revoked");
    let again = make(&mut files, &["a"], &[], 200).unwrap();
    assert!(again.logins.iter().all(|login| !login.is_new), "{again:?}");
}
