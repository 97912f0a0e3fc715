//! Erased people leave a shadow: their rows are what they are taken out of the lists by, so first the platform is told,
//! and then nothing of them stays in the file.
//!
//! The profile is gone by then; what the platform was told of it is here. An erasure stands at a position of the log:
//! what was said of the same person later is of somebody who came anew, and stays.

use super::frame::Frame;
use super::{Row, Shadow, ShadowError, ShadowOptions, State, Steps, Wish};
use delivery::env::Env;
use model::id::{Key, Position};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Erased people whom older words are kept from bringing back. Far more than are erased while a message is on its way.
const BARRED_MAX: usize = 100_000;

/// What a list may still hold of somebody erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The list.
    pub list: String,
    /// The person.
    pub person: Key,
    /// What stays, because it is of somebody who came anew under the same key.
    pub kept: Vec<Row>,
}

impl Held {
    /// That everything else goes.
    pub fn wish(&self) -> Wish {
        Wish {
            list: self.list.clone(),
            person: self.person,
            rows: self.kept.clone(),
            again: false,
            position: Position(0),
        }
    }
}

impl Shadow {
    /// Nothing that was said of these people before these positions is put in any more. A restart forgets it: whoever
    /// asks asks again.
    pub fn bar(&mut self, people: &BTreeMap<Key, Position>) {
        for (person, before) in people {
            let known = self.barred.entry(*person).or_insert(*before);
            *known = (*before).max(*known);
        }
        while self.barred.len() > BARRED_MAX {
            let oldest = self.barred.iter().min_by_key(|(_, before)| **before).map(|(person, _)| *person);
            let Some(oldest) = oldest else { return };
            self.barred.remove(&oldest);
        }
    }

    /// What the shadow still holds of these people that is older than these positions. What is to be taken out of a list
    /// and was not yet counts too, whoever it is of: it may be of the time before.
    pub fn held_of(&self, people: &BTreeMap<Key, Position>) -> Result<Vec<Held>, ShadowError> {
        let mut held = Vec::new();
        for (person, before) in people {
            for list in self.book.lists_of(*person) {
                let frame = self.frame(list, *person)?;
                let is_older = frame.position < *before;
                if is_older || frame.rows.iter().any(|(state, _)| *state == State::Removing) {
                    let kept = frame.rows.into_iter().filter(|(state, _)| *state != State::Removing);
                    let kept = kept.filter(|_| !is_older).map(|(_, row)| row).collect();
                    held.push(Held { list: list.clone(), person: *person, kept });
                }
            }
        }
        Ok(held)
    }

    /// Takes what is held out of the shadow without a word to the platform. Durable once [`Shadow::purge`] has returned.
    pub fn abandon(&mut self, held: &[Held]) -> Result<(), ShadowError> {
        self.mend()?;
        let mut steps = Steps::default();
        for one in held {
            let old = match self.frame(&one.list, one.person) {
                Ok(old) => old,
                Err(error) => return Err(self.undo(steps, error)),
            };
            let mut new = old.clone();
            new.rows.retain(|(state, row)| *state != State::Removing && one.kept.contains(row));
            self.step(&mut steps, old, new);
        }
        self.keep(steps, false)
    }

    /// Leaves nothing in the file that does not count any more. Durable on return.
    pub fn purge(&mut self) -> Result<(), ShadowError> {
        if self.file.has_past(self.book.live_bytes()) { self.rewrite() } else { Ok(()) }
    }

    /// A wish, without rows where an erasure stands between it and now.
    pub(super) fn allowed<'w>(&self, old: &Frame, wish: &'w Wish) -> Cow<'w, Wish> {
        let position = old.position.max(wish.position);
        match self.barred.get(&wish.person) {
            Some(before) if position < *before && !wish.rows.is_empty() => {
                Cow::Owned(Wish { rows: Vec::new(), ..wish.clone() })
            }
            _ => Cow::Borrowed(wish),
        }
    }
}

/// What became of erased people in a shadow that no destination uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtRest {
    /// Those of whom something is still held, because the platform was not told.
    pub left: BTreeSet<Key>,
    /// Those who were taken out although the platform was not told, with the platform's lists.
    pub abandoned: Vec<(String, Key)>,
}

/// Forgets people in the shadow of a destination that is not open. Nobody can tell the platform now: that they are to
/// go is written down, so the destination says it as soon as it is open again. With `give_up` they go from the shadow.
pub fn forget_at_rest(
    env: &Env,
    folder: &Path,
    name: &str,
    options: ShadowOptions,
    people: &BTreeMap<Key, Position>,
    give_up: &BTreeSet<Key>,
) -> Result<AtRest, ShadowError> {
    let mut shadow = Shadow::open(env, folder, name, options)?;
    let held = shadow.held_of(people)?;
    let (abandoned, waiting): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|one| give_up.contains(&one.person));
    let wishes: Vec<Wish> = waiting.iter().map(Held::wish).collect();
    shadow.wish(&wishes)?;
    shadow.abandon(&abandoned)?;
    shadow.purge()?;
    // Whose rows somebody else holds too is not to be told, and is gone already.
    let left = shadow.held_of(people)?.into_iter().map(|one| one.person).collect();
    let abandoned = abandoned.into_iter().map(|one| (one.list, one.person)).collect();
    Ok(AtRest { left, abandoned })
}
