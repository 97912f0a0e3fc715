//! The schema that is served, read once.

use super::compile;
use super::fault::Fault;
use super::input::MAX_ITEMS;
use super::names::Type;
use super::plan::Plan;
use apollo_compiler::collections::HashMap;
use apollo_compiler::parser::Parser;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::{JsonMap, JsonValue};
use apollo_compiler::schema::{ExtendedType, Implementers};
use apollo_compiler::validation::{DiagnosticList, Valid};
use apollo_compiler::{ExecutableDocument, Name, Schema, introspection};
use std::collections::BTreeMap;

/// The subset of the published schema, in our own words.
pub(crate) const TEXT: &str = include_str!("schema.graphql");

/// The longest document, in bytes. The longest of the platform's official starter has 4 kB.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 64 << 10;
/// The most words and signs of a document.
const MAX_TOKENS: usize = 12_000;
/// How deep brackets may be nested in a document. Checked before anything that calls itself reads it.
const MAX_NESTING: usize = 48;
/// The most errors of a document that are told.
const MAX_TOLD: usize = 5;

/// A schema and what is asked of it again and again.
pub(crate) struct Served {
    pub(crate) schema: Valid<Schema>,
    implementers: HashMap<Name, Implementers>,
    /// Of each type, by name: which concrete types a thing of it may be of.
    possible: BTreeMap<String, Vec<Type>>,
}

/// The schema cannot be read: a mistake of the build.
#[derive(Debug, thiserror::Error)]
#[error("the schema of the storefront cannot be read: {0}")]
pub struct SchemaError(String);

impl Served {
    /// Reads the schema.
    pub(crate) fn read() -> Result<Self, SchemaError> {
        let schema = Schema::parse_and_validate(TEXT, "schema.graphql");
        let schema = schema.map_err(|error| SchemaError(error.errors.to_string()))?;
        let implementers = schema.implementers_map();
        let mut possible = BTreeMap::new();
        for (name, of) in &schema.types {
            let names: Vec<&str> = match of {
                ExtendedType::Object(_) => vec![name.as_str()],
                ExtendedType::Interface(_) => {
                    let implementers = implementers.get(name);
                    implementers.map_or(Vec::new(), |all| all.objects.iter().map(Name::as_str).collect())
                }
                ExtendedType::Union(union) => union.members.iter().map(|member| member.as_str()).collect(),
                _ => continue,
            };
            possible.insert(name.as_str().to_owned(), names.into_iter().filter_map(Type::of).collect());
        }
        Ok(Self { schema, implementers, possible })
    }

    /// Which concrete types a thing of a type may be of.
    pub(crate) fn possible(&self, of: &str) -> &[Type] {
        self.possible.get(of).map_or(&[], Vec::as_slice)
    }

    /// Whether a thing of a concrete type is one of another.
    pub(crate) fn is_one(&self, of: Type, condition: &str) -> bool {
        of.text() == condition || self.possible(condition).contains(&of)
    }

    /// Reads, checks and compiles a document.
    pub(crate) fn plan(&self, text: &str) -> Result<Plan, Vec<Fault>> {
        within_bounds(text).map_err(|fault| vec![fault])?;
        let mut parser = Parser::new().recursion_limit(MAX_NESTING * 2).token_limit(MAX_TOKENS);
        let parsed =
            parser.parse_ast(text, "document").map_err(|error| told(&error.errors, "PARSE_FAILED"))?;
        let document = parsed.to_executable_validate(&self.schema);
        let document = document.map_err(|error| told(&error.errors, "INVALID_DOCUMENT"))?;
        compile::compile(self, text, document).map_err(|fault| vec![fault])
    }

