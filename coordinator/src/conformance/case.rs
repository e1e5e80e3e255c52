//! What a case is, and the list of all.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::cases;
use super::stage::Stage;

/// For whom a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every worker.
    Any,
    /// Workers that follow the script.
    Scripted,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Scripted => "scripted",
        })
    }
}

/// What a case does: nothing = passed.
pub(super) type Trial<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One thing that a worker does right or wrong.
#[derive(Clone, Copy)]
pub struct Case {
    /// Stable from version to version.
    pub name: &'static str,
    /// The section of `PROTOCOL.md`.
    pub section: u8,
    /// What that asks, in one sentence.
    pub asks: &'static str,
    /// For whom it is.
    pub kind: Kind,
    /// What may be seen by others than the case itself must not take longer.
    pub(super) limit: Duration,
    pub(super) run: for<'a> fn(&'a mut Stage) -> Trial<'a>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A table of cases: `name, section, function, sentence`.
macro_rules! table {
    ($kind:ident; $($name:literal $section:literal $run:path: $asks:literal;)*) => {
        &[$($crate::conformance::case::Case {
            name: $name,
            section: $section,
            asks: $asks,
            kind: $crate::conformance::case::Kind::$kind,
            limit: $crate::conformance::case::LIMIT,
            run: |stage| Box::pin($run(stage)),
        }),*]
    };
}
pub(super) use table;

/// How long a case may take in all.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// All cases, in the order of the report.
pub fn all() -> impl Iterator<Item = &'static Case> {
    cases::TABLES.iter().copied().flatten()
}

/// The cases with these names; all, if there are none.
///
/// # Errors
///
/// The first name that no case has.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Case>, String> {
    if names.is_empty() {
        return Ok(all().collect());
    }
    let find = |name: &String| all().find(|case| case.name == name).ok_or_else(|| name.clone());
    let mut found: Vec<&'static Case> = Vec::new();
    for name in names {
        let case = find(name)?;
        // Two of a kind would be in each other's way.
        if found.iter().all(|one| one.name != case.name) {
            found.push(case);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_a_section_and_a_sentence() {
        let names: BTreeSet<&str> = all().map(|case| case.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().count() >= 60, "{}", all().count());
        for case in all() {
            assert!((1..=25).contains(&case.section), "{}", case.name);
            assert!(case.asks.ends_with('.'), "{}", case.name);
            let plain =
                case.name.chars().all(|c| c.is_ascii_lowercase() || "-0123456789".contains(c));
            assert!(plain, "{}", case.name);
        }
    }

    #[test]
    fn cases_are_chosen_by_name_and_an_unknown_name_is_said() {
        let one = all().next().unwrap().name;
        // Twice is once: they would be in each other's way.
        let found = chosen(&[one.to_owned(), one.to_owned()]).unwrap();
        assert_eq!(found.iter().map(|case| case.name).collect::<Vec<_>>(), [one]);
        assert_eq!(chosen(&["dance".to_owned()]).unwrap_err(), "dance");
        assert_eq!(chosen(&[]).unwrap().len(), all().count());
    }
}
