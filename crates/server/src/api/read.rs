//! A profile as it is shown: sealed values opened or masked, times as text.

use super::types::{EdgeShown, IdentifierShown, ProfileShown, RecentShown, RevenueShown, SuppressionShown};
use crate::calendar::iso;
use engage::{IdentifierRead, ProfileRead, Settings};
use engine::AsOf;
use model::audience::Rulebook;
use model::event::IdentifierKind;
use model::id::{Key, public_id};
use model::seal::Keys;
use serde_json::Value;

/// Turns what the loop knows into what a caller sees. `clear` shows sealed values.
pub(crate) fn shown(
    read: &ProfileRead,
    as_of: AsOf,
    keys: &Keys,
    (settings, book): (&Settings, &Rulebook),
    clear: bool,
) -> ProfileShown {
    let aggregate = &read.aggregate;
    let place = |node: Key| {
        let place = read.identifiers.iter().position(|identifier| identifier.node == node);
        place.and_then(|place| u32::try_from(place).ok())
    };
    let happened = aggregate.events > 0;
    ProfileShown {
        id: public_id("prf", read.profile),
        identifiers: shown_identifiers(read, keys, settings, clear),
        edges: read
            .edges
            .iter()
            .map(|edge| EdgeShown { a: place(edge.a), b: place(edge.b), position: edge.position.0 })
            .collect(),
        traits: aggregate
            .traits
            .items
            .iter()
            .map(|one| (one.name.to_string(), serde_json::from_slice(&one.value).unwrap_or(Value::Null)))
            .collect(),
        consent: aggregate
            .consent
            .categories
            .iter()
            .map(|category| (category.category.to_string(), category.standing().0))
            .collect(),
        events: aggregate.events,
        first_event_at: happened.then(|| iso(aggregate.first_at.0)),
        last_event_at: happened.then(|| iso(aggregate.last_at.0)),
        orders: aggregate.orders.len() as u64,
        revenue: aggregate
            .revenue
            .iter()
            .map(|revenue| RevenueShown {
                currency: String::from_utf8_lossy(&revenue.currency).into_owned(),
                orders: revenue.orders,
                value_minor: revenue.value_minor,
                refunded_minor: revenue.refunded_minor,
            })
            .collect(),
        recent: aggregate
            .recent()
            .into_iter()
            .map(|recent| RecentShown {
                name: recent.name,
                at: iso(recent.at.0),
                position: recent.position.0,
            })
            .collect(),
        suppressions: read
            .suppressed
            .scopes()
            .iter()
            .map(|active| SuppressionShown { until: iso(active.until.0), position: active.position.0 })
            .collect(),
        audiences: read
            .audiences
            .iter()
            .filter_map(|member| Some(book.definition(member.audience)?.name.to_string()))
            .collect(),
        position: as_of.next_position.0,
    }
}

/// The identifiers of a profile.
pub(crate) fn shown_identifiers(
    read: &ProfileRead,
    keys: &Keys,
    settings: &Settings,
    clear: bool,
) -> Vec<IdentifierShown> {
    read.identifiers.iter().map(|one| identifier(one, keys, settings, clear)).collect()
}

fn identifier(read: &IdentifierRead, keys: &Keys, settings: &Settings, clear: bool) -> IdentifierShown {
    let rule = settings.identity.kinds.iter().find(|rule| rule.kind == read.kind.0);
    let (value, masked) = shown_value(read.kind, read.node, &read.value, keys, clear);
    IdentifierShown {
        r#type: rule.map_or_else(|| format!("type_{}", read.kind.0), |rule| rule.name.clone()),
        value,
        masked,
        first_seen_at: iso(read.first_seen.at.0),
        first_seen_position: read.first_seen.position.0,
        shared: read.shared,
        former_session: !read.current,
        refused_joins: read.refusal_count,
    }
}

/// The value of an identifier, and whether it is masked.
pub(crate) fn shown_value(
    kind: IdentifierKind,
    key: Key,
    value: &[u8],
    keys: &Keys,
    clear: bool,
) -> (Option<String>, bool) {
    if value.is_empty() {
        return (None, false);
    }
    if !kind.is_sealed() {
        return (Some(String::from_utf8_lossy(value).into_owned()), false);
    }
    // A value that does not open stays hidden: the profile is of more use than an error.
    let opened = keys.open_identifier(key, value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match opened {
        Some(text) if clear => (Some(text), false),
        Some(text) => (Some(masked(kind, &text)), true),
        None => (None, true),
    }
}

/// Enough to recognise one's own, too little to write to it: `j***@example.com`, `+*********23`.
fn masked(kind: IdentifierKind, text: &str) -> String {
    if kind == IdentifierKind::EMAIL
        && let Some((local, host)) = text.split_once('@')
    {
        let first = local.chars().next().map(String::from).unwrap_or_default();
        return format!("{first}***@{host}");
    }
    let hidden = text.chars().count().saturating_sub(2);
    let shown: String = text.chars().skip(hidden).collect();
    format!("{}{shown}", "*".repeat(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_hide_what_could_be_written_to() {
        for (kind, text, expected) in [
            (IdentifierKind::EMAIL, "jane@example.com", "j***@example.com"),
            (IdentifierKind::PHONE, "+4930123456", "*********56"),
            (IdentifierKind::PHONE, "12", "12"),
        ] {
            assert_eq!(masked(kind, text), expected);
        }
    }
}
