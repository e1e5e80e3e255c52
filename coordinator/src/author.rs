//! What authors of plugins work with: the check of a manifest beside other plugins, a fleet of its
//! own for one plugin, and its process, which is started anew when its files change.

pub mod check;
pub mod events;
pub mod process;
pub mod round;
pub mod trial;
pub mod watch;
