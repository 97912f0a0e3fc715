//! How an event in quarantine is mended: a mapping, given as data, changes its name and its properties.
//!
//! A mapping is a list of steps, carried out in order:
//!
//! - `{"rename_event": "Order Completed"}`
//! - `{"rename": {"from": "/orderId", "to": "/order_id"}}`
//! - `{"remove": "/debug"}`
//! - `{"set": {"at": "/currency", "value": "EUR"}}`
//! - `{"cast": {"at": "/order_id", "to": "string"}}`
//!
//! Places are JSON pointers (RFC 6901) into the event's `properties`. What is not there is passed over, since events of one
//! selection differ; what cannot be meant fails the event and changes nothing. What no step touches keeps its spelling to
//! the letter: a price or a long number does not change because something else was mended.

mod tree;

use crate::json::{Reader, Value as Spelled};
use serde_json::Value;
use thiserror::Error;
use tree::Node;

/// The longest mapping, in bytes.
pub const MAX_MAPPING_BYTES: usize = 64 * 1024;
/// The most steps of a mapping.
pub const MAX_STEPS: usize = 50;
/// The longest pointer, in bytes.
const MAX_POINTER_BYTES: usize = 512;
/// The most members that a pointer leads through.
const MAX_POINTER_STEPS: usize = 16;
/// The longest name of an event, in bytes: the door's own limit.
const MAX_NAME_BYTES: usize = 1_024;

/// A mapping that was read. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    steps: Vec<Step>,
}

/// Why a mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct MappingError(String);

/// Why a mapping could not be carried out on an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The pointer of the step.
    pub place: String,
    /// What is in the way. It repeats no value.
    pub reason: &'static str,
}

/// An event's name and properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// What it is called.
    pub name: String,
    /// JSON text of an object; empty if there are none.
    pub properties: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    RenameEvent(String),
    Rename { from: Pointer, to: Pointer },
    Remove(Pointer),
    Set { at: Pointer, spelled: String },
    Cast { at: Pointer, to: Type },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    String,
    Number,
    Boolean,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pointer {
    spelled: String,
    names: Vec<String>,
}

impl Mapping {
    /// Reads a mapping. Unknown steps and members are mistakes: a step that is silently left out mends nothing.
    pub fn read(mapping: &Value) -> Result<Self, MappingError> {
        let Value::Array(given) = mapping else { return Err(wrong("a mapping is a list of steps")) };
        if given.len() > MAX_STEPS || mapping.to_string().len() > MAX_MAPPING_BYTES {
            return Err(wrong(&format!(
                "a mapping has at most {MAX_STEPS} steps and {MAX_MAPPING_BYTES} bytes"
            )));
        }
        let steps = given.iter().enumerate().map(|(index, step)| {
            read_step(step)
                .map_err(|MappingError(reason)| MappingError(format!("step {}: {reason}", index + 1)))
        });
        Ok(Self { steps: steps.collect::<Result<_, _>>()? })
    }

    /// Carries the mapping out.
    pub fn apply(&self, name: &str, properties: &str) -> Result<Mended, Failure> {
        let mut name = name.to_owned();
        let is_touched = self.steps.iter().any(|step| !matches!(step, Step::RenameEvent(_)));
        let mut root = Node::raw(if properties.is_empty() && is_touched { "{}" } else { properties });
        for step in &self.steps {
            step.apply(&mut name, &mut root)?;
        }
        let mut spelled = String::with_capacity(properties.len() + 64);
        root.write(&mut spelled);
        Ok(Mended { name, properties: spelled })
    }
}

const STEPS: &str = "a step is an object with one of rename_event, rename, remove, set and cast";

fn wrong(reason: &str) -> MappingError {
    MappingError(reason.to_owned())
}

