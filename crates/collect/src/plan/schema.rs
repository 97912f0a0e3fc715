//! A part of JSON Schema, draft 2020-12, compiled once and applied to many events.
//!
//! It holds what plans of events use, and every keyword of it means what the draft says: `type`, `enum`, `const`,
//! `required`, `properties`, `additionalProperties`, `minProperties`, `maxProperties`, `items`, `minItems`, `maxItems`,
//! `minLength`, `maxLength`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `allOf`, `anyOf`, `oneOf` and
//! `not`. What only describes (`title`, `description`, `$comment`, `examples`, `default`, `$schema`, `$id`, `deprecated`,
//! `format`) is read over. Any other keyword is refused when the plan is set, not ignored when it would have mattered.
//! There are no references and no patterns, so that judging an event takes time linear in its size times the schema's.

use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// How deep schemas may nest.
const DEPTH_MAX: usize = 32;
const DESCRIBING: [&str; 10] = [
    "title",
    "description",
    "$comment",
    "examples",
    "default",
    "$schema",
    "$id",
    "deprecated",
    "format",
    "readOnly",
];

/// A compiled schema. The default accepts everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// The schema `false`.
    never: bool,
    types: Vec<Type>,
    one_of_values: Option<Vec<Value>>,
    required: Vec<String>,
    properties: BTreeMap<String, Schema>,
    additional: Option<Box<Schema>>,
    items: Option<Box<Schema>>,
    /// Members of an object, elements of an array, characters of a text: least and most.
    members: (Option<u64>, Option<u64>),
    elements: (Option<u64>, Option<u64>),
    characters: (Option<u64>, Option<u64>),
    bounds: Vec<(Bound, Number)>,
    all_of: Vec<Schema>,
    any_of: Option<Vec<Schema>>,
    one_of: Option<Vec<Schema>>,
    not: Option<Box<Schema>>,
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {reason}")]
pub struct SchemaError {
    /// The way to the mistake, e.g. `properties.price`.
    pub place: String,
    /// What it is.
    pub reason: String,
}

/// The first thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    place: String,
    wanted: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Least,
    Most,
    Above,
    Below,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.place, self.wanted)
    }
}

impl Violation {
    /// Where it is, e.g. `properties.order_id`.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl Schema {
    /// Compiles a schema.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        compile(schema, "the schema", 0)
    }

    /// The first violation in the `properties` of an event, in the order of the schema.
    pub fn violation(&self, properties: &Value) -> Option<Violation> {
        self.check(properties, &Place { parent: None, step: Step::Root }).err()
    }

    fn check(&self, value: &Value, place: &Place<'_>) -> Result<(), Violation> {
        if self.never {
            return Err(place.wants("must not be there"));
        }
        if !self.types.is_empty() && !self.types.iter().any(|wanted| wanted.holds(value)) {
            let names: Vec<&str> = self.types.iter().map(|wanted| wanted.name()).collect();
            return Err(place.wants(format!("must be {}", names.join(" or "))));
        }
        if let Some(values) = &self.one_of_values
            && !values.iter().any(|wanted| same(wanted, value))
        {
            return Err(place.wants("must be one of the listed values"));
        }
        match value {
            Value::Object(object) => self.check_object(object, place)?,
            Value::Array(elements) => self.check_array(elements, place)?,
            Value::String(text) => within(self.characters, || text.chars().count(), "characters", place)?,
            Value::Number(number) => self.check_number(number, place)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.check_combined(value, place)
    }

    fn check_object(&self, object: &Map<String, Value>, place: &Place<'_>) -> Result<(), Violation> {
        for name in &self.required {
            if !object.contains_key(name) {
                return Err(Place { parent: Some(place), step: Step::Member(name) }.wants("is missing"));
            }
        }
        within(self.members, || object.len(), "members", place)?;
        for (name, value) in object {
            let member = Place { parent: Some(place), step: Step::Member(name) };
            match (self.properties.get(name), &self.additional) {
                (Some(schema), _) => schema.check(value, &member)?,
                (None, Some(additional)) => additional.check(value, &member)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn check_array(&self, elements: &[Value], place: &Place<'_>) -> Result<(), Violation> {
        within(self.elements, || elements.len(), "elements", place)?;
        let Some(schema) = &self.items else { return Ok(()) };
        for (index, value) in elements.iter().enumerate() {
            schema.check(value, &Place { parent: Some(place), step: Step::Element(index) })?;
        }
        Ok(())
    }

    fn check_number(&self, number: &Number, place: &Place<'_>) -> Result<(), Violation> {
        for (bound, limit) in &self.bounds {
            let order = compare(number, limit);
            let (holds, word) = match bound {
                Bound::Least => (order.is_ge(), "at least"),
                Bound::Most => (order.is_le(), "at most"),
                Bound::Above => (order.is_gt(), "above"),
                Bound::Below => (order.is_lt(), "below"),
            };
            if !holds {
                return Err(place.wants(format!("must be {word} {limit}")));
            }
        }
        Ok(())
    }

    fn check_combined(&self, value: &Value, place: &Place<'_>) -> Result<(), Violation> {
        for schema in &self.all_of {
            schema.check(value, place)?;
        }
        let matching =
            |schemas: &[Schema]| schemas.iter().filter(|one| one.check(value, place).is_ok()).count();
        if self.any_of.as_ref().is_some_and(|schemas| matching(schemas) == 0) {
            return Err(place.wants("must match one of the schemas of anyOf"));
        }
        if self.one_of.as_ref().is_some_and(|schemas| matching(schemas) != 1) {
            return Err(place.wants("must match exactly one of the schemas of oneOf"));
        }
        if self.not.as_ref().is_some_and(|schema| schema.check(value, place).is_ok()) {
            return Err(place.wants("must not match the schema of not"));
        }
        Ok(())
    }
}

impl Type {
    const ALL: [(&'static str, Self); 7] = [
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("object", Self::Object),
        ("array", Self::Array),
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("string", Self::String),
    ];

    fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find_map(|(own, found)| (*own == name).then_some(*found))
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find_map(|(name, own)| (*own == self).then_some(*name)).unwrap_or_default()
    }

    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Object, Value::Object(_))
            | (Self::Array, Value::Array(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_)) => true,
            // 1.0 is an integer, says the draft.
            (Self::Integer, Value::Number(number)) => {
                number.is_i64()
                    || number.is_u64()
                    || number.as_f64().is_some_and(|value| value.fract() == 0.0)
            }
            _ => false,
        }
    }
}

