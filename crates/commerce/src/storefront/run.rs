//! Carrying a plan out: walks what is wanted and writes the answer as it goes.
//!
//! What is written is bounded: in fields, in bytes, and in errors. A field that fails is null, or where it must not be,
//! whatever it is in.

use super::context::Facts;
use super::fault::{Fault, MAX_ERRORS, Step};
use super::input::{Arg, Value};
use super::names::{Name, Type};
use super::output;
use super::plan::{Field, Selected};
use model::id::Timestamp;

/// The most fields that one answer has.
pub(crate) const MAX_FIELDS: usize = 100_000;
/// The longest answer, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 10 << 20;

/// Whether something was written.
pub(crate) type Written = Result<(), Stop>;

/// Why nothing was written. The error is noted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There is no value where there must be one: whatever it is in is null.
    Null,
    /// A bound is reached: nothing more is answered.
    End,
}

/// An answer in the making.
pub(crate) struct Run<'a> {
    /// What is written so far.
    pub(crate) out: Vec<u8>,
    /// What went wrong so far.
    pub(crate) faults: Vec<Fault>,
    /// What the request is answered from.
    pub(crate) facts: &'a Facts<'a>,
    variables: &'a [Option<Value>],
    path: Vec<At<'a>>,
    fields_left: usize,
}

#[derive(Clone, Copy)]
enum At<'a> {
    Field(&'a Field),
    Index(usize),
}

impl<'a> Run<'a> {
    /// Nothing yet.
    pub(crate) fn new(facts: &'a Facts<'a>, variables: &'a [Option<Value>]) -> Self {
        let out = Vec::with_capacity(4_096);
        Self {
            out,
            faults: Vec::new(),
            facts,
            variables,
            path: Vec::with_capacity(16),
            fields_left: MAX_FIELDS,
        }
    }

