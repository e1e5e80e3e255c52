//! Accounts for a server in operator mode: keys, tokens and login files.
//!
//! The rules are those of [`broker_config::accounts`], written as JWTs in place of the configuration
//! of a server. All exports are private: an account reaches another one only by an activation token
//! that the other one has signed, for exactly the subject that it imports. Whoever may write the
//! imports of an account, but not of the fleet's, gains nothing by it.
//!
//! What a plugin's user may publish stands in the token of its account, as its default permissions:
//! another route or a newer version needs no new login files.
//!
//! A folder is laid out as `nsc` has it, so that `nsc` and `nats auth` work on it, and an operator that
//! they have made is used.

mod claims;
mod conf;
mod desk;
mod files;
mod issue;
mod ring;
#[cfg(test)]
mod tests;
mod token;

pub use self::conf::{Resolver, render};
pub use self::files::Files;
pub use self::issue::{Issued, Login, Order, Pushed, Refused, issue};
pub use self::ring::Ring;
pub use self::token::{Claims, InvalidToken};
