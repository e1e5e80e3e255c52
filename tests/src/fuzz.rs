//! What holds for any bytes that somebody may send us.
//!
//! Each target takes its bytes as one kind of input and asserts what must hold whatever they say.
//! The same functions run in two ways: libFuzzer drives them (`make fuzz`), and an ordinary test
//! gives them the inputs that are kept in `tests/fuzz/corpus` and mutations of these.

#![expect(
    clippy::missing_panics_doc,
    reason = "they panic where what must hold does not: that is the finding"
)]

mod archive;
mod contract;
mod http;
mod intake;
pub mod replay;

pub use contract::{manifest, message, names};
pub use http::{http, query};
pub use intake::{ffprobe, package, plugins_yml};

/// One kind of input.
pub type Target = fn(&[u8]);

/// All targets, by the name of their corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("ffprobe", ffprobe),
    ("http", http),
    ("manifest", manifest),
    ("message", message),
    ("names", names),
    ("package", package),
    ("plugins_yml", plugins_yml),
    ("query", query),
];
