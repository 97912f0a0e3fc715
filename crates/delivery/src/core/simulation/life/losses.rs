//! Sources that lose what was not read yet, as a feed does that begins anew, and have it again, as a replay makes it.

use super::Life;
use crate::core::Supplies;
use model::id::EffectId;
use std::ops::Bound;

/// A loss ends among the latest effects, so that most lanes have not read all of it.
const AMONG_THE_LATEST: u64 = 8;

impl Life {
    /// Something happens, and a source loses it, or a part of it, before anybody has read it.
    pub(super) fn lose(&mut self) {
        self.issue();
        let place = self.seed.below(self.sides.len() as u64) as usize;
        let latest = self.seed.below(AMONG_THE_LATEST) as usize;
        let outbox = &mut self.sides[place].outbox;
        outbox.lost_through = outbox.lost_through.max(outbox.issued.iter().rev().nth(latest).copied());
    }

    /// One in so many sources has again what it had lost.
    pub(super) fn find_again(&mut self, one_in: u64) {
        for side in &mut self.sides {
            if self.seed.one_in(one_in) {
                side.outbox.lost_through = None;
            }
        }
    }

    /// A source's answer reaches its lane, which may pass what was lost.
    pub(super) fn supply(&mut self, place: usize, supply: Supplies) {
        let Some((core, _)) = &mut self.core else { return };
        let lost_through = supply.as_ref().and_then(|supply| supply.lost_through);
        let head = |core: &crate::core::Core| core.lanes.get(&place).and_then(|lane| lane.head);
        let before = head(core);
        core.supply(place, supply, self.now);
        let Some(lost_through) = lost_through.filter(|lost| Some(*lost) > before) else { return };
        if head(core) < Some(lost_through) {
            self.seen.count("waits before a loss", 1);
            return;
        }
        let side = &mut self.sides[self.places[&place]];
        let from = before.map_or(Bound::Unbounded, Bound::Excluded);
        let range: (Bound<EffectId>, Bound<EffectId>) = (from, Bound::Included(lost_through));
        // What a crash made the lane read again may have been done with before.
        let open = |id: &&EffectId| {
            !(side.delivered.contains(*id) || side.refused.contains(*id) || side.dropped.contains(*id))
        };
        let lost: Vec<EffectId> = side.outbox.issued.range(range).filter(open).copied().collect();
        self.seen.count("effects lost by the source", lost.len() as u64);
        side.lost.extend(lost);
    }
}
