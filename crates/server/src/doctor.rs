//! Looks at a deployment and says what to do: configuration, disk, clock, limits, ports, keys, data directory, and a
//! server that runs on it.
//!
//! **This module never** changes anything: it takes no lock, makes no directory, and the file that it measures the disk
//! with has no name.

mod data;
mod disk;
mod machine;
mod server;

use crate::config::Config;
use crate::serve::DataDirectory;
use env::Env;
use serde::Serialize;
use std::fmt::Write as _;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Nothing to do.
    Ok,
    /// It works, and should be looked at.
    Warn,
    /// It does not work, or will not keep its promises.
    Fail,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    /// How it came out.
    pub(crate) verdict: Verdict,
    /// What was seen.
    pub(crate) found: String,
    /// What to do; empty where nothing is.
    pub(crate) advice: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: String::new() }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), advice: advice.into() }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), advice: advice.into() }
    }
}

/// Looks at everything. The configuration was read already; an error of it is the only finding then.
pub(crate) fn examine(config: Result<Config, String>) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("version", format!("throughline {}", env!("CARGO_PKG_VERSION")))];
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let advice = "Put the configuration right first: everything else depends on it.";
            findings.push(Finding::fail("configuration", error, advice));
            return findings;
        }
    };
    findings.push(Finding::ok("configuration", "every key is understood"));
    let (env, directory) = (Env::real(), DataDirectory::at(&config.data));
    // The clock is watched while the disk is measured.
    let watch = machine::ClockWatch::start(&env);
    findings.push(disk::speed(&env, &directory));
    findings.push(disk::space(&env, &config, &directory));
    let log = data::log(&env, &directory);
    findings.push(watch.finish(&env, log.as_ref().ok().and_then(|log| log.last_at)));
    findings.push(machine::synchronised());
    findings.push(machine::open_files(&config));
    findings.push(machine::memory(&config));
    findings.extend(data::keys(&env, &directory));
    findings.extend(data::directory(&env, &directory, log));
    findings.extend(server::look(&config));
    findings
}

/// The gravest verdict.
pub(crate) fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
}

/// The report for people: a line for each check, and one below it where something is to be done.
pub(crate) fn text_of(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let _ = writeln!(text, "{word:<5} {:<15} {}", finding.check, finding.found);
        if !finding.advice.is_empty() {
            let _ = writeln!(text, "{:<21} {}", "", finding.advice);
        }
    }
    text
}

/// Bytes for people.
fn shown_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_every_complaint_says_what_to_do() {
        let findings =
            [Finding::ok("a", "1"), Finding::fail("b", "2", "Do x."), Finding::warn("c", "3", "Do y.")];
        assert_eq!(worst(&findings), Verdict::Fail);
        assert_eq!(worst(&findings[..1]), Verdict::Ok);
        assert_eq!(worst(&[]), Verdict::Ok);
        let text = text_of(&findings);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.contains("FAIL  b               2\n                      Do x.\n"), "{text}");
        for (bytes, shown) in
            [(0, "0 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(shown_bytes(bytes), shown);
        }
    }

    #[test]
    fn a_wrong_configuration_is_the_first_thing_to_put_right() {
        let findings = examine(Err("no such key".to_owned()));
        assert_eq!((findings.len(), worst(&findings)), (2, Verdict::Fail));
        assert_eq!(findings[1].found, "no such key");
    }
}
