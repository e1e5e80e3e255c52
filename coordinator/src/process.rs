//! Plugins as child processes.
pub mod restart;
