//! Audiences: the people who match a rule now.
//!
//! A rule is an expression of CEL, the Common Expression Language, over traits, features, consent and other audiences
//! (docs/audiences.md describes it to its users). It is read and checked once, when it is defined: names, types,
//! arguments, length, depth, cost and circles. What is left is a [`Rulebook`] of small programs, with indexes that say
//! which of them an event, a trait, a word about consent or another audience can change.
//!
//! A rule cannot ask what time it is. What depends on time (a window, `since(..)`) says itself before which instant its
//! answer is sure, so one timer per person is enough: see [`Verdict::next_change`].

mod agenda;
mod compile;
mod definition;
mod evaluate;
mod filter;
mod problem;
mod program;
mod rulebook;
mod syntax;
mod token;

pub use agenda::Agenda;
pub use compile::{
    MAX_FILTER_COST, MAX_FUNNEL_STEPS, MAX_LIST_VALUES, MAX_PATTERN_BYTES, MAX_RULE_COST, MAX_RULE_TERMS,
};
pub use definition::{
    Definition, DefinitionError, DefinitionId, DefinitionKind, MAX_AUDIENCE_CHAIN, MAX_DEFINITIONS,
    MAX_NAME_BYTES, Suppress,
};
pub use evaluate::{Explained, Person, Terms, Verdict};
pub use filter::Filter;
pub use problem::{Place, RuleCode, RuleError};
pub use rulebook::{Changes, Rulebook};
pub use syntax::{MAX_RULE_BYTES, MAX_RULE_DEPTH, MAX_RULE_PARTS};
