//! Makes the changes of a plan, and waits for what the server does behind them.

use super::plan::{Plan, Step};
use super::server::{Finding, NotMade, Server};
use crate::terminal::Terminal;
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// Finding somebody for everybody may take long, but something has to go on within this time.
const STALLED_AFTER: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What became of a plan.
#[derive(Debug)]
pub(crate) struct Carried {
    /// Changes that were made, from the first on.
    pub(crate) made: usize,
    /// Why the next one was not, if there is a next one.
    pub(crate) stopped: Option<anyhow::Error>,
}

/// Makes one change after the other, and stops at the first that cannot be made.
pub(crate) fn carry_out(plan: &Plan, server: &mut Server, terminal: &Terminal) -> Carried {
    for (made, step) in plan.steps.iter().enumerate() {
        terminal.progress(&format!("{made} of {} changes made", plan.steps.len()));
        if let Err(error) = make(step, plan.position, server, terminal) {
            return Carried { made, stopped: Some(error) };
        }
    }
    Carried { made: plan.steps.len(), stopped: None }
}

/// Makes a change. One that the server cannot take yet, because it still finds the former state of the same definition
/// for everybody, is sent again until it can.
fn make(step: &Step, position: u64, server: &mut Server, terminal: &Terminal) -> Result<()> {
    let mut patience = Patience::new();
    for attempt in 0_u64.. {
        match server.make(step, &key(step, position, attempt)) {
            Ok(()) => return Ok(()),
            Err(NotMade::StillFinding { what }) => {
                let finding = server.finding()?;
                patience.look(&finding)?;
                terminal
                    .progress(&format!("waiting until {what} is found for everybody: {}", percent(&finding)));
                std::thread::sleep(LOOK_EVERY);
            }
            Err(error) => return Err(error.into()),
        }
    }
    bail!("{} was refused too often", step.title())
}

/// The key under which a change is made once. It follows from the change and from the position of the log at which the
/// server was read: the same change of the same state has the same key, and the same change of a later state (somebody
/// took it back in between) has another one, so that it is not taken for a repetition. A refusal is remembered under its
/// key like anything else, so an attempt after one has a key of its own.
pub(super) fn key(step: &Step, position: u64, attempt: u64) -> String {
    let change =
        json!([step.kind.title(), step.name, step.before, step.after, step.version, position, attempt]);
    let digest = blake3::hash(change.to_string().as_bytes()).to_hex();
    format!("apply-{}", digest.get(..32).unwrap_or_default())
}

/// Waits until every definition is found for everybody.
pub(crate) fn wait_until_found(server: &mut Server, terminal: &Terminal) -> Result<()> {
    let mut patience = Patience::new();
    let mut audiences_max = 0;
    loop {
        let finding = server.finding()?;
        if finding.pending == 0 && finding.audiences.is_empty() {
            return Ok(());
        }
        audiences_max = audiences_max.max(finding.audiences.len());
        patience.look(&finding)?;
        let found = audiences_max - finding.audiences.len();
        terminal.progress(&format!(
            "finding everybody: {}, {found} of {audiences_max} audiences are found",
            percent(&finding)
        ));
        std::thread::sleep(LOOK_EVERY);
    }
}

/// How far finding is. People are gone through once all older events have been read.
fn percent(finding: &Finding) -> String {
    let count = finding.audiences.len() as u64;
    let sum: u64 = finding.audiences.iter().map(|(_, percent)| percent).sum();
    match sum.checked_div(count) {
        None | Some(0) => "reading older events".to_owned(),
        Some(percent) => format!("{percent} %"),
    }
}

/// Gives up where nothing goes on.
struct Patience {
    last: Finding,
    since: Instant,
}

impl Patience {
    fn new() -> Self {
        Self { last: Finding::default(), since: Instant::now() }
    }

    fn look(&mut self, finding: &Finding) -> Result<()> {
        if self.last.progress != finding.progress {
            (self.last, self.since) = (finding.clone(), Instant::now());
        }
        let waited_s = STALLED_AFTER.as_secs();
        let problem = finding.problem.as_deref().unwrap_or("the server's log says more");
        ensure!(
            self.since.elapsed() < STALLED_AFTER,
            "finding everybody has not gone on for {waited_s} seconds: {problem}. Applying again goes on from here"
        );
        Ok(())
    }
}
