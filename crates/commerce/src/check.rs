//! Bounds of what is stated. Everything that comes from outside passes here before it changes anything.

use crate::refusal::Refusal;
use model::commerce::cart::{Address, Attribute, Buyer};
use model::commerce::money::Currency;
use model::money::MAX_MINOR;

/// The longest name, code, title or part of an address, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// The longest value of an attribute, and the longest note, in bytes.
pub(crate) const NOTE_BYTES_MAX: usize = 5_000;
/// The longest e-mail address, as mail servers have it.
const EMAIL_BYTES_MAX: usize = 254;
/// The most attributes of a cart or a line.
const ATTRIBUTES_MAX: usize = 250;
/// The highest number that may be stated, so that JavaScript can count on.
const NUMBER_MAX: u64 = 1 << 53;

/// A text of at most so many bytes, without control characters other than line ends and tabs.
pub(crate) fn text(field: &str, text: &str, bytes_max: usize) -> Result<(), Refusal> {
    if text.len() > bytes_max {
        return Err(Refusal::invalid(field, format!("has {} bytes, {bytes_max} are allowed", text.len())));
    }
    if text.chars().any(|one| one.is_control() && !matches!(one, '\n' | '\r' | '\t')) {
        return Err(Refusal::invalid(field, "holds control characters"));
    }
    Ok(())
}

/// A short text.
pub(crate) fn name(field: &str, value: &str) -> Result<(), Refusal> {
    text(field, value, NAME_BYTES_MAX)
}

/// A short text that is there.
pub(crate) fn filled(field: &str, value: &str) -> Result<(), Refusal> {
    if value.trim().is_empty() {
        return Err(Refusal::invalid(field, "must not be empty"));
    }
    name(field, value)
}

/// A name in addresses.
pub(crate) fn handle(field: &str, value: &str) -> Result<(), Refusal> {
    filled(field, value)?;
    let fits = |one: char| one.is_alphanumeric() && !one.is_uppercase() || matches!(one, '-' | '_');
    if value.chars().all(fits) {
        return Ok(());
    }
    Err(Refusal::invalid(field, "holds something else than lower-case letters, digits and hyphens"))
}

/// At most so many.
pub(crate) fn count(what: &str, found: usize, most: usize) -> Result<(), Refusal> {
    if found > most { Err(Refusal::TooMany { what: format!("{what} ({most})") }) } else { Ok(()) }
}

/// A number that was stated.
pub(crate) fn number(field: &str, value: u64) -> Result<(), Refusal> {
    if value > NUMBER_MAX { Err(Refusal::invalid(field, "is beyond 2^53")) } else { Ok(()) }
}

/// An amount of at least nothing.
pub(crate) fn price(field: &str, minor: i64) -> Result<(), Refusal> {
    if (0..=MAX_MINOR).contains(&minor) {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("must be from 0 to {MAX_MINOR} minor units")))
}

/// Three capital letters.
pub(crate) fn currency(field: &str, value: Currency) -> Result<(), Refusal> {
    letters(field, &value)
}

/// Two capital letters.
pub(crate) fn country(field: &str, value: [u8; 2]) -> Result<(), Refusal> {
    letters(field, &value)
}

fn letters(field: &str, value: &[u8]) -> Result<(), Refusal> {
    if value.iter().all(u8::is_ascii_uppercase) {
        return Ok(());
    }
    Err(Refusal::invalid(field, "must be a code of capital letters"))
}

/// An address of the shape `one@host`. Whether somebody reads it, only a mail can tell.
pub(crate) fn email(field: &str, value: &str) -> Result<(), Refusal> {
    text(field, value, EMAIL_BYTES_MAX)?;
    let parts = value.split_once('@').filter(|(user, host)| {
        !user.is_empty() && !host.is_empty() && !host.contains('@') && !host.starts_with('.')
    });
    if parts.is_none() || value.chars().any(|one| one.is_whitespace() || one.is_control()) {
        return Err(Refusal::invalid(field, "is no e-mail address"));
    }
    Ok(())
}

/// Attributes of a cart or a line.
pub(crate) fn attributes(field: &str, attributes: &[Attribute]) -> Result<(), Refusal> {
    count("attributes", attributes.len(), ATTRIBUTES_MAX)?;
    for attribute in attributes {
        filled(field, &attribute.key)?;
        text(field, &attribute.value, NOTE_BYTES_MAX)?;
    }
    Ok(())
}

/// Who buys, as far as stated.
pub(crate) fn buyer(buyer: &Buyer) -> Result<(), Refusal> {
    if let Some(country) = buyer.country {
        self::country("buyer.country", country)?;
    }
    if let Some(email) = &buyer.email {
        self::email("buyer.email", email)?;
    }
    for (field, value) in [("buyer.language", &buyer.language), ("buyer.phone", &buyer.phone)] {
        name(field, value.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// An address, complete or not.
pub(crate) fn address(address: &Address) -> Result<(), Refusal> {
    country("address.country", address.country)?;
    let fields = [
        ("address.first_name", &address.first_name),
        ("address.last_name", &address.last_name),
        ("address.company", &address.company),
        ("address.address1", &address.address1),
        ("address.address2", &address.address2),
        ("address.city", &address.city),
        ("address.province", &address.province),
        ("address.zip", &address.zip),
        ("address.phone", &address.phone),
    ];
    fields.into_iter().try_for_each(|(field, value)| name(field, value))
}

/// What an address needs for something to be sent there: the name of what is missing.
pub(crate) fn missing(address: &Address) -> Option<&'static str> {
    let fields = [
        ("address.last_name", &address.last_name),
        ("address.address1", &address.address1),
        ("address.city", &address.city),
    ];
    fields.into_iter().find(|(_, value)| value.trim().is_empty()).map(|(field, _)| field)
}
