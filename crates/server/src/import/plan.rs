//! From the columns of a row to a message.
//!
//! A column goes where its mapping says. Without one it goes to the member of a message that has its name (`userId`,
//! `timestamp`, `properties.total`, …), and else under its own name to the properties of an event or the traits of a
//! person. Nothing is guessed: text stays text unless the mapping names a type, so that an article `0123` stays one.

use super::Kind;
use anyhow::{Result, bail};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// Members of a message that a column may be named after or mapped to.
const MEMBERS: [&str; 16] = [
    "type",
    "event",
    "name",
    "userId",
    "anonymousId",
    "groupId",
    "previousId",
    "messageId",
    "timestamp",
    "originalTimestamp",
    "properties",
    "traits",
    "context",
    "integrations",
    "sentAt",
    "channel",
];
/// Those that hold members of their own.
const OBJECTS: [&str; 3] = ["properties", "traits", "context"];
/// How deep a place may lie.
const PLACE_PARTS_MAX: usize = 16;

/// What a value becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Type {
    #[default]
    AsIs,
    Text,
    Number,
    Boolean,
    Json,
}

/// Where a column goes: `COLUMN=PLACE[:TYPE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    column: String,
    target: Target,
}

/// A place within a message, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    /// Empty where the column is left out.
    place: Vec<String>,
    kind: Type,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, target) =
            text.split_once('=').ok_or("write COLUMN=PLACE, e.g. customer=userId".to_owned())?;
        if column.is_empty() {
            return Err("the name of a column comes before =".to_owned());
        }
        let (place, kind) = target.split_once(':').unwrap_or((target, ""));
        let kind = match kind {
            "" => Type::AsIs,
            "text" => Type::Text,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            "json" => Type::Json,
            other => return Err(format!("{other:?} is no type: use text, number, boolean or json")),
        };
        let place: Vec<String> =
            if place.is_empty() { Vec::new() } else { place.split('.').map(str::to_owned).collect() };
        let Some(first) = place.first() else {
            return Ok(Self { column: column.to_owned(), target: Target::default() });
        };
        if !MEMBERS.contains(&first.as_str()) {
            return Err(format!("{first:?} is no member of a message: use {}", MEMBERS.join(", ")));
        }
        let whole = place.len() > 1;
        if whole && !OBJECTS.contains(&first.as_str()) {
            return Err(format!("{first} has no members: only {} have", OBJECTS.join(", ")));
        }
        if place.len() > PLACE_PARTS_MAX || place.iter().any(String::is_empty) {
            return Err(format!("a place has 1 to {PLACE_PARTS_MAX} parts between dots, none of them empty"));
        }
        Ok(Self { column: column.to_owned(), target: Target { place, kind } })
    }
}

/// What is made of every row.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    kind: Kind,
    targets: BTreeMap<String, Target>,
    event: Option<String>,
}

impl Plan {
    pub(super) fn new(kind: Kind, mappings: &[Mapping], event: Option<&str>) -> Result<Self> {
        let mut targets = BTreeMap::new();
        for Mapping { column, target } in mappings {
            if targets.insert(column.clone(), target.clone()).is_some() {
                bail!("column {column} is mapped twice");
            }
        }
        if kind == Kind::Profiles && event.is_some() {
            bail!("people have no event: leave --event out, or import --as events");
        }
        Ok(Self { kind, targets, event: event.map(str::to_owned) })
    }

    /// Whether the mapping fits the columns of a file that names them all at its beginning.
    pub(super) fn check(&self, names: Option<&[String]>) -> Result<()> {
        let Some(names) = names else { return Ok(()) };
        if let Some(missing) = self.targets.keys().find(|column| !names.contains(column)) {
            bail!("there is no column {missing}; there are: {}", names.join(", "));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            bail!("two columns are called {twice}: rename one");
        }
        Ok(())
    }

    /// The message of a row, or what is wrong with it. `id` is its `messageId` where no column says another.
    pub(super) fn message(&self, columns: Map<String, Value>, id: &str) -> Result<Vec<u8>, String> {
        let mut message = Map::new();
        let has_type = columns.contains_key("type");
        for (column, value) in columns {
            let own;
            let target = match self.targets.get(&column) {
                Some(target) => target,
                None => {
                    own = self.usual(&column, has_type);
                    &own
                }
            };
            if value.is_null() || target.place.is_empty() {
                continue;
            }
            let Some(value) = typed(value, target.kind).map_err(|why| format!("{column}: {why}"))? else {
                continue;
            };
            put(&mut message, &target.place, value).map_err(|why| format!("{column}: {why}"))?;
        }
        self.complete(&mut message, id)?;
        serde_json::to_vec(&message).map_err(|error| error.to_string())
    }

