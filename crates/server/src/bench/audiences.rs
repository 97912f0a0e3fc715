//! The audiences that benches define, and what the server says of them.

use super::Progress;
use super::report::Report;
use crate::http_client::{Client, Credential, Request};
use crate::process::{ServerProcess, endpoint, json_of};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most audiences that may be asked for.
pub(crate) const AUDIENCES_MAX: usize = 500;

/// One a line, see the file.
const TEMPLATES: &str = include_str!("../../../../benches/audiences.txt");
/// How often it is asked whether everybody has been found.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An audience to define.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(crate) name: String,
    /// What its rule mostly looks at.
    pub(crate) kind: &'static str,
    pub(crate) rule: String,
}

/// What the server says of an audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) members: u64,
    pub(crate) entries: u64,
    pub(crate) exits: u64,
}

/// So many audiences of mixed kind. Beyond those of the file they come again with features of their own.
pub(crate) fn mixed(count: usize) -> Vec<Audience> {
    let rounds = count.div_ceil(templates().count().max(1));
    let all = (0..rounds).flat_map(|round| match round {
        0 => of_prefix("bench", false),
        round => of_prefix(&format!("bench-{round}"), true),
    });
    all.take(count).collect()
}

/// All audiences of the file under names with this prefix. With `own_features` they share no feature with those of
/// another prefix, and say the same.
pub(crate) fn of_prefix(prefix: &str, own_features: bool) -> Vec<Audience> {
    let audience = |(number, (kind, template)): (usize, (&'static str, &str))| Audience {
        name: format!("{prefix}-{:02}", number + 1),
        kind,
        rule: rule_of(template, prefix, own_features),
    };
    templates().enumerate().map(audience).collect()
}

fn templates() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEMPLATES.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

fn rule_of(template: &str, prefix: &str, own_features: bool) -> String {
    let mut rule = String::with_capacity(template.len());
    let mut inside = false;
    for character in template.chars() {
        match character {
            '{' => inside = true,
            '}' => inside = false,
            '@' if own_features || !inside => rule.push_str(prefix),
            other if own_features || !inside => rule.push(other),
            _ => {}
        }
    }
    rule
}

/// Defines them, one after the other.
pub(crate) fn define(server: &ServerProcess, audiences: &[Audience]) -> anyhow::Result<()> {
    let credential = Credential::Bearer(server.keys().admin_token.clone());
    let mut client = Client::new(endpoint(server.ports().admin), &credential);
    for audience in audiences {
        let path = format!("/admin/v1/audiences/{}", audience.name);
        let body = json!({ "rule": audience.rule }).to_string();
        // The client says this by itself only of a POST.
        let headers =
            [("Content-Type", "application/json".to_owned()), ("Content-Length", body.len().to_string())];
        let request = Request { method: "PUT", path: &path, headers: &headers, body: body.as_bytes() };
        json_of(&path, &client.send(request)?).with_context(|| format!("cannot define {}", audience.rule))?;
    }
    Ok(())
}

/// Definitions that do not hold for everybody yet.
pub(crate) fn pending(server: &ServerProcess) -> anyhow::Result<u64> {
    let status = server.admin("GET", "/admin/v1/status", &Value::Null)?;
    status.pointer("/backfill/pending").and_then(Value::as_u64).context("the status has no backfill.pending")
}

/// Waits until everybody has been found for every definition. Gives the time that it took.
pub(crate) fn wait_until_found(
    server: &ServerProcess,
    timeout: Duration,
    progress: &Progress,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut last = None;
    loop {
        let pending = pending(server)?;
        if pending == 0 {
            return Ok(started.elapsed());
        }
        say_pending(pending, &mut last, started, progress);
        if started.elapsed() > timeout {
            let status = server.admin("GET", "/admin/v1/status", &Value::Null)?;
            let problem = status.pointer("/backfill/problem").cloned().unwrap_or_default();
            bail!("{pending} definitions do not hold for everybody after {} s: {problem}", timeout.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Says how many are left whenever that is another number: finding everybody may take hours.
pub(crate) fn say_pending(pending: u64, last: &mut Option<u64>, started: Instant, progress: &Progress) {
    if last.replace(pending) != Some(pending) {
        let seconds = started.elapsed().as_secs();
        progress.step(&format!("  {pending} definitions do not hold for everybody after {seconds} s"));
    }
}

/// Every audience with its figures, by name.
pub(crate) fn tallies(server: &ServerProcess) -> anyhow::Result<BTreeMap<String, Tally>> {
    let mut all = BTreeMap::new();
    for shown in shown(server)? {
        let number = |name: &str| shown.get(name).and_then(Value::as_u64).unwrap_or_default();
        let name = shown.get("name").and_then(Value::as_str).unwrap_or_default();
        let tally = Tally { members: number("members"), entries: number("entries"), exits: number("exits") };
        all.insert(name.to_owned(), tally);
    }
    Ok(all)
}

/// Says how many are defined, and how many features they look at.
pub(crate) fn describe(server: &ServerProcess, report: &mut Report) -> anyhow::Result<()> {
    let mut slots = BTreeMap::new();
    let shown = shown(server)?;
    for slot in shown.iter().filter_map(|one| one.get("features")?.as_array()).flatten() {
        let windowed = slot.get("window_s").is_some_and(|window| !window.is_null());
        slots.insert(slot.get("number").and_then(Value::as_u64), windowed);
    }
    report.fact("audiences_defined", json!(shown.len()));
    report.fact("features_kept", json!(slots.len()));
    report.fact("features_windowed", json!(slots.values().filter(|windowed| **windowed).count()));
    Ok(())
}

fn shown(server: &ServerProcess) -> anyhow::Result<Vec<Value>> {
    let answer = server.admin("GET", "/admin/v1/audiences", &Value::Null)?;
    Ok(answer.get("audiences").and_then(Value::as_array).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::audience::{Definition, DefinitionKind, Rulebook};
    use model::feature::FeatureId;
    use std::collections::BTreeSet;

    fn book_of(audiences: &[Audience]) -> Rulebook {
        let mut book = Rulebook::default();
        for audience in audiences {
            let kind = DefinitionKind::Audience { rule: audience.rule.as_str().into(), suppress: None };
            let name = audience.name.as_str().into();
            let definition = Definition { id: book.next_id(), name, version: 1, kind };
            book = book.define(definition).unwrap_or_else(|error| panic!("{audience:?}: {error}")).0;
        }
        book
    }

    #[test]
    fn the_twenty_are_of_the_kinds_that_the_goals_speak_of() {
        let twenty = mixed(20);
        assert_eq!(twenty.len(), 20);
        let of = |kind: &str| twenty.iter().filter(|audience| audience.kind == kind).count();
        assert_eq!((of("windowed"), of("funnel")), (5, 3));
        let book = book_of(&twenty);
        let of_orders = |text: &str| text.contains("Order Completed");
        let told: Vec<_> = book.features().filter(|slot| !of_orders(&slot.feature.to_string())).collect();
        let windowed = told.iter().filter(|slot| slot.feature.window.is_some()).count();
        assert_eq!((told.len(), windowed), (20, 5), "features that are filled without a purchase");
    }

    #[test]
    fn twins_share_no_feature_and_more_audiences_come_again() {
        let (early, late) = (of_prefix("early", true), of_prefix("late", true));
        let count = |audiences: &[Audience]| -> BTreeSet<FeatureId> {
            book_of(audiences).features().map(|slot| slot.id).collect()
        };
        let both = [early.clone(), late.clone()].concat();
        assert_eq!(count(&both).len(), count(&early).len() + count(&late).len());
        assert_eq!(count(&early).len(), 24);
        let many = mixed(45);
        let names: BTreeSet<&str> = many.iter().map(|audience| audience.name.as_str()).collect();
        assert_eq!((many.len(), names.len()), (45, 45));
        assert!(book_of(&many).features().count() > 2 * count(&early).len());
        assert_eq!(mixed(0), []);
    }
}
