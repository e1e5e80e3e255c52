//! PURE. Tells a file name extension from the end of a title.

const KNOWN: [&str; 62] = [
    "3g2", "3gp", "aac", "ac3", "aif", "aiff", "alac", "amr", "ape", "asf", "avi", "divx", "dsf",
    "dts", "dv", "eac3", "f4v", "flac", "flv", "iso", "m1v", "m2ts", "m2v", "m4a", "m4b", "m4v",
    "mj2", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpc", "mpe", "mpeg", "mpg", "mts", "mxf",
    "oga", "ogg", "ogm", "ogv", "opus", "qt", "rm", "rmvb", "spx", "strm", "swf", "ts", "tta",
    "vob", "wav", "webm", "wma", "wmv", "wtv", "wv", "xvid", "y4m", "ra",
];

/// The name without its extension, and the extension in lower case if it is one of a media file.
pub(crate) fn split(name: &str) -> (&str, Option<String>) {
    let Some((stem, extension)) = name.rsplit_once('.') else { return (name, None) };
    let extension = extension.trim().to_ascii_lowercase();
    if !stem.is_empty() && KNOWN.contains(&extension.as_str()) {
        (stem, Some(extension))
    } else {
        (name, None)
    }
}