fn read_step(step: &Value) -> Result<Step, MappingError> {
    let members = step.as_object().filter(|members| members.len() == 1).ok_or_else(|| wrong(STEPS))?;
    let (kind, said) = members.iter().next().ok_or_else(|| wrong(STEPS))?;
    let member = |name: &str, names: &[&str]| {
        let members =
            said.as_object().filter(|members| members.keys().all(|key| names.contains(&key.as_str())));
        let found = members.and_then(|members| members.get(name));
        found.cloned().ok_or_else(|| wrong(&format!("{kind} has the members {}", names.join(" and "))))
    };
    match kind.as_str() {
        "rename_event" => {
            let name = said.as_str().map(str::trim).filter(|name| (1..=MAX_NAME_BYTES).contains(&name.len()));
            let name = name.ok_or_else(|| wrong("rename_event is a name of 1 to 1024 bytes"))?;
            Ok(Step::RenameEvent(name.to_owned()))
        }
        "rename" => {
            let names = &["from", "to"];
            Ok(Step::Rename { from: pointer(&member("from", names)?)?, to: pointer(&member("to", names)?)? })
        }
        "remove" => Ok(Step::Remove(pointer(said)?)),
        "set" => {
            let names = &["at", "value"];
            let spelled = member("value", names)?.to_string();
            Ok(Step::Set { at: pointer(&member("at", names)?)?, spelled })
        }
        "cast" => {
            let names = &["at", "to"];
            let to = match member("to", names)?.as_str() {
                Some("string") => Type::String,
                Some("number") => Type::Number,
                Some("boolean") => Type::Boolean,
                _ => return Err(wrong("cast goes to \"string\", \"number\" or \"boolean\"")),
            };
            Ok(Step::Cast { at: pointer(&member("at", names)?)?, to })
        }
        _ => Err(wrong(STEPS)),
    }
}

fn pointer(given: &Value) -> Result<Pointer, MappingError> {
    let mistake = || {
        wrong(&format!(
            "a place is a JSON pointer into properties, like \"/products/0/price\", of at most {MAX_POINTER_BYTES} bytes \
             and {MAX_POINTER_STEPS} names"
        ))
    };
    let spelled = given.as_str().filter(|text| text.len() <= MAX_POINTER_BYTES).ok_or_else(mistake)?;
    let rest = spelled.strip_prefix('/').ok_or_else(mistake)?;
    let names = rest.split('/').map(|name| {
        let plain = name.replace("~0", "").replace("~1", "");
        if plain.contains('~') { Err(mistake()) } else { Ok(name.replace("~1", "/").replace("~0", "~")) }
    });
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    if names.len() > MAX_POINTER_STEPS {
        return Err(mistake());
    }
    Ok(Pointer { spelled: spelled.to_owned(), names })
}

impl Step {
    fn apply(&self, name: &mut String, root: &mut Node<'_>) -> Result<(), Failure> {
        let (pointer, outcome) = match self {
            Self::RenameEvent(to) => {
                name.clone_from(to);
                return Ok(());
            }
            Self::Rename { from, to } => {
                let Some(taken) = root.remove(&from.names).map_err(|reason| from.fails(reason))? else {
                    return Ok(());
                };
                (to, root.insert(&to.names, taken, false))
            }
            Self::Remove(at) => (at, root.remove(&at.names).map(|_| ())),
            Self::Set { at, spelled } => (at, root.insert(&at.names, Node::owned(spelled.clone()), true)),
            Self::Cast { at, to } => {
                let Some(found) = root.find(&at.names).map_err(|reason| at.fails(reason))? else {
                    return Ok(());
                };
                let cast = to.cast(found.as_raw().unwrap_or("{}"));
                (at, cast.map(|changed| changed.into_iter().for_each(|text| *found = Node::owned(text))))
            }
        };
        outcome.map_err(|reason| pointer.fails(reason))
    }
}

impl Pointer {
    fn fails(&self, reason: &'static str) -> Failure {
        Failure { place: self.spelled.clone(), reason }
    }
}