    /// Answers the part of an operation that asks what can be asked: the answers by key, as JSON.
    pub(crate) fn introspect(
        &self,
        document: &Valid<ExecutableDocument>,
        operation: Option<&str>,
        variables: Option<&serde_json::Map<String, serde_json::Value>>,
    ) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
        let refused = |error: apollo_compiler::request::RequestError| {
            Fault::request("INVALID_REQUEST", error.message().to_string())
        };
        let operation = document.operations.get(operation).map_err(refused)?;
        introspection::check_max_depth(document, operation).map_err(refused)?;
        let mut given = JsonMap::new();
        for (name, value) in variables.into_iter().flatten().take(MAX_ITEMS) {
            // What these questions are given is a name or a yes: larger values are for the fields of the shop.
            let value = match value {
                serde_json::Value::String(text) => JsonValue::String(text.as_str().into()),
                serde_json::Value::Bool(yes) => JsonValue::Bool(*yes),
                _ => continue,
            };
            given.insert(name.as_str(), value);
        }
        let given = coerce_variable_values(&self.schema, operation, &given).map_err(refused)?;
        let answer =
            introspection::partial_execute(&self.schema, &self.implementers, document, operation, &given);
        let data = answer.map_err(refused)?.data.unwrap_or_default();
        let json = |value: &JsonValue| serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
        Ok(data.iter().map(|(key, value)| (key.as_str().to_owned(), json(value))).collect())
    }
}

/// Size and nesting, found without reading the grammar.
fn within_bounds(text: &str) -> Result<(), Fault> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let message = format!("the document has {} bytes: send {MAX_DOCUMENT_BYTES} at most", text.len());
        return Err(Fault::request("DOCUMENT_TOO_LARGE", message));
    }
    let (mut depth, mut deepest, mut quoted, mut comment, mut escaped) = (0_usize, 0, false, false, false);
    for byte in text.bytes() {
        match byte {
            b'\n' | b'\r' => (quoted, comment, escaped) = (false, false, false),
            _ if comment => {}
            _ if quoted && escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'#' => comment = true,
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if deepest > MAX_NESTING {
        let message = format!("the document nests {deepest} deep: {MAX_NESTING} is the most");
        return Err(Fault::request("MAX_DEPTH_EXCEEDED", message));
    }
    Ok(())
}

fn told(errors: &DiagnosticList, code: &'static str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for error in errors.iter().take(MAX_TOLD) {
        let place =
            error.line_column_range().map(|range| (range.start.line as u32, range.start.column as u32));
        faults.push(Fault::request(code, error.error.to_string()).at(place));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storefront::names;
    use std::collections::BTreeSet;

    #[test]
    fn the_numbered_names_are_those_of_the_schema() {
        let served = Served::read().unwrap();
        let (mut types, mut fields) = (BTreeSet::new(), BTreeSet::from(["__typename", "__schema", "__type"]));
        for (name, of) in served.schema.types.iter().filter(|(_, of)| !of.is_built_in()) {
            match of {
                ExtendedType::Object(object) => {
                    types.insert(name.as_str());
                    fields.extend(object.fields.keys().map(Name::as_str));
                }
                ExtendedType::Interface(one) => fields.extend(one.fields.keys().map(Name::as_str)),
                _ => {}
            }
        }
        assert_eq!(names::Type::ALL.iter().map(|one| one.text()).collect::<BTreeSet<_>>(), types);
        assert_eq!(names::Name::ALL.iter().map(|one| one.text()).collect::<BTreeSet<_>>(), fields);
        for name in names::Name::ALL {
            assert_eq!(names::Name::of(name.text()), Some(*name));
        }
    }

    #[test]
    fn nesting_is_counted_outside_of_texts_and_comments() {
        for (text, fits) in [
            ("{ a(b: \"{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{\") }".to_owned(), true),
            (format!("# {}\n{{ a }}", "{".repeat(100)), true),
            (format!("{{ a(b: \"\\\"\") {} }}", "{ a }".repeat(100)), true),
            ("{".repeat(MAX_NESTING), true),
            ("{".repeat(MAX_NESTING + 1), false),
            (format!("\"\"\"\n{}", "[".repeat(MAX_NESTING + 1)), false),
        ] {
            assert_eq!(within_bounds(&text).is_ok(), fits, "{text}");
        }
    }
}
