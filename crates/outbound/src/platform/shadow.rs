//! What a platform was told about its lists: a durable shadow, so that only differences are sent.
//!
//! A platform's list cannot be read back: it tells a rough size at best. So every list has a shadow here: for each person
//! the *rows* that the platform was told (a row is what it matches on, e.g. the hash of an address), each in one of three
//! states: *known* (told and acknowledged), *adding* (wanted; it may be there or not) and *removing* (not wanted; it may
//! still be there).
//!
//! The order of things makes it safe to lose an answer, or to crash, at any point:
//! 1. [`Shadow::wish`] writes down, durably, what is about to change as adding and removing, and says what to send;
//! 2. it is sent, removals first;
//! 3. [`Shadow::heard`] writes down what the platform acknowledged. If that is lost, the rows stay what they were, and
//!    the next wish for the person sends them again. To add or remove twice is to do it once, on every platform.
//!
//! A row that two people share is removed when the second one leaves. Where a row of somebody who stays is removed, their
//! other rows are sent again: platforms drop the *account* that a removed row leads to, which the others lead to as well.
//!
//! Rows are hashes of personal data: the file is sealed where there are keys, and [`forget`] takes erased people out.
//!
//! What it costs: a file of about 150 bytes for each row, 100 bytes of memory for each person and 60 for each row.

mod book;
mod error;
mod file;
mod forget;
mod frame;

pub use error::ShadowError;
pub use file::{EXTENSION, RESTORED_EXTENSION};
pub use forget::{AtRest, Held, forget_at_rest};

use book::Book;
use delivery::JournalKeys;
use delivery::env::Env;
use file::ShadowFile;
use frame::Frame;
use model::id::{Key, Position};
use std::collections::BTreeMap;
use std::path::Path;

/// The longest name of a list, in bytes.
pub const LIST_BYTES_MAX: usize = 256;
/// The most rows of one person in one list.
pub const ROWS_MAX: usize = 64;
/// The longest row, in bytes.
pub const ROW_BYTES_MAX: usize = 4 * 1024;
/// People in all lists together, if nothing else is said.
pub const PEOPLE_MAX: usize = 1_000_000;

/// What a platform matches on, in the platform's own form.
pub type Row = Box<[u8]>;

/// What a list shall hold of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The list.
    pub list: String,
    /// The person.
    pub person: Key,
    /// All rows that the list shall hold of them; none if they shall not be in it.
    pub rows: Vec<Row>,
    /// Send the rows even where the platform has acknowledged them: for a platform that is not believed.
    pub again: bool,
    /// Of the effect that it comes from, or as of which the person was read. What an erasure behind it took away is not
    /// put in again.
    pub position: Position,
}

/// What to send for a person: first the removals, then the additions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Rows to take out.
    pub remove: Vec<Row>,
    /// Rows to put in.
    pub add: Vec<Row>,
}

impl Change {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// What became of a half of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The platform did it.
    Done,
    /// The platform will never do it.
    Refused,
    /// Nobody knows.
    Nothing,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The list.
    pub list: String,
    /// The person.
    pub person: Key,
    /// What became of the removals.
    pub removed: Heard,
    /// What became of the additions.
    pub added: Heard,
}

/// What a list amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// People with rows that are wanted.
    pub people: u64,
    /// Wanted rows; one that several people share counts for each.
    pub rows: u64,
    /// People of whom something is not acknowledged.
    pub unsettled: u64,
    /// The sum of [`digest_of`] over all people, modulo 2^128: the same for the same people and rows in any order.
    pub digest: u128,
}

impl Summary {
    /// Whether both name the same people with the same rows.
    pub fn agrees_with(&self, other: &Self) -> bool {
        (self.people, self.rows, self.digest) == (other.people, other.rows, other.digest)
    }

    /// Counts a person in, for the summary of what is wanted.
    pub fn count(&mut self, list: &str, person: Key, rows: &[Row]) {
        if !rows.is_empty() {
            self.people += 1;
            self.rows += rows.len() as u64;
            self.digest = self.digest.wrapping_add(digest_of(list, person, rows));
        }
    }
}

