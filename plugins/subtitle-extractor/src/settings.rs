//! PURE  What the operator has set.

use std::ffi::OsString;
use std::path::PathBuf;

use worker_sdk::Settings;

/// The settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where subtitles are written as files, too.
    pub folder: Option<PathBuf>,
    /// The program.
    pub ffmpeg: OsString,
}

/// A setting is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`outputFolder` must be an absolute path, `{0}` is none")]
pub struct NotAbsolute(String);

impl Wanted {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`NotAbsolute`].
    pub fn of(settings: &Settings) -> Result<Self, NotAbsolute> {
        let text = |name| settings.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        let folder = text("outputFolder").trim();
        let ffmpeg = match text("ffmpeg").trim() {
            "" => "ffmpeg",
            given => given,
        };
        let path = PathBuf::from(folder);
        if !folder.is_empty() && !path.is_absolute() {
            return Err(NotAbsolute(folder.to_owned()));
        }
        Ok(Self { folder: (!folder.is_empty()).then_some(path), ffmpeg: ffmpeg.into() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_folder_is_absolute_or_none() {
        for (settings, folder, ffmpeg) in [
            (json!({}), Some(None), "ffmpeg"),
            (json!({"outputFolder": " ", "ffmpeg": ""}), Some(None), "ffmpeg"),
            (json!({"outputFolder": "/l/s", "ffmpeg": "/x"}), Some(Some("/l/s")), "/x"),
            (json!({"outputFolder": "s"}), None, ""),
        ] {
            let found = Wanted::of(settings.as_object().unwrap()).ok();
            let expected = folder
                .map(|folder| Wanted { folder: folder.map(PathBuf::from), ffmpeg: ffmpeg.into() });
            assert_eq!(found, expected, "{settings}");
        }
    }
}
