//! The plugins that this program carries; each runs in it for an entry with `runtime: internal`.
//!
//! Only the program knows them: the library is the same without. `ffmpeg` is not among them: it has a
//! program of others read files of strangers, which is what a sandbox is for.

use coordinator::internal::{Builtin, Builtins};
use worker_sdk::PluginId;

/// All of them, by id.
pub(crate) fn all() -> Builtins {
    let all = [
        ("anime-detector", Builtin::new(|| plugin_anime_detector::AnimeDetector)),
        ("file-info", Builtin::new(|| plugin_file_info::FileInfo)),
        ("filename-parser", Builtin::new(|| plugin_filename_parser::FilenameParser)),
        ("full-hash", Builtin::new(|| plugin_full_hash::FullHash)),
        ("jellyfin-nfo", Builtin::new(|| plugin_jellyfin_nfo::JellyfinNfo)),
        ("language", Builtin::new(|| plugin_language::Language)),
        ("subtitle", Builtin::new(|| plugin_subtitle::Subtitle)),
    ];
    all.into_iter()
        .filter_map(|(id, builtin)| Some((id.parse::<PluginId>().ok()?, builtin)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_the_plugin_under_whose_id_it_stands() {
        let all = all();
        assert_eq!(all.len(), 7);
        for (id, builtin) in all {
            assert_eq!(builtin.manifest().id, id);
        }
    }
}
