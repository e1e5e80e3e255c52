//! Text that must not be seen.

use std::fmt;

use serde::{Deserialize, Serializer};

/// A password, token or the like: `Debug` prints `***`, and there is neither `Display` nor `Serialize`.
///
/// It is written out only where a field says so with [`write_out`], for files that nobody else may read.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; for the broker, never for a message.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Writes the text itself; for the fields of files that only their owner may read.
///
/// # Errors
///
/// Those of the serializer.
pub fn write_out<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&secret.0)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Some(Secret::new("hush"))), "Some(***)");
    }
}