    /// Where a column goes that nothing was said of. Only a page or screen has a name of its own: where rows say no type,
    /// `name` is that of a product or a person.
    fn usual(&self, column: &str, has_type: bool) -> Target {
        let (first, rest) = column.split_once('.').unwrap_or((column, ""));
        let place = if MEMBERS.contains(&column) && (has_type || column != "name") {
            vec![column.to_owned()]
        } else if OBJECTS.contains(&first) && !rest.is_empty() && rest.split('.').all(|part| !part.is_empty())
        {
            column.splitn(PLACE_PARTS_MAX, '.').map(str::to_owned).collect()
        } else {
            let whole = if self.kind == Kind::Profiles { "traits" } else { "properties" };
            vec![whole.to_owned(), column.to_owned()]
        };
        Target { place, kind: Type::AsIs }
    }

    fn complete(&self, message: &mut Map<String, Value>, id: &str) -> Result<(), String> {
        let text = |value: &str| Value::String(value.to_owned());
        match self.kind {
            Kind::Profiles => {
                let other = message.insert("type".to_owned(), text("identify"));
                if other.is_some_and(|other| other != "identify") {
                    return Err("its type is not identify: import it --as events".to_owned());
                }
            }
            Kind::Events => {
                if let Some(event) = &self.event
                    && !message.contains_key("type")
                {
                    message.entry("event").or_insert_with(|| text(event));
                }
                if !message.contains_key("type") {
                    if !message.contains_key("event") {
                        return Err(
                            "it names no event: map a column to event, or say --event NAME".to_owned()
                        );
                    }
                    message.insert("type".to_owned(), text("track"));
                }
            }
        }
        if !message.contains_key("userId") && !message.contains_key("anonymousId") {
            return Err("it names nobody: map a column to userId or anonymousId".to_owned());
        }
        message.entry("messageId").or_insert_with(|| text(id));
        Ok(())
    }
}

/// The value as the type says; `None` where empty text is no value of the type.
fn typed(value: Value, kind: Type) -> Result<Option<Value>, String> {
    let text = match (kind, value) {
        (Type::AsIs, Value::String(text)) if text.is_empty() => return Ok(None),
        (Type::AsIs, value) => return Ok(Some(value)),
        (_, Value::String(text)) => text,
        (Type::Text, Value::Number(number)) => return Ok(Some(Value::String(number.to_string()))),
        (Type::Text, Value::Bool(flag)) => return Ok(Some(Value::String(flag.to_string()))),
        (Type::Number, value @ Value::Number(_)) | (Type::Boolean, value @ Value::Bool(_)) => {
            return Ok(Some(value));
        }
        (Type::Json, value) => return Ok(Some(value)),
        (_, value) => return Err(format!("{value} is of another type")),
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    match kind {
        Type::AsIs | Type::Text => Ok(Some(Value::String(text))),
        Type::Number => match serde_json::from_str::<Value>(trimmed) {
            Ok(value @ Value::Number(_)) => Ok(Some(value)),
            _ => Err(format!("{trimmed:?} is no number")),
        },
        Type::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(Some(Value::Bool(true))),
            "false" | "no" | "0" => Ok(Some(Value::Bool(false))),
            _ => Err(format!("{trimmed:?} is neither true nor false")),
        },
        Type::Json => match serde_json::from_str(trimmed) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(format!("it is not JSON: {error}")),
        },
    }
}

/// Puts a value at a place.
fn put(message: &mut Map<String, Value>, place: &[String], value: Value) -> Result<(), String> {
    let Some((last, path)) = place.split_last() else { return Ok(()) };
    let mut at = message;
    for part in path {
        let entry = at.entry(part.as_str()).or_insert_with(|| Value::Object(Map::new()));
        at = match entry {
            Value::Object(members) => members,
            _ => return Err(format!("{part} holds a value already, so nothing can be put into it")),
        };
    }
    let value = match (at.remove(last.as_str()), value) {
        (None, value) => value,
        // `properties` as JSON in one column, and further ones beside it.
        (Some(Value::Object(mut own)), Value::Object(more)) => {
            own.extend(more);
            Value::Object(own)
        }
        _ => return Err(format!("two columns go to {}", place.join("."))),
    };
    at.insert(last.clone(), value);
    Ok(())
}
