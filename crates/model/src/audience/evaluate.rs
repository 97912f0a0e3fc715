//! Who is in, until when that is sure, and why.

use crate::audience::definition::DefinitionId;
use crate::audience::program::{At, Leaf, Node, Program, Run, Source};
use crate::audience::rulebook::Rulebook;
use crate::feature::{FeatureId, FeatureStates, Value};
use crate::id::Timestamp;

/// What a rule can know of a person.
pub trait Person {
    /// The feature states of the nodes: of number 0, 1, … until there is none. The order is nothing.
    fn features(&self, index: usize) -> Option<&FeatureStates>;
    /// The value of a trait, as JSON.
    fn stated(&self, name: &str) -> Option<&[u8]>;
    /// Whether consent to a category stands.
    fn consents(&self, category: &str) -> bool;
    /// Whether the person is in another audience.
    fn is_member(&self, audience: DefinitionId) -> bool;
}

/// What a rule says of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In or not.
    pub member: bool,
    /// Before this instant time alone cannot change that; [`crate::feature::NEVER`] if it never can. At it the rule
    /// is to be evaluated again, which may find that nothing changed.
    pub next_change: Timestamp,
}

/// Which conditions of a rule hold: a bit for each, in the order of the text. Kept with a membership, it tells later
/// which condition made it change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms(pub u64);

/// One condition of a rule, or one side of `&&`, `||`, `!` over conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// How deep it lies; 0 is the whole rule.
    pub depth: usize,
    /// Its text.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// Its number among the rule's conditions; `None` for what combines them.
    pub term: Option<u32>,
    /// What the parts of the condition come to: their text and value.
    pub values: Vec<(String, String)>,
    /// Before this instant time alone cannot change it.
    pub next_change: Timestamp,
    /// Whether it held before, where that is known and different: what flipped.
    pub flipped: bool,
}

impl Rulebook {
    /// The value of a feature for a person at log time `now`, and an instant before which time alone cannot change it.
    /// `None` if there is no such feature.
    pub fn value<'p>(
        &self,
        feature: FeatureId,
        person: &'p impl Person,
        now: Timestamp,
    ) -> Option<(Value<'p>, Timestamp)> {
        let slot = self.feature(feature)?;
        let nodes = (0..).map_while(|index| person.features(index));
        let (gathered, next) = crate::feature::read(slot, nodes, now);
        Some((gathered.value(slot.feature.aggregation), next))
    }

    /// Whether a person is in an audience at log time `now`. `None` if there is no such audience.
    pub fn evaluate(&self, audience: DefinitionId, person: &impl Person, now: Timestamp) -> Option<Verdict> {
        let program = self.program(audience)?;
        let source = OfPerson(person);
        let (member, next_change) = Run { program, source: &source, now }.truth(program.root);
        Some(Verdict { member, next_change })
    }

    /// Which conditions of an audience's rule hold for a person.
    pub fn terms(&self, audience: DefinitionId, person: &impl Person, now: Timestamp) -> Option<Terms> {
        let program = self.program(audience)?;
        let source = OfPerson(person);
        let run = Run { program, source: &source, now };
        let bits = program.terms.iter().enumerate();
        Some(Terms(bits.fold(0, |bits, (index, at)| bits | u64::from(run.truth(*at).0) << (index % 64))))
    }

    /// The conditions that hold in one evaluation and not in the other: the text of each, and whether it holds now.
    pub fn flipped(&self, audience: DefinitionId, before: Terms, after: Terms) -> Vec<(&str, bool)> {
        let Some((program, text)) = self.program(audience).zip(self.definition(audience)) else {
            return Vec::new();
        };
        let changed = before.0 ^ after.0;
        let terms = program.terms.iter().enumerate().filter(|(index, _)| changed >> (index % 64) & 1 == 1);
        terms
            .map(|(index, at)| (text_of(program, *at, text.text()), after.0 >> (index % 64) & 1 == 1))
            .collect()
    }

    /// Why a person is in an audience, or is not: the rule, part by part in the order of the text. With the terms of
    /// an earlier evaluation, what is different since is marked.
    pub fn explain(
        &self,
        audience: DefinitionId,
        person: &impl Person,
        now: Timestamp,
        before: Option<Terms>,
    ) -> Option<Vec<Explained>> {
        let program = self.program(audience)?;
        let text = self.definition(audience)?.text();
        let source = OfPerson(person);
        let run = Run { program, source: &source, now };
        let mut explained = Vec::new();
        let mut explainer = Explainer { run: &run, text, before, out: &mut explained };
        explainer.explain(program.root, 0);
        Some(explained)
    }
}

