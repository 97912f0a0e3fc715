//! What a document comes to, once it was found to be valid: for each type that may be met, which fields in which order.
//!
//! Fragments are opened, fields of one name are merged, names are numbers and keys are bytes that only have to be copied.
//! A plan knows nothing of a request, so it is kept and used again ([`super::plans`]).

use super::input::{Value, Variable};
use super::names::{Name, Type};
use apollo_compiler::ExecutableDocument;
use apollo_compiler::validation::Valid;

/// A document, ready to be carried out.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Its operations.
    pub(crate) operations: Vec<Operation>,
    /// About how many bytes it takes.
    pub(crate) weight_bytes: usize,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its name, if it has one.
    pub(crate) name: Option<String>,
    /// Whether it changes something.
    pub(crate) is_mutation: bool,
    /// Its variables.
    pub(crate) variables: Vec<Variable>,
    /// The country of `@inContext`.
    pub(crate) country: Option<Value>,
    /// The language of `@inContext`.
    pub(crate) language: Option<Value>,
    /// The fields at the top.
    pub(crate) root: Vec<Field>,
    /// The document, where it asks what can be asked.
    pub(crate) introspection: Option<Box<Valid<ExecutableDocument>>>,
}

/// A field to be answered.
#[derive(Debug)]
pub(crate) struct Field {
    /// Which.
    pub(crate) name: Name,
    /// What the answer calls it.
    pub(crate) key: String,
    /// The same as it is written: in quotes, with the colon.
    pub(crate) written: Vec<u8>,
    /// It is answered if one of these holds, or if there are none.
    pub(crate) conditions: Vec<Conditions>,
    /// What it is given.
    pub(crate) arguments: Vec<(String, Value)>,
    /// Arguments that have to be there, and are variables that may be null.
    pub(crate) required: Vec<usize>,
    /// Whether null is an answer.
    pub(crate) nullable: bool,
    /// Whether null is an item of its list.
    pub(crate) items_nullable: bool,
    /// Whether it is a page of a list, so that what is in it may be asked for many times.
    pub(crate) paged: bool,
    /// What is wanted of it.
    pub(crate) selected: Selected,
    /// Where it stands in the document.
    pub(crate) location: Option<(u32, u32)>,
}

/// All of these have to hold.
pub(crate) type Conditions = Vec<Condition>;

/// A variable, and what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Condition {
    /// The variable.
    pub(crate) variable: usize,
    /// What it has to be.
    pub(crate) wanted: bool,
}

/// The fields wanted of a thing, by its type.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    of: Vec<(Type, Vec<Field>)>,
}

impl Selected {
    /// The fields of the types that it may be.
    pub(crate) fn new(of: Vec<(Type, Vec<Field>)>) -> Self {
        Self { of }
    }

    /// The fields wanted of a thing of this type.
    pub(crate) fn of(&self, of: Type) -> &[Field] {
        self.of.iter().find(|(one, _)| *one == of).map_or(&[], |(_, fields)| fields)
    }

    /// The fields, by type.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Type, Vec<Field>)> {
        self.of.iter()
    }
}

impl Field {
    /// Whether it is answered with these variables.
    pub(crate) fn holds(&self, variables: &[Option<Value>]) -> bool {
        let one = |condition: &Condition| {
            variables.get(condition.variable) == Some(&Some(Value::Bool(condition.wanted)))
        };
        self.conditions.is_empty() || self.conditions.iter().any(|all| all.iter().all(one))
    }
}

impl Plan {
    /// The operation of a name, or the only one.
    pub(crate) fn operation(&self, name: Option<&str>) -> Option<&Operation> {
        match name {
            Some(name) => self.operations.iter().find(|one| one.name.as_deref() == Some(name)),
            None => match self.operations.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        }
    }
}
