//! Tries bytes on the targets of this crate: `fuzz list`, `fuzz seeds FOLDER`, `fuzz run TARGET FILE…`, `fuzz walk TARGET
//! ROUNDS [SEED]`. It never ships, and never looks at coverage: `fuzz-guided` does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]
#![allow(clippy::disallowed_methods, reason = "it reads and writes the files that it is told to")]

use fuzz::walk::walk;
use fuzz::{TARGETS, Target, target};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: fuzz list | seeds FOLDER | run TARGET FILE... | walk TARGET ROUNDS [SEED]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["list"] => {
            TARGETS.iter().for_each(|target| println!("{:<10} {}", target.name, target.promise));
            Ok(())
        }
        ["seeds", folder] => write_seeds(Path::new(folder)),
        ["run", name, files @ ..] => named(name).and_then(|target| run(target, files)),
        ["walk", name, rounds, rest @ ..] => {
            named(name).and_then(|target| stroll(target, rounds, rest.first()))
        }
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn named(name: &str) -> Result<&'static Target, String> {
    target(name).ok_or_else(|| format!("there is no target {name}: see fuzz list"))
}

/// What coverage-guided search begins with.
fn write_seeds(folder: &Path) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", folder.display());
    for target in TARGETS {
        let own = folder.join(target.name);
        std::fs::create_dir_all(&own).map_err(said)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(own.join(format!("seed-{number}")), seed).map_err(said)?;
        }
        let words = target.words.iter().map(|word| {
            let spelled: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("\"{spelled}\"\n")
        });
        std::fs::write(folder.join(format!("{}.words", target.name)), words.collect::<String>())
            .map_err(said)?;
    }
    Ok(())
}

fn run(target: &Target, files: &[&str]) -> Result<(), String> {
    for file in files {
        let input = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        println!("{file}: {}", if (target.check)(&input) { "accepted" } else { "refused" });
    }
    Ok(())
}

fn stroll(target: &Target, rounds: &str, seed: Option<&&str>) -> Result<(), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
    let seed = seed.map_or(Ok(1), |text| number(text))?;
    println!("{}: seed {seed}", target.name);
    // An input that ends the process is found here.
    let last = std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, std::process::id()));
    let met = walk(target, &(target.seeds)(), number(rounds)?, seed, |_, input| {
        // Where it cannot be written, seed and round lead there again.
        let _ = std::fs::write(&last, input);
    });
    let _ = std::fs::remove_file(&last);
    println!("{} accepted, {} refused", met.accepted, met.refused);
    Ok(())
}