/// Where a value stands, spelled only if something is wrong with it.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Root,
    Member(&'a str),
    Element(usize),
}

impl Place<'_> {
    fn wants(&self, wanted: impl Into<String>) -> Violation {
        Violation { place: self.spelled(), wanted: wanted.into() }
    }

    fn spelled(&self) -> String {
        let before = self.parent.map(Place::spelled).unwrap_or_default();
        match self.step {
            Step::Root => "properties".to_owned(),
            // A name comes from the sender, and may be long.
            Step::Member(name) => format!("{before}.{}", name.chars().take(64).collect::<String>()),
            Step::Element(index) => format!("{before}[{index}]"),
        }
    }
}

fn within(
    (least, most): (Option<u64>, Option<u64>),
    count: impl FnOnce() -> usize,
    of: &str,
    place: &Place<'_>,
) -> Result<(), Violation> {
    if least.is_none() && most.is_none() {
        return Ok(());
    }
    let count = count() as u64;
    match (least, most) {
        (Some(least), _) if count < least => Err(place.wants(format!("must have at least {least} {of}"))),
        (_, Some(most)) if count > most => Err(place.wants(format!("must have at most {most} {of}"))),
        _ => Ok(()),
    }
}

/// Equality as the draft has it: 1 and 1.0 are the same number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// Whole numbers exactly, others as doubles.
fn compare(one: &Number, other: &Number) -> Ordering {
    let whole = |number: &Number| number.as_i128();
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => {
            let double = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
            double(one).total_cmp(&double(other))
        }
    }
}

