//! PURE: a report in the form that continuous integration reads.

use std::time::Duration;

use super::{Report, Verdict};

/// Writes the report as one test suite.
pub(super) fn write(report: &Report) -> String {
    let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"metafleet conformance {}: {}\" \
         tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n",
        report.version,
        escape(&report.plugin),
        report.cases.len(),
        report.failed,
        report.not_applicable,
        seconds(report.took_ms),
    );
    for case in &report.cases {
        text.push_str(&format!(
            "  <testcase classname=\"conformance.section-{}\" name=\"{}\" time=\"{:.3}\">",
            case.section,
            escape(case.name),
            seconds(case.took_ms),
        ));
        match &case.verdict {
            Verdict::Passed => {}
            Verdict::NotApplicable { why } => {
                text.push_str(&format!("<skipped message=\"{}\"/>", escape(why)));
            }
            Verdict::Failed { why, seen } => text.push_str(&format!(
                "<failure message=\"{}\">PROTOCOL.md section {}: {}\n{}</failure>",
                escape(why),
                case.section,
                escape(case.asks),
                escape(seen),
            )),
        }
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n");
    text
}

/// Text as XML; what XML cannot hold is left out.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() && c != '\t' => {}
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;

    #[test]
    fn the_form_is_this() {
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuite name=\"metafleet conformance 1: x\" tests=\"3\" failures=\"1\" skipped=\"1\" time=\"2.250\">
  <testcase classname=\"conformance.section-14\" name=\"one\" time=\"1.500\"></testcase>
  <testcase classname=\"conformance.section-14\" name=\"two\" time=\"1.500\"><failure message=\"exit code 9 &amp; &quot;more&quot;\">PROTOCOL.md section 14: It ends.
  0.1 s  &lt;said&gt;&#10;why</failure></testcase>
  <testcase classname=\"conformance.section-14\" name=\"three\" time=\"1.500\"><skipped message=\"no script\"/></testcase>
</testsuite>
";
        assert_eq!(super::write(&report()), expected);
    }
}