impl Type {
    /// The new spelling of a value; `None` if it is of the type already. What has no exact counterpart is not cast.
    fn cast(self, spelled: &str) -> Result<Option<String>, &'static str> {
        let quoted = |text: &str| {
            let mut out = String::with_capacity(text.len() + 2);
            crate::json::write_text(&mut out, text);
            out
        };
        let value = Reader::new(spelled, u32::MAX).value().map_err(|_| "is no JSON value")?;
        match (self, value) {
            (Self::String, Spelled::Text(_))
            | (Self::Number, Spelled::Number(_))
            | (Self::Boolean, Spelled::Bool(_)) => Ok(None),
            (Self::String, Spelled::Number(number)) => Ok(Some(quoted(number))),
            (Self::String, Spelled::Bool(is)) => Ok(Some(quoted(if is { "true" } else { "false" }))),
            (Self::Number, Spelled::Text(text)) => {
                let text = text.decode();
                let mut reader = Reader::new(&text, 1);
                let is_number =
                    matches!(reader.value(), Ok(Spelled::Number(spelled)) if spelled.len() == text.len());
                if is_number { Ok(Some(text.into_owned())) } else { Err("is not spelled like a JSON number") }
            }
            (Self::Boolean, Spelled::Text(text)) => match &*text.decode() {
                word @ ("true" | "false") => Ok(Some(word.to_owned())),
                _ => Err("is neither \"true\" nor \"false\""),
            },
            (Self::Number, Spelled::Bool(_)) | (Self::Boolean, Spelled::Number(_)) => {
                Err("numbers and booleans are not cast into each other: set a value")
            }
            (_, Spelled::Null | Spelled::Object | Spelled::Array(_)) => {
                Err("null, objects and arrays are not cast: set a value")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn mended(mapping: &Value, properties: &str) -> Result<String, Failure> {
        Mapping::read(mapping).unwrap().apply("E", properties).map(|mended| mended.properties)
    }

    #[test]
    fn steps_do_what_they_say_and_leave_the_rest_as_it_was_spelled() {
        let table: &[(Value, &str, &str)] = &[
            (json!([]), "", ""),
            (json!([]), r#"{ "a" : 1.10 }"#, r#"{ "a" : 1.10 }"#),
            (json!([{"rename_event": "F"}]), "", ""),
            (
                json!([{"rename": {"from": "/orderId", "to": "/order_id"}}, {"cast": {"at": "/order_id", "to": "string"}}]),
                r#"{"orderId":12345678901234567890123,"total":19.90}"#,
                r#"{"total":19.90,"order_id":"12345678901234567890123"}"#,
            ),
            (json!([{"remove": "/a/b"}]), r#"{"a":{"b":1,"c":[ 1 ]}}"#, r#"{"a":{"c":[ 1 ]}}"#),
            (json!([{"remove": "/x/y/z"}]), r#"{"a":1}"#, r#"{"a":1}"#),
            (json!([{"set": {"at": "/c", "value": {"d": [1]}}}]), r#"{"c":1}"#, r#"{"c":{"d":[1]}}"#),
            (json!([{"set": {"at": "/c", "value": null}}]), "", r#"{"c":null}"#),
            (
                json!([{"cast": {"at": "/p/1/price", "to": "number"}}]),
                r#"{"p":[{"price":"1"},{"price":"-2.50e1"}]}"#,
                r#"{"p":[{"price":"1"},{"price":-2.50e1}]}"#,
            ),
            (json!([{"cast": {"at": "/b", "to": "boolean"}}]), r#"{"b":"true"}"#, r#"{"b":true}"#),
            (json!([{"cast": {"at": "/b", "to": "string"}}]), r#"{"b":false}"#, r#"{"b":"false"}"#),
            (json!([{"cast": {"at": "/none", "to": "string"}}]), r#"{"b":false}"#, r#"{"b":false}"#),
            (json!([{"remove": "/a~1b~0c"}]), r#"{"a/b~c":1}"#, "{}"),
            (json!([{"set": {"at": "/", "value": 1}}]), r#"{"":2}"#, r#"{"":1}"#),
            (json!([{"set": {"at": "/a", "value": 3}}]), r#"{"a":1,"a":2}"#, r#"{"a":3}"#),
        ];
        for (mapping, before, after) in table {
            assert_eq!(mended(mapping, before).as_deref(), Ok(*after), "{mapping} {before}");
        }
        let renamed = Mapping::read(&json!([{"rename_event": " F "}])).unwrap().apply("E", "").unwrap();
        assert_eq!(renamed.name, "F");
    }

    #[test]
    fn what_cannot_be_carried_out_fails_and_names_the_place() {
        let table: &[(Value, &str, &str)] = &[
            (json!([{"rename": {"from": "/a", "to": "/b"}}]), r#"{"a":1,"b":2}"#, "/b"),
            (json!([{"rename": {"from": "/a", "to": "/a/b"}}]), r#"{"a":{}}"#, "/a/b"),
            (json!([{"rename": {"from": "/a", "to": "/x/y"}}]), r#"{"a":1}"#, "/x/y"),
            (json!([{"remove": "/a/0"}]), r#"{"a":[1]}"#, "/a/0"),
            (json!([{"set": {"at": "/a/b", "value": 1}}]), r#"{"a":1}"#, "/a/b"),
            (json!([{"set": {"at": "/a/1", "value": 1}}]), r#"{"a":[1]}"#, "/a/1"),
            (json!([{"cast": {"at": "/a", "to": "number"}}]), r#"{"a":"1,5"}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "number"}}]), r#"{"a":" 1"}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "number"}}]), r#"{"a":""}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "number"}}]), r#"{"a":true}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "number"}}]), r#"{"a":"1e999"}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "boolean"}}]), r#"{"a":"yes"}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "boolean"}}]), r#"{"a":1}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "string"}}]), r#"{"a":null}"#, "/a"),
            (json!([{"cast": {"at": "/a", "to": "string"}}]), r#"{"a":{"b":1}}"#, "/a"),
            (
                json!([{"set": {"at": "/a/b", "value": 1}}, {"cast": {"at": "/a", "to": "string"}}]),
                r#"{"a":{}}"#,
                "/a",
            ),
        ];
        for (mapping, before, place) in table {
            let failure = mended(mapping, before).unwrap_err();
            assert_eq!(failure.place, *place, "{mapping} {before} {failure:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_step_that_holds_it() {
        let long = "x".repeat(MAX_POINTER_BYTES);
        let table: &[(Value, &str)] = &[
            (json!({}), "list of steps"),
            (json!("rename"), "list of steps"),
            (json!(null), "list of steps"),
            (json!([1]), "step 1: a step is"),
            (json!([{}]), "step 1: a step is"),
            (json!([{"rename_event": "A"}, {"drop": "/a"}]), "step 2: a step is"),
            (json!([{"remove": "/a", "set": {"at": "/b", "value": 1}}]), "a step is"),
            (json!([{"rename_event": " "}]), "rename_event is a name"),
            (json!([{"rename_event": 5}]), "rename_event is a name"),
            (json!([{"rename_event": "x".repeat(1_025)}]), "rename_event is a name"),
            (json!([{"rename": {"from": "/a"}}]), "from and to"),
            (json!([{"rename": {"from": "/a", "to": "/b", "if": 1}}]), "from and to"),
            (json!([{"remove": ""}]), "JSON pointer"),
            (json!([{"remove": "a"}]), "JSON pointer"),
            (json!([{"remove": "/a~2"}]), "JSON pointer"),
            (json!([{"remove": "/a~"}]), "JSON pointer"),
            (json!([{"remove": format!("/{long}")}]), "JSON pointer"),
            (json!([{"remove": "/a".repeat(17)}]), "JSON pointer"),
            (json!([{"remove": ["/a"]}]), "JSON pointer"),
            (json!([{"set": {"at": "/a"}}]), "at and value"),
            (json!([{"cast": {"at": "/a", "to": "date"}}]), "\"string\", \"number\" or \"boolean\""),
            (json!([{"cast": "/a"}]), "at and to"),
            (json!(vec![json!({"remove": "/a"}); 51]), "at most 50 steps"),
            (json!([{"set": {"at": "/a", "value": "x".repeat(MAX_MAPPING_BYTES)}}]), "65536 bytes"),
        ];
        for (mapping, reason) in table {
            let error = Mapping::read(mapping).unwrap_err().to_string();
            assert!(error.contains(reason), "{mapping}: {error}");
        }
    }

    proptest! {
        /// Renaming there and back, and setting what is there, leaves the same value.
        #[test]
        fn renaming_back_is_the_same(members in prop::collection::btree_map("[a-c/~]{1,3}", -9_i64..9, 0..5), name in "[a-c/~]{1,3}") {
            let before = json!(members).to_string();
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let mapping = json!([
                {"rename": {"from": pointer, "to": "/other"}}, {"rename": {"from": "/other", "to": pointer}},
            ]);
            let after = mended(&mapping, &before).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), json!(members));
        }
    }
}
