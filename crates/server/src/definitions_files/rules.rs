//! Rules of files, held against the model's own rulebook.

use super::kinds::{AUDIENCE, FEATURE, Type, canonical};
use super::place::{Findings, Place, offset_in_source};
use super::read::Item;
use engage::Draft;
use model::audience::{DefinitionError, DefinitionKind, RuleError, Rulebook, Suppress};
use serde_json::Value;
use toml::de::DeValue;

/// Stands for a rule until all names are known: rules name each other in any order, also in a circle.
const ANY_RULE: &str = "count(\"page\") > 0";
/// The same for an expression.
const ANY_EXPRESSION: &str = "count(\"page\")";

/// What definitions are together.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) book: Rulebook,
    /// What cannot be, by the definition's place among those given.
    pub(crate) refused: Vec<(usize, DefinitionError)>,
}

/// Compiles features and audiences; other kinds are passed over.
pub(crate) fn compile(items: &[&Item]) -> Compiled {
    let mut compiled = Compiled::default();
    for (index, item) in items.iter().enumerate().filter(|(_, item)| item.kind.word == FEATURE) {
        compiled.take(index, item);
    }
    for item in items.iter().filter(|item| item.kind.word == AUDIENCE) {
        let kind = DefinitionKind::Audience { rule: ANY_RULE.into(), suppress: None };
        // A name that cannot be is said below.
        let _ = compiled.define(&item.name, kind);
    }
    for (index, item) in items.iter().enumerate().filter(|(_, item)| item.kind.word == AUDIENCE) {
        compiled.take(index, item);
    }
    compiled
}

impl Compiled {
    fn define(&mut self, name: &str, kind: DefinitionKind) -> Result<(), DefinitionError> {
        let draft = Draft { name: name.to_owned(), changes: None, kind };
        if let Some((book, _)) = draft.apply_to(&self.book)?.changed {
            self.book = book;
        }
        Ok(())
    }

    fn take(&mut self, index: usize, item: &Item) {
        let Some(kind) = definition_of(item) else { return };
        let is_feature = matches!(kind, DefinitionKind::Feature { .. });
        let Err(error) = self.define(&item.name, kind) else { return };
        self.refused.push((index, error));
        if is_feature {
            // So that rules which use it are not wrong as well.
            let _ = self.define(&item.name, DefinitionKind::Feature { expression: ANY_EXPRESSION.into() });
        }
    }
}

/// A feature or audience as the model knows it.
pub(crate) fn definition_of(item: &Item) -> Option<DefinitionKind> {
    match item.kind.word {
        FEATURE => Some(DefinitionKind::Feature { expression: item.text("expression")?.into() }),
        AUDIENCE => {
            let suppress = item.values.get("suppress").and_then(suppress);
            Some(DefinitionKind::Audience { rule: item.text("rule")?.into(), suppress })
        }
        _ => None,
    }
}

fn suppress(value: &Value) -> Option<Suppress> {
    let text = |name| value.get(name).and_then(Value::as_str);
    match (text("product_id"), text("category")) {
        (Some(product_id), _) => Some(Suppress::Product(product_id.into())),
        (None, Some(category)) => Some(Suppress::Category(category.into())),
        (None, None) => Some(Suppress::Everything),
    }
}

/// Says what is wrong with a definition, at the place in its file where the mistake is.
pub(crate) fn explain(item: &Item, error: &DefinitionError, findings: &mut Findings) {
    let what = match error {
        DefinitionError::Rule(error) => {
            let message = format!("{} [{}]. {}", error.message, error.code.code(), error.advice);
            return findings.add(place_in_rule(item, error), message.trim_end().trim_end_matches(". "));
        }
        DefinitionError::Name | DefinitionError::NameTaken { .. } => "name",
        DefinitionError::EmptyScope => "suppress",
        _ => "",
    };
    findings.add(item.place_of(what), format!("{}: {error}", item.title()));
}

/// The part of the file that a rule's error means.
fn place_in_rule(item: &Item, error: &RuleError) -> Option<Place> {
    let field = if item.kind.word == FEATURE { "expression" } else { "rule" };
    let whole = item.place_of(field)?;
    let within = || {
        let raw = whole.file.text.get(whole.span.clone())?;
        let parsed = DeValue::parse(raw).ok()?;
        let value = parsed.get_ref().as_str()?;
        // Places are those of the rule without the blanks at its ends.
        let rule = item.text(field)?;
        (canonical(Type::Rule, Value::from(value)) == *rule).then_some(())?;
        let blanks = value.len() - value.trim_start().len();
        let start = error.place.offset;
        let carets = error.place.excerpt.chars().rev().take_while(|character| *character == '^').count();
        let meant: usize = rule.get(start..)?.chars().take(carets).map(char::len_utf8).sum();
        let from = offset_in_source(raw, value, blanks + start)?;
        let to = offset_in_source(raw, value, blanks + start + meant)?;
        Some(whole.span.start + from..whole.span.start + to.max(from + 1))
    };
    Some(Place { span: within().unwrap_or_else(|| whole.span.clone()), ..whole.clone() })
}
