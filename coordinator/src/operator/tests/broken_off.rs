//! A run that was broken off is completed by the next one.

use super::*;

/// A folder in which only so many of the steps were taken that lead from one state to another.
fn broken_off(before: &Files, after: &Files, steps: usize) -> Files {
    let mut files = before.clone();
    for path in after.steps().into_iter().take(steps) {
        match after.get(path) {
            Some(text) => files.put(path.to_owned(), text.to_owned()),
            None => files.remove(path),
        }
    }
    files.settle();
    files
}

/// Whoever has a login file is let in, and whoever may push has one.
pub(super) fn is_whole(files: &Files, issued: &Issued) -> Result<(), String> {
    let ring = Ring::of(files);
    let operator = Claims::read(&issued.operator_token).map_err(|error| error.to_string())?;
    let mut logins: Vec<(String, &str)> =
        vec![("SYS".to_owned(), issued.system_login.as_deref().ok_or("nobody can push")?)];
    for login in &issued.logins {
        let account = match login.user.as_str() {
            "coordinator" => "MF".to_owned(),
            plugin => format!("MF-{plugin}"),
        };
        logins.push((account, login.creds.as_deref().ok_or_else(|| format!("{login:?}"))?));
    }
    for (name, path) in logins {
        let of =
            issued.accounts().find(|account| account.name == name).ok_or_else(|| name.clone())?;
        let account = Claims::read(&of.token).map_err(|error| error.to_string())?;
        let text = files.get(path).ok_or(path)?;
        let token = text.lines().nth(1).unwrap_or_default();
        let user = Claims::read(token).map_err(|error| format!("{path}: {error}"))?;
        let seed = ring.seed(&user.subject).ok_or_else(|| format!("{path}: no seed"))?;
        let is_in = account.issuer == operator.subject
            && user.issuer == account.subject
            && account.nats.get("revocations").is_none_or(|gone| gone.get(&user.subject).is_none())
            && text.contains(&seed);
        if !is_in {
            return Err(format!("{path} does not open {name}"));
        }
    }
    Ok(())
}

#[test]
fn what_was_broken_off_between_two_files_is_completed_by_the_next_run() {
    let steps: [(&[&str], &[&str]); 4] =
        [(&["a"], &[]), (&["a", "b"], &["a"]), (&["b"], &[]), (&["a", "b"], &["coordinator"])];
    let mut before = Files::default();
    for (time, (plugins, rotate)) in (1..).zip(steps) {
        let mut after = before.clone();
        make(&mut after, plugins, rotate, time * 100).unwrap();
        let all = after.steps().len();
        assert!(all > 2, "{plugins:?}");
        for taken in 0..=all {
            let mut files = broken_off(&before, &after, taken);
            let issued = make(&mut files, plugins, &[], time * 100 + 50).unwrap();
            assert_eq!(is_whole(&files, &issued), Ok(()), "{plugins:?} after {taken} of {all}");
        }
        after.settle();
        before = after;
    }
}

#[test]
fn an_operator_is_there_when_all_that_is_made_with_it_is() {
    let mut files = Files::default();
    make(&mut files, &["a"], &[], 100).unwrap();

    let steps = files.steps();

    assert_eq!(steps.last(), Some(&"stores/metafleet/metafleet.jwt"), "{steps:?}");
    assert!(steps[0].ends_with(".nk"), "{steps:?}");
}
