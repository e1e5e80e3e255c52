//! Where data and messages go: data to standard output in the chosen format, messages for people
//! to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::table::{Table, clean};

/// The form of what is printed on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document per line and item.
    Ndjson,
}

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loudness {
    /// Errors only.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// And what happens underneath.
    Verbose,
}

/// Prints; knows what the person asked for and what the terminals can do.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) loudness: Loudness,
    /// Whether standard output gets colours.
    colour: bool,
    /// Whether standard error is a terminal that can redraw a line.
    live: bool,
    /// Whether a person reads standard output.
    read_by_person: bool,
}

/// Looks up an environment variable; `None` when unset.
pub(crate) type Look<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Output {
    pub(crate) fn new(format: Format, loudness: Loudness, var: Look<'_>) -> Self {
        let dumb = var("TERM").is_some_and(|term| term == "dumb");
        Self {
            format,
            loudness,
            colour: wants_colour(var, io::stdout().is_terminal()),
            live: io::stderr().is_terminal() && !dumb,
            read_by_person: io::stdout().is_terminal(),
        }
    }

    /// Whether a progress bar may be drawn on standard error.
    pub(crate) fn may_draw(&self) -> bool {
        self.live && self.loudness > Loudness::Quiet
    }

    /// Whether data goes to a person.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints a document; `table` says how it looks to people.
    pub(crate) fn document<T: Serialize>(
        &self,
        value: &T,
        table: impl FnOnce(&mut Lines),
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json if self.read_by_person => self.line(&pretty(value)?),
            Format::Json | Format::Ndjson => self.line(&compact(value)?),
            Format::Table => {
                let mut lines = Lines { colour: self.colour, text: String::new() };
                table(&mut lines);
                self.raw(&lines.text)
            }
        }
    }

    /// Prints a list: a JSON array, one line per item, or a table.
    pub(crate) fn list<T: Serialize>(
        &self,
        items: &[T],
        table: impl FnOnce(&mut Lines),
    ) -> Result<(), Failure> {
        if self.format == Format::Ndjson {
            for item in items {
                self.line(&compact(item)?)?;
            }
            return Ok(());
        }
        self.document(&items, table)
    }

    /// Prints one line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.raw(&format!("{text}\n"))
    }

    /// Prints data as it is.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints data that need not be text.
    #[expect(clippy::unused_self, reason = "whoever prints data holds the output")]
    pub(crate) fn bytes(&self, data: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(data).and_then(|()| out.flush()).map_err(|error| {
            // Whoever reads our output has seen enough, e.g. `head`: nothing to complain about.
            let quiet = error.kind() == io::ErrorKind::BrokenPipe;
            let exit = if quiet { Exit::Ok } else { Exit::Failure };
            Failure::because(exit, "write to standard output", &error)
        })
    }

    /// Tells a person something on standard error, unless `-q`.
    pub(crate) fn say(&self, text: &str) {
        if self.loudness > Loudness::Quiet {
            complain(text);
        }
    }
}

/// Writes a line to standard error; where that is closed there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let mut err = io::stderr().lock();
    writeln!(err, "{}", text.split('\n').map(clean).collect::<Vec<_>>().join("\n"))
        .unwrap_or_default();
}

/// Collects what a person sees.
#[derive(Debug)]
pub(crate) struct Lines {
    colour: bool,
    text: String,
}

impl Lines {
    pub(crate) fn line(&mut self, text: &str) {
        self.text.push_str(&clean(text));
        self.text.push('\n');
    }

    /// A line `name: value` with the names in a column.
    pub(crate) fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let value = clean(value.as_ref());
        self.text.push_str(format!("{name:<14}{value}").trim_end());
        self.text.push('\n');
    }

    pub(crate) fn title(&mut self, text: &str) {
        let text = clean(text);
        let text = if self.colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text };
        self.text.push_str(&text);
        self.text.push('\n');
    }

    pub(crate) fn table(&mut self, table: &Table) {
        for (at, line) in table.lines().iter().enumerate() {
            if at == 0 {
                self.title(line);
            } else {
                self.text.push_str(line);
                self.text.push('\n');
            }
        }
    }
}

/// `NO_COLOR` wins, then `CLICOLOR_FORCE`, then whether it is a terminal that knows colours.
fn wants_colour(var: Look<'_>, terminal: bool) -> bool {
    let set = |name: &str| var(name).is_some_and(|value| !value.is_empty());
    if set("NO_COLOR") {
        return false;
    }
    if var("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") {
        return true;
    }
    terminal
        && var("TERM").is_none_or(|term| term != "dumb")
        && var("CLICOLOR").is_none_or(|value| value != "0")
}

fn pretty<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::because(Exit::Failure, "write as JSON", &error))
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// One item as one line of JSON.
pub(crate) fn compact<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::because(Exit::Failure, "write as JSON", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_usual_variables() {
        for (vars, terminal, expected) in [
            (vec![], true, true),
            (vec![], false, false),
            (vec![("NO_COLOR", "1")], true, false),
            (vec![("NO_COLOR", "")], true, true),
            (vec![("CLICOLOR_FORCE", "1")], false, true),
            (vec![("CLICOLOR_FORCE", "0")], false, false),
            (vec![("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
            (vec![("CLICOLOR", "0")], true, false),
            (vec![("TERM", "dumb")], true, false),
        ] {
            let look = |name: &str| {
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(wants_colour(&look, terminal), expected, "{vars:?} {terminal}");
        }
    }

    #[test]
    fn what_comes_from_files_is_cleaned_before_people_see_it() {
        let mut lines = Lines { colour: false, text: String::new() };
        lines.line("a\u{1b}b");
        lines.field("name", "x\ny");
        assert_eq!(lines.text, "a\\u{1b}b\nname          x\\ny\n");
    }
}
