//! PURE: what came of the cases, and how it is written down.

use std::time::Duration;

use serde::Serialize;

use super::case::Case;

mod junit;

/// What came of all cases.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The kit's.
    pub version: u32,
    /// The plugin's id; empty when it never announced itself.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// What the worker says of its library.
    pub sdk: String,
    /// How long it took.
    pub took_ms: u64,
    /// Cases that were passed.
    pub passed: usize,
    /// Cases that were not.
    pub failed: usize,
    /// Cases that say nothing about this worker.
    pub not_applicable: usize,
    /// Each, in the order of the list.
    pub cases: Vec<CaseReport>,
}

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseReport {
    /// The case.
    pub name: &'static str,
    /// The section of `PROTOCOL.md`.
    pub section: u8,
    /// What that asks.
    pub asks: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took.
    pub took_ms: u64,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "camelCase")]
pub enum Verdict {
    /// The worker does what is asked.
    Passed,
    /// It does not.
    Failed {
        /// What was wrong.
        why: String,
        /// What passed last, and the last lines of the worker's log.
        seen: String,
    },
    /// The case says nothing about this worker.
    NotApplicable {
        /// Why not.
        why: String,
    },
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Written {
    /// For people.
    #[default]
    Text,
    /// One document.
    Json,
    /// For continuous integration.
    Junit,
}

impl CaseReport {
    pub(super) fn new(case: &Case, verdict: Verdict, took: Duration) -> Self {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { name: case.name, section: case.section, asks: case.asks, verdict, took_ms }
    }

    /// What a person sees of it.
    #[must_use]
    pub fn text(&self) -> String {
        let seconds = Duration::from_millis(self.took_ms).as_secs_f64();
        let line = |mark: &str| format!("{mark:<5}{:<32}{seconds:6.1} s", self.name);
        match &self.verdict {
            Verdict::Passed => line("ok"),
            Verdict::NotApplicable { why } => format!("{}  {why}", line("-")),
            Verdict::Failed { why, seen } => {
                let indented = |text: &str| text.replace('\n', "\n       ");
                format!(
                    "{}\n     {}\n     PROTOCOL.md section {}: {}\n       {}",
                    line("FAIL"),
                    indented(why),
                    self.section,
                    self.asks,
                    indented(seen)
                )
            }
        }
    }
}

impl Report {
    /// Counts.
    pub(super) fn new(
        (plugin, plugin_version, sdk): (String, String, String),
        took: Duration,
        cases: Vec<CaseReport>,
    ) -> Self {
        let count =
            |such: fn(&Verdict) -> bool| cases.iter().filter(|case| such(&case.verdict)).count();
        Self {
            version: super::VERSION,
            plugin,
            plugin_version,
            sdk,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            passed: count(|verdict| *verdict == Verdict::Passed),
            failed: count(|verdict| matches!(verdict, Verdict::Failed { .. })),
            not_applicable: count(|verdict| matches!(verdict, Verdict::NotApplicable { .. })),
            cases,
        }
    }

    /// The last line for a person.
    #[must_use]
    pub fn summary(&self) -> String {
        let seconds = Duration::from_millis(self.took_ms).as_secs_f64();
        let whose = match (self.plugin.as_str(), self.plugin_version.as_str()) {
            ("", _) => "a worker that does not announce itself".to_owned(),
            (plugin, version) => format!("{plugin} {version}"),
        };
        format!(
            "conformance version {}, {whose}: {} passed, {} failed, {} not applicable, {seconds:.1} s",
            self.version, self.passed, self.failed, self.not_applicable
        )
    }

    /// The whole report; a final line break included.
    #[must_use]
    pub fn write(&self, as_what: Written) -> String {
        match as_what {
            Written::Text => {
                let mut lines: Vec<String> = self.cases.iter().map(CaseReport::text).collect();
                lines.push(self.summary());
                lines.join("\n") + "\n"
            }
            Written::Json => serde_json::to_string_pretty(self).unwrap_or_default() + "\n",
            Written::Junit => junit::write(self),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One case of each kind.
    pub(in super::super) fn report() -> Report {
        let case = |name, verdict| CaseReport {
            name,
            section: 14,
            asks: "It ends.",
            verdict,
            took_ms: 1_500,
        };
        let why = "exit code 9 & \"more\"".to_owned();
        let seen = "  0.1 s  <said>\nwhy\u{1}".to_owned();
        let cases = vec![
            case("one", Verdict::Passed),
            case("two", Verdict::Failed { why, seen }),
            case("three", Verdict::NotApplicable { why: "no script".to_owned() }),
        ];
        let whose = ("x".to_owned(), "1.0.0".to_owned(), "rust 1".to_owned());
        Report::new(whose, Duration::from_millis(2_250), cases)
    }

    #[test]
    fn people_see_what_was_seen_and_what_is_asked() {
        let expected = "\
ok   one                                1.5 s
FAIL two                                1.5 s
     exit code 9 & \"more\"
     PROTOCOL.md section 14: It ends.
         0.1 s  <said>
       why\u{1}
-    three                              1.5 s  no script
conformance version 1, x 1.0.0: 1 passed, 1 failed, 1 not applicable, 2.2 s
";
        assert_eq!(report().write(Written::Text), expected);
    }

    #[test]
    fn programs_read_json() {
        let json: serde_json::Value = serde_json::from_str(&report().write(Written::Json)).unwrap();
        assert_eq!(json["cases"][1]["result"], "failed");
        assert_eq!(json["cases"][1]["why"], "exit code 9 & \"more\"");
        assert_eq!(json["cases"][0]["result"], "passed");
        assert_eq!(json["cases"][2]["result"], "notApplicable");
        assert_eq!(json["failed"], 1);
        assert_eq!(json["pluginVersion"], "1.0.0");
    }
}
