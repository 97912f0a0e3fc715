//! `throughline doctor`.

use super::{Settings, print};
use crate::doctor::{Verdict, examine, text_of, worst};
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    settings: Settings,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// What `doctor` ends with where it complains: 1 where something should be looked at, 2 where something does not work.
#[derive(Debug, thiserror::Error)]
#[error("{fails} checks fail, {warnings} warn")]
pub(super) struct Complaints {
    fails: usize,
    warnings: usize,
}

impl Complaints {
    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        if self.fails > 0 { 2 } else { 1 }
    }
}

pub(super) fn run(arguments: &DoctorArguments) -> anyhow::Result<()> {
    let findings = examine(arguments.settings.load().map_err(|error| error.to_string()));
    print(&if arguments.json {
        format!("{:#}\n", json!({ "verdict": worst(&findings), "checks": findings }))
    } else {
        text_of(&findings)
    })?;
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    match (count(Verdict::Fail), count(Verdict::Warn)) {
        (0, 0) => Ok(()),
        (fails, warnings) => Err(Complaints { fails, warnings }.into()),
    }
}