fn compile(schema: &Value, place: &str, depth: usize) -> Result<Schema, SchemaError> {
    let wrong = |reason: &str| SchemaError { place: place.to_owned(), reason: reason.to_owned() };
    if depth > DEPTH_MAX {
        return Err(wrong("it nests too deep"));
    }
    let members = match schema {
        Value::Bool(accepts) => return Ok(Schema { never: !accepts, ..Schema::default() }),
        Value::Object(members) => members,
        _ => return Err(wrong("a schema is an object, true or false")),
    };
    let mut compiled = Schema::default();
    for (keyword, value) in members {
        let place = format!("{place}.{keyword}");
        let inner = |value: &Value| compile(value, &place, depth + 1);
        let list = |value: &Value| schemas(value, &place, depth);
        match keyword.as_str() {
            "type" => compiled.types = types(value, &place)?,
            "enum" => compiled.one_of_values = Some(array(value, &place)?.clone()),
            "const" => compiled.one_of_values = Some(vec![value.clone()]),
            "required" => compiled.required = texts(value, &place)?,
            "properties" => {
                let Value::Object(properties) = value else {
                    return Err(SchemaError { place, reason: "must be an object of schemas".to_owned() });
                };
                for (name, value) in properties {
                    let schema = compile(value, &format!("{place}.{name}"), depth + 1)?;
                    compiled.properties.insert(name.clone(), schema);
                }
            }
            "additionalProperties" => compiled.additional = Some(Box::new(inner(value)?)),
            "items" => compiled.items = Some(Box::new(inner(value)?)),
            "not" => compiled.not = Some(Box::new(inner(value)?)),
            "allOf" => compiled.all_of = list(value)?,
            "anyOf" => compiled.any_of = Some(list(value)?),
            "oneOf" => compiled.one_of = Some(list(value)?),
            "minProperties" => compiled.members.0 = Some(count(value, &place)?),
            "maxProperties" => compiled.members.1 = Some(count(value, &place)?),
            "minItems" => compiled.elements.0 = Some(count(value, &place)?),
            "maxItems" => compiled.elements.1 = Some(count(value, &place)?),
            "minLength" => compiled.characters.0 = Some(count(value, &place)?),
            "maxLength" => compiled.characters.1 = Some(count(value, &place)?),
            "minimum" => compiled.bounds.push((Bound::Least, number(value, &place)?)),
            "maximum" => compiled.bounds.push((Bound::Most, number(value, &place)?)),
            "exclusiveMinimum" => compiled.bounds.push((Bound::Above, number(value, &place)?)),
            "exclusiveMaximum" => compiled.bounds.push((Bound::Below, number(value, &place)?)),
            describing if DESCRIBING.contains(&describing) => {}
            _ => {
                let reason = "this keyword is not known here; leave it out or say it with another".to_owned();
                return Err(SchemaError { place, reason });
            }
        }
    }
    // Both together would say that a value is in the list and is the constant.
    if members.contains_key("enum") && members.contains_key("const") {
        return Err(wrong("use either enum or const"));
    }
    Ok(compiled)
}

fn schemas(value: &Value, place: &str, depth: usize) -> Result<Vec<Schema>, SchemaError> {
    array(value, place)?.iter().map(|one| compile(one, place, depth + 1)).collect()
}

fn types(value: &Value, place: &str) -> Result<Vec<Type>, SchemaError> {
    let names = match value {
        Value::String(name) => vec![name.clone()],
        other => texts(other, place)?,
    };
    let find = |name: &String| {
        let reason = format!("{name:?} is no type");
        Type::find(name).ok_or_else(|| SchemaError { place: place.to_owned(), reason })
    };
    names.iter().map(find).collect()
}

fn array<'a>(value: &'a Value, place: &str) -> Result<&'a Vec<Value>, SchemaError> {
    let reason =
        || SchemaError { place: place.to_owned(), reason: "must be a list that is not empty".to_owned() };
    value.as_array().filter(|values| !values.is_empty()).ok_or_else(reason)
}

fn texts(value: &Value, place: &str) -> Result<Vec<String>, SchemaError> {
    let reason = || SchemaError { place: place.to_owned(), reason: "must be a list of texts".to_owned() };
    let values = value.as_array().ok_or_else(reason)?;
    values.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(reason)).collect()
}

fn count(value: &Value, place: &str) -> Result<u64, SchemaError> {
    let reason =
        || SchemaError { place: place.to_owned(), reason: "must be a whole number from 0".to_owned() };
    value.as_u64().ok_or_else(reason)
}