    /// An argument of a field.
    pub(crate) fn arg(&self, field: &'a Field, name: &str) -> Arg<'a> {
        let value = field.arguments.iter().find(|(one, _)| one == name).map(|(_, value)| value);
        Arg::new(value, self.variables)
    }

    /// Writes what is wanted of a thing of a type. `answer` writes one field.
    pub(crate) fn object(
        &mut self,
        of: Type,
        selected: &'a Selected,
        answer: impl FnMut(&mut Self, &'a Field) -> Written,
    ) -> Written {
        self.fields(of, selected.of(of), answer)
    }

    /// The same for fields that are known already.
    pub(crate) fn fields(
        &mut self,
        of: Type,
        fields: &'a [Field],
        mut answer: impl FnMut(&mut Self, &'a Field) -> Written,
    ) -> Written {
        self.out.push(b'{');
        let mut first = true;
        for field in fields {
            if !field.holds(self.variables) {
                continue;
            }
            if !first {
                self.out.push(b',');
            }
            first = false;
            self.out.extend_from_slice(&field.written);
            if field.name == Name::Typename {
                output::text(&mut self.out, of.text());
                continue;
            }
            self.field(field, &mut answer)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn field(
        &mut self,
        field: &'a Field,
        answer: &mut impl FnMut(&mut Self, &'a Field) -> Written,
    ) -> Written {
        let start = self.out.len();
        self.path.push(At::Field(field));
        let written = self.spend().and_then(|()| self.checked(field)).and_then(|()| answer(self, field));
        self.path.pop();
        match written {
            Err(Stop::Null) if field.nullable => {
                self.out.truncate(start);
                self.null()
            }
            other => other,
        }
    }

    /// Variables that may be null must not be where there has to be a value.
    fn checked(&mut self, field: &'a Field) -> Written {
        for index in &field.required {
            let Some((name, value)) = field.arguments.get(*index) else { continue };
            if !Arg::new(Some(value), self.variables).is_given() {
                return self.fail("INVALID_ARGUMENT", format!("the argument {name} must not be null"));
            }
        }
        Ok(())
    }

    fn spend(&mut self) -> Written {
        match self.fields_left.checked_sub(1) {
            Some(left) if self.out.len() <= MAX_ANSWER_BYTES => {
                self.fields_left = left;
                Ok(())
            }
            _ => {
                let message = format!(
                    "the answer is longer than {MAX_FIELDS} fields or {MAX_ANSWER_BYTES} bytes: ask for less"
                );
                self.faults.clear();
                self.note("MAX_COST_EXCEEDED", message);
                Err(Stop::End)
            }
        }
    }

    /// Writes a list.
    pub(crate) fn list<T>(
        &mut self,
        field: &'a Field,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Written,
    ) -> Written {
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let start = self.out.len();
            self.path.push(At::Index(index));
            let written = self.spend().and_then(|()| write(self, item));
            self.path.pop();
            match written {
                Err(Stop::Null) if field.items_nullable => {
                    self.out.truncate(start);
                    self.null()?;
                }
                other => other?,
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// A list of nothing.
    pub(crate) fn none(&mut self) -> Written {
        self.out.extend_from_slice(b"[]");
        Ok(())
    }

    /// Notes that the field at hand cannot be answered.
    pub(crate) fn fail(&mut self, code: &'static str, message: impl Into<String>) -> Written {
        self.note(code, message);
        Err(Stop::Null)
    }

    /// A field that nobody answers: a mistake of ours, and a test looks for it.
    pub(crate) fn unanswered(&mut self, of: Type, field: &Field) -> Written {
        self.fail("INTERNAL", format!("{}.{} is not answered", of.text(), field.name.text()))
    }

    fn note(&mut self, code: &'static str, message: impl Into<String>) {
        if self.faults.len() >= MAX_ERRORS {
            return;
        }
        let step = |at: &At<'_>| match at {
            At::Field(field) => Step::Key(field.key.clone()),
            At::Index(index) => Step::Index(*index),
        };
        let location = self.path.iter().rev().find_map(|at| match at {
            At::Field(field) => field.location,
            At::Index(_) => None,
        });
        let path = self.path.iter().map(step).collect();
        self.faults.push(Fault { code, message: message.into(), location, path });
    }

    /// Writes nothing, on purpose.
    pub(crate) fn null(&mut self) -> Written {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, text: &str) -> Written {
        output::text(&mut self.out, text);
        Ok(())
    }

    /// Writes a text if there is one.
    pub(crate) fn text_if(&mut self, text: Option<&str>) -> Written {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// Writes a text unless it is empty.
    pub(crate) fn filled(&mut self, text: &str) -> Written {
        self.text_if(Some(text).filter(|text| !text.is_empty()))
    }

    /// Writes a whole number.
    pub(crate) fn int(&mut self, number: i64) -> Written {
        output::int(&mut self.out, number);
        Ok(())
    }

    /// Writes yes or no.
    pub(crate) fn bool(&mut self, yes: bool) -> Written {
        self.out.extend_from_slice(if yes { b"true" } else { b"false" });
        Ok(())
    }

    /// Writes an instant.
    pub(crate) fn instant(&mut self, at: Timestamp) -> Written {
        output::instant(&mut self.out, at);
        Ok(())
    }

    /// Writes the public id of the thing with a number.
    pub(crate) fn id(&mut self, kind: &str, number: u64) -> Written {
        self.out.extend_from_slice(b"\"gid://shopify/");
        self.out.extend_from_slice(kind.as_bytes());
        self.out.push(b'/');
        output::int(&mut self.out, i64::try_from(number).unwrap_or(i64::MAX));
        self.out.push(b'"');
        Ok(())
    }

    /// Writes an amount in a currency.
    pub(crate) fn money(&mut self, field: &'a Field, minor: i64, currency: [u8; 3]) -> Written {
        self.object(Type::MoneyV2, &field.selected, |run, field| match field.name {
            Name::Amount => {
                output::amount(&mut run.out, minor, model::money::exponent(currency));
                Ok(())
            }
            Name::CurrencyCode => run.text(std::str::from_utf8(&currency).unwrap_or("XXX")),
            _ => run.unanswered(Type::MoneyV2, field),
        })
    }

    /// Writes an amount in the market's currency.
    pub(crate) fn price(&mut self, field: &'a Field, minor: i64) -> Written {
        let currency = self.facts.currency;
        self.money(field, minor, currency)
    }
}

/// What a plan may come to, in fields: whatever is wanted of a page is counted as often as the page is long.
pub(crate) fn cost(fields: &[Field], variables: &[Option<Value>]) -> usize {
    fields.iter().fold(0, |sum: usize, field| {
        if !field.holds(variables) {
            return sum;
        }
        let page = |name: &str| {
            let value = field.arguments.iter().find(|(one, _)| one == name).map(|(_, value)| value);
            Arg::new(value, variables).int().and_then(|size| usize::try_from(size).ok())
        };
        let times = if field.paged { page("first").max(page("last")).unwrap_or(1).max(1) } else { 1 };
        let inside = field.selected.iter().map(|(_, fields)| cost(fields, variables)).max().unwrap_or(0);
        sum.saturating_add(1).saturating_add(inside.saturating_mul(times))
    })
}
