//! The plugin on real files, guarded by its own program.

mod files;

/// The plugin's own program, which is the guard of what it starts.
fn guard() -> worker_sdk::Guard {
    worker_sdk::Guard::of(env!("CARGO_BIN_EXE_plugin-subtitle-extractor"))
}
