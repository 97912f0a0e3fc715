//! The feed, written as the shell writes it, and a follower in another process who only keeps a cursor's text.

use super::Scenario;
use crate::people::read_all;
use crate::subject::Subject;
use anyhow::{Result, ensure};
use engine::feed::{Cursor, Feed, FeedError, HistoryItem, Item, Kept, Part, Place, What};

/// What a follower has.
#[derive(Default)]
pub(super) struct Follower {
    cursor: Option<String>,
    /// Where it began, and everything since.
    from: Place,
    items: Vec<Item>,
}

impl<S: Subject> Scenario<S> {
    /// The writer does one thing, at a moment of the seed's choice.
    pub(super) fn write_feed(&mut self) -> Result<()> {
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let refused = shard.feed_writer.step().is_err();
        self.feed_refused(refused);
        Ok(())
    }

    /// Whether older items are let go of while the life goes on.
    fn retains(&self) -> bool {
        self.options.feed.retention_bytes < u64::MAX
    }

    /// Syncs the feed as far as the checkpoint that is to be written. `false` if the power is gone. A refusal is no
    /// reason not to write it: the shell waits a while and goes on.
    pub(super) fn sync_feed(&mut self) -> bool {
        let Some(shard) = &mut self.shard else { return false };
        let finish = shard.slices.last().and_then(|slice| slice.finish.as_ref());
        let Some(position) = finish.map(|finish| finish.progress.next_position) else { return false };
        let mut refused = false;
        while !refused && !shard.feed.is_synced(position) {
            refused = !matches!(shard.feed_writer.step(), Ok(true));
        }
        self.feed_refused(refused);
        self.shard.is_some()
    }

    fn feed_refused(&mut self, refused: bool) {
        if refused && self.world.is_off() {
            self.lose_power();
        } else if refused && self.faults_are_set() {
            self.feed_excused = true;
        }
    }

    /// The follower takes what there is, from where its cursor says.
    pub(super) fn follow(&mut self) -> Result<()> {
        let Some(shard) = &self.shard else { return Ok(()) };
        let feed = &shard.feed;
        let place = match &self.follower.cursor {
            None => Ok(Place::at(feed.bounds().start)),
            Some(text) => feed.place(&Cursor::parse(text)?),
        };
        match place.and_then(|place| Ok((place, feed.read(place)?))) {
            Ok((place, batch)) => {
                if self.follower.cursor.is_none() {
                    self.follower = Follower { from: place, ..Follower::default() };
                }
                self.tally.followed += batch.items.len() as u64;
                self.follower.items.extend(batch.items);
                self.follower.cursor = Some(feed.cursor(batch.next).text());
            }
            Err(FeedError::Gone { .. }) if self.feed_excused || self.retains() => {
                self.tally.gone += 1;
                self.follower.cursor = None;
            }
            Err(_) if self.world.is_off() || self.faults_are_set() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The whole feed, and what the follower has of it, are the items of an uninterrupted replay: none lost, none
    /// twice, in order.
    pub(super) fn check_feed(&mut self, expected: &[Item]) -> Result<()> {
        let Some(shard) = &self.shard else { return Ok(()) };
        let bounds = shard.feed.bounds();
        ensure!(bounds.complete == shard.core.progress().next_position, "it is not as far as the state");
        ensure!(
            self.feed_excused || bounds.history.0 == 0 && (bounds.start.0 == 0 || self.retains()),
            "it began anew although its disk refused nothing: {bounds:?}"
        );
        let start = Place::at(bounds.start);
        same(&read_all(&shard.feed, start)?, expected, start)?;
        let kept = expected.iter().filter(|item| item.id.position >= bounds.history);
        let kept: Vec<HistoryItem> = kept.filter_map(left_of::<S>).collect();
        ensure!(read_history(&shard.feed)? == kept, "the history is not what was accepted");
        let Some(cursor) = self.follower.cursor.as_deref().map(Cursor::parse).transpose()? else {
            return Ok(());
        };
        let known: Vec<Item> =
            expected.iter().filter(|item| Place::of(item.id) < cursor.next).cloned().collect();
        same(&self.follower.items, &known, self.follower.from)
    }
}

/// What the history keeps of an item.
fn left_of<S: Subject>(item: &Item) -> Option<HistoryItem> {
    let what = match &item.what {
        What::Event { named: Some(number), .. } => Kept::Event(Part::Named(*number)),
        What::Event { part, named: None } => Kept::Event(Part::Key(*part)),
        What::Effect { kind, body } => {
            <S::Rules as engine::Machine>::HISTORY_KINDS.contains(kind).then_some(())?;
            Kept::Effect { kind: *kind, body: body.clone() }
        }
    };
    Some(HistoryItem { id: item.id, what })
}

fn read_history(feed: &Feed) -> Result<Vec<HistoryItem>, FeedError> {
    let (mut place, mut items) = (Place::at(feed.bounds().history), Vec::new());
    loop {
        let batch = feed.history(place)?;
        items.extend(batch.items);
        if batch.at_end {
            return Ok(items);
        }
        place = batch.next;
    }
}

fn same(found: &[Item], expected: &[Item], from: Place) -> Result<()> {
    let expected: Vec<&Item> = expected.iter().filter(|item| Place::of(item.id) >= from).collect();
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        ensure!(found == *expected, "item {index} is {found:?}, and should be {expected:?}");
    }
    ensure!(found.len() == expected.len(), "{} items, and should be {}", found.len(), expected.len());
    Ok(())
}
