//! The plugin on real files, made with ffmpeg.

mod files;
