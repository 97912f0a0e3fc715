//! Definitions: audiences and features that operators define, and finding them for everybody who is there already.
//!
//! A definition may ask for something that was never kept. Then it waits: somebody outside reads the older events and
//! hands their aggregates in as records ([`Operation::Gather`]), and afterwards names everybody, a chunk at a time
//! ([`Operation::Reckon`]). Only what these records say enters the state, so a replay is exact. A chunk that was handed
//! in before is answered and changes nothing, so whoever hands them in may start again after a crash, where the rows say.
//! Definitions that wait together share these records, see `gather`.
//!
//! [`Operation::Gather`]: crate::Operation::Gather
//! [`Operation::Reckon`]: crate::Operation::Reckon

mod gather;

pub use gather::{Gathered, Gathering, MAX_CHUNK, MAX_TOGETHER, PARTS, Stretch, erased_by, part_of};
pub(crate) use gather::{decode_ids, decode_people, encode_ids, takes_features};

use crate::command::{CommandError, Reply};
use crate::membership::{Backfill, key_of};
use crate::resolve::Step;
use crate::state::State;
use crate::view::Change;
use model::audience::{Changes, Definition, DefinitionError, DefinitionId, DefinitionKind, Rulebook};
use model::codec::{DecodeError, Decoder, Encoder};
use model::feature::FeatureId;
use model::id::Position;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is to be defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its name. A definition of that name is changed.
    pub name: String,
    /// The version that it is a change of; `None` where that does not matter, 0 for a new one.
    pub changes: Option<u32>,
    /// What it is.
    pub kind: DefinitionKind,
}

/// What taking a draft in means.
#[derive(Clone, Debug)]
pub struct Drafted {
    /// The rulebook with the draft in it, and what changed; `None` if the draft says what is in force already.
    pub changed: Option<(Rulebook, Changes)>,
    /// The number of the definition.
    pub id: DefinitionId,
    /// Its version.
    pub version: u32,
}

impl Draft {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.changes.map_or(0, |version| u64::from(version) + 1));
        let id = DefinitionId(0);
        Definition { id, name: self.name.as_str().into(), version: 0, kind: self.kind.clone() }
            .encode(encoder);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let changes = decoder.varint()?.checked_sub(1);
        let changes = changes.map(u32::try_from).transpose().map_err(|_| DecodeError::Overlong)?;
        let Definition { name, kind, .. } = Definition::decode(decoder)?;
        Ok(Self { name: name.into(), changes, kind })
    }

    /// What taking the draft in would mean. Changes nothing.
    pub fn apply_to(&self, book: &Rulebook) -> Result<Drafted, DefinitionError> {
        let own = book.named(&self.name);
        let current = own.map_or(0, |own| own.version);
        if self.changes.is_some_and(|version| version != current) {
            return Err(DefinitionError::Stale { current });
        }
        if let Some(own) = own.filter(|own| own.kind == self.kind) {
            return Ok(Drafted { changed: None, id: own.id, version: own.version });
        }
        let (id, version) = (own.map_or(book.next_id(), |own| own.id), current.saturating_add(1));
        let definition = Definition { id, name: self.name.as_str().into(), version, kind: self.kind.clone() };
        book.define(definition).map(|changed| Drafted { changed: Some(changed), id, version })
    }
}

impl State {
    /// Audiences that nobody may be found to be in yet, because what they look at is still being gathered.
    pub(crate) fn pending(&mut self) -> Arc<BTreeSet<DefinitionId>> {
        if let Some(pending) = &self.pending {
            return Arc::clone(pending);
        }
        let book = self.book();
        let mut features: BTreeSet<FeatureId> = BTreeSet::new();
        let mut pending = BTreeSet::new();
        for definition in book.definitions() {
            let row = self.backfills.get(key_of(definition.id)).filter(|row| row.is_gathering());
            features.extend(row.iter().flat_map(|row| &row.features));
        }
        if !features.is_empty() {
            let looks = |id: &DefinitionId| book.features_in(*id).any(|slot| features.contains(&slot.id));
            pending = book.audiences().filter(looks).collect();
        }
        let pending = Arc::new(pending);
        self.pending = Some(Arc::clone(&pending));
        pending
    }
}

impl Step<'_> {
    pub(crate) fn define(&mut self, draft: &Draft) -> Result<Reply, CommandError> {
        let book = self.state.book();
        let Drafted { changed, id, version } = draft.apply_to(&book)?;
        let Some((book, changes)) = changed else { return Ok(Reply::Defined(id, version)) };
        self.check_idle(id)?;
        self.put_book(book);
        self.begin_backfill(id, changes);
        Ok(Reply::Defined(id, version))
    }

    pub(crate) fn remove_definition(&mut self, name: &str) -> Result<Reply, CommandError> {
        let book = self.state.book();
        let own = book.named(name).ok_or_else(|| CommandError::Unknown("definition".to_owned()))?;
        let (id, version) = (own.id, own.version);
        self.check_idle(id)?;
        let (book, changes) = book.remove(id)?;
        self.put_book(book);
        self.begin_backfill(id, Changes { audiences: vec![id], ..changes });
        Ok(Reply::Defined(id, version))
    }

    fn check_idle(&mut self, id: DefinitionId) -> Result<(), CommandError> {
        if self.state.backfills.get(key_of(id)).is_none() {
            return Ok(());
        }
        Err(CommandError::Invalid(
            "the definition is still being found for everybody: wait until that is done".to_owned(),
        ))
    }

    fn put_book(&mut self, book: Rulebook) {
        let book = self.state.set_book(book);
        self.outcome.changes.push(Change::Book(book));
    }

    fn begin_backfill(&mut self, id: DefinitionId, changes: Changes) {
        if changes == Changes::default() {
            return;
        }
        let row = Backfill {
            definition: id,
            defined_at: self.position,
            features: changes.new_features,
            audiences: changes.audiences,
            sweep: !changes.dropped_features.is_empty(),
            read_to: Position(0),
            chunks: 0,
        };
        self.put_backfill(id, Some(row));
    }

    pub(crate) fn put_backfill(&mut self, id: DefinitionId, row: Option<Backfill>) {
        self.outcome.changes.push(Change::Backfill { definition: id, row: row.clone() });
        match row {
            Some(row) => self.state.backfills.insert(key_of(id), row),
            None => self.state.backfills.remove(key_of(id)),
        }
        self.state.pending = None;
    }

    pub(crate) fn backfill_row(&mut self, id: DefinitionId) -> Option<Backfill> {
        self.state.backfills.get(key_of(id)).cloned()
    }
}
