//! Who may depend on whom. The table below is the law; DESIGN and ARCHITECTURE explain it.
//!
//! Normal and build edges count. Dev-dependencies are free: a test, and `sim`, may use anything of ours.

use crate::finding::Finding;
use crate::workspace::{self, TextFile, items_of, own_packages, text_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a crate may use of ours.
enum Uses {
    Everything,
    Only(&'static [&'static str]),
}

const TABLE: &[(&str, Uses)] = &[
    ("model", Uses::Only(&[])),
    ("env", Uses::Only(&[])),
    ("eventlog", Uses::Only(&["model", "env"])),
    ("store", Uses::Only(&["model", "env"])),
    ("engine", Uses::Only(&["model", "env", "eventlog", "store"])),
    ("delivery", Uses::Only(&["model", "env", "store"])),
    ("engage", Uses::Only(&["model", "engine"])),
    ("commerce", Uses::Only(&["model", "engine", "delivery"])),
    ("content", Uses::Only(&["model", "engine"])),
    ("collect", Uses::Only(&["model", "engage"])),
    ("bidder", Uses::Only(&["model", "engage"])),
    ("edge", Uses::Only(&["model"])),
    ("outbound", Uses::Only(&["model", "delivery"])),
    ("warehouse", Uses::Only(&["model", "eventlog"])),
    ("insight", Uses::Only(&["model", "warehouse"])),
    ("cleanroom", Uses::Only(&["model", "delivery"])),
    (
        "console",
        Uses::Only(&[
            "model",
            "engage",
            "commerce",
            "content",
            "collect",
            "bidder",
            "edge",
            "outbound",
            "warehouse",
            "insight",
            "cleanroom",
        ]),
    ),
    ("server", Uses::Everything),
    ("sim", Uses::Everything),
    ("fuzz", Uses::Everything),
    ("xtask", Uses::Only(&[])),
];

/// No normal edge of ours may end here: they are ends of the graph.
const ENDS: &[&str] = &["server", "sim", "fuzz", "xtask"];
/// But for this one: `sim`, which nobody ships, runs the server's permits and sources as they are.
const FROM_AN_END: (&str, &str) = ("sim", "server");

/// Crates that reach the machine only through `env`.
const WORLDLESS: &[&str] = &["model", "eventlog", "store", "engine"];
/// What a worldless crate may not reach, directly or through others.
const WORLDLY_REACH: &[&str] = &["async-std", "hyper", "mio", "rand", "reqwest", "socket2", "tokio", "ureq"];
/// What a worldless crate may not name itself, because `env` is there for it.
const WORLDLY_DIRECT: &[&str] = &["getrandom", "rustix", "libc", "nix", "fastrand", "tempfile"];

/// `anyhow` erases what went wrong: fine where a person reads it, wrong in a library.
const ANYHOW: &[&str] = &["server", "sim", "xtask"];

/// Lints of the root manifest that must not get lost: tool, lint, weakest level. A warning fails `make lint`.
const LINTS_KEPT: &[(&str, &str, &str)] = &[
    ("rust", "unsafe_code", "deny"),
    ("clippy", "disallowed_methods", "deny"),
    ("clippy", "disallowed_types", "deny"),
    ("clippy", "unwrap_used", "warn"),
    ("clippy", "expect_used", "warn"),
    ("clippy", "panic", "warn"),
    ("clippy", "iter_over_hash_type", "warn"),
];

pub(crate) fn check_repository() -> anyhow::Result<Vec<Finding>> {
    let metadata = workspace::metadata()?;
    let mut findings = check_edges(&metadata);
    findings.extend(check_reach(&metadata));
    for file in workspace::text_files()? {
        if file.path == "Cargo.toml"
            || (file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml"))
        {
            findings.extend(check_manifest(&file));
        }
    }
    Ok(findings)
}

/// Holds the edges between our crates, and the few outside crates with a place of their own, against the table.
fn check_edges(metadata: &Value) -> Vec<Finding> {
    let packages = own_packages(metadata);
    let ours: BTreeSet<&str> = packages.iter().map(|package| text_of(package, "name")).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = text_of(package, "name");
        let place = format!("crates/{name}/Cargo.toml");
        if !text_of(package, "manifest_path").ends_with(&place) {
            findings.push(Finding::error(
                &place,
                format!("crate `{name}` must live in a folder of its own name"),
            ));
        }
        let Some((_, uses)) = TABLE.iter().find(|(crate_name, _)| *crate_name == name) else {
            let message = format!(
                "crate `{name}` is not in the table of crates/xtask/src/deps.rs: agree on its edges, then add it"
            );
            findings.push(Finding::error(&place, message));
            continue;
        };
        for dependency in items_of(package, "dependencies") {
            if text_of(dependency, "kind") == "dev" {
                continue;
            }
            let target = text_of(dependency, "name");
            let is_end = ENDS.contains(&target) && (name, target) != FROM_AN_END;
            if ours.contains(target) && (!allows(uses, target) || is_end) {
                let message = format!(
                    "`{name}` may not depend on `{target}`: pass the facts in, or move the code to the crate that may"
                );
                findings.push(Finding::error(&place, message));
            }
            if target == "anyhow" && !ANYHOW.contains(&name) {
                findings.push(Finding::error(
                    &place,
                    format!("`{name}` is a library: use a thiserror enum instead of anyhow"),
                ));
            }
            if WORLDLESS.contains(&name) && WORLDLY_DIRECT.contains(&target) {
                findings.push(Finding::error(
                    &place,
                    format!("`{name}` touches the machine only through `env`, not `{target}`"),
                ));
            }
        }
    }
    findings
}

