//! What files must say together.

use super::kinds::{Field, Form, Kind, Reference, Type};
use super::place::Findings;
use super::read::Item;
use super::rules::{compile, explain};
use crate::config::nearest;
use crate::feed::KINDS as MESSAGES;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that can be checked without a server: names that are there twice, names that nothing has, and rules.
/// The files must hold everything that they speak of, so that they make the same of an empty server.
pub(crate) fn check(items: &[Item]) -> Result<(), Findings> {
    let mut findings = Findings::default();
    twice(items, &mut findings);
    references(items, items, &mut findings);
    let all: Vec<&Item> = items.iter().collect();
    for (index, error) in compile(&all).refused {
        if let Some(item) = items.get(index) {
            explain(item, &error, &mut findings);
        }
    }
    findings.or(())
}

/// Names are there once, and the names of audiences and features are one set.
fn twice(items: &[Item], findings: &mut Findings) {
    let mut seen: BTreeMap<(&str, &str), &Item> = BTreeMap::new();
    for item in items {
        let family = if item.kind.has_versions { "rules" } else { item.kind.word };
        let Some(first) = seen.insert((family, &item.name), item) else { continue };
        let at = first.place().map(|place| format!("{}:{}", place.file.name, place.line_and_column().0));
        let message = format!("{} is there already: {}", first.title(), at.unwrap_or_default());
        findings.add(item.place_of("name"), message);
    }
}

/// Names in lists are names of something. What is known is taken from `world`.
pub(crate) fn references(items: &[Item], world: &[Item], findings: &mut Findings) {
    for item in items {
        for field in item.kind.fields {
            let Type::Names(reference) = field.holds else { continue };
            if let Some(known) = known(reference, world) {
                each_name(item, field, &known, findings);
            }
        }
    }
}

fn each_name(item: &Item, field: &Field, known: &[String], findings: &mut Findings) {
    let names = item.values.get(field.name).and_then(Value::as_array);
    for name in names.into_iter().flatten().filter_map(Value::as_str) {
        if known.iter().any(|own| own == name) {
            continue;
        }
        let nearest = nearest(name, known.iter().cloned());
        let hint = if nearest.is_empty() { String::new() } else { format!("; did you mean `{nearest}`?") };
        findings.add(
            item.place_of(field.name),
            format!("`{}` names `{name}`, which there is not{hint}", field.name),
        );
    }
}

/// Every name that there is; `None` where only a server knows.
fn known(reference: Reference, world: &[Item]) -> Option<Vec<String>> {
    match reference {
        Reference::Kind(word) => {
            let own = |kind: &Kind| kind.form == Form::Named && kind.word == word;
            Some(world.iter().filter(|item| own(item.kind)).map(|item| item.name.clone()).collect())
        }
        Reference::Messages => Some(
            MESSAGES.iter().filter(|kind| kind.is_an_effect()).map(|kind| kind.name.to_owned()).collect(),
        ),
        Reference::Identifiers => {
            let identity = world.iter().find(|item| item.kind.word == "identity")?;
            let kinds = identity.values.get("kinds").and_then(Value::as_array)?;
            let name = |kind: &Value| kind.get("name").and_then(Value::as_str).map(str::to_owned);
            Some(kinds.iter().filter_map(name).collect())
        }
        Reference::Events => None,
    }
}
