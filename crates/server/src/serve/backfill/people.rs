//! Names everybody, a chunk at a time, so that the loop finds the audiences of some definitions for them.
//!
//! People are named in the order of their keys. How far a definition is, in the sense of `engage`'s
//! [`Operation::Reckon`], is a *place* among the keys: everybody is through whose key's upper half is below it. So a
//! thread that begins again goes on there, and a definition that is further than others joins them where it stands.

use super::line::{Line, command};
use super::pace::{Pacer, people_at_once};
use crate::api::Context;
use engage::{Backfill, MAX_CHUNK, Operation};
use model::audience::DefinitionId;
use model::id::{Key, Position};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Behind everybody.
const END: u64 = u64::MAX;
/// How often a checkpoint is looked for.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(20);
/// How long to wait for a checkpoint that comes anyway before one is asked for: beside live events an extra one costs.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(10);
/// People that are read in a row.
const READ_AT_ONCE: usize = 4_096;

/// Names everybody whom the definitions have not gone through. Who came after the definition was found everything with
/// the first event, so everybody of a checkpoint behind it is enough.
pub(super) fn find<'c>(context: &'c Context, pacer: &mut Pacer<'c>, rows: &[Backfill]) -> Result<(), String> {
    checkpoint(context, pacer, context.engine.view().as_of().next_position)?;
    let mut walk = Walk::new(rows);
    let size = people_at_once(rows.iter().map(|row| row.audiences.len()).sum());
    let mut line = Line::new(context, pacer);
    let mut begun = Instant::now();
    for (index, found) in context.engine.scan(engage::PROFILES).enumerate() {
        let (key, bytes) = found.map_err(|error| error.to_string())?;
        if engage::ProfileRow::is_live(&bytes) {
            while let Some(part) = walk.part_before(key, size) {
                hand_in(&mut line, part)?;
                begun = Instant::now();
            }
            walk.take(key);
        }
        if index % READ_AT_ONCE == READ_AT_ONCE - 1 {
            line.pacer.read_since(begun)?;
            begun = Instant::now();
        }
    }
    while let Some(part) = walk.rest() {
        hand_in(&mut line, part)?;
    }
    line.finish()?;
    for row in rows {
        command(context, Operation::Backfilled { definition: row.definition, chunks: END })?;
        tracing::info!(definition = row.definition.0, "a definition holds for everybody");
    }
    Ok(())
}

fn hand_in(line: &mut Line<'_, '_>, part: Part) -> Result<(), String> {
    let Part { definitions, read_to, from, to, people } = part;
    line.push(Operation::Reckon { definitions, from, to, people }, (read_to, to))
}

/// Waits until a checkpoint stands at or behind a position.
fn checkpoint(context: &Context, pacer: &Pacer<'_>, behind: Position) -> Result<(), String> {
    let status = context.engine.status();
    let begun = Instant::now();
    while status.checkpoint_next.load(Relaxed) < behind.0 {
        if !pacer.is_busy() || begun.elapsed() > CHECKPOINT_PATIENCE {
            context.engine.want_checkpoint();
        }
        context.backfills.rest(CHECKPOINT_INTERVAL)?;
    }
    Ok(())
}

fn place_of(person: Key) -> u64 {
    (person.0 >> 64) as u64
}

/// What one record names.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    definitions: Vec<DefinitionId>,
    /// How far the first of them has read older events.
    read_to: Position,
    from: u64,
    to: u64,
    people: Vec<Key>,
}

/// Goes through people by key and cuts them into parts.
struct Walk<'r> {
    rows: &'r [Backfill],
    /// The definitions that stand here are gone on with.
    place: u64,
    people: Vec<Key>,
}

impl<'r> Walk<'r> {
    fn new(rows: &'r [Backfill]) -> Self {
        let place = rows.iter().map(|row| row.chunks).min().unwrap_or(END);
        Self { rows, place, people: Vec::new() }
    }

