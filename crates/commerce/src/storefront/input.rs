//! Values that come in: as a document spells them, and as a request's variables state them.

use super::fault::Fault;
use apollo_compiler::Schema;
use apollo_compiler::ast;
use apollo_compiler::schema::ExtendedType;
use serde_json::Value as Json;

/// The most items of one list that is sent in, as on the platform whose API this is.
pub(crate) const MAX_ITEMS: usize = 250;
/// The longest text that is sent in, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// A value. Names of enumerations are text: the schema has said which they may be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing, said on purpose.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text, an id, or a name of an enumeration.
    Text(String),
    /// Several.
    List(Vec<Self>),
    /// Named ones.
    Object(Vec<(String, Self)>),
    /// Whatever the request states for the variable with this index.
    Variable(usize),
}

/// A variable of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// Its name, without the dollar.
    pub(crate) name: String,
    /// Its type.
    pub(crate) of: ast::Type,
    /// What it is unless the request says otherwise.
    pub(crate) default: Option<Value>,
}

/// The value of an argument, looked through variables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arg<'a> {
    value: Option<&'a Value>,
    variables: &'a [Option<Value>],
}

impl<'a> Arg<'a> {
    /// Of a value that may name variables.
    pub(crate) fn new(value: Option<&'a Value>, variables: &'a [Option<Value>]) -> Self {
        let value = match value {
            Some(Value::Variable(index)) => variables.get(*index).and_then(Option::as_ref),
            other => other,
        };
        Self { value, variables }
    }

    /// Whether there is a value. Null counts as none.
    pub(crate) fn is_given(self) -> bool {
        !matches!(self.value, None | Some(Value::Null))
    }

    /// Whether null was said on purpose.
    pub(crate) fn is_null(self) -> bool {
        matches!(self.value, Some(Value::Null))
    }

