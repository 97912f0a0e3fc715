//! Rules for Rust sources: function size, front pages, reasons on attributes, and crates that stay off the machine.

use crate::finding::Finding;
use crate::source::{self, attributes, functions, line_of, mask, std_modules, without_tests, words};
use crate::workspace::TextFile;
use std::collections::BTreeSet;

/// A function longer than this is refused.
const FUNCTION_LINES_MAX: usize = 70;
/// Crates that reach the machine only through `env`, and `model`, which does not reach it at all.
const WORLDLESS: &[&str] = &["model", "eventlog", "store", "engine"];
/// Parts of the standard library that touch the machine.
const WORLDLY_MODULES: &[&str] = &["env", "fs", "net", "os", "process", "thread"];
/// Names that touch the machine wherever they come from.
const WORLDLY_WORDS: &[&str] = &["SystemTime", "Instant", "getrandom", "tokio", "rustix", "libc", "rand"];
/// What only `model` must not name: order that differs between runs.
const UNORDERED_WORDS: &[&str] = &["HashMap", "HashSet", "hashbrown"];

pub(crate) fn check(files: &[TextFile]) -> Vec<Finding> {
    let sources: Vec<Source<'_>> =
        files.iter().filter(|file| file.extension() == "rs").map(Source::read).collect();
    let test_files: BTreeSet<String> =
        sources.iter().flat_map(|source| source.test_files.iter().cloned()).collect();
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(check_attributes(source));
        if source.is_front_page() {
            findings.extend(check_front_page(source));
        }
        if !source.is_test(&test_files) {
            findings.extend(check_functions(source));
            findings.extend(check_world(source));
        }
    }
    findings
}

/// One Rust file, looked at once.
struct Source<'file> {
    file: &'file TextFile,
    /// Comments and strings blanked.
    code: String,
    /// Test code blanked as well.
    shipped: String,
    /// Files that this one declares as test only, without `.rs`: `crates/a/src/b/tests`.
    test_files: Vec<String>,
}

impl<'file> Source<'file> {
    fn read(file: &'file TextFile) -> Self {
        let code = mask(&file.text);
        let (shipped, modules) = without_tests(&code);
        let stem = file.path.trim_end_matches(".rs");
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let base = if matches!(name, "lib" | "main") { folder } else { stem };
        let test_files = modules.into_iter().map(|module| format!("{base}/{module}")).collect();
        Self { file, code, shipped, test_files }
    }

    fn crate_name(&self) -> &str {
        self.file.path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }

    fn is_front_page(&self) -> bool {
        let root = format!("crates/{}/src/", self.crate_name());
        self.file.path.strip_prefix(&root).is_some_and(|name| matches!(name, "lib.rs" | "main.rs"))
    }

    fn is_test(&self, test_files: &BTreeSet<String>) -> bool {
        let path = &self.file.path;
        let in_folder = ["/tests/", "/benches/", "/examples/"].iter().any(|folder| path.contains(folder));
        let declared = test_files
            .iter()
            .any(|module| path.trim_end_matches(".rs") == module || path.starts_with(&format!("{module}/")));
        in_folder || declared
    }

    fn place(&self, at: usize) -> String {
        format!("{}:{}", self.file.path, line_of(&self.file.text, at))
    }
}

fn check_functions(source: &Source<'_>) -> Vec<Finding> {
    functions(&source.shipped)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX)
        .map(|function| {
            let place = format!("{}:{}", source.file.path, function.line);
            let (name, lines) = (function.name, function.lines);
            Finding::error(
                place,
                format!(
                    "`{name}` has {lines} lines, and {FUNCTION_LINES_MAX} are the limit: give its parts names"
                ),
            )
        })
        .collect()
}

/// A crate's front page says what it does and what it never does. A crate without an item has nothing to say yet.
fn check_front_page(source: &Source<'_>) -> Vec<Finding> {
    let page: String = source.file.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let has_items = words(&source.code, "fn").next().is_some() || words(&source.code, "mod").next().is_some();
    let empty_main = source.code.split_whitespace().collect::<String>() == "fnmain(){}";
    if !has_items || empty_main || words(&page.to_lowercase(), "never").next().is_some() {
        return Vec::new();
    }
    let message = "open with what the crate does and, in a sentence with `never`, what it never does";
    vec![Finding::error(&source.file.path, message)]
}

/// `expect` and `allow` need a reason; `expect` is better, because it complains when it is no longer needed.
fn check_attributes(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, attribute) in attributes(&source.code) {
        let head: String =
            attribute.chars().filter(|letter| !letter.is_whitespace() && *letter != '!').take(8).collect();
        let has_reason = words(attribute, "reason").next().is_some();
        if head.starts_with("#[expect(") || head.starts_with("#[expect") {
            if attribute.contains('(') && !has_reason {
                findings.push(Finding::error(source.place(at), "give `#[expect(..)]` a `reason = \"..\"`"));
            }
        } else if head.starts_with("#[allow") && !has_reason && !has_comment(source, at) {
            let message = "give `#[allow(..)]` a reason, or better use `#[expect(.., reason = \"..\")]`";
            findings.push(Finding::error(source.place(at), message));
        }
    }
    findings
}

/// Whether a plain comment stands on the line of `at` or on the line above it.
fn has_comment(source: &Source<'_>, at: usize) -> bool {
    let line = line_of(&source.file.text, at);
    let is_reason = |text: &str| text.contains("// ") && !text.trim_start().starts_with("///");
    source.file.text.lines().skip(line.saturating_sub(2)).take(2).any(is_reason)
}

/// The simulator can only drive what goes through `env`, and replay can only repeat what has no clock and no dice.
fn check_world(source: &Source<'_>) -> Vec<Finding> {
    let name = source.crate_name();
    if !WORLDLESS.contains(&name) || !source.file.path.contains("/src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, module) in std_modules(&source.shipped) {
        if WORLDLY_MODULES.contains(&module.as_str()) {
            findings.push(Finding::error(
                source.place(at),
                format!("`{name}` may not name std::{module}: go through `env`"),
            ));
        }
    }
    for word in WORLDLY_WORDS {
        for at in source::words(&source.shipped, word) {
            findings.push(Finding::error(
                source.place(at),
                format!("`{name}` may not name `{word}`: go through `env`"),
            ));
        }
    }
    let unordered = if name == "model" { UNORDERED_WORDS } else { &[] };
    for word in unordered {
        for at in source::words(&source.shipped, word) {
            findings.push(Finding::error(
                source.place(at),
                format!("`model` may not name `{word}`: use BTreeMap or a sorted Vec"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests;
