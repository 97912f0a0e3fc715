//! Writes definitions as TOML: the same definitions always give the same bytes.

use super::kinds::{Field, Form, KINDS, Kind, Type, Values, canonical};
use super::read::Item;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What files begin with that an export may write anew.
pub(crate) const HEAD: &str = "# Written by `throughline export`, which may write it anew: \
                               take this line away once you edit the file.\n";

/// The files that hold these definitions, by name.
pub(crate) fn write(items: &[Item]) -> BTreeMap<&'static str, String> {
    let mut files: BTreeMap<&'static str, String> = BTreeMap::new();
    for kind in KINDS {
        let mut own: Vec<&Item> = items.iter().filter(|item| std::ptr::eq(item.kind, kind)).collect();
        own.sort_by(|one, two| one.name.cmp(&two.name));
        for item in own {
            let text = files.entry(kind.file).or_insert_with(|| HEAD.to_owned());
            text.push('\n');
            text.push_str(&table(kind, item));
        }
    }
    files
}

fn table(kind: &Kind, item: &Item) -> String {
    let mut text = format!("{}\n", kind.head());
    if kind.form == Form::Named {
        line(&mut text, "name", &basic(&item.name));
    }
    // Tables come last: what stands below their head is theirs.
    let (tables, plain): (Vec<&Field>, Vec<&Field>) =
        kind.fields.iter().partition(|field| matches!(field.holds, Type::Tables(..)));
    for field in plain {
        let Some(value) = item.values.get(field.name) else { continue };
        // Settings show everything that can be set; of other definitions only what somebody said.
        if kind.form == Form::Settings || !is_default(field, value, &item.values) {
            line(&mut text, field.name, &literal(field.holds, value));
        }
    }
    for field in tables {
        let Type::Tables(fields, _) = field.holds else { continue };
        for one in item.values.get(field.name).and_then(Value::as_array).into_iter().flatten() {
            let head = kind.head();
            let head = head.trim_matches(['[', ']']);
            let _ = write!(text, "\n[[{head}.{}]]\n", field.name);
            for field in fields {
                if let Some(value) = one.get(field.name) {
                    line(&mut text, field.name, &literal(field.holds, value));
                }
            }
        }
    }
    text
}

pub(super) fn is_default(field: &Field, value: &Value, others: &Values) -> bool {
    field.otherwise.value(others).is_some_and(|this| canonical(field.holds, this) == *value)
}

fn line(text: &mut String, key: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{key} = {value}");
}

/// A value as TOML.
pub(crate) fn literal(holds: Type, value: &Value) -> String {
    match (holds, value) {
        (Type::Rule, Value::String(text)) => rule(text),
        (_, Value::String(text)) => basic(text),
        (Type::Free, Value::Object(members)) => {
            let pairs =
                members.iter().map(|(key, value)| format!("{} = {}", basic(key), literal(holds, value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        (_, Value::Array(values)) => {
            let inner = if matches!(holds, Type::Free) { holds } else { Type::Text };
            let values: Vec<String> = values.iter().map(|value| literal(inner, value)).collect();
            format!("[{}]", values.join(", "))
        }
        (Type::Table(fields), value) => {
            let pair = |field: &Field| {
                let value = value.get(field.name)?;
                Some(format!("{} = {}", field.name, literal(field.holds, value)))
            };
            let pairs: Vec<String> = fields.iter().filter_map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // Tables in a list are written below their own head, see `table`; a difference shows them like this.
        (_, Value::Object(members)) => {
            let pairs = members.iter().map(|(key, value)| format!("{key} = {}", literal(Type::Text, value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        (_, other) => other.to_string(),
    }
}

/// A rule has quotes of its own, so it is written in single quotes where that is possible.
fn rule(text: &str) -> String {
    let has_controls =
        text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\t'));
    if has_controls || text.contains("'''") || text.ends_with('\'') {
        return basic(text);
    }
    if text.contains(['\n', '\'']) { format!("'''\n{text}'''") } else { format!("'{text}'") }
}

fn basic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// What was said of a definition, for showing one that is new.
pub(crate) fn said<'v>(kind: &'static Kind, values: &'v Values) -> Vec<(&'static Field, &'v Value)> {
    let own = kind.fields.iter().filter_map(|field| Some((field, values.get(field.name)?)));
    own.filter(|(field, value)| !is_default(field, value, values)).collect()
}
