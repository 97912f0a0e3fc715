//! Keeps a profile's suppression row, its timer, its effects and the view in step.

use crate::effect::Body;
use crate::resolve::Step;
use crate::state::Suppressed;
use crate::view::Change;
use model::id::Key;
use model::suppression::{Active, ActiveSet, Scope};
use std::sync::Arc;

impl Step<'_> {
    /// Changes what a profile is suppressed for, and brings the identifiers that find it up to date.
    pub(crate) fn suppress(&mut self, profile: Key, change: impl FnOnce(&mut ActiveSet)) {
        let before = self.state.suppressions.get(profile).cloned();
        let mut active = before.as_ref().map(|row| row.active.clone()).unwrap_or_default();
        change(&mut active);
        active.expire(self.now);
        if active.scopes.is_empty() && before.is_none() {
            return;
        }
        let keys = self.state.component(profile).map(|component| component.lookup_keys()).unwrap_or_default();
        let after = Suppressed { keys, active };
        if before.as_ref() == Some(&after) {
            return;
        }
        let before = before.unwrap_or_default().active;
        let ended: Vec<Scope> = before.beyond(&after.active).iter().map(|one| one.scope).collect();
        if !ended.is_empty() {
            self.emit(profile, &Body::SuppressionEnded(ended));
        }
        let started: Vec<Active> = after.active.beyond(&before);
        if !started.is_empty() {
            let started = started.iter().map(|one| (one.scope, one.until)).collect();
            self.emit(profile, &Body::SuppressionStarted(started));
        }
        if after.active.scopes.is_empty() {
            self.forget_suppression(profile);
            return;
        }
        self.outcome.timer(profile, after.active.next_end());
        self.outcome.changes.push(Change::Suppressed { profile, row: Arc::new(after.clone()) });
        self.state.suppressions.insert(profile, after);
    }

    /// Recomputes what a profile is suppressed for from the purchases of its nodes.
    pub(crate) fn recompute_suppression(&mut self, profile: Key) {
        let now = self.now;
        let nodes: Vec<Key> = self
            .state
            .component(profile)
            .map(|component| component.members.iter().map(|member| member.node).collect())
            .unwrap_or_default();
        let mut fresh = ActiveSet::default();
        for node in nodes {
            let aggregate = self.state.nodes.get(node).and_then(|row| row.aggregate.as_ref());
            for purchase in aggregate.iter().flat_map(|aggregate| &aggregate.purchases.0) {
                fresh.add_purchase(purchase, now);
            }
        }
        self.suppress(profile, |active| *active = fresh);
    }

    /// The profile is suppressed for nothing, or is no more.
    pub(crate) fn forget_suppression(&mut self, profile: Key) {
        self.state.suppressions.remove(profile);
        self.outcome.timer(profile, None);
        self.outcome.changes.push(Change::NotSuppressed { profile });
    }
}
