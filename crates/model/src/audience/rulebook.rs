//! Everything that is defined in a shard, compiled and indexed.

mod index;

use crate::audience::compile::{self, CompiledRule, Interner, Names};
use crate::audience::definition::{
    Definition, DefinitionError, DefinitionId, DefinitionKind, MAX_AUDIENCE_CHAIN, MAX_DEFINITIONS,
    MAX_NAME_BYTES, Suppress, small,
};
use crate::audience::problem::{Fault, RuleCode};
use crate::audience::program::Program;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::Event;
use crate::feature::{FeatureId, FeatureStates, Slot};
use crate::id::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use index::Index;

const FORMAT_VERSION: u8 = 1;

/// All definitions in force. A change gives a new rulebook and leaves this one as it is; what did not change is
/// shared.
#[derive(Clone, Debug, Default)]
pub struct Rulebook {
    definitions: BTreeMap<DefinitionId, Arc<Compiled>>,
    interner: Interner,
    next_definition: u32,
    pub(crate) index: Arc<Index>,
}

/// A definition and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) definition: Definition,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Audience(Box<CompiledRule>),
    Feature(Arc<Slot>),
}

impl Compiled {
    pub(crate) fn slots(&self) -> &[Arc<Slot>] {
        match &self.body {
            Body::Audience(rule) => &rule.program.slots,
            Body::Feature(slot) => std::slice::from_ref(slot),
        }
    }

    /// The definitions that this one's rule names.
    pub(crate) fn uses(&self) -> impl Iterator<Item = DefinitionId> {
        let (audiences, features) = match &self.body {
            Body::Audience(rule) => (rule.audiences.as_slice(), rule.features.as_slice()),
            Body::Feature(_) => (&[][..], &[][..]),
        };
        audiences.iter().map(|(id, _)| *id).chain(features.iter().copied())
    }
}

/// What a change of the rulebook means for what was computed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Features that nothing has been kept of: they are to be back-filled. Sorted.
    pub new_features: Vec<FeatureId>,
    /// Features that nothing refers to any more; their slots will not be used again. Sorted.
    pub dropped_features: Vec<FeatureId>,
    /// Audiences whose membership is to be found anew, those first that others depend on.
    pub audiences: Vec<DefinitionId>,
}

impl Rulebook {
    /// The number that the next new definition is to have.
    pub fn next_id(&self) -> DefinitionId {
        DefinitionId(self.next_definition)
    }