fn allows(uses: &Uses, target: &str) -> bool {
    match uses {
        Uses::Everything => true,
        Uses::Only(list) => list.contains(&target),
    }
}

/// Follows normal edges from each worldless crate and names the first path to something it must not reach.
fn check_reach(metadata: &Value) -> Vec<Finding> {
    let names: BTreeMap<&str, &str> = items_of(metadata, "packages")
        .iter()
        .map(|package| (text_of(package, "id"), text_of(package, "name")))
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata
        .get("resolve")
        .map_or(&[][..], |resolve| items_of(resolve, "nodes"))
        .iter()
        .map(|node| (text_of(node, "id"), node))
        .collect();
    let mut findings = Vec::new();
    for package in own_packages(metadata) {
        let start = text_of(package, "name");
        if !WORLDLESS.contains(&start) {
            continue;
        }
        let mut seen = BTreeSet::new();
        let mut paths = vec![(text_of(package, "id"), start.to_owned())];
        while let Some((id, path)) = paths.pop() {
            for edge in nodes.get(id).map_or(&[][..], |node| items_of(node, "deps")) {
                let target = text_of(edge, "pkg");
                if !is_normal(edge) || !seen.insert(target) {
                    continue;
                }
                let name = names.get(target).copied().unwrap_or_default();
                let longer = format!("{path} -> {name}");
                if WORLDLY_REACH.contains(&name) {
                    let message = format!("`{start}` must not reach `{name}`, and does: {longer}");
                    findings.push(Finding::error(format!("crates/{start}/Cargo.toml"), message));
                }
                paths.push((target, longer));
            }
        }
    }
    findings
}

/// Whether an edge of the resolved graph is there in a normal build.
fn is_normal(edge: &Value) -> bool {
    items_of(edge, "dep_kinds").iter().any(|kind| text_of(kind, "kind") != "dev")
}

/// Versions, features and lints are stated once, in the root manifest; the crates only name what they use.
fn check_manifest(file: &TextFile) -> Vec<Finding> {
    let manifest: toml::Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::error(&file.path, format!("not TOML: {error}"))],
    };
    if let Some(workspace) = manifest.get("workspace") {
        return check_root_manifest(&file.path, workspace);
    }
    let mut findings = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (name, value) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
            if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                let message = format!(
                    "`{name}`: state the version in the root manifest and write `{name}.workspace = true` here"
                );
                findings.push(Finding::error(&file.path, message));
            }
        }
    }
    let inherits = |table: &str| {
        manifest.get(table).and_then(|table| table.get("workspace")).and_then(toml::Value::as_bool)
    };
    if inherits("lints") != Some(true) {
        findings.push(Finding::error(
            &file.path,
            "add `[lints]` with `workspace = true`: the lints hold everywhere",
        ));
    }
    findings
}