    /// A text, an id or a name.
    pub(crate) fn text(self) -> Option<&'a str> {
        match self.value {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) fn int(self) -> Option<i64> {
        match self.value {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number.
    pub(crate) fn float(self) -> Option<f64> {
        match self.value {
            Some(Value::Int(number)) => Some(*number as f64),
            Some(Value::Float(number)) => Some(*number),
            _ => None,
        }
    }

    /// Yes or no.
    pub(crate) fn bool(self) -> Option<bool> {
        match self.value {
            Some(Value::Bool(yes)) => Some(*yes),
            _ => None,
        }
    }

    /// The items. One that is no list is a list of itself, as GraphQL says; none for null.
    pub(crate) fn list(self) -> impl ExactSizeIterator<Item = Self> {
        let items = match self.value {
            Some(Value::List(items)) => items.as_slice(),
            None | Some(Value::Null) => &[],
            Some(one) => std::slice::from_ref(one),
        };
        items.iter().map(move |item| Self::new(Some(item), self.variables))
    }

    /// A field of an object.
    pub(crate) fn field(self, name: &str) -> Self {
        let value = match self.value {
            Some(Value::Object(fields)) => fields.iter().find(|(one, _)| one == name).map(|(_, value)| value),
            _ => None,
        };
        Self::new(value, self.variables)
    }
}

/// A value as the document spells it. `variables` are those of the operation, by name.
pub(crate) fn spelled(value: &ast::Value, variables: &[Variable]) -> Result<Value, Fault> {
    Ok(match value {
        ast::Value::Null => Value::Null,
        ast::Value::Boolean(yes) => Value::Bool(*yes),
        ast::Value::Enum(name) => Value::Text(name.as_str().to_owned()),
        ast::Value::String(text) => Value::Text(text.clone()),
        ast::Value::Int(number) => match number.as_str().parse() {
            Ok(number) => Value::Int(number),
            Err(_) => return Err(Fault::request("INVALID_VALUE", "a whole number is out of range")),
        },
        ast::Value::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            _ => return Err(Fault::request("INVALID_VALUE", "a number is out of range")),
        },
        ast::Value::Variable(name) => {
            let index = variables.iter().position(|one| one.name == name.as_str());
            Value::Variable(index.ok_or_else(|| Fault::request("INTERNAL", "a variable is not known"))?)
        }
        ast::Value::List(items) => {
            bounded(items.len())?;
            Value::List(items.iter().map(|item| spelled(item, variables)).collect::<Result<_, _>>()?)
        }
        ast::Value::Object(fields) => {
            let field = |(name, value): &(apollo_compiler::Name, apollo_compiler::Node<ast::Value>)| {
                Ok((name.as_str().to_owned(), spelled(value, variables)?))
            };
            Value::Object(fields.iter().map(field).collect::<Result<_, Fault>>()?)
        }
    })
}

/// The values of an operation's variables. What the request states for others is passed over, as GraphQL says.
pub(crate) fn stated(
    schema: &Schema,
    variables: &[Variable],
    given: Option<&serde_json::Map<String, Json>>,
) -> Result<Vec<Option<Value>>, Fault> {
    let one = |variable: &Variable| {
        let value = match (given.and_then(|given| given.get(&variable.name)), &variable.default) {
            (Some(json), _) => coerced(schema, &variable.of, json, &mut format!("${}", variable.name))?,
            (None, Some(default)) => default.clone(),
            (None, None) if variable.of.is_non_null() => {
                let message =
                    format!("variable ${} is missing: it is of type {}", variable.name, variable.of);
                return Err(Fault::request("INVALID_VARIABLE", message));
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(value))
    };
    variables.iter().map(one).collect()
}

/// A value of a type. `at` says where it stands.
fn coerced(schema: &Schema, of: &ast::Type, json: &Json, at: &mut String) -> Result<Value, Fault> {
    if json.is_null() {
        return match of.is_non_null() {
            true => Err(wrong(at, of, "null")),
            false => Ok(Value::Null),
        };
    }
    match of {
        ast::Type::List(item) | ast::Type::NonNullList(item) => {
            let Json::Array(items) = json else {
                return Ok(Value::List(vec![coerced(schema, item, json, at)?]));
            };
            bounded(items.len())?;
            let length = at.len();
            let mut list = Vec::with_capacity(items.len());
            for (index, json) in items.iter().enumerate() {
                at.push_str(&format!(".{index}"));
                list.push(coerced(schema, item, json, at)?);
                at.truncate(length);
            }
            Ok(Value::List(list))
        }
        ast::Type::Named(name) | ast::Type::NonNullNamed(name) => match schema.types.get(name.as_str()) {
            Some(ExtendedType::InputObject(object)) => input_object(schema, object, of, json, at),
            Some(ExtendedType::Enum(values)) => match json.as_str() {
                Some(text) if values.values.contains_key(text) => Ok(Value::Text(text.to_owned())),
                _ => Err(wrong(at, of, "another value")),
            },
            _ => scalar(name.as_str(), json).ok_or_else(|| wrong(at, of, kind(json))),
        },
    }
}

fn input_object(
    schema: &Schema,
    object: &apollo_compiler::schema::InputObjectType,
    of: &ast::Type,
    json: &Json,
    at: &mut String,
) -> Result<Value, Fault> {
    let Json::Object(given) = json else {
        return Err(wrong(at, of, kind(json)));
    };
    // Its own names are listed, not the sender's: those may be anything.
    if given.keys().any(|name| !object.fields.contains_key(name.as_str())) {
        let known: Vec<&str> = object.fields.keys().map(|name| name.as_str()).collect();
        let message =
            format!("{at} has a field that {} does not have: it has {}", object.name, known.join(", "));
        return Err(Fault::request("INVALID_VARIABLE", message));
    }
    let length = at.len();
    let mut fields = Vec::with_capacity(given.len());
    for (name, definition) in &object.fields {
        at.push('.');
        at.push_str(name.as_str());
        match (given.get(name.as_str()), &definition.default_value) {
            (Some(json), _) => {
                fields.push((name.as_str().to_owned(), coerced(schema, &definition.ty, json, at)?));
            }
            (None, Some(default)) => fields.push((name.as_str().to_owned(), spelled(default, &[])?)),
            (None, None) if definition.ty.is_non_null() => return Err(wrong(at, &definition.ty, "nothing")),
            (None, None) => {}
        }
        at.truncate(length);
    }
    Ok(Value::Object(fields))
}

fn scalar(name: &str, json: &Json) -> Option<Value> {
    match (name, json) {
        ("Boolean", Json::Bool(yes)) => Some(Value::Bool(*yes)),
        ("Int", Json::Number(number)) => {
            // 3.0 is a whole number in JSON as senders write it.
            let whole = number.as_i64().or_else(|| {
                let float = number.as_f64()?;
                (float.fract() == 0.0 && float.abs() < 1e9).then_some(float as i64)
            })?;
            i32::try_from(whole).ok().map(|whole| Value::Int(whole.into()))
        }
        ("Float", Json::Number(number)) => number.as_f64().map(Value::Float),
        ("ID", Json::Number(number)) => number.as_i64().map(|number| Value::Text(number.to_string())),
        ("Int" | "Float" | "Boolean", _) => None,
        (_, Json::String(text)) if text.len() <= MAX_TEXT_BYTES => Some(Value::Text(text.clone())),
        // Decimals and large numbers are text here; a sender may spell them as numbers.
        ("Decimal" | "UnsignedInt64", Json::Number(number)) => Some(Value::Text(number.to_string())),
        _ => None,
    }
}

fn bounded(items: usize) -> Result<(), Fault> {
    if items <= MAX_ITEMS {
        return Ok(());
    }
    let message = format!("a list has {items} items: send {MAX_ITEMS} at most");
    Err(Fault::request("MAX_INPUT_SIZE_EXCEEDED", message))
}

fn wrong(at: &str, of: &ast::Type, given: &str) -> Fault {
    Fault::request("INVALID_VARIABLE", format!("{at} has to be of type {of}: it is {given}"))
}

/// What a value is, without saying it: it may be personal.
fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number that does not fit",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
