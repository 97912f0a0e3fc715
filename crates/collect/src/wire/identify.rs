//! Who an event is about: its identifiers, normalised, hashed, sealed, in order of importance.

use crate::settings::DoorSettings;
use crate::wire::facts::{Context, Text, clear_id};
use crate::wire::item::Item;
use crate::wire::problem::{Problem, WireError};
use model::event::{EventKind, Identifier, IdentifierKind, Identifiers, MAX_IDENTIFIERS};
use model::id::Key;
use model::normalise;
use model::seal::Keys;
use std::borrow::Cow;

/// Places kept for the browser's and the app's own ids behind however many external ids there are.
const SESSION_PLACES: usize = 2;

/// The identifiers of one event, owning what had to be sealed or rewritten.
#[derive(Default)]
pub(crate) struct Found<'a> {
    items: Vec<(IdentifierKind, Key, Cow<'a, [u8]>)>,
}

/// Collects the identifiers of an event.
///
/// Order: user id (of an alias: then the previous id), e-mail, phone, external ids, anonymous id, device id. Of each
/// built-in type an event carries one: e-mail and phone come from `traits`, else `context.traits`, else
/// `properties`, because a second address in one event is more often somebody else's (a gift) than one's own. The
/// traits of a `group` call describe the group, so nobody is found by them. Values that name nobody (`null`, zeros, an
/// e-mail address that is none) are left out without refusing the event; an id that is too long or unclear refuses it.
pub(crate) fn find<'a>(
    item: &'a Item<'_>,
    context: &'a Context<'_>,
    kind: EventKind,
    keys: &Keys,
    settings: &DoorSettings,
) -> Result<Found<'a>, WireError> {
    let mut found = Found { items: Vec::with_capacity(MAX_IDENTIFIERS) };
    let mut add = |kind, value, field| found.add_optional(kind, value, field, keys, settings);
    add(IdentifierKind::USER_ID, &item.user_id, "userId")?;
    if kind == EventKind::Alias {
        add(previous_kind(item), &item.previous_id, "previousId")?;
    }
    let own = if kind == EventKind::Group { &context.traits.contact } else { &item.traits.contact };
    let places = [own, &context.traits.contact, &item.properties.contact];
    for contact in places {
        if add(IdentifierKind::EMAIL, &contact.email, "email")? {
            break;
        }
    }
    for contact in places {
        if add(IdentifierKind::PHONE, &contact.phone, "phone")? {
            break;
        }
    }
    for (name, id) in &context.external_ids {
        if let Some(kind) = external_kind(name, settings) {
            found.add_external(kind, id, keys, settings)?;
        }
    }
    let mut add = |kind, value, field| found.add_optional(kind, value, field, keys, settings);
    add(IdentifierKind::ANONYMOUS_ID, &item.anonymous_id, "anonymousId")?;
    add(IdentifierKind::DEVICE_ID, &context.device_id, "context.device.id")?;
    Ok(found)
}

impl<'a> Found<'a> {
    /// The identifiers in the form of an event.
    pub(crate) fn borrowed(&self) -> Identifiers<'_> {
        let mut identifiers = Identifiers::default();
        for (kind, key, value) in &self.items {
            identifiers.push(Identifier { kind: kind.0, key: *key, value });
        }
        identifiers
    }

    /// Adds a value if there is one. `false` if there is none, or it names nobody.
    fn add_optional(
        &mut self,
        kind: IdentifierKind,
        value: &'a Option<Text<'_>>,
        field: &str,
        keys: &Keys,
        settings: &DoorSettings,
    ) -> Result<bool, WireError> {
        match value {
            Some(value) => self.add(kind, value, field, keys, settings),
            None => Ok(false),
        }
    }

    /// An external id of a built-in type only stands in where the event has none of that type, and leaves the last
    /// places to session ids.
    fn add_external(
        &mut self,
        kind: IdentifierKind,
        value: &'a str,
        keys: &Keys,
        settings: &DoorSettings,
    ) -> Result<(), WireError> {
        let full = self.items.len() + SESSION_PLACES >= MAX_IDENTIFIERS;
        let taken = is_built_in(kind) && self.items.iter().any(|(present, _, _)| *present == kind);
        if full || taken {
            return Ok(());
        }
        self.add(kind, value, "context.externalIds", keys, settings).map(|_| ())
    }

    /// Adds a value. `false` if it names nobody. The same identifier twice (a self-alias) is one.
    fn add(
        &mut self,
        kind: IdentifierKind,
        value: &'a str,
        field: &str,
        keys: &Keys,
        settings: &DoorSettings,
    ) -> Result<bool, WireError> {
        // Addresses and numbers have a grammar of their own: what does not fit it names nobody.
        if !matches!(kind, IdentifierKind::EMAIL | IdentifierKind::PHONE) {
            clear_id(value, normalise::MAX_VALUE_BYTES, field)?;
        }
        let Some(value) = normalise::identifier(kind, value, settings.default_country) else {
            return Ok(false);
        };
        let key = keys.identifier(kind, value.as_bytes());
        if self.items.iter().any(|(_, present, _)| *present == key) {
            return Ok(true);
        }
        let stored = if kind.is_sealed() {
            Cow::Owned(keys.seal_identifier(key, value.as_bytes()).map_err(|_| Problem::NotSealed.of(""))?)
        } else {
            match value {
                Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
                Cow::Owned(value) => Cow::Owned(value.into_bytes()),
            }
        };
        self.items.push((kind, key, stored));
        Ok(true)
    }
}

fn is_built_in(kind: IdentifierKind) -> bool {
    kind <= IdentifierKind::DEVICE_ID
}

fn external_kind(name: &str, settings: &DoorSettings) -> Option<IdentifierKind> {
    Some(match name {
        "user_id" => IdentifierKind::USER_ID,
        "email" => IdentifierKind::EMAIL,
        "phone" => IdentifierKind::PHONE,
        "anonymous_id" => IdentifierKind::ANONYMOUS_ID,
        "android.id" | "ios.id" => IdentifierKind::DEVICE_ID,
        other => return settings.identity.external_kinds.get(other).copied(),
    })
}

/// What an alias's previous id is. The wire does not say, so: the event's own anonymous id is one, and so is anything
/// shaped like the UUIDs that SDKs make for browsers, unless the shop's user ids have that shape too.
fn previous_kind(item: &Item<'_>) -> IdentifierKind {
    let previous = item.previous_id.as_deref().unwrap_or_default();
    let is_anonymous = item.anonymous_id.as_deref() == Some(previous);
    let users_are_uuids = item.user_id.as_deref().is_some_and(is_uuid);
    if is_anonymous || (is_uuid(previous) && !users_are_uuids) {
        IdentifierKind::ANONYMOUS_ID
    } else {
        IdentifierKind::USER_ID
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
