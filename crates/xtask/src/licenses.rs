//! What may be in the tree of crates we depend on: licences, sources, and how many versions of one crate.

mod spdx;

use crate::finding::Finding;
use crate::workspace::{self, items_of, own_packages, text_of};
use anyhow::Context;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use toml::Table;

/// Where what we accept is written down.
const POLICY_FILE: &str = "dependencies.toml";
/// The only place that crates which are not ours may come from. A mirror set in cargo's own settings keeps this name.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The sections of the policy; anything else is a slip of the pen.
const SECTIONS: &[&str] = &["licenses", "clarified", "duplicates", "banned"];

pub(crate) fn check_repository() -> anyhow::Result<Vec<Finding>> {
    let path = workspace::root()?.join(POLICY_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(check(&workspace::metadata()?, &text.parse().context("dependencies.toml is not TOML")?))
}

fn check(metadata: &Value, policy: &Table) -> Vec<Finding> {
    let packages = items_of(metadata, "packages");
    let ours: BTreeSet<&str> = own_packages(metadata).iter().map(|package| text_of(package, "id")).collect();
    let mut findings = check_policy(policy);
    for package in packages {
        findings.extend(check_license(package, policy));
        findings.extend(check_source(package, &ours));
        if let Some(reason) = reason_in(policy, "banned", text_of(package, "name")) {
            findings.push(Finding::error(place_of(package), format!("banned: {reason}")));
        }
    }
    findings.extend(check_duplicates(packages, policy));
    findings
}

/// Every entry has a reason, and every section is one we read.
fn check_policy(policy: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (section, entries) in policy {
        if !SECTIONS.contains(&section.as_str()) {
            findings.push(Finding::error(POLICY_FILE, format!("`[{section}]` is no section of this file")));
        }
        for (name, reason) in entries.as_table().into_iter().flatten() {
            if reason.as_str().is_none_or(|reason| reason.trim().is_empty()) {
                findings.push(Finding::error(POLICY_FILE, format!("`{name}` in [{section}] needs a reason")));
            }
        }
    }
    findings
}

fn check_license(package: &Value, policy: &Table) -> Vec<Finding> {
    let name = text_of(package, "name");
    if reason_in(policy, "clarified", name).is_some() {
        return Vec::new();
    }
    let expression = text_of(package, "license");
    if expression.is_empty() {
        let message = "states no licence expression: read its licence file and put what you found into [clarified], or drop the crate";
        return vec![Finding::error(place_of(package), message)];
    }
    match spdx::is_satisfied(expression, &|license| reason_in(policy, "licenses", license).is_some()) {
        Ok(true) => Vec::new(),
        Ok(false) => {
            let message = format!(
                "`{expression}` is not among the licences of {POLICY_FILE}: drop the crate, or add the licence with a reason"
            );
            vec![Finding::error(place_of(package), message)]
        }
        Err(problem) => {
            vec![Finding::error(place_of(package), format!("cannot read `{expression}`: {problem}"))]
        }
    }
}

fn check_source(package: &Value, ours: &BTreeSet<&str>) -> Vec<Finding> {
    let source = text_of(package, "source");
    let known = if source.is_empty() { ours.contains(text_of(package, "id")) } else { source == REGISTRY };
    if known {
        return Vec::new();
    }
    let message = format!("comes from {source:?}: only crates.io and our own folders are sources");
    vec![Finding::error(place_of(package), message)]
}

fn check_duplicates(packages: &[Value], policy: &Table) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(text_of(package, "name")).or_default().insert(text_of(package, "version"));
    }
    let mut findings = Vec::new();
    for (name, versions) in &versions {
        if versions.len() > 1 && reason_in(policy, "duplicates", name).is_none() {
            let list: Vec<&str> = versions.iter().copied().collect();
            let message = format!(
                "is here as {}: bring its users to one version, or add it to [duplicates] with a reason",
                list.join(" and ")
            );
            findings.push(Finding::error(*name, message));
        }
    }
    for name in
        policy.get("duplicates").and_then(toml::Value::as_table).into_iter().flatten().map(|(name, _)| name)
    {
        if versions.get(name.as_str()).is_none_or(|versions| versions.len() < 2) {
            findings.push(Finding::error(
                POLICY_FILE,
                format!("`{name}` is no longer here twice: take it out of [duplicates]"),
            ));
        }
    }
    findings
}

fn reason_in<'policy>(policy: &'policy Table, section: &str, name: &str) -> Option<&'policy str> {
    policy.get(section)?.get(name)?.as_str()
}

fn place_of(package: &Value) -> String {
    format!("{} {}", text_of(package, "name"), text_of(package, "version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{assert_caught, assert_no_errors};
    use serde_json::json;

    #[test]
    fn the_tree_is_what_we_accept() {
        assert_no_errors(&check_repository().unwrap());
    }

    fn check_tree(packages: &[(&str, &str, &str, &str)], policy: &str) -> Vec<Finding> {
        let packages: Vec<Value> = packages
            .iter()
            .map(|(name, version, license, source)| json!({"id": format!("{name} {version}"), "name": name, "version": version, "license": license, "source": source}))
            .collect();
        check(&json!({"packages": packages, "workspace_members": ["ours 1.0.0"]}), &policy.parse().unwrap())
    }

    const POLICY: &str = "[licenses]\nMIT = \"keep the notice\"\n";

    #[test]
    fn planted_packages_are_caught() {
        let cases = [
            (vec![("a", "1.0.0", "GPL-3.0-only", REGISTRY)], "", "not among the licences"),
            (vec![("a", "1.0.0", "MIT AND GPL-3.0-only", REGISTRY)], "", "not among the licences"),
            (vec![("a", "1.0.0", "MIT AND", REGISTRY)], "", "cannot read"),
            (vec![("a", "1.0.0", "", REGISTRY)], "", "no licence expression"),
            (vec![("a", "1.0.0", "MIT", "git+https://example.org/a")], "", "only crates.io"),
            (vec![("a", "1.0.0", "MIT", "registry+https://example.org/index")], "", "only crates.io"),
            (vec![("a", "1.0.0", "MIT", "")], "", "only crates.io"),
            (vec![("a", "1.0.0", "MIT", REGISTRY), ("a", "2.0.0", "MIT", REGISTRY)], "", "1.0.0 and 2.0.0"),
            (vec![("a", "1.0.0", "MIT", REGISTRY)], "[duplicates]\na = \"late\"", "no longer here twice"),
            (vec![("a", "1.0.0", "MIT", REGISTRY)], "[banned]\na = \"leaks\"", "banned: leaks"),
            (vec![], "[duplicates]\na = \"\"", "needs a reason"),
            (vec![], "[duplicate]\na = \"b\"", "no section"),
        ];
        for (packages, policy, fragment) in cases {
            assert_caught(fragment, &check_tree(&packages, &format!("{POLICY}{policy}")), fragment);
        }
    }

    #[test]
    fn what_the_policy_names_passes() {
        let both =
            [("a", "1.0.0", "MIT", REGISTRY), ("a", "2.0.0", "MIT", REGISTRY), ("ours", "1.0.0", "MIT", "")];
        assert_eq!(check_tree(&both, &format!("{POLICY}[duplicates]\na = \"late\"")), []);
        let unstated = [("a", "1.0.0", "", REGISTRY)];
        assert_eq!(check_tree(&unstated, &format!("{POLICY}[clarified]\na = \"MIT, in LICENSE.txt\"")), []);
    }
}
