#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod answer;
mod budget;
mod child;
mod keeper;
mod limits;
mod once;
mod options;
mod persistent;
mod plugin;
mod request;
mod verdict;
mod words;

pub use child::Launch;
pub use keeper::run_if_asked;
pub use limits::Limits;
pub use options::{InvalidPlan, Options};
pub use plugin::{Life, Plan, Shim};
pub use verdict::Codes;
