//! Keeps a profile's suppression row, its timer, its effects and the view in step.

use crate::effect::Body;
use crate::resolve::Step;
use crate::state::Suppressed;
use crate::view::Change;
use model::id::{Key, Timestamp};
use model::suppression::{ActiveSet, Purchase, Scope};

impl Step<'_> {
    /// Changes what a profile is suppressed for, and brings the identifiers that find it up to date.
    pub(crate) fn suppress(&mut self, profile: Key, change: impl FnOnce(&mut ActiveSet)) {
        let before = self.state.suppressions.get(profile).cloned();
        let mut active = before.as_ref().map(|row| row.active.clone()).unwrap_or_default();
        change(&mut active);
        active.expire(self.now);
        let held = self.held(profile);
        if active.is_empty() && held.is_empty() && before.is_none() {
            return;
        }
        let keys = self.state.component(profile).map(|component| component.lookup_keys()).unwrap_or_default();
        let after = Suppressed { keys, active, held };
        if before.as_ref() == Some(&after) {
            return;
        }
        let before = before.unwrap_or_default().active;
        let ended = before.beyond(&after.active).iter().map(|one| one.scope).collect();
        let started = after.active.beyond(&before).iter().map(|one| (one.scope, one.until)).collect();
        self.say(profile, started, ended);
        if after.active.is_empty() && after.held.is_empty() {
            self.forget_suppression(profile);
            return;
        }
        self.outcome.changes.push(Change::Suppressed { profile, row: after.clone() });
        self.state.suppressions.insert(profile, after);
        self.wake(profile);
    }

    /// A new purchase of one of the profile's nodes took the place of others, mostly of none. Where it can, it changes
    /// the row and the view in place: somebody who buys all the time is suppressed for thousands of scopes.
    pub(crate) fn bought(&mut self, profile: Key, purchase: &Purchase, dropped: &[Purchase]) {
        if dropped.contains(purchase) {
            return self.recompute_suppression(profile);
        }
        let rest = if dropped.is_empty() { Vec::new() } else { self.purchases(profile) };
        let Some(row) = self.state.suppressions.get_mut(profile) else {
            return self.recompute_suppression(profile);
        };
        let Some(difference) = row.active.replace_purchases(purchase, dropped, rest.iter(), self.now) else {
            return self.recompute_suppression(profile);
        };
        if difference.is_empty() {
            return;
        }
        self.wake(profile);
        self.say(profile, difference.started.clone(), difference.ended.clone());
        self.outcome.changes.push(Change::Differs { profile, difference });
    }

    fn say(&mut self, profile: Key, started: Vec<(Scope, Timestamp)>, ended: Vec<Scope>) {
        if !ended.is_empty() {
            self.emit(profile, &Body::SuppressionEnded(ended));
        }
        if !started.is_empty() {
            self.emit(profile, &Body::SuppressionStarted(started));
        }
    }

    /// What the nodes of a profile have bought.
    fn purchases(&mut self, profile: Key) -> Vec<Purchase> {
        let nodes: Vec<Key> = self
            .state
            .component(profile)
            .map(|component| component.members.iter().map(|member| member.node).collect())
            .unwrap_or_default();
        let mut purchases = Vec::new();
        for node in nodes {
            let aggregate = self.state.nodes.get(node).and_then(|row| row.aggregate.as_ref());
            purchases.extend(aggregate.iter().flat_map(|aggregate| &aggregate.purchases.0).cloned());
        }
        purchases
    }

    /// Recomputes what a profile is suppressed for from the purchases of its nodes.
    pub(crate) fn recompute_suppression(&mut self, profile: Key) {
        let mut fresh = ActiveSet::default();
        for purchase in self.purchases(profile) {
            fresh.add_purchase(&purchase, self.now);
        }
        self.suppress(profile, |active| *active = fresh);
    }

    /// The profile is suppressed for nothing, or is no more.
    pub(crate) fn forget_suppression(&mut self, profile: Key) {
        self.state.suppressions.remove(profile);
        self.wake(profile);
        self.outcome.changes.push(Change::NotSuppressed { profile });
    }
}