/// A person's part of a list's digest: SHA-256 over list, person and row, its first 16 bytes as a number, summed up.
pub fn digest_of(list: &str, person: Key, rows: &[Row]) -> u128 {
    rows.iter().fold(0_u128, |sum, row| sum.wrapping_add(book::row_digest(list, person, row)))
}

/// The state of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Known,
    Adding,
    Removing,
}

/// How a shadow is kept.
#[derive(Clone, Debug)]
pub struct ShadowOptions {
    /// People in all lists together.
    pub people_max: usize,
    /// Keys that seal what is written. `None` leaves it in clear.
    pub keys: Option<JournalKeys>,
}

impl Default for ShadowOptions {
    fn default() -> Self {
        Self { people_max: PEOPLE_MAX, keys: None }
    }
}

/// The shadow of a platform's lists.
pub struct Shadow {
    file: ShadowFile,
    book: Book,
    people_max: usize,
    /// Erased people, and before which position they were: what was said of them earlier is not put in any more.
    barred: BTreeMap<Key, Position>,
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shadow").field("people", &self.book.people()).finish_non_exhaustive()
    }
}

impl Shadow {
    /// Takes the lock of the shadow of this name in the folder, and reads it. What is read is written again and made
    /// durable before it is believed. A tail that a crash tore goes: what was in it had not begun. What comes from a
    /// backup counts as not acknowledged, so it is said again: the platform may have heard more since.
    pub fn open(env: &Env, folder: &Path, name: &str, options: ShadowOptions) -> Result<Self, ShadowError> {
        let mut book = Book::default();
        let file = ShadowFile::open(env, folder, name, options.keys)?;
        file.scan(&mut |frame, place| {
            let old = book.get(&frame.list, frame.person).map(|entry| file.read(entry.place)).transpose()?;
            let old = old.unwrap_or_else(|| Frame::empty(&frame.list, frame.person));
            book.hold(&old, &frame);
            book.place(&frame, place);
            Ok(())
        })?;
        let mut shadow = Self { file, book, people_max: options.people_max, barred: BTreeMap::new() };
        if shadow.file.is_restored() {
            let moved = shadow.file.rewrite(&shadow.book.entries(), true)?;
            shadow.book.moved(moved);
            shadow.book.doubt();
            shadow.file.unmark_restored()?;
        } else {
            shadow.rewrite()?;
        }
        Ok(shadow)
    }

