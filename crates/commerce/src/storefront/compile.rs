//! From a valid document to a [`Plan`]: fragments are opened and fields of one name merged, for every type that may be met.

use super::fault::Fault;
use super::input::{Value, Variable, spelled};
use super::names::{Name, Type};
use super::output;
use super::plan::{Condition, Conditions, Field, Operation, Plan, Selected};
use super::served::Served;
use apollo_compiler::ast;
use apollo_compiler::executable::{self, Selection, SelectionSet};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Node};
use std::collections::{BTreeMap, BTreeSet};

/// How deep an answer may be nested.
const MAX_DEPTH: usize = 24;
/// How many fields and fragments may be looked at, with fragments opened wherever they are used.
const MAX_STEPS: usize = 20_000;
/// The most operations of a document.
const MAX_OPERATIONS: usize = 20;
/// The most variables of an operation.
const MAX_VARIABLES: usize = 250;
/// The most questions about the schema itself in one document, with fragments opened wherever they are used. The usual
/// question of tools has about 150.
const MAX_INTROSPECTION_FIELDS: usize = 400;
/// What a field takes in memory, roughly.
const FIELD_BYTES: usize = 300;

/// Compiles a document.
pub(crate) fn compile(
    served: &Served,
    text: &str,
    document: Valid<ExecutableDocument>,
) -> Result<Plan, Fault> {
    let mut compiler = Compiler {
        served,
        document: &document,
        variables: Vec::new(),
        lines: lines(text),
        steps: 0,
        asked: 0,
    };
    if document.operations.len() > MAX_OPERATIONS {
        let message = format!("the document has more than {MAX_OPERATIONS} operations");
        return Err(Fault::request("DOCUMENT_TOO_LARGE", message));
    }
    let mut operations = Vec::new();
    for operation in document.operations.iter() {
        operations.push(compiler.operation(operation)?);
    }
    let weight_bytes = text.len() * 2 + compiler.steps * FIELD_BYTES;
    let asked = compiler.asked > 0;
    if asked {
        for operation in &mut operations {
            operation.introspection = Some(Box::new(document.clone()));
        }
    }
    Ok(Plan { operations, weight_bytes })
}

struct Compiler<'a> {
    served: &'a Served,
    document: &'a ExecutableDocument,
    variables: Vec<Variable>,
    /// Where lines begin.
    lines: Vec<usize>,
    steps: usize,
    asked: usize,
}

/// Fields that are wanted under some conditions.
struct Part<'a> {
    set: &'a SelectionSet,
    conditions: Conditions,
}

/// Where a name occurs, and under which conditions.
type Occurrences<'a> = Vec<(Conditions, &'a Node<executable::Field>)>;

/// All occurrences of a name in the answer.
#[derive(Default)]
struct Gathered<'a> {
    order: Vec<(&'a str, Occurrences<'a>)>,
    places: BTreeMap<&'a str, usize>,
    opened: BTreeSet<(&'a str, Conditions)>,
}

impl<'a> Compiler<'a> {
    fn operation(&mut self, operation: &'a executable::Operation) -> Result<Operation, Fault> {
        let is_mutation = operation.operation_type.is_mutation();
        let root = if is_mutation { Type::Mutation } else { Type::QueryRoot };
        if operation.variables.len() > MAX_VARIABLES {
            let message = format!("an operation has more than {MAX_VARIABLES} variables");
            return Err(Fault::request("DOCUMENT_TOO_LARGE", message));
        }
        let variable = |one: &Node<ast::VariableDefinition>| {
            let default = one.default_value.as_ref().map(|value| spelled(value, &[])).transpose()?;
            Ok(Variable { name: one.name.as_str().to_owned(), of: (*one.ty).clone(), default })
        };
        self.variables = operation.variables.iter().map(variable).collect::<Result<_, Fault>>()?;
        let context = operation.directives.get("inContext");
        let said = |name: &str| {
            let value = context.and_then(|context| context.specified_argument_by_name(name));
            value.map(|value| spelled(value, &self.variables)).transpose()
        };
        let (country, language) = (said("country")?, said("language")?);
        let part = Part { set: &operation.selection_set, conditions: Vec::new() };
        let root = self.fields(vec![part], root, 0)?;
        Ok(Operation {
            name: operation.name.as_ref().map(|name| name.as_str().to_owned()),
            is_mutation,
            variables: std::mem::take(&mut self.variables),
            country,
            language,
            root,
            introspection: None,
        })
    }

