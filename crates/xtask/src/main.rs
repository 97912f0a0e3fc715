//! The workspace's house-keeping, as commands and as tests: `cargo xtask NAME`, `cargo test -p xtask`.
//!
//! What a reviewer would otherwise have to remember is checked here: who may depend on whom, how long a file or a
//! function may be, which words have no place in the repository, what licences we ship, and whether a link leads
//! anywhere. Each check returns findings; a finding is a place and a sentence that says what to do.
//!
//! **This crate never** ships in the product, changes a file of the repository, or reaches the network by itself
//! (`cargo metadata --locked` reads what cargo has already fetched).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its caller's terminal")]

mod deps;
mod docs;
mod finding;
mod licenses;
mod lints;
mod scripts;
mod source;
mod tidy;
mod workspace;

use finding::Finding;
use std::process::ExitCode;

/// One check: its name on the command line, what it holds, and the check.
struct Check {
    name: &'static str,
    holds: &'static str,
    run: fn() -> anyhow::Result<Vec<Finding>>,
}

const CHECKS: &[Check] = &[
    Check { name: "deps", holds: "who may depend on whom", run: deps::check_repository },
    Check { name: "tidy", holds: "sizes, words, front pages, attributes", run: tidy::check_repository },
    Check { name: "lints", holds: "every clippy.toml keeps the common rules", run: lints::check_repository },
    Check {
        name: "licenses",
        holds: "licences, sources, versions of what we use",
        run: licenses::check_repository,
    },
    Check { name: "docs", holds: "links in Markdown lead somewhere", run: docs::check_repository },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["all"] => run_checks(CHECKS.iter()),
        ["scripts", folder, rest @ ..] => scripts::run_folder(folder, rest),
        [name] if CHECKS.iter().any(|check| check.name == *name) => {
            run_checks(CHECKS.iter().filter(|check| check.name == *name))
        }
        _ => {
            print_usage();
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_checks<'checks>(checks: impl Iterator<Item = &'checks Check>) -> anyhow::Result<bool> {
    let mut clean = true;
    for check in checks {
        let findings = (check.run)()?;
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        for finding in &findings {
            println!("{finding}");
        }
        println!("xtask {}: {} ({errors} errors)", check.name, if errors == 0 { "ok" } else { "FAILED" });
        clean &= errors == 0;
    }
    Ok(clean)
}

fn print_usage() {
    eprintln!("usage: cargo xtask CHECK | all | scripts FOLDER [--limit-minutes N] [--only NAME]\n\nchecks:");
    for check in CHECKS {
        eprintln!("  {:<10} {}", check.name, check.holds);
    }
}