    /// Every definition, by number.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values().map(|compiled| &compiled.definition)
    }

    /// One definition.
    pub fn definition(&self, id: DefinitionId) -> Option<&Definition> {
        self.definitions.get(&id).map(|compiled| &compiled.definition)
    }

    /// A definition by its name.
    pub fn named(&self, name: &str) -> Option<&Definition> {
        self.definitions().find(|definition| &*definition.name == name)
    }

    /// Every audience, those first that others depend on.
    pub fn audiences(&self) -> impl Iterator<Item = DefinitionId> {
        self.index.order.iter().copied()
    }

    /// What the members of an audience are suppressed for, if it is one that suppresses.
    pub fn suppresses(&self, audience: DefinitionId) -> Option<&Suppress> {
        match &self.definition(audience)?.kind {
            DefinitionKind::Audience { suppress, .. } => suppress.as_ref(),
            DefinitionKind::Feature { .. } => None,
        }
    }

    /// A feature by its slot.
    pub fn feature(&self, id: FeatureId) -> Option<&Slot> {
        self.interner.slots.get(&id).map(Arc::as_ref)
    }

    /// Every feature, by slot.
    pub fn features(&self) -> impl Iterator<Item = &Slot> {
        self.interner.slots.values().map(Arc::as_ref)
    }

    /// The features that an event of this name may change, sorted by slot: what [`FeatureStates::record`] wants.
    pub fn features_of<'s>(&'s self, event: &Event<'_>) -> impl Iterator<Item = &'s Slot> + use<'s> {
        let found = self.index.event(crate::feature::event_name(event));
        found.map_or(&[][..], |entry| &entry.slots).iter().map(Arc::as_ref)
    }

    /// Whether this is an audience, and in force.
    pub fn is_audience(&self, id: DefinitionId) -> bool {
        self.index.is_audience(id)
    }

    /// The slots of an audience's rule or of a named feature.
    pub fn features_in(&self, id: DefinitionId) -> impl Iterator<Item = &Slot> {
        self.definitions.get(&id).into_iter().flat_map(|compiled| compiled.slots()).map(Arc::as_ref)
    }

    /// What a rule costs, in units of [`crate::audience::MAX_RULE_COST`]; `None` if it is no audience.
    pub fn cost(&self, audience: DefinitionId) -> Option<u32> {
        Some(self.program(audience)?.cost)
    }

    pub(crate) fn program(&self, audience: DefinitionId) -> Option<&Program> {
        match &self.definitions.get(&audience)?.body {
            Body::Audience(rule) => Some(&rule.program),
            Body::Feature(_) => None,
        }
    }

    /// Takes in another state of the same node, e.g. one that was computed from an older part of the log: the result
    /// is what one state would be that had seen both. Only live features are taken.
    pub fn merge(&self, into: &mut FeatureStates, from: &FeatureStates, now: Timestamp) {
        let slots: Vec<&Slot> = self.features().collect();
        into.merge(from, &slots, now);
    }

    /// Drops from a state what is no longer defined and what no window reaches at `now`. No value changes.
    pub fn sweep(&self, states: &mut FeatureStates, now: Timestamp) {
        states.sweep(now, |id| self.feature(id));
    }

    /// The rulebook with a definition added or changed. A new one has the number [`Rulebook::next_id`]; a change has
    /// a higher version than the one in force.
    pub fn define(&self, definition: Definition) -> Result<(Self, Changes), DefinitionError> {
        self.check(&definition)?;
        let mut next = self.clone();
        let id = definition.id;
        next.next_definition = next.next_definition.max(id.0.saturating_add(1));
        let compiled = next.compile(definition)?;
        let is_feature = matches!(compiled.body, Body::Feature(_));
        next.definitions.insert(id, Arc::new(compiled));
        let mut recompiled = vec![id];
        if is_feature {
            let users: Vec<Arc<Compiled>> = self
                .definitions
                .values()
                .filter(|other| other.definition.id != id && other.uses().any(|used| used == id))
                .cloned()
                .collect();
            for user in users {
                let changed = next.compile(user.definition.clone()).map_err(|error| breaks(&user, error))?;
                recompiled.push(user.definition.id);
                next.definitions.insert(user.definition.id, Arc::new(changed));
            }
        }
        Ok(next.finish(self, &recompiled))
    }

    /// The rulebook without a definition. One that others refer to stays.
    pub fn remove(&self, id: DefinitionId) -> Result<(Self, Changes), DefinitionError> {
        if !self.definitions.contains_key(&id) {
            return Err(DefinitionError::Unknown { id });
        }
        if let Some(by) = self.user_of(id) {
            return Err(DefinitionError::InUse { by });
        }
        let mut next = self.clone();
        next.definitions.remove(&id);
        Ok(next.finish(self, &[]))
    }

    /// The name of a definition that refers to another.
    fn user_of(&self, id: DefinitionId) -> Option<Box<str>> {
        let mut others = self.definitions.values();
        let user = others.find(|other| other.definition.id != id && other.uses().any(|used| used == id))?;
        Some(user.definition.name.clone())
    }

    fn check(&self, definition: &Definition) -> Result<(), DefinitionError> {
        let name = &definition.name;
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || name.trim() != &**name
            || name.chars().any(char::is_control)
        {
            return Err(DefinitionError::Name);
        }
        if let DefinitionKind::Audience { suppress: Some(scope), .. } = &definition.kind
            && matches!(scope, Suppress::Product(text) | Suppress::Category(text) if text.is_empty())
        {
            return Err(DefinitionError::EmptyScope);
        }
        if let Some(other) = self.named(name).filter(|other| other.id != definition.id) {
            return Err(DefinitionError::NameTaken { by: other.id });
        }
        match self.definition(definition.id) {
            None if definition.id != self.next_id() => Err(DefinitionError::Unknown { id: definition.id }),
            None if self.definitions.len() >= MAX_DEFINITIONS => Err(DefinitionError::TooMany),
            None => Ok(()),
            Some(own) if own.is_audience() != definition.is_audience() => Err(DefinitionError::KindChanged),
            Some(own) if own.version >= definition.version => {
                Err(DefinitionError::Stale { current: own.version })
            }
            Some(own) if own.name != definition.name => match self.user_of(definition.id) {
                Some(by) => Err(DefinitionError::InUse { by }),
                None => Ok(()),
            },
            Some(_) => Ok(()),
        }
    }

    fn names(&self) -> Names {
        let mut names = Names::default();
        for compiled in self.definitions.values() {
            let Definition { id, name, .. } = &compiled.definition;
            match &compiled.body {
                Body::Audience(_) => {
                    names.audiences.insert(name.clone(), *id);
                }
                Body::Feature(slot) => {
                    names.features.insert(name.clone(), (*id, Arc::clone(slot)));
                }
            }
        }
        names
    }

    fn compile(&mut self, definition: Definition) -> Result<Compiled, DefinitionError> {
        let text = definition.text();
        let body = match &definition.kind {
            DefinitionKind::Feature { .. } => compile::feature(text, &mut self.interner).map(Body::Feature),
            DefinitionKind::Audience { .. } => {
                let mut names = self.names();
                names.audiences.insert(definition.name.clone(), definition.id);
                compile::rule(text, &names, &mut self.interner)
                    .and_then(|rule| self.check_chain(&definition, &rule).map(|()| rule))
                    .map(|rule| Body::Audience(Box::new(rule)))
            }
        };
        let body = body.map_err(|fault| fault.in_text(text))?;
        Ok(Compiled { definition, body })
    }

    /// Refuses a rule that depends on itself, or on too long a chain of audiences.
    fn check_chain(&self, definition: &Definition, rule: &CompiledRule) -> Result<(), Fault> {
        for (used, span) in &rule.audiences {
            // Level by level: the audiences that are one step further away.
            let mut level = BTreeSet::from([*used]);
            for _ in 0..MAX_AUDIENCE_CHAIN {
                if level.contains(&definition.id) {
                    let message = format!("`{}` would depend on itself", definition.name);
                    let advice = "Take this audience out of the rule, or out of the rule of the other one.";
                    return Err(Fault::new(RuleCode::Cycle, *span, message, advice));
                }
                level =
                    level.iter().flat_map(|id| self.definitions.get(id)).flat_map(|one| one.uses()).collect();
            }
            if !level.is_empty() {
                let message =
                    format!("more than {MAX_AUDIENCE_CHAIN} audiences stand behind each other here");
                return Err(Fault::new(RuleCode::TooDeep, *span, message, "Shorten the chain."));
            }
        }
        Ok(())
    }

    /// Drops what nothing refers to, builds the index, and says what changed.
    fn finish(mut self, before: &Self, recompiled: &[DefinitionId]) -> (Self, Changes) {
        let used: BTreeSet<FeatureId> =
            self.definitions.values().flat_map(|one| one.slots()).map(|slot| slot.id).collect();
        self.interner.slots.retain(|id, _| used.contains(id));
        self.interner.ids.retain(|_, id| used.contains(id));
        self.index = Arc::new(Index::of(&self.definitions));
        let changes = Changes {
            new_features: self.missing_in(before),
            dropped_features: before.missing_in(&self),
            audiences: self.audiences().filter(|id| recompiled.contains(id)).collect(),
        };
        (self, changes)
    }

    fn missing_in(&self, other: &Self) -> Vec<FeatureId> {
        let known = |id: &FeatureId| other.interner.slots.contains_key(id);
        self.interner.slots.keys().copied().filter(|id| !known(id)).collect()
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u8(FORMAT_VERSION);
        encoder.varint(u64::from(self.next_definition));
        encoder.varint(u64::from(self.interner.next));
        encoder.varint(self.interner.ids.len() as u64);
        for (text, id) in &self.interner.ids {
            encoder.text(text);
            encoder.varint(u64::from(id.0));
        }
        encoder.varint(self.definitions.len() as u64);
        for compiled in self.definitions.values() {
            compiled.definition.encode(encoder);
        }
    }

    /// Reads the stored form, and compiles it.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let version = decoder.u8()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let mut book = Self { next_definition: small(decoder)?, ..Self::default() };
        book.interner.next = small(decoder)?;
        for _ in 0..decoder.count()? {
            let text = decoder.text()?.into();
            book.interner.ids.insert(text, FeatureId(small(decoder)?));
        }
        let mut names = Names::default();
        let mut definitions = Vec::new();
        for _ in 0..decoder.count()? {
            definitions.push(Definition::decode(decoder)?);
        }
        // Features first: rules refer to their slots. Of other audiences a rule needs only the number.
        definitions.sort_by_key(Definition::is_audience);
        for definition in &definitions {
            if definition.is_audience() {
                names.audiences.insert(definition.name.clone(), definition.id);
            }
        }
        for definition in definitions {
            let text = definition.text();
            let body = if definition.is_audience() {
                compile::rule(text, &names, &mut book.interner).map(|rule| Body::Audience(Box::new(rule)))
            } else {
                compile::feature(text, &mut book.interner).map(Body::Feature)
            };
            // Only damaged bytes hold a rule that does not compile.
            let body = body.map_err(|_| DecodeError::Unknown(u64::from(definition.id.0)))?;
            if let Body::Feature(slot) = &body {
                names.features.insert(definition.name.clone(), (definition.id, Arc::clone(slot)));
            }
            book.definitions.insert(definition.id, Arc::new(Compiled { definition, body }));
        }
        let index = Index::of(&book.definitions);
        let audiences = book.definitions().filter(|one| one.is_audience()).count();
        if index.order.len() != audiences {
            return Err(DecodeError::Unknown(audiences as u64));
        }
        book.index = Arc::new(index);
        Ok(book)
    }
}

fn breaks(user: &Compiled, error: DefinitionError) -> DefinitionError {
    match error {
        DefinitionError::Rule(error) => {
            DefinitionError::Breaks { by: user.definition.name.clone(), error: Box::new(error) }
        }
        other => other,
    }
}