    fn fields(&mut self, parts: Vec<Part<'a>>, of: Type, depth: usize) -> Result<Vec<Field>, Fault> {
        if depth > MAX_DEPTH {
            let message = format!("the answer would nest more than {MAX_DEPTH} deep: ask for less at once");
            return Err(Fault::request("MAX_DEPTH_EXCEEDED", message));
        }
        let mut gathered = Gathered::default();
        for part in &parts {
            self.gather(&mut gathered, &part.set.selections, &part.conditions, of)?;
        }
        let mut fields = Vec::with_capacity(gathered.order.len());
        for (key, occurrences) in gathered.order {
            fields.push(self.field(key, occurrences, depth)?);
        }
        Ok(fields)
    }

    /// Finds what is wanted of a type, in the order of the document.
    fn gather(
        &mut self,
        gathered: &mut Gathered<'a>,
        selections: &'a [Selection],
        outer: &Conditions,
        of: Type,
    ) -> Result<(), Fault> {
        for selection in selections {
            self.step()?;
            let directives = match selection {
                Selection::Field(field) => &field.directives,
                Selection::FragmentSpread(spread) => &spread.directives,
                Selection::InlineFragment(inline) => &inline.directives,
            };
            let Some(conditions) = self.conditions(directives, outer) else { continue };
            match selection {
                Selection::Field(field) => {
                    let key = field.response_key().as_str();
                    let next = gathered.order.len();
                    let place = *gathered.places.entry(key).or_insert(next);
                    match gathered.order.get_mut(place) {
                        Some((_, occurrences)) => occurrences.push((conditions, field)),
                        None => gathered.order.push((key, vec![(conditions, field)])),
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = self.document.fragments.get(&spread.fragment_name) else { continue };
                    let is_new = gathered.opened.insert((spread.fragment_name.as_str(), conditions.clone()));
                    if is_new && self.served.is_one(of, fragment.type_condition().as_str()) {
                        self.gather(gathered, &fragment.selection_set.selections, &conditions, of)?;
                    }
                }
                Selection::InlineFragment(inline) => {
                    let condition = inline.type_condition.as_ref();
                    if condition.is_none_or(|condition| self.served.is_one(of, condition.as_str())) {
                        self.gather(gathered, &inline.selection_set.selections, &conditions, of)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        key: &'a str,
        occurrences: Vec<(Conditions, &'a Node<executable::Field>)>,
        depth: usize,
    ) -> Result<Field, Fault> {
        let Some((_, first)) = occurrences.first() else {
            return Err(Fault::request("INTERNAL", "a field has no place"));
        };
        let first = *first;
        let Some(name) = Name::of(first.name.as_str()) else {
            return Err(Fault::request("INTERNAL", format!("the field {} has no number", first.name)));
        };
        let of = first.ty();
        let inner = of.inner_named_type().as_str();
        let selected = if matches!(name, Name::Schema | Name::TypeOf) {
            self.asks(&first.selection_set, &mut BTreeSet::new())?;
            Selected::default()
        } else {
            self.selected(&occurrences, inner, depth)?
        };
        let mut required = Vec::new();
        let mut arguments = Vec::with_capacity(first.arguments.len());
        for argument in &first.arguments {
            let value = spelled(&argument.value, &self.variables)?;
            let definition = first.definition.argument_by_name(argument.name.as_str());
            if matches!(value, Value::Variable(_)) && definition.is_some_and(|one| one.ty.is_non_null()) {
                required.push(arguments.len());
            }
            arguments.push((argument.name.as_str().to_owned(), value));
        }
        let unconditional = occurrences.iter().any(|(conditions, _)| conditions.is_empty());
        let mut conditions: Vec<Conditions> = match unconditional {
            true => Vec::new(),
            false => occurrences.iter().map(|(conditions, _)| conditions.clone()).collect(),
        };
        conditions.dedup();
        let mut written = Vec::with_capacity(key.len() + 3);
        output::text(&mut written, key);
        written.push(b':');
        Ok(Field {
            name,
            key: key.to_owned(),
            written,
            conditions,
            arguments,
            required,
            nullable: !of.is_non_null(),
            items_nullable: of.is_list() && !of.item_type().is_non_null(),
            paged: inner.ends_with("Connection"),
            selected,
            location: first.location().map(|span| self.place(span.offset())),
        })
    }

    fn selected(
        &mut self,
        occurrences: &[(Conditions, &'a Node<executable::Field>)],
        inner: &str,
        depth: usize,
    ) -> Result<Selected, Fault> {
        // Where all occurrences have the same conditions, the field has them; else each brings its own down with it.
        let same = occurrences.windows(2).all(|pair| match pair {
            [(one, _), (other, _)] => one == other,
            _ => true,
        });
        let mut of = Vec::new();
        for concrete in self.served.possible(inner).to_vec() {
            let part = |(conditions, field): &(Conditions, &'a Node<executable::Field>)| Part {
                set: &field.selection_set,
                conditions: if same { Vec::new() } else { conditions.clone() },
            };
            let parts = occurrences.iter().map(part).collect();
            of.push((concrete, self.fields(parts, concrete, depth + 1)?));
        }
        Ok(Selected::new(of))
    }

    /// What `@skip` and `@include` ask for, on top of what is asked for already. `None` where it can never hold.
    fn conditions(&self, directives: &executable::DirectiveList, outer: &Conditions) -> Option<Conditions> {
        let mut conditions = outer.clone();
        for (name, wanted) in [("skip", false), ("include", true)] {
            let Some(directive) = directives.get(name) else { continue };
            match directive.specified_argument_by_name("if").map(|value| &**value) {
                Some(ast::Value::Boolean(yes)) if *yes != wanted => return None,
                Some(ast::Value::Variable(name)) => {
                    let variable = self.variables.iter().position(|one| one.name == name.as_str())?;
                    conditions.push(Condition { variable, wanted });
                }
                _ => {}
            }
        }
        conditions.sort_unstable();
        conditions.dedup();
        Some(conditions)
    }

    /// Counts what is asked about the schema itself.
    fn asks(&mut self, set: &'a SelectionSet, within: &mut BTreeSet<&'a str>) -> Result<(), Fault> {
        for selection in &set.selections {
            self.asked += 1;
            if self.asked > MAX_INTROSPECTION_FIELDS {
                let message =
                    format!("more than {MAX_INTROSPECTION_FIELDS} questions about the schema at once");
                return Err(Fault::request("MAX_COST_EXCEEDED", message));
            }
            match selection {
                Selection::Field(field) => self.asks(&field.selection_set, within)?,
                Selection::InlineFragment(inline) => self.asks(&inline.selection_set, within)?,
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name.as_str();
                    if let Some(fragment) = self.document.fragments.get(name).filter(|_| within.insert(name))
                    {
                        self.asks(&fragment.selection_set, within)?;
                        within.remove(name);
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps <= MAX_STEPS {
            return Ok(());
        }
        let message = format!("with its fragments opened, the document has more than {MAX_STEPS} fields");
        Err(Fault::request("MAX_COST_EXCEEDED", message))
    }

    /// Line and column, from one, of a byte of the document.
    fn place(&self, offset: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line as u32, (offset - start + 1) as u32)
    }
}

/// Where lines begin.
fn lines(text: &str) -> Vec<usize> {
    let behind = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(behind).collect()
}