    /// Writes down what is to change and says what to send, for each wish. Durable on return.
    ///
    /// Wishes for the same person in the same list are taken in order; only the last one counts, so a caller gives only
    /// that one.
    pub fn wish(&mut self, wishes: &[Wish]) -> Result<Vec<Change>, ShadowError> {
        self.check(wishes)?;
        self.mend()?;
        let mut steps = Steps::default();
        let mut changes = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let old = match self.frame(&wish.list, wish.person) {
                Ok(old) => old,
                Err(error) => return Err(self.undo(steps, error)),
            };
            let wish = self.allowed(&old, wish);
            let (new, change) = plan(&old, &wish, |row| self.book.is_held_by_another(&old, row));
            // The next wish of the same call must see what this one takes or leaves.
            self.step(&mut steps, old, new);
            changes.push(change);
        }
        self.keep(steps, true)?;
        Ok(changes)
    }

    /// Writes down what was heard. Not made durable by itself: what is lost of it is only sent again.
    pub fn heard(&mut self, told: &[Told]) -> Result<(), ShadowError> {
        self.mend()?;
        let mut steps = Steps::default();
        for one in told {
            let old = match self.frame(&one.list, one.person) {
                Ok(old) => old,
                Err(error) => return Err(self.undo(steps, error)),
            };
            let mut new = old.clone();
            new.rows.retain_mut(|(state, _)| match (*state, one.removed, one.added) {
                (State::Removing, Heard::Done, _) | (State::Adding, _, Heard::Refused) => false,
                (State::Adding, _, Heard::Done) => {
                    *state = State::Known;
                    true
                }
                _ => true,
            });
            self.step(&mut steps, old, new);
        }
        self.keep(steps, false)?;
        if self.file.wants_rewrite(self.book.live_bytes()) { self.rewrite() } else { Ok(()) }
    }

    /// Changes who holds what in memory, to be written down with the others or undone with them.
    fn step(&mut self, steps: &mut Steps, old: Frame, new: Frame) {
        let is_later = new.position != old.position && !new.rows.is_empty();
        if new.rows != old.rows || is_later {
            self.book.hold(&old, &new);
            steps.old.push(old);
            steps.new.push(new);
        }
    }

    /// Writes steps down. If that fails they are undone.
    fn keep(&mut self, steps: Steps, sync: bool) -> Result<(), ShadowError> {
        match self.file.append(&steps.new, sync) {
            Ok(places) => {
                for (frame, place) in steps.new.iter().zip(places) {
                    self.book.place(frame, place);
                }
                Ok(())
            }
            Err(error) => Err(self.undo(steps, error)),
        }
    }

    fn undo(&mut self, steps: Steps, error: ShadowError) -> ShadowError {
        for (old, new) in steps.old.iter().zip(&steps.new).rev() {
            self.book.hold(new, old);
        }
        error
    }

    /// What a list amounts to.
    pub fn summary(&self, list: &str) -> Summary {
        self.book.summary(list)
    }

    /// In how many places something of a person is not acknowledged.
    pub fn unsettled(&self) -> usize {
        self.book.unsettled()
    }

    /// People in all lists together; who is in two counts twice.
    pub fn total(&self) -> usize {
        self.book.people()
    }

    /// The lists that somebody is, or may be, in.
    pub fn lists(&self) -> Vec<String> {
        self.book.lists()
    }

    /// People of a list after a person, in order: those of whom something is not acknowledged, or all.
    pub fn people(&self, list: &str, after: Option<Key>, limit: usize, only_unsettled: bool) -> Vec<Key> {
        self.book.after(list, after, limit, only_unsettled)
    }

    /// The rows that are wanted of a person.
    pub fn wanted(&self, list: &str, person: Key) -> Result<Vec<Row>, ShadowError> {
        let frame = self.frame(list, person)?;
        let wanted = frame.rows.into_iter().filter(|(state, _)| *state != State::Removing);
        Ok(wanted.map(|(_, row)| row).collect())
    }

    /// Writes the file anew with nothing in it but what counts. After an erasure this takes the last trace away.
    pub fn rewrite(&mut self) -> Result<(), ShadowError> {
        let moved = self.file.rewrite(&self.book.entries(), false)?;
        self.book.moved(moved);
        Ok(())
    }

    fn check(&self, wishes: &[Wish]) -> Result<(), ShadowError> {
        for wish in wishes {
            let rows_fit = wish.rows.len() <= ROWS_MAX
                && wish.rows.iter().all(|row| !row.is_empty() && row.len() <= ROW_BYTES_MAX);
            if wish.list.is_empty() || wish.list.len() > LIST_BYTES_MAX || !rows_fit {
                return Err(ShadowError::TooLarge);
            }
        }
        let more = wishes.iter().filter(|wish| !wish.rows.is_empty());
        let more = more.filter(|wish| self.book.get(&wish.list, wish.person).is_none()).count();
        if more > 0 && self.book.people() + more > self.people_max {
            return Err(ShadowError::Full { limit: self.people_max });
        }
        Ok(())
    }

    /// After a failure of the disk nothing is appended to the same file: what the system holds of it may never get to
    /// the disk. It is written anew.
    fn mend(&mut self) -> Result<(), ShadowError> {
        if self.file.is_broken() { self.rewrite() } else { Ok(()) }
    }

    fn frame(&self, list: &str, person: Key) -> Result<Frame, ShadowError> {
        match self.book.get(list, person) {
            Some(entry) => self.file.read(entry.place),
            None => Ok(Frame::empty(list, person)),
        }
    }
}

