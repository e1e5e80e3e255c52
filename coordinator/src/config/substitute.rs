//! PURE: `${VAR}` and `${VAR:-default}` in a text.
//!
//! The YAML library can do this too, but fails the whole file at the first unset variable; one
//! wrong plugin must not take the others down.

use super::vars::Vars;

/// Why a text could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// The variable is not set and there is no default.
    #[error("the variable `{0}` is not set, and there is no default (`${{{0}:-…}}`)")]
    Unset(String),
    /// The braces do not hold a name.
    #[error(
        "`${{` must be followed by NAME}} or NAME:-default}}; write `$${{` for the text itself"
    )]
    Malformed,
}

/// Whether `text` asks for a variable, or escapes one.
#[must_use]
pub fn asks(text: &str) -> bool {
    text.contains("${")
}

/// Replaces every `${NAME}` by its value, and `${NAME:-default}` by the default when the variable
/// is unset or empty. `$${` stands for `${`; a `$` alone is itself.
///
/// What a variable holds is not looked at again.
///
/// # Errors
///
/// [`SubstituteError`] for the first variable that is missing or badly written.
pub fn substitute(text: &str, vars: &dyn Vars) -> Result<String, SubstituteError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let (inside, after) = from[2..].split_once('}').ok_or(SubstituteError::Malformed)?;
        out.push_str(&value_of(inside, vars)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(inside: &str, vars: &dyn Vars) -> Result<String, SubstituteError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let legal = |(at, b): (usize, u8)| {
        b == b'_' || b.is_ascii_alphabetic() || (at > 0 && b.is_ascii_digit())
    };
    if name.is_empty() || !name.bytes().enumerate().all(legal) {
        return Err(SubstituteError::Malformed);
    }
    match default {
        Some(default) => Ok(vars.non_empty(name).unwrap_or_else(|| default.to_owned())),
        None => vars.get(name).ok_or_else(|| SubstituteError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::vars::vars;
    use super::*;

    #[test]
    fn variables_are_filled_in_by_the_table() {
        let vars = vars(&[("A", "1"), ("EMPTY", ""), ("TRAP", "${A}"), ("_x2", "y")]);
        let unset = |name: &str| Err(SubstituteError::Unset(name.to_owned()));
        let ok = |text: &str| Ok(text.to_owned());
        for (text, expected) in [
            ("", ok("")),
            ("plain $A $ {A}", ok("plain $A $ {A}")),
            ("${A}", ok("1")),
            ("a${A}b${_x2}c", ok("a1byc")),
            ("${EMPTY}", ok("")),
            ("${EMPTY:-d}", ok("d")),
            ("${A:-d}", ok("1")),
            ("${NO:-}", ok("")),
            ("${NO:-a:-b/c}", ok("a:-b/c")),
            ("$${A} ${A}", ok("${A} 1")),
            ("${TRAP}", ok("${A}")),
            ("${NO}", unset("NO")),
            ("${A} ${NO}", unset("NO")),
            ("${A", Err(SubstituteError::Malformed)),
            ("${}", Err(SubstituteError::Malformed)),
            ("${1A}", Err(SubstituteError::Malformed)),
            ("${A-d}", Err(SubstituteError::Malformed)),
            ("${A B}", Err(SubstituteError::Malformed)),
        ] {
            assert_eq!(substitute(text, &vars), expected, "{text}");
        }
    }

    #[test]
    fn messages_say_what_to_write() {
        assert_eq!(
            SubstituteError::Unset("KEY".to_owned()).to_string(),
            "the variable `KEY` is not set, and there is no default (`${KEY:-…}`)"
        );
        assert_eq!(
            SubstituteError::Malformed.to_string(),
            "`${` must be followed by NAME} or NAME:-default}; write `$${` for the text itself"
        );
    }
}
