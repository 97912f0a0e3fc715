//! The text of an audience's rule, or of a feature.

use crate::Target;
use model::audience::{Definition, DefinitionId, DefinitionKind, Person, Rulebook};
use model::feature::FeatureStates;
use model::id::Timestamp;

pub(crate) const TARGET: Target = Target {
    name: "rule",
    promise: "a rule is refused with a code, a place in its text and a sentence, or says yes or no of anybody",
    check,
    seeds,
    words: &[
        b"(",
        b")",
        b"[",
        b"]",
        b"{",
        b"}",
        b"\"",
        b"\\\"",
        b"&&",
        b"||",
        b"!",
        b"==",
        b">=",
        b"-",
        b"9223372036854775808",
        b"1e308",
        b"count(",
        b"sum(",
        b"last(",
        b"funnel([",
        b"event(",
        b"since(",
        b"duration(\"1d\")",
        b"traits.x",
        b"matches(\"(a*)*b\")",
        b"audience(\"a\")",
        b"feature(\"f\")",
        b"consent(\"x\")",
        b"\xc3\xa4",
        b"in [",
        b"? 1 : 2",
    ],
};

struct Nobody;

impl Person for Nobody {
    fn features(&self, _: usize) -> Option<&FeatureStates> {
        None
    }

    fn stated(&self, name: &str) -> Option<&[u8]> {
        name.len().is_multiple_of(2).then_some(&b"\"text\""[..])
    }

    fn consents(&self, category: &str) -> bool {
        category.len().is_multiple_of(2)
    }

    fn is_member(&self, _: DefinitionId) -> bool {
        false
    }
}

fn check(data: &[u8]) -> bool {
    let Some((first, text)) = data.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let kind = if first.is_multiple_of(2) {
        DefinitionKind::Audience { rule: text.into(), suppress: None }
    } else {
        DefinitionKind::Feature { expression: text.into() }
    };
    let book = Rulebook::default();
    let id = book.next_id();
    let definition = Definition { id, name: "it".into(), version: 1, kind };
    match book.define(definition) {
        Ok((book, _)) => {
            if first.is_multiple_of(2) {
                let at = Timestamp(1_795_304_740_000_000);
                let verdict = book.evaluate(id, &Nobody, at).expect("an audience that is defined");
                assert_eq!(Some(verdict), book.evaluate(id, &Nobody, at));
                assert!(verdict.next_change > at, "it changes in the past");
            }
            true
        }
        Err(error) => {
            assert!(!error.code().is_empty() && error.to_string().contains(' '));
            false
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let rule = |text: &str| [b"\0", text.as_bytes()].concat();
    let feature = |text: &str| [b"\x01", text.as_bytes()].concat();
    vec![
        rule(r#"count("Product Added", "7d") > 0 && count("Order Completed", "7d") == 0"#),
        rule(
            r#"sum("Product Added", "price", "30d", category == "shoes") > 50.5 || !(distinct("page", "path") >= 5)"#,
        ),
        rule(r#"funnel([event("Product Viewed", category == "c"), event("Order Completed")], "1d")"#),
        rule(r#"time_since == 1"#),
        rule(
            r#"since(last_at("page")) < duration("3d") && traits.city.startsWith("Ber") && traits.n in [1, 2.5]"#,
        ),
        rule(r#"traits.plan == "gold" && !consent("Advertising") || traits.name.matches("^a.*b$")"#),
        feature(r#"sum("Order Completed", "value", "30d")"#),
    ]
}