fn check_root_manifest(path: &str, workspace: &toml::Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, value) in workspace.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten() {
        let ours = value.get("path").and_then(toml::Value::as_str);
        if let Some(folder) = ours {
            if folder != format!("crates/{name}") {
                findings.push(Finding::error(path, format!("`{name}` must be the folder crates/{name}")));
            }
            continue;
        }
        if value.get("default-features").and_then(toml::Value::as_bool) != Some(false) {
            findings.push(Finding::error(
                path,
                format!("`{name}`: set default-features = false and name the features we use"),
            ));
        }
        if value.get("git").is_some() || value.get("registry").is_some() {
            findings
                .push(Finding::error(path, format!("`{name}`: only published crates are used, by version")));
        }
    }
    for (tool, lint, weakest) in LINTS_KEPT {
        let level = workspace.get("lints").and_then(|lints| lints.get(tool)?.get(lint)?.as_str());
        if level != Some(weakest) && level != Some("deny") {
            findings.push(Finding::error(
                path,
                format!("[workspace.lints.{tool}] must set `{lint}` to {weakest}"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{assert_caught, assert_no_errors};
    use serde_json::json;

    #[test]
    fn the_repository_keeps_the_law() {
        assert_no_errors(&check_repository().unwrap());
    }

    #[test]
    fn the_table_has_no_cycle_and_names_only_its_own_rows() {
        let rows: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        assert_eq!(rows.len(), TABLE.len(), "a crate stands twice");
        let mut settled: BTreeSet<&str> = BTreeSet::new();
        for _ in 0..TABLE.len() {
            for (name, uses) in TABLE {
                if let Uses::Only(list) = uses {
                    assert!(
                        list.iter().all(|target| rows.contains(target)),
                        "{name} uses a crate without a row"
                    );
                    if list.iter().all(|target| settled.contains(target)) {
                        settled.insert(name);
                    }
                }
            }
        }
        let open: Vec<_> = TABLE
            .iter()
            .filter(|(name, uses)| matches!(uses, Uses::Only(_)) && !settled.contains(name))
            .map(|(name, _)| name)
            .collect();
        assert!(open.is_empty(), "in a cycle: {open:?}");
    }

    #[test]
    fn commerce_reaches_neither_the_customer_side_nor_the_destinations() {
        let mut reached = BTreeSet::from(["commerce"]);
        for _ in 0..TABLE.len() {
            for (name, uses) in TABLE {
                if let (true, Uses::Only(list)) = (reached.contains(name), uses) {
                    reached.extend(list.iter());
                }
            }
        }
        for forbidden in ["engage", "outbound", "warehouse"] {
            assert!(
                !reached.contains(forbidden),
                "the path to purchase must stand alone, and reaches {forbidden}"
            );
        }
    }

    /// `edges`: (from, to, kind). Every name in `ours` is a member; the others are published crates.
    fn metadata_of(ours: &[&str], edges: &[(&str, &str, Option<&str>)]) -> Value {
        let mut names: BTreeSet<&str> = ours.iter().copied().collect();
        names.extend(edges.iter().flat_map(|(from, to, _)| [*from, *to]));
        let from = |name: &str| edges.iter().filter(move |edge| edge.0 == name).copied().collect::<Vec<_>>();
        let packages: Vec<Value> = names
            .iter()
            .map(|name| {
                let dependencies: Vec<Value> = from(name).iter().map(|(_, to, kind)| json!({"name": to, "kind": kind})).collect();
                json!({"id": name, "name": name, "manifest_path": format!("/x/crates/{name}/Cargo.toml"), "dependencies": dependencies})
            })
            .collect();
        let nodes: Vec<Value> = names
            .iter()
            .map(|name| {
                let deps: Vec<Value> = from(name)
                    .iter()
                    .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                    .collect();
                json!({"id": name, "deps": deps})
            })
            .collect();
        json!({"packages": packages, "workspace_members": ours, "resolve": {"nodes": nodes}})
    }

    #[test]
    fn planted_edges_are_caught() {
        let cases: &[(&str, &str, &str)] = &[
            ("model", "env", "`model` may not depend on `env`"),
            ("commerce", "engage", "`commerce` may not depend on `engage`"),
            ("collect", "engine", "`collect` may not depend on `engine`"),
            ("server", "sim", "`server` may not depend on `sim`"),
            ("sim", "xtask", "`sim` may not depend on `xtask`"),
            ("newcomer", "model", "not in the table"),
            ("store", "anyhow", "use a thiserror enum"),
            ("eventlog", "getrandom", "only through `env`"),
        ];
        for (from, to, fragment) in cases {
            let outside = ["anyhow", "getrandom"];
            let ours: Vec<&str> = [*from, *to].into_iter().filter(|name| !outside.contains(name)).collect();
            for kind in [None, Some("build")] {
                assert_caught(from, &check_edges(&metadata_of(&ours, &[(from, to, kind)])), fragment);
            }
        }
    }

    #[test]
    fn dev_edges_are_free() {
        let metadata = metadata_of(
            &["model", "env", "store"],
            &[("model", "env", Some("dev")), ("store", "anyhow", Some("dev"))],
        );
        assert_no_errors(&check_edges(&metadata));
        assert_no_errors(&check_reach(&metadata_of(&["store"], &[("store", "tokio", Some("dev"))])));
    }

    #[test]
    fn a_worldly_crate_is_found_through_others() {
        let metadata = metadata_of(
            &["store", "env"],
            &[("store", "env", None), ("env", "helper", None), ("helper", "tokio", None)],
        );
        assert_caught("reach", &check_reach(&metadata), "store -> env -> helper -> tokio");
    }

    #[test]
    fn planted_manifests_are_caught() {
        let cases = [
            (
                "crates/a/Cargo.toml",
                "[dependencies]\nbytes = \"1\"\n[lints]\nworkspace = true",
                "bytes.workspace = true",
            ),
            ("crates/a/Cargo.toml", "[dependencies]\nbytes.workspace = true", "add `[lints]`"),
            (
                "Cargo.toml",
                "[workspace.dependencies]\nbytes = \"1\"\n[workspace.lints.rust]\nunsafe_code = \"deny\"",
                "default-features = false",
            ),
            (
                "Cargo.toml",
                "[workspace.dependencies]\nx = { git = \"y\", default-features = false }\n[workspace.lints.rust]\nunsafe_code = \"deny\"",
                "published",
            ),
            (
                "Cargo.toml",
                "[workspace.dependencies]\nx = { path = \"elsewhere\" }\n[workspace.lints.rust]\nunsafe_code = \"deny\"",
                "crates/x",
            ),
            ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"warn\"", "`unsafe_code` to deny"),
            ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"deny\"", "`unwrap_used` to warn"),
        ];
        for (path, text, fragment) in cases {
            assert_caught(text, &check_manifest(&TextFile::new(path, text)), fragment);
        }
    }
}
