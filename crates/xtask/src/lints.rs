//! The `clippy.toml` files. Clippy reads the nearest one above a crate's manifest and merges nothing, so a crate that
//! has its own could silently lose the common rules. This holds them together.

use crate::finding::Finding;
use crate::workspace::{self, TextFile};
use std::collections::BTreeMap;
use toml::Table;

/// The lists of banned paths.
const LISTS: &[&str] = &["disallowed-methods", "disallowed-types", "disallowed-macros"];
/// Crates on the machine's side of the interface: they may drop the rules about the machine, and only those.
const BINARIES: &[&str] = &["server", "sim", "xtask"];
/// Where the rules about the machine point.
const MACHINE: &[&str] = &[
    "std::env::",
    "std::fs::",
    "std::net::",
    "std::path::",
    "std::process::",
    "std::thread::",
    "std::time::",
    "getrandom::",
];

pub(crate) fn check_repository() -> anyhow::Result<Vec<Finding>> {
    let files: Vec<TextFile> = workspace::text_files()?
        .into_iter()
        .filter(|file| {
            file.path.rsplit('/').next().is_some_and(|name| matches!(name, "clippy.toml" | ".clippy.toml"))
        })
        .collect();
    Ok(check(&files))
}

fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut parsed = BTreeMap::new();
    for file in files {
        match file.text.parse::<Table>() {
            Ok(table) => {
                findings.extend(check_reasons(&file.path, &table));
                parsed.insert(file.path.as_str(), table);
            }
            Err(error) => findings.push(Finding::error(&file.path, format!("not TOML: {error}"))),
        }
    }
    let Some(root) = parsed.get("clippy.toml") else {
        findings.push(Finding::error("clippy.toml", "the root file with the common rules is missing"));
        return findings;
    };
    for (path, table) in parsed.iter().filter(|(path, _)| **path != "clippy.toml") {
        findings.extend(check_against_root(path, table, root));
    }
    findings
}

fn check_reasons(path: &str, table: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    for list in LISTS {
        for entry in entries(table, list) {
            let name = entry.get("path").and_then(toml::Value::as_str).unwrap_or_default();
            let reason = entry.get("reason").and_then(toml::Value::as_str).unwrap_or_default();
            if name.is_empty() || reason.is_empty() {
                findings.push(Finding::error(
                    path,
                    format!("{list}: `{name}` needs a path, and a reason that names the replacement"),
                ));
            }
        }
    }
    findings
}

fn check_against_root(path: &str, table: &Table, root: &Table) -> Vec<Finding> {
    let crate_name = path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let mut findings = Vec::new();
    for list in LISTS {
        let kept: Vec<&str> = names(table, list);
        for name in names(root, list) {
            let is_excused =
                BINARIES.contains(&crate_name) && MACHINE.iter().any(|prefix| name.starts_with(prefix));
            if !kept.contains(&name) && !is_excused {
                let message = format!(
                    "{list}: `{name}` of the root clippy.toml is missing here, and clippy merges nothing: copy the entry"
                );
                findings.push(Finding::error(path, message));
            }
        }
    }
    for (setting, value) in root.iter().filter(|(setting, _)| !LISTS.contains(&setting.as_str())) {
        if table.get(setting) != Some(value) {
            findings.push(Finding::error(path, format!("`{setting}` differs from the root clippy.toml")));
        }
    }
    findings
}

fn entries<'table>(table: &'table Table, list: &str) -> &'table [toml::Value] {
    table.get(list).and_then(toml::Value::as_array).map_or(&[], Vec::as_slice)
}

fn names<'table>(table: &'table Table, list: &str) -> Vec<&'table str> {
    entries(table, list).iter().filter_map(|entry| entry.get("path")?.as_str()).collect()
}

#[cfg(test)]
mod tests;
