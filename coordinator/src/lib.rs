
pub mod dispatcher;
pub mod fingerprint;
pub mod graph;
pub mod limits;
pub mod merge;
pub mod run;
pub mod source;
