//! `bench deliver`: how fast a lane delivers, with journal, permits, signatures and the egress client, to a receiver on
//! this machine.
//!
//! Sender and receiver share the process, so processor time per effect holds both.

use super::{BenchArgs, Folder, Progress, Report};
use crate::process::Usage;
use anyhow::Context as _;
use env::Env;
use outbound::bench::{DeliverBench, bench_deliver};
use serde_json::json;

/// Effects of each phase.
const EFFECTS: u64 = 50_000;
/// Of the phase with marketing: every how many effects one is.
const MARKETING_EVERY: u64 = 10;

/// What differs between the phases: their name, bytes of a body, requests under way, and every how many effects one is
/// marketing.
const PHASES: [(&str, usize, usize, u64); 4] = [
    ("usual", 500, 64, 0),
    ("few_under_way", 500, 8, 0),
    ("large", 10_000, 64, 0),
    ("marketing", 500, 64, MARKETING_EVERY),
];

/// Every row of `[deliver]` in `benches/goals.toml`.
#[cfg(test)]
const GOALS: [&str; 4] =
    ["effects_per_second", "cpu_per_effect", "effects_not_delivered", "requests_repeated"];

/// Runs every phase and reports.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let folder = Folder::new(args.data.as_deref())?;
    let progress = Progress::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::new("deliver");
    report.fact("effects_of_each_phase", json!(EFFECTS));
    report.fact("destination", json!("a signed webhook on loopback; the receiver is in the same process"));
    for round in 0..args.repeat {
        for (name, body_bytes, concurrency_max, marketing_every) in PHASES {
            progress
                .step(&format!("{name}: {EFFECTS} effects of {body_bytes} B, {concurrency_max} under way"));
            let bench = DeliverBench {
                effects: EFFECTS,
                body_bytes,
                concurrency_max,
                marketing_every,
                ..DeliverBench::at(folder.path().join(format!("{name}-{round}")))
            };
            let before_ns = cpu_ns()?;
            let figures =
                runtime.block_on(bench_deliver(&Env::real(), bench)).with_context(|| name.to_owned())?;
            let cpu_us = cpu_ns()?.saturating_sub(before_ns) as f64 / 1e3;
            let cpu_per_effect = cpu_us / figures.delivered.max(1) as f64;
            if name == "usual" {
                report.goal("effects_per_second", figures.per_second() as f64);
                report.goal("cpu_per_effect", cpu_per_effect);
                report.goal("effects_not_delivered", EFFECTS.saturating_sub(figures.delivered) as f64);
                report.goal("requests_repeated", figures.received.saturating_sub(figures.delivered) as f64);
            } else {
                report.detail_higher(&format!("{name}_per_second"), "1/s", figures.per_second() as f64);
                report.detail(&format!("{name}_cpu_per_effect"), "us", cpu_per_effect);
            }
        }
    }
    Ok(report)
}

/// Processor time of this process.
fn cpu_ns() -> anyhow::Result<u64> {
    Ok(Usage::of(std::process::id())?.cpu_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_measured() {
        let mut report = Report::new("deliver");
        GOALS.iter().for_each(|name| report.goal(name, 0.0));
        report.json().expect("every row of the goals has a figure, and every figure a row");
    }
}
