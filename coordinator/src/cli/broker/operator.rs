//! `metafleet broker render --operator`: keys and JWTs in place of passwords.

use std::collections::BTreeSet;
use std::path::Path;

use broker_config::Accounts;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::{RenderArgs, ResolverArg};
use crate::operator::{Files, Issued, Order, Refused, Resolver, Ring, issue, render};

/// What stands for the address of a server in what a person is told to run.
const SERVER: &str = "\"$NATS_URL\"";
/// Where a server takes the token of an account.
const UPDATE: &str = "$SYS.REQ.CLAIMS.UPDATE";

/// Makes what is not there, tells of it, and says what a server is to be told.
pub(super) fn issued(
    app: &App,
    args: &RenderArgs,
    accounts: &Accounts,
    dir: &Path,
) -> Result<String, Failure> {
    let failed = |what: &str, path: &Path, error: &std::io::Error| {
        Failure::because(Exit::Failure, &format!("{what} {}", path.display()), error)
    };
    let mut files = Files::load(dir).map_err(|error| failed("read", dir, &error))?;
    let mut ring = Ring::of(&files);
    for path in &args.private_keys {
        let text = std::fs::read_to_string(path).map_err(|error| failed("read", path, &error))?;
        if !ring.add(&text) {
            return Err(Failure::usage(format!(
                "there is no seed of an nkey in {}",
                path.display()
            )));
        }
    }
    let rotate: BTreeSet<String> = args.rotate.iter().cloned().collect();
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    let order = Order { accounts, rotate: &rotate, now };
    let issued = issue(&mut files, &mut ring, &order).map_err(|error| refusal(&error, dir))?;
    files.store(dir).map_err(|error| failed("write to", dir, &error))?;
    app.out.say(&report(&issued, dir));
    let resolver = match args.resolver {
        ResolverArg::Full => Resolver::Full,
        ResolverArg::Memory => Resolver::Memory,
    };
    Ok(render(&issued, resolver, &args.store_dir))
}

fn refusal(refused: &Refused, dir: &Path) -> Failure {
    let (exit, advice) = match refused {
        Refused::Operators(_) => {
            let advice =
                "give `--operator` a folder with one: `stores/<operator>` and `keys` of it";
            (Exit::Conflict, advice)
        }
        Refused::Token { .. } => (Exit::Failure, "restore the file, or take the folder away"),
        Refused::NoSystem(_) => {
            let advice =
                "make one first: `nsc add account SYS`, `nsc edit operator --system-account SYS`";
            (Exit::Failure, advice)
        }
        Refused::NoKey { .. } => {
            let advice = "give the file with its seed by `--private-key FILE`; where the operator demands \
                          signing keys, an account needs one: `nsc edit account -n ACCOUNT --sk generate`";
            (Exit::Failure, advice)
        }
        Refused::Over(_) => {
            let advice = "give it more time: `nsc edit account -n ACCOUNT --expiry 0`, `nsc edit operator \
                          --expiry 0`";
            (Exit::Failure, advice)
        }
        Refused::System(_) => (Exit::Conflict, "give the fleet another `--prefix`"),
        Refused::Rotate(_) => (Exit::Usage, "name each plugin by `--plugin`"),
    };
    let what = format!("make the accounts of {}", dir.display());
    Failure::because(exit, &what, refused).advise(advice)
}

/// What was made and what is left to do, for a person.
fn report(issued: &Issued, dir: &Path) -> String {
    let mut lines = Vec::new();
    let at = |path: &str| dir.join(path).display().to_string();
    let in_shell = |path: &str| quoted(&at(path));
    let folders = format!("--data-dir {} --keystore-dir {}", in_shell("stores"), in_shell("keys"));
    for login in &issued.logins {
        let what = if login.is_new { "new login of" } else { "login of" };
        let creds = login.creds.as_deref();
        let place = creds.map_or_else(|| "its key is not in the folder".to_owned(), at);
        lines.push(format!("{what} {}: {place}", login.user));
    }
    for name in &issued.removed {
        lines.push(format!(
            "{name} is not named any more: with the token of the fleet it loses all that it had of it. To \
             take the account itself away, from servers and then from the folder:\n  \
             nsc push -R {name} -u {SERVER} {folders}\n  nsc delete account {name} {folders}"
        ));
    }
    let all = format!("nsc push --all -u {SERVER} {folders}");
    let changed: Vec<_> = issued.accounts().filter(|account| account.is_changed).collect();
    if changed.is_empty() {
        lines.push(format!(
            "no account has changed. Where it is not certain that servers have them all:\n  {all}"
        ));
        return lines.join("\n");
    }
    let names: Vec<&str> = changed.iter().map(|account| account.name.as_str()).collect();
    lines.push(format!(
        "changed: {}. A server that starts with the configuration has them; to servers that run, push \
         them:",
        names.join(", ")
    ));
    let login = issued.system_login.as_deref().map_or_else(|| "SYS.creds".to_owned(), in_shell);
    for account in changed {
        let token = in_shell(&format!("jwt/{}.jwt", account.key));
        lines.push(format!(
            "  nats --creds {login} request '{UPDATE}' --force-stdin <{token}   # {}",
            account.name
        ));
    }
    lines.push(format!("or: {all}"));
    lines.join("\n")
}

/// A text as a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_a_path_for_one_word() {
        for (path, expected) in
            [("/a b/c", "'/a b/c'"), ("/it's", r"'/it'\''s'"), ("$HOME", "'$HOME'")]
        {
            assert_eq!(quoted(path), expected);
        }
    }
}
