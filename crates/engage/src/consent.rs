//! Says when a person chose otherwise of advertising: by a word of theirs, or because two became one or were parted.
//! Whoever keeps lists of people elsewhere goes by it, since no audience need change with it.
//!
//! Only the category that the line's settings name is told of: names of categories are whatever browsers say.

use crate::effect::Body;
use crate::resolve::Step;
use crate::state::State;
use model::consent::ConsentState;
use model::event::Event;
use model::id::Key;
use std::sync::Arc;

/// What somebody chose before, and of what.
pub(crate) struct Chosen {
    category: Arc<str>,
    choice: Option<bool>,
}

impl State {
    /// What the person of a profile chose of a category.
    fn choice(&mut self, profile: Key, category: &str) -> Option<bool> {
        let component = self.component(profile);
        let nodes: Vec<Key> =
            component.into_iter().flat_map(|own| &own.members).map(|member| member.node).collect();
        for node in &nodes {
            // Into memory, so that all can be looked at together.
            self.nodes.get(*node);
        }
        let rows = nodes.iter().filter_map(|node| self.nodes.peek(*node).present()?.aggregate.as_deref());
        ConsentState::choice_of(rows.map(|aggregate| &aggregate.consent), category)
    }
}

impl Step<'_> {
    /// What a person chose, before something changes it.
    pub(crate) fn chosen(&mut self, profile: Key) -> Chosen {
        let category: Arc<str> = self.settings.line.consent_category.as_ref().into();
        let choice = self.state.choice(profile, &category);
        Chosen { category, choice }
    }

    /// What the person of an event chose before it, where it says anything of that. Most events do not.
    pub(crate) fn chosen_before(&mut self, profile: Option<Key>, event: &Event<'_>) -> Option<Chosen> {
        let category = &self.settings.line.consent_category;
        let speaks = event.consent.iter().any(|word| *word.category == **category);
        profile.filter(|_| speaks).map(|profile| self.chosen(profile))
    }

    /// Says that it is not any more what it was.
    pub(crate) fn tell_choice(&mut self, profile: Key, before: &Chosen) {
        let after = self.state.choice(profile, &before.category);
        if before.choice != after {
            let category = before.category.as_ref().into();
            self.emit(profile, &Body::Consent { category, before: before.choice, after });
        }
    }
}
