//! Says when a person chose otherwise of advertising: by a word of theirs, or because two became one or were parted.
//! Whoever keeps lists of people elsewhere goes by it, since no audience need change with it.
//!
//! Only of the categories that somebody goes by, the line's settings and destinations: names of categories are whatever
//! browsers say.

use crate::destination::consent_categories;
use crate::effect::Body;
use crate::resolve::Step;
use crate::state::State;
use model::consent::ConsentState;
use model::event::Event;
use model::id::Key;

/// What somebody chose before, of each category.
pub(crate) struct Chosen(Vec<(Box<str>, Option<bool>)>);

impl State {
    /// What the person of a profile chose of each of these categories.
    fn choices(&mut self, profile: Key, categories: &[&str]) -> Vec<Option<bool>> {
        let component = self.component(profile);
        let nodes: Vec<Key> =
            component.into_iter().flat_map(|own| &own.members).map(|member| member.node).collect();
        for node in &nodes {
            // Into memory, so that all can be looked at together.
            self.nodes.get(*node);
        }
        let choice = |category: &&str| {
            let rows = nodes.iter().filter_map(|node| self.nodes.peek(*node).present()?.aggregate.as_deref());
            ConsentState::choice_of(rows.map(|aggregate| &aggregate.consent), category)
        };
        categories.iter().map(choice).collect()
    }
}

impl Step<'_> {
    /// What a person chose, before something changes it.
    pub(crate) fn chosen(&mut self, profile: Key) -> Chosen {
        self.chosen_of(profile, &consent_categories(self.settings))
    }

    fn chosen_of(&mut self, profile: Key, categories: &[&str]) -> Chosen {
        let choices = self.state.choices(profile, categories);
        Chosen(categories.iter().map(|category| Box::from(*category)).zip(choices).collect())
    }

    /// What the person of an event chose before it, where it says anything of that. Most events do not.
    pub(crate) fn chosen_before(&mut self, profile: Option<Key>, event: &Event<'_>) -> Option<Chosen> {
        let (profile, settings) = (profile.filter(|_| !event.consent.is_empty())?, self.settings);
        let mut categories = consent_categories(settings);
        categories.retain(|own| event.consent.iter().any(|word| *word.category == **own));
        (!categories.is_empty()).then(|| self.chosen_of(profile, &categories))
    }

    /// Says of what it is not any more what it was.
    pub(crate) fn tell_choice(&mut self, profile: Key, before: &Chosen) {
        let categories: Vec<&str> = before.0.iter().map(|(category, _)| &**category).collect();
        let now = self.state.choices(profile, &categories);
        for ((category, before), after) in before.0.iter().zip(now) {
            if *before != after {
                self.emit(profile, &Body::Consent { category: category.clone(), before: *before, after });
            }
        }
    }
}