fn number(value: &Value, place: &str) -> Result<Number, SchemaError> {
    let reason = || SchemaError { place: place.to_owned(), reason: "must be a number".to_owned() };
    value.as_number().cloned().ok_or_else(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Schema, what it accepts, what it does not: worked out by hand from the draft.
    #[test]
    fn keywords_mean_what_the_draft_says() {
        let table = [
            (json!(true), vec![json!({"a": 1})], vec![]),
            (json!(false), vec![], vec![json!({})]),
            (json!({"type": "integer"}), vec![json!(1), json!(1.0), json!(-3)], vec![json!(1.5), json!("1")]),
            (json!({"type": "number"}), vec![json!(1), json!(1.5)], vec![json!("1"), json!(null)]),
            (json!({"type": ["string", "null"]}), vec![json!("a"), json!(null)], vec![json!(1), json!([])]),
            (json!({"type": "boolean"}), vec![json!(true)], vec![json!(0), json!("true")]),
            (json!({"enum": ["a", 1]}), vec![json!("a"), json!(1.0)], vec![json!("b"), json!(true)]),
            (json!({"const": {"a": [1]}}), vec![json!({"a": [1.0]})], vec![json!({"a": [2]}), json!({})]),
            (json!({"required": ["a"]}), vec![json!({"a": null}), json!(5)], vec![json!({"b": 1})]),
            (
                json!({"properties": {"a": {"type": "string"}}, "additionalProperties": false}),
                vec![json!({}), json!({"a": "x"}), json!([1])],
                vec![json!({"a": 1}), json!({"b": 1})],
            ),
            (
                json!({"additionalProperties": {"type": "number"}}),
                vec![json!({"a": 1})],
                vec![json!({"a": "x"})],
            ),
            (json!({"minProperties": 1, "maxProperties": 2}), vec![json!({"a": 1})], vec![json!({})]),
            (json!({"items": {"type": "number"}}), vec![json!([]), json!([1])], vec![json!([1, "a"])]),
            (
                json!({"minItems": 1, "maxItems": 2}),
                vec![json!([1]), json!("x")],
                vec![json!([]), json!([1, 2, 3])],
            ),
            (
                json!({"minLength": 2, "maxLength": 3}),
                vec![json!("äö"), json!(1)],
                vec![json!("a"), json!("abcd")],
            ),
            (
                json!({"minimum": 1, "maximum": 2}),
                vec![json!(1), json!(2.0), json!("0")],
                vec![json!(0.9), json!(3)],
            ),
            (
                json!({"exclusiveMinimum": 1, "exclusiveMaximum": 2}),
                vec![json!(1.5)],
                vec![json!(1), json!(2)],
            ),
            (
                json!({"minimum": 9_007_199_254_740_993_i64}),
                vec![json!(9_007_199_254_740_993_i64)],
                vec![json!(9_007_199_254_740_992_i64)],
            ),
            (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), vec![json!(1)], vec![json!(0), json!(3)]),
            (
                json!({"anyOf": [{"type": "string"}, {"minimum": 5}]}),
                vec![json!("a"), json!(5)],
                vec![json!(4)],
            ),
            (json!({"oneOf": [{"minimum": 1}, {"minimum": 5}]}), vec![json!(1)], vec![json!(0), json!(5)]),
            (json!({"not": {"type": "null"}}), vec![json!(1)], vec![json!(null)]),
            (json!({"title": "t", "format": "email", "$schema": "x"}), vec![json!(1)], vec![]),
        ];
        for (schema, good, bad) in table {
            let compiled = Schema::compile(&schema).unwrap();
            for value in good {
                assert_eq!(compiled.violation(&value), None, "{schema} {value}");
            }
            for value in bad {
                assert!(compiled.violation(&value).is_some(), "{schema} {value}");
            }
        }
    }

    #[test]
    fn mistakes_in_schemas_are_named() {
        let table = [
            (json!(1), "the schema: a schema is"),
            (json!({"pattern": "a"}), "the schema.pattern: this keyword"),
            (json!({"properties": {"a": {"$ref": "#"}}}), "the schema.properties.a.$ref: this keyword"),
            (json!({"properties": []}), "the schema.properties: must be an object"),
            (json!({"type": "int"}), "\"int\" is no type"),
            (json!({"type": 1}), "list of texts"),
            (json!({"enum": []}), "not empty"),
            (json!({"anyOf": []}), "not empty"),
            (json!({"required": [1]}), "list of texts"),
            (json!({"minLength": -1}), "whole number"),
            (json!({"minimum": "1"}), "must be a number"),
            (json!({"enum": [1], "const": 1}), "either enum or const"),
        ];
        for (schema, reason) in table {
            let error = Schema::compile(&schema).unwrap_err().to_string();
            assert!(error.contains(reason), "{schema}: {error}");
        }
        let mut deep = json!({});
        for _ in 0..=DEPTH_MAX {
            deep = json!({"not": deep});
        }
        assert!(Schema::compile(&deep).unwrap_err().reason.contains("too deep"));
    }

    #[test]
    fn a_violation_says_where() {
        let schema = json!({"properties": {"products": {"items": {"required": ["sku"], "properties": {"price": {"minimum": 0}}}}}});
        let compiled = Schema::compile(&schema).unwrap();
        let said = |value: &Value| compiled.violation(value).unwrap().to_string();
        assert_eq!(said(&json!({"products": [{"sku": 1}, {}]})), "properties.products[1].sku is missing");
        assert_eq!(
            said(&json!({"products": [{"sku": 1, "price": -1}]})),
            "properties.products[0].price must be at least 0"
        );
    }
}