fn text_of<'t>(program: &Program, at: At, text: &'t str) -> &'t str {
    let span = program.spans.get(usize::from(at)).copied().unwrap_or_default();
    text.get(span.range()).unwrap_or_default()
}

struct Explainer<'x, 'r, S> {
    run: &'x Run<'r, S>,
    text: &'x str,
    before: Option<Terms>,
    out: &'x mut Vec<Explained>,
}

impl<S: Source> Explainer<'_, '_, S> {
    fn explain(&mut self, at: At, depth: usize) {
        let program = self.run.program;
        let (holds, next_change) = self.run.truth(at);
        let term = program.terms.iter().position(|own| *own == at).map(|index| index as u32);
        let held = self.before.zip(term).map(|(before, term)| before.0 >> (term % 64) & 1 == 1);
        let mut values = Vec::new();
        if term.is_some() {
            self.values(at, &mut values);
        }
        let text = text_of(program, at, self.text).to_owned();
        let flipped = held.is_some_and(|held| held != holds);
        self.out.push(Explained { depth, text, holds, term, values, next_change, flipped });
        if term.is_some() {
            return;
        }
        match program.nodes.get(usize::from(at)) {
            Some(Node::All(parts) | Node::Either(parts)) => {
                parts.iter().for_each(|part| self.explain(*part, depth + 1));
            }
            Some(Node::Not(inner)) => self.explain(*inner, depth + 1),
            _ => {}
        }
    }

    /// The values of all facts under a condition.
    fn values(&self, at: At, out: &mut Vec<(String, String)>) {
        let program = self.run.program;
        let mut note = |part: At| {
            let text = text_of(program, part, self.text).to_owned();
            out.push((text, self.run.value(part).0.to_string()));
        };
        match program.nodes.get(usize::from(at)) {
            Some(Node::Leaf(_) | Node::Feature(_) | Node::Funnel(_)) => note(at),
            Some(Node::All(parts) | Node::Either(parts)) => {
                parts.iter().for_each(|part| self.values(*part, out));
            }
            Some(Node::If(parts)) => parts.iter().for_each(|part| self.values(*part, out)),
            Some(Node::Compare(_, left, right) | Node::Arithmetic(_, left, right)) => {
                self.values(*left, out);
                self.values(*right, out);
            }
            Some(
                Node::Not(inner)
                | Node::Has(inner)
                | Node::ToNumber(inner)
                | Node::ToTime(inner)
                | Node::Since(_, inner, _)
                | Node::Among(inner, _)
                | Node::Text(_, inner, _)
                | Node::Matches(inner, _),
            ) => self.values(*inner, out),
            Some(Node::Any(slot, _)) => self.any_values(*slot, out),
            Some(Node::Constant(_)) | None => {}
        }
    }

    /// A count of which only was asked whether it is above zero.
    fn any_values(&self, slot: u16, out: &mut Vec<(String, String)>) {
        let wanted = |node: &Node| matches!(node, Node::Feature(own) if *own == slot);
        if let Some(at) = self.run.program.nodes.iter().position(wanted) {
            let at = At::try_from(at).unwrap_or(At::MAX);
            let text = text_of(self.run.program, at, self.text).to_owned();
            out.push((text, self.run.value(at).0.to_string()));
        }
    }
}

struct OfPerson<'p, P>(&'p P);

impl<P: Person> Source for OfPerson<'_, P> {
    fn fact<'s>(&'s self, leaf: &'s Leaf) -> Value<'s> {
        match leaf {
            Leaf::Trait(name, path) => {
                let found = self.0.stated(name).and_then(|raw| crate::feature::json_value(raw, path));
                found.unwrap_or(Value::Absent)
            }
            Leaf::Consent(category) => Value::Bool(self.0.consents(category)),
            Leaf::Audience(id) => Value::Bool(self.0.is_member(*id)),
            Leaf::Property(_) => Value::Absent,
        }
    }

    fn node(&self, index: usize) -> Option<&FeatureStates> {
        self.0.features(index)
    }
}
