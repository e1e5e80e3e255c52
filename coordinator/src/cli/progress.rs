//! How far a scan is: a bar where standard error is a terminal, else a plain line now and then.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::output::{Output, complain};
use super::table::bytes;
use super::time::span;
use crate::source::Progress;

/// How often a plain line is printed.
const LINE: Duration = Duration::from_secs(10);
const REDRAWS: u8 = 10;

/// Shows how far a scan is.
#[derive(Debug)]
pub(crate) struct Meter {
    out: Output,
    bar: Option<ProgressBar>,
    since: Instant,
    printed: Instant,
}

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) scan: &'a Progress,
    /// Whether the folders were walked to their end.
    pub(crate) walked: bool,
    /// Files handed in that have settled.
    pub(crate) settled: u64,
    /// Files handed in; fewer than the scan found where some are copies.
    pub(crate) all: u64,
}

impl Meter {
    pub(crate) fn new(out: &Output) -> Self {
        let bar = out.may_draw().then(|| {
            let bar =
                ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS));
            bar.set_style(style("{spinner} {msg}"));
            bar
        });
        let now = Instant::now();
        Self { out: out.clone(), bar, since: now, printed: now }
    }

    pub(crate) fn show(&mut self, reading: Reading<'_>) {
        if let Some(bar) = &self.bar {
            if reading.walked && bar.length().is_none() {
                bar.set_style(style("{wide_bar} {pos}/{len} files settled  {msg}  {eta}"));
            }
            if reading.walked {
                bar.set_length(reading.all);
                bar.set_position(reading.settled);
                bar.set_message(rate(reading.settled, self.since.elapsed()));
            } else {
                bar.set_message(text(reading));
                bar.tick();
            }
        } else if self.printed.elapsed() >= LINE {
            self.printed = Instant::now();
            self.out.say(&format!("{}, {}", text(reading), span(self.since.elapsed())));
        }
    }

    /// Says something without disturbing the bar.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(text)),
            None => self.out.say(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Files per second so far.
fn rate(files: u64, passed: Duration) -> String {
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{}/s", files.saturating_mul(1000) / millis)
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; one that were wrong would only look plain.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn text(reading: Reading<'_>) -> String {
    let Progress { files, hashed_bytes, .. } = reading.scan;
    let Reading { settled, all, .. } = reading;
    let hashed = bytes(*hashed_bytes);
    format!("{files} files seen, {hashed} hashed, {all} handed in, {settled} settled")
}
