//! The cases, by what they are about.

mod announce;
mod control;
mod deliver;
mod drains;
mod leases;
mod life;
mod makes;
mod outcomes;
mod record;
mod tasks;

use anyhow::anyhow;

use super::case::Case;
use super::judge::Judged;
use super::stage::SOON;

/// All tables, in the order of the report.
pub(super) const TABLES: &[&[Case]] = &[
    announce::CASES,
    life::CASES,
    control::CASES,
    deliver::CASES,
    tasks::CASES,
    record::CASES,
    outcomes::CASES,
    leases::CASES,
    drains::CASES,
    makes::CASES,
];

/// Makes a judgement the case's own.
fn check(judged: Judged) -> anyhow::Result<()> {
    judged.map_err(|problem| anyhow!(problem))
}