    /// Where the next definition joins, or the end.
    fn joint(&self) -> u64 {
        self.rows.iter().map(|row| row.chunks).filter(|place| *place > self.place).min().unwrap_or(END)
    }

    /// A part that is to be handed in before this person is taken, because it is full or because more definitions are
    /// named from here on. Ask until there is none.
    fn part_before(&mut self, person: Key, size: usize) -> Option<Part> {
        let place = place_of(person);
        let joint = self.joint();
        if joint < END && place >= joint {
            return Some(self.cut(joint));
        }
        let last = self.people.last().map(|last| place_of(*last))?;
        // Never between two people of the same place. Keys are keyed hashes: there are not many of those.
        let full = self.people.len() >= size.min(MAX_CHUNK) && place > last && last + 1 < END;
        full.then(|| self.cut(last + 1))
    }

    /// Takes in the next person.
    fn take(&mut self, person: Key) {
        if self.place < END && place_of(person) >= self.place {
            self.people.push(person);
        }
    }

    /// What is left, once nobody comes any more: call it until there is nothing.
    fn rest(&mut self) -> Option<Part> {
        (self.place < END).then(|| self.cut(self.joint()))
    }

    fn cut(&mut self, to: u64) -> Part {
        let from = std::mem::replace(&mut self.place, to);
        let here: Vec<&Backfill> = self.rows.iter().filter(|row| row.chunks <= from).collect();
        Part {
            definitions: here.iter().map(|row| row.definition).collect(),
            read_to: here.first().map_or(Position(0), |row| row.read_to),
            from,
            to,
            people: std::mem::take(&mut self.people),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn row(number: u32, place: u64) -> Backfill {
        Backfill {
            definition: DefinitionId(number),
            defined_at: Position(7),
            features: Vec::new(),
            audiences: vec![DefinitionId(number)],
            sweep: false,
            read_to: Position(u64::from(number)),
            chunks: place,
        }
    }

    fn any_place() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0_u64..40, 1 => Just(END - 1), 1 => Just(END)]
    }

    proptest! {
        /// However far each definition is: everybody is named for it once who was not, by parts that fit together.
        #[test]
        fn everybody_is_named_once_for_every_definition(
            places in prop::collection::vec(any_place(), 1..6),
            people in prop::collection::btree_set((any_place(), 0_u128..3), 0..60),
            size in 1_usize..9,
        ) {
            let rows: Vec<Backfill> = places.iter().zip(0..).map(|(place, number)| row(number, *place)).collect();
            let people: Vec<Key> = people.iter().map(|(place, low)| Key(u128::from(*place) << 64 | low)).collect();
            let (mut walk, mut parts) = (Walk::new(&rows), Vec::new());
            for person in &people {
                while let Some(part) = walk.part_before(*person, size) {
                    parts.push(part);
                }
                walk.take(*person);
            }
            while let Some(part) = walk.rest() {
                parts.push(part);
            }
            let mut stands: BTreeMap<DefinitionId, u64> = rows.iter().map(|row| (row.definition, row.chunks)).collect();
            let mut named: BTreeMap<DefinitionId, Vec<Key>> = BTreeMap::new();
            for part in parts {
                prop_assert!(part.from < part.to);
                // Only people of one place make it longer, of which there are three here, and the last two go together.
                prop_assert!(part.people.len() <= size + 5);
                prop_assert_eq!(part.read_to, Position(u64::from(part.definitions[0].0)));
                for definition in part.definitions {
                    prop_assert_eq!(stands.insert(definition, part.to), Some(part.from));
                    named.entry(definition).or_default().extend(&part.people);
                }
            }
            for row in &rows {
                prop_assert_eq!(stands[&row.definition], END);
                let due: Vec<Key> = people.iter().copied().filter(|one| row.chunks < END && place_of(*one) >= row.chunks).collect();
                prop_assert_eq!(named.remove(&row.definition).unwrap_or_default(), due, "{:?}", row);
            }
        }
    }
}
