//! `tests/FEATURES.md`: which test or command shows which feature.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{all, root, text};

/// The rows that must be there, as numbers and ranges of each list.
const WANTED: [(&str, &str); 6] = [
    ("S0-", "1-9 11-131"),
    ("S1-", "4-6 8-17 23 24 26-38 40 42 44-46 48"),
    ("S2-", "1-32 37 44 46"),
    ("S3-", "1-5 7-50 52 53"),
    ("S4-", "1 4-10 15-25 27 29 30 33-35 38-40 48-53 56"),
    ("U", "1-3 5-10 14 15 17"),
];

/// One row.
pub(super) struct Feature {
    pub(super) id: String,
    /// Tests (`file::function`) and commands.
    pub(super) shown_by: Vec<String>,
}

/// The ids of all rows that must be there.
pub(super) fn wanted() -> anyhow::Result<BTreeSet<String>> {
    let mut wanted = BTreeSet::new();
    for (list, numbers) in WANTED {
        for range in numbers.split(' ') {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (from, to): (u32, u32) = (from.parse()?, to.parse()?);
            wanted.extend((from..=to).map(|number| match list {
                "U" => format!("U{number}"),
                _ => format!("{list}{number:03}"),
            }));
        }
    }
    Ok(wanted)
}

/// Reads the table: `| id | feature | `evidence`, `evidence` |`.
pub(super) fn read(document: &str) -> Vec<Feature> {
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim().strip_prefix('|')?.split(" | ").collect();
        let [id, _, shown_by] = cells.as_slice() else { return None };
        let id = id.trim().to_owned();
        if !id.starts_with(['S', 'U']) || !id.ends_with(|end: char| end.is_ascii_digit()) {
            return None;
        }
        let shown_by = shown_by.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some(Feature { id, shown_by })
    });
    rows.collect()
}

/// The rows of the tables that have a column for what shows them, `shown by` or `test`: what is
/// said, and the evidence.
pub(super) fn promises(document: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut column = None;
    for line in document.lines() {
        let Some(row) = line.trim().strip_prefix('|') else {
            column = None;
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let is_head = |cell: &&str| ["shown by", "test"].contains(cell);
        if let Some(at) = cells.iter().position(is_head) {
            column = Some(at);
        } else if let Some(at) = column
            && !row.starts_with("---")
        {
            let cell = cells.get(at).copied().unwrap_or_default();
            let evidence = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            found.push((cells.first().copied().unwrap_or_default().to_owned(), evidence));
        }
    }
    found
}

/// What evidence can point to.
pub(super) struct Known {
    /// Functions by file.
    tests: BTreeMap<String, BTreeSet<String>>,
    targets: BTreeSet<String>,
    cli: BTreeMap<String, String>,
}

impl Known {
    pub(super) fn look() -> anyhow::Result<Self> {
        let mut tests = BTreeMap::new();
        for source in all(&["rs", "py", "go", "ts", "sh"])? {
            tests.insert(source.path.clone(), functions(&source.text));
        }
        let makefile = text(&root().join("Makefile"))?;
        let targets = makefile
            .lines()
            .filter_map(|line| line.split_once(':').map(|(target, _)| target.to_owned()))
            .filter(|target| !target.contains([' ', '=', '$', '.', '\t', '#']))
            .collect();
        let cli = all(&["rs"])?
            .into_iter()
            .filter(|source| source.path.starts_with("coordinator/src/cli"))
            .map(|source| (source.path, source.text))
            .collect();
        Ok(Self { tests, targets, cli })
    }

    /// Says what is wrong with a piece of evidence.
    pub(super) fn check(&self, evidence: &str) -> Result<(), String> {
        if let Some((file, function)) = evidence.split_once("::") {
            let functions = self.tests.get(file).ok_or_else(|| format!("no file {file}"))?;
            let known = functions.contains(function);
            return known.then_some(()).ok_or_else(|| format!("no test {function} in {file}"));
        }
        let words: Vec<&str> = evidence.split(' ').collect();
        match words.as_slice() {
            ["make", target] if self.targets.contains(*target) => Ok(()),
            ["metafleet", noun, verb, ..] if self.has_command(noun, Some(verb)) => Ok(()),
            ["metafleet", noun, ..] if self.has_command(noun, None) => Ok(()),
            _ => Err(format!("`{evidence}` is no test and no command")),
        }
    }

    /// Whether the command line has a noun, and among its verbs this one.
    fn has_command(&self, noun: &str, verb: Option<&str>) -> bool {
        let variant = |name: &str, text: &str| {
            let mut letters = name.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            let name: String = first.into_iter().chain(letters).collect();
            text.lines().any(|line| {
                let line = line.trim();
                line == format!("{name},") || line.starts_with(&format!("{name}("))
            })
        };
        let top = self.cli.get("coordinator/src/cli.rs").is_some_and(|text| variant(noun, text));
        let verbs = self.cli.get(&format!("coordinator/src/cli/{noun}.rs"));
        let is_verb = |verb: &str| verbs.is_some_and(|text| variant(verb, text));
        top && verb.is_none_or(|verb| is_verb(verb) || !verb.starts_with(char::is_lowercase))
    }
}

/// The names of all functions in a source, and of the tests that have a sentence for a name.
fn functions(source: &str) -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    for line in source.lines() {
        for keyword in ["fn ", "def ", "func "] {
            if let Some((before, rest)) = line.split_once(keyword)
                && before.chars().all(|c| c.is_alphabetic() || " ()".contains(c))
            {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                functions.insert(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
        // node:test
        let named = ["test(", "it("].iter().find_map(|call| line.trim().strip_prefix(call));
        if let Some((name, _)) = named.and_then(|rest| rest.strip_prefix('"')?.split_once('"')) {
            functions.insert(name.to_owned());
        }
    }
    functions
}
