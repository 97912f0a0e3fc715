//! What is different between files and a server, and in which order it can be made the same.

use super::check::references;
use super::kinds::{AUDIENCE, FEATURE, Field, Form, KINDS, Kind, Values};
use super::place::Findings;
use super::read::Item;
use super::rules::{compile, definition_of, explain};
use super::write::{literal, said};
use engage::Draft;
use model::audience::{DefinitionError, Rulebook};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

/// What a server has.
#[derive(Debug, Default)]
pub(crate) struct Present {
    pub(crate) items: Vec<Item>,
    /// Of kinds with versions, by kind and name.
    pub(crate) versions: BTreeMap<(&'static str, String), u64>,
    /// The position of the log before anything of this was read.
    pub(crate) position: u64,
}

/// One change.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kind: &'static Kind,
    pub(crate) name: String,
    /// What the server has; nothing where it is new.
    pub(crate) before: Option<Values>,
    /// What it is to have; nothing where it goes.
    pub(crate) after: Option<Values>,
    /// The version that it has; 0 where it is new, nothing where there are no versions.
    pub(crate) version: Option<u64>,
}

/// Every change, in an order in which each can be made.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What only the server has and what stays there.
    pub(crate) not_in_files: Vec<(&'static Kind, String)>,
    /// Definitions in files.
    pub(crate) wanted: usize,
    /// See [`Present::position`].
    pub(crate) position: u64,
}

/// Compares. What only the server has goes where `prune` says so, settings excepted: they cannot go.
pub(crate) fn plan(wanted: &[Item], present: &Present, prune: bool) -> Result<Plan, Findings> {
    let find = |items: &[Item], one: &Item| {
        items.iter().position(|item| std::ptr::eq(item.kind, one.kind) && item.name == one.name)
    };
    let only_there: Vec<&Item> = present
        .items
        .iter()
        .filter(|item| item.kind.form == Form::Named && find(wanted, item).is_none())
        .collect();
    let mut findings = Findings::default();
    let kept = present.items.iter().filter(|item| find(wanted, item).is_none());
    let world: Vec<Item> = wanted.iter().chain(kept).cloned().collect();
    references(wanted, &world, &mut findings);
    let mut steps = Vec::new();
    for item in in_order(wanted) {
        let before = find(&present.items, item).and_then(|at| present.items.get(at));
        if before.is_none_or(|before| before.values != item.values) {
            steps.push(step(present, item, before.map(|before| before.values.clone()), true));
        }
    }
    if prune {
        let gone: Vec<Item> = only_there.iter().map(|item| (*item).clone()).collect();
        // What others depend on goes after them. What stays was held against the server's rules with them.
        for item in in_order_of(&gone, &present.items).into_iter().rev() {
            steps.push(step(present, item, Some(item.values.clone()), false));
        }
    }
    rehearse(&steps, wanted, present, &mut findings);
    let not_in_files = if prune { &[][..] } else { only_there.as_slice() };
    findings.or(Plan {
        steps,
        not_in_files: not_in_files.iter().map(|item| (item.kind, item.name.clone())).collect(),
        wanted: wanted.len(),
        position: present.position,
    })
}

fn step(present: &Present, item: &Item, before: Option<Values>, stays: bool) -> Step {
    let version = item.kind.has_versions.then(|| {
        let key = (item.kind.word, item.name.clone());
        present.versions.get(&key).copied().unwrap_or(0)
    });
    let after = stays.then(|| item.values.clone());
    Step { kind: item.kind, name: item.name.clone(), before, after, version }
}

/// Definitions in the order in which they can be made: kind by kind, and those first that others depend on.
fn in_order(items: &[Item]) -> Vec<&Item> {
    in_order_of(items, items)
}

/// The same, where `all` says who depends on whom.
fn in_order_of<'i>(items: &'i [Item], all: &[Item]) -> Vec<&'i Item> {
    let book = compile(&all.iter().collect::<Vec<_>>()).book;
    let names = book.audiences().filter_map(|id| book.definition(id).map(|one| one.name.to_string()));
    let places: BTreeMap<String, usize> = names.enumerate().map(|(place, name)| (name, place)).collect();
    let mut ordered: Vec<&Item> = items.iter().collect();
    ordered.sort_by_key(|item| {
        let kind = KINDS.iter().position(|kind| std::ptr::eq(kind, item.kind));
        let place = if item.kind.word == AUDIENCE { places.get(&item.name).copied() } else { None };
        (kind, place, item.name.clone())
    });
    ordered
}

