//! PURE: collects what is wrong with a manifest.

use std::num::NonZeroU32;

use super::InvalidManifest;

/// Reasons that are told; whoever wrote more wrong things mends these first.
const MAX_REASONS: usize = 24;
/// Characters of one of them: it may quote what somebody sent.
const MAX_CHARS: usize = 400;

impl InvalidManifest {
    /// Tells the reasons, as far as somebody reads them.
    pub(super) fn of(mut reasons: Vec<String>) -> Self {
        let more = reasons.len().saturating_sub(MAX_REASONS);
        reasons.truncate(MAX_REASONS);
        for reason in &mut reasons {
            if let Some((at, _)) = reason.char_indices().nth(MAX_CHARS) {
                reason.truncate(at);
                reason.push('…');
            }
        }
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        Self { reasons }
    }
}

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Check {
    /// Each with the field it is about.
    pub(super) reasons: Vec<String>,
}

impl Check {
    pub(super) fn holds(&mut self, holds: bool, reason: impl FnOnce() -> String) {
        if !holds {
            self.reasons.push(reason());
        }
    }

    pub(super) fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        self.holds(value.is_some(), || format!("{field}: is required"));
        value
    }

    pub(super) fn text(&mut self, field: &str, value: Option<String>) -> Option<String> {
        let value = self.required(field, value)?;
        self.holds(!value.trim().is_empty(), || format!("{field}: must not be empty"));
        Some(value)
    }

    pub(super) fn parsed<T>(&mut self, field: &str, value: Option<String>) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let value = self.required(field, value);
        self.optional(field, value)
    }

    pub(super) fn optional<T>(&mut self, field: &str, value: Option<String>) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        match value?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.reasons.push(format!("{field}: {error}"));
                None
            }
        }
    }

    pub(super) fn priority(&mut self, value: Option<f64>) -> Option<u8> {
        let value = self.required("priority", value)?;
        let whole = (10..=100_u8).find(|&whole| f64::from(whole) == value);
        self.holds(whole.is_some(), || {
            format!("priority: {value} must be a whole number from 10 to 100")
        });
        whole
    }

    pub(super) fn positive(&mut self, field: &str, value: Option<u32>) -> Option<NonZeroU32> {
        let value = value?;
        self.holds(value > 0, || format!("{field}: must be at least 1"));
        NonZeroU32::new(value)
    }
}