/// Frames that are about to be written, with those that they replace.
#[derive(Default)]
struct Steps {
    old: Vec<Frame>,
    new: Vec<Frame>,
}

/// What a person's rows become by a wish, and what to send for it.
fn plan(old: &Frame, wish: &Wish, is_held_by_another: impl Fn(&Row) -> bool) -> (Frame, Change) {
    let mut wanted = wish.rows.clone();
    wanted.sort();
    wanted.dedup();
    let unwanted = old.rows.iter().map(|(_, row)| row).filter(|row| wanted.binary_search(row).is_err());
    let remove: Vec<Row> = unwanted.filter(|row| !is_held_by_another(row)).cloned().collect();
    let is_known = |row: &Row| old.rows.iter().any(|(state, own)| *state == State::Known && own == row);
    // Whoever loses a row may have lost the account behind it: then all that stays is said again.
    let all = wish.again || !remove.is_empty();
    let mut rows = Vec::with_capacity(wanted.len() + remove.len());
    let mut add = Vec::new();
    for row in wanted {
        if !all && is_known(&row) {
            rows.push((State::Known, row));
        } else {
            add.push(row.clone());
            rows.push((State::Adding, row));
        }
    }
    rows.extend(remove.iter().map(|row| (State::Removing, row.clone())));
    let position = old.position.max(wish.position);
    (Frame { list: old.list.clone(), person: old.person, position, rows }, Change { remove, add })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        text.as_bytes().into()
    }

    fn frame(rows: &[(State, &str)]) -> Frame {
        let rows = rows.iter().map(|(state, text)| (*state, row(text))).collect();
        Frame { rows, ..Frame::empty("l", Key(1)) }
    }

    fn wish(rows: &[&str]) -> Wish {
        let rows = rows.iter().map(|text| row(text)).collect();
        Wish { list: "l".to_owned(), person: Key(1), rows, again: false, position: Position(0) }
    }

    #[test]
    fn only_differences_are_sent_and_what_is_uncertain_is_repeated() {
        use State::{Adding, Known, Removing};
        type Table<'a> = &'a [(&'a [(State, &'a str)], &'a [&'a str], &'a [&'a str], &'a [&'a str])];
        let table: Table<'_> = &[
            // before, wanted, removed, added
            (&[], &[], &[], &[]),
            (&[], &["b", "a", "a"], &[], &["a", "b"]),
            (&[(Known, "a")], &["a"], &[], &[]),
            (&[(Known, "a")], &["a", "b"], &[], &["b"]),
            (&[(Known, "a")], &[], &["a"], &[]),
            (&[(Adding, "a")], &["a"], &[], &["a"]),
            (&[(Adding, "a")], &[], &["a"], &[]),
            (&[(Removing, "a")], &["a"], &[], &["a"]),
            (&[(Removing, "a")], &[], &["a"], &[]),
            // Who loses a row is told again with the others.
            (&[(Known, "a"), (Known, "b")], &["b"], &["a"], &["b"]),
        ];
        for (before, wanted, removed, added) in table {
            let (new, change) = plan(&frame(before), &wish(wanted), |_| false);
            let texts = |rows: &[Row]| {
                rows.iter().map(|row| String::from_utf8(row.to_vec()).unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(
                (texts(&change.remove), texts(&change.add)),
                (
                    removed.iter().map(|text| (*text).to_owned()).collect(),
                    added.iter().map(|text| (*text).to_owned()).collect(),
                ),
                "{before:?} {wanted:?}"
            );
            assert_eq!(new.rows.iter().filter(|(state, _)| *state == Removing).count(), removed.len());
        }
        let (_, shared) = plan(&frame(&[(Known, "a")]), &wish(&[]), |_| true);
        assert!(shared.is_empty());
        let (_, again) = plan(&frame(&[(Known, "a")]), &Wish { again: true, ..wish(&["a"]) }, |_| false);
        assert_eq!(again.add, [row("a")]);
    }
}