/// Takes every step on a copy of the server's rulebook, so that what it would refuse in the middle is known before the
/// beginning: a changed feature that rules on the server cannot use, for example.
fn rehearse(steps: &[Step], wanted: &[Item], present: &Present, findings: &mut Findings) {
    let there = compile(&present.items.iter().collect::<Vec<_>>());
    if !there.refused.is_empty() {
        // The server is of another version and knows rules that this program does not: it will say itself.
        return;
    }
    let mut book = there.book;
    for step in steps.iter().filter(|step| [FEATURE, AUDIENCE].contains(&step.kind.word)) {
        let item = wanted.iter().find(|item| std::ptr::eq(item.kind, step.kind) && item.name == step.name);
        match rehearse_one(&book, step, item) {
            Ok(next) => book = next,
            Err(error) => match item {
                Some(item) => explain(item, &error, findings),
                None => {
                    findings.add(None, format!("{} `{}` cannot go: {error}", step.kind.title(), step.name))
                }
            },
        }
    }
}

fn rehearse_one(book: &Rulebook, step: &Step, item: Option<&Item>) -> Result<Rulebook, DefinitionError> {
    let Some(kind) = item.filter(|_| step.after.is_some()).and_then(definition_of) else {
        let Some(own) = book.named(&step.name) else { return Ok(book.clone()) };
        return book.remove(own.id).map(|(next, _)| next);
    };
    let drafted = Draft { name: step.name.clone(), changes: None, kind }.apply_to(book)?;
    Ok(drafted.changed.map_or_else(|| book.clone(), |(next, _)| next))
}

impl Step {
    /// What the change is called.
    pub(crate) fn word(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "add",
            (Some(_), Some(_)) => "change",
            (Some(_), None) => "remove",
        }
    }

    /// For people: ``audience `frequent` ``.
    pub(crate) fn title(&self) -> String {
        match self.kind.form {
            Form::Named => format!("{} `{}`", self.kind.title(), self.name),
            Form::Settings => self.kind.title(),
        }
    }

    /// The keys that change.
    fn fields(&self) -> Vec<(&'static Field, Option<Value>, Option<Value>)> {
        let (before, after) = (self.before.as_ref(), self.after.as_ref());
        let pairs = self.kind.fields.iter().map(|field| {
            let own = |values: &'_ Values| values.get(field.name).cloned();
            (field, before.and_then(own), after.and_then(own))
        });
        pairs.filter(|(_, before, after)| before != after).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let fields = self
            .fields()
            .into_iter()
            .map(|(field, before, after)| json!({ "field": field.name, "before": before, "after": after }));
        json!({
            "action": self.word(), "kind": self.kind.title(), "name": self.name,
            "fields": fields.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.word() {
            "add" => '+',
            "change" => '~',
            _ => '-',
        };
        writeln!(formatter, "{sign} {:<13} {}", self.kind.title(), self.name)?;
        match (&self.before, &self.after) {
            (None, Some(after)) => {
                for (field, value) in said(self.kind, after) {
                    entry(formatter, field, ' ', Some(value))?;
                }
            }
            (Some(_), Some(_)) => {
                for (field, before, after) in self.fields() {
                    entry(formatter, field, '-', before.as_ref())?;
                    entry(formatter, field, '+', after.as_ref())?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// One key and its value; a value of several lines stands below its key.
fn entry(
    formatter: &mut fmt::Formatter<'_>,
    field: &Field,
    sign: char,
    value: Option<&Value>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    let text = literal(field.holds, value);
    let mut lines = text.lines();
    write!(formatter, "    {sign} {} = {}", field.name, lines.next().unwrap_or_default())?;
    for line in lines {
        write!(formatter, "\n    {sign}   {line}")?;
    }
    formatter.write_char('\n')
}

impl Plan {
    /// How many are added, changed and removed.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let count = |word| self.steps.iter().filter(|step| step.word() == word).count();
        (count("add"), count("change"), count("remove"))
    }
}
