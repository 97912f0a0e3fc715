//! The one table of kinds: their names are part of the interface, and so are their scopes.

use crate::api::{Code, Problem};
use engage::effect::{
    AUDIENCE_ENTERED, AUDIENCE_EXITED, CONSENT_CHANGED, EDGE_REFUSED, ERASED, LINE, MANY_IDENTIFIERS, MERGED,
    SUPPRESSION_ENDED, SUPPRESSION_STARTED, UNMERGED,
};
use engine::feed::{Item, What};

/// What every scope of the feed begins with.
pub(crate) const FEED_FAMILY: &str = "feed:";
/// Every kind.
pub(crate) const FEED_ALL: &str = "feed:*";

/// A kind of item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Its stable name.
    pub(crate) name: &'static str,
    /// The scope that shows it.
    pub(crate) scope: &'static str,
    /// The effect it is; `None` is an accepted event.
    number: Option<u16>,
    /// What it says, for people.
    pub(crate) about: &'static str,
}

impl Kind {
    /// Whether it is the effect of this number.
    pub(crate) fn is_effect(&self, number: u16) -> bool {
        self.number == Some(number)
    }

    /// Whether it is an effect, and not an event.
    pub(crate) fn is_an_effect(&self) -> bool {
        self.number.is_some()
    }
}

macro_rules! kind {
    ($name:literal, $number:expr, $about:literal) => {
        Kind { name: $name, scope: concat!("feed:", $name), number: $number, about: $about }
    };
}

/// Every kind. One line adds one.
pub(crate) const KINDS: &[Kind] = &[
    kind!("event.accepted", None, "feed: accepted events, without traits, properties and context"),
    kind!("suppression.started", Some(SUPPRESSION_STARTED), "feed: who began to be suppressed, for what"),
    kind!("suppression.ended", Some(SUPPRESSION_ENDED), "feed: who is suppressed no more, for what"),
    kind!("profile.merged", Some(MERGED), "feed: which profile became part of which"),
    kind!("profile.unmerged", Some(UNMERGED), "feed: which profile was parted into which"),
    kind!("profile.edge_refused", Some(EDGE_REFUSED), "feed: which joins were refused"),
    kind!("profile.erased", Some(ERASED), "feed: which profile was erased"),
    kind!(
        "profile.many_identifiers",
        Some(MANY_IDENTIFIERS),
        "feed: which profile has unusually many identifiers"
    ),
    kind!("audience.entered", Some(AUDIENCE_ENTERED), "feed: who entered which audience"),
    kind!("audience.exited", Some(AUDIENCE_EXITED), "feed: who left which audience"),
    kind!("consent.changed", Some(CONSENT_CHANGED), "feed: who agreed to advertising, or does not any more"),
    kind!("line", Some(LINE), "feed: the line's figures of every hour and campaign, and their corrections"),
];

/// A choice of kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen(Vec<&'static Kind>);

impl Chosen {
    /// The kinds named, or else every kind that the scopes show. A kind that they do not show is refused.
    pub(crate) fn of(named: Option<&str>, scopes: &[String]) -> Result<Self, Problem> {
        let shown = |kind: &Kind| scopes.iter().any(|scope| scope == FEED_ALL || scope == kind.scope);
        let Some(named) = named else {
            return Ok(Self(KINDS.iter().filter(|kind| shown(kind)).collect()));
        };
        let mut chosen = Vec::new();
        for name in named.split(',').map(str::trim) {
            let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
                let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
                let message = format!("there is no kind {name:?}; there are {}", known.join(", "));
                return Err(Problem::at(Code::BadValue, "kinds", message));
            };
            if !shown(kind) {
                let message = format!(
                    "this token lacks the scope {}; make one that has it with POST /admin/v1/tokens",
                    kind.scope
                );
                return Err(Problem::at(Code::Forbidden, "kinds", message));
            }
            if !chosen.contains(&kind) {
                chosen.push(kind);
            }
        }
        Ok(Self(chosen))
    }

    /// The kind of an item, if it is chosen. A kind that this version does not know is not.
    pub(crate) fn kind(&self, item: &Item) -> Option<&'static Kind> {
        let number = match &item.what {
            What::Event { .. } => None,
            What::Effect { kind, .. } => Some(*kind),
        };
        self.0.iter().find(|kind| kind.number == number).copied()
    }

    /// Whether a kind is chosen.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|kind| kind.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(all: &[&str]) -> Vec<String> {
        all.iter().map(|scope| (*scope).to_owned()).collect()
    }

    #[test]
    fn a_token_gets_the_kinds_it_may_see_and_is_refused_others_by_name() {
        let one = scopes(&["feed:profile.merged", "admin"]);
        let chosen = Chosen::of(None, &one).unwrap();
        assert!(chosen.has("profile.merged") && !chosen.has("event.accepted"));
        assert_eq!(Chosen::of(Some("event.accepted"), &one).unwrap_err().code, Code::Forbidden);
        assert_eq!(Chosen::of(Some("profile.merge"), &one).unwrap_err().code, Code::BadValue);
        assert_eq!(Chosen::of(Some(""), &one).unwrap_err().code, Code::BadValue);
        let all = Chosen::of(None, &scopes(&[FEED_ALL])).unwrap();
        assert_eq!(all.0.len(), KINDS.len());
        let twice = Chosen::of(Some("profile.merged, profile.merged"), &one).unwrap();
        assert_eq!(twice.0.len(), 1);
    }

    #[test]
    fn names_and_numbers_are_told_apart() {
        for (index, kind) in KINDS.iter().enumerate() {
            assert_eq!(kind.scope, format!("{FEED_FAMILY}{}", kind.name));
            let others = KINDS.iter().skip(index + 1);
            assert!(others.clone().all(|other| other.name != kind.name && other.number != kind.number));
        }
    }
}
