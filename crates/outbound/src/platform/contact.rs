//! What is known of a person, as input of every platform, and what all platforms' rules have in common.
//!
//! Nothing in here is ever shown: every personal text is a [`Personal`], which prints nothing and is wiped when it is
//! dropped. Phone numbers become E.164 here, with the configured country, *before* any platform's own rule sees them:
//! those rules make a number of another country out of a national one, silently.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::normalise::{self, PhoneCountry};
use ring::digest;
use serde::{Deserialize, Deserializer};
use std::fmt;
use zeroize::Zeroizing;

/// The most values of one kind that are used of a person. Google takes ten identifiers of a person in all.
pub const VALUES_MAX: usize = 10;
/// The longest personal text, in bytes. Nothing that a platform matches on is longer.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// A personal text: never shown, wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Personal(Zeroizing<String>);

impl Personal {
    /// Takes a text as personal.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text. Only for what is sent or hashed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Personal(...)")
    }
}

impl<'de> Deserialize<'de> for Personal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// What is known of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// E-mail addresses.
    pub emails: Vec<Personal>,
    /// Phone numbers, as they were written.
    pub phones: Vec<Personal>,
    /// The first name.
    pub first_name: Option<Personal>,
    /// The last name.
    pub last_name: Option<Personal>,
    /// The city.
    pub city: Option<Personal>,
    /// The state or region.
    pub state: Option<Personal>,
    /// The postal code.
    pub postcode: Option<Personal>,
    /// The country: ISO 3166-1 alpha-2.
    pub country: Option<Personal>,
    /// What the shop calls the person.
    pub external_ids: Vec<Personal>,
    /// What platforms put into links and cookies.
    pub click_ids: ClickIds,
    /// The address of the person's device.
    pub client_ip: Option<Personal>,
    /// The browser.
    pub user_agent: Option<Personal>,
}

/// Identifiers that platforms put into links and cookies of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClickIds {
    /// Meta's click, from the cookie `_fbc`.
    pub fbc: Option<Personal>,
    /// Meta's browser, from the cookie `_fbp`.
    pub fbp: Option<Personal>,
    /// Google's click.
    pub gclid: Option<Personal>,
    /// Google's click on an ad of an app.
    pub gbraid: Option<Personal>,
    /// Google's click from the web to an app.
    pub wbraid: Option<Personal>,
    /// TikTok's click.
    pub ttclid: Option<Personal>,
    /// TikTok's browser, from the cookie `_ttp`.
    pub ttp: Option<Personal>,
}

/// Why a value cannot be used. It never holds the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {field} cannot be used ({why}): correct it where it comes from")]
pub struct Unusable {
    /// Which value, e.g. `email`.
    pub field: &'static str,
    /// What is wrong, e.g. `inner_space`: a stable word.
    pub why: &'static str,
}

impl Unusable {
    pub(super) fn new(field: &'static str, why: &'static str) -> Self {
        Self { field, why }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        "value_unusable"
    }
}

impl Contact {
    /// The phone numbers in E.164, sorted and each once. `home` is the country of numbers that are written as at
    /// home; without it they are left out, like everything that is no number.
    pub fn phones_e164(&self, home: Option<PhoneCountry>) -> Vec<Personal> {
        let read = self.phones.iter().take(VALUES_MAX).filter_map(|phone| e164(phone.expose(), home));
        let mut all: Vec<Personal> = read.map(Personal::new).collect();
        all.sort_by(|one, other| one.expose().cmp(other.expose()));
        all.dedup();
        all
    }

    /// Whether there is nothing in it by which a platform could find anybody.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A phone number in E.164: `+`, the country's code, 8 to 15 digits in all. `None` if it is none.
///
/// The rule, with its limits, is that of identifiers ([`normalise::phone`]), so that a person is found under the same
/// number everywhere.
pub fn e164(phone: &str, home: Option<PhoneCountry>) -> Option<String> {
    normalise::phone(phone, home)
}

/// SHA-256 (FIPS 180-4) of a text, as every platform of today wants it.
pub(super) fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// SHA-256 of a text in lower-case hexadecimal.
pub(super) fn sha256_hex(text: &str) -> String {
    hex(&sha256(text))
}

/// SHA-256 of a text in base64, as The Trade Desk and UID2 want it.
pub fn sha256_base64(text: &str) -> String {
    BASE64_STANDARD.encode(sha256(text))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Lower-case hexadecimal of so many digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// White space as Python understands it, in which the platforms' own libraries are written: Unicode's, and the four
/// separators of ASCII that Rust leaves out.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Text without white space around it, in lower case.
pub(super) fn strip_lower(text: &str) -> String {
    text.trim_matches(is_space).to_lowercase()
}

/// A decimal digit of another script. The platforms' libraries take such digits for digits and hash them as they are
/// written, under which nobody will ever be found: here they are refused.
pub(super) fn has_foreign_digit(text: &str) -> bool {
    text.chars().any(|character| !character.is_ascii() && character.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_person() {
        let contact = Contact {
            emails: vec![Personal::new("ann@shop.test")],
            phones: vec![Personal::new("+4930123456")],
            click_ids: ClickIds { fbc: Some(Personal::new("fb.1.2.ann")), ..ClickIds::default() },
            ..Contact::default()
        };
        let shown = format!("{contact:?}");
        assert!(!shown.contains("ann") && !shown.contains("4930"), "{shown}");
    }

    #[test]
    fn national_numbers_need_a_country_and_become_international() {
        let table = [
            ("020 7946 0958", Some("GB"), Some("+442079460958")),
            ("020 7946 0958", None, None),
            ("0044 20 7946 0958", None, Some("+442079460958")),
            ("+44 (0)20 7946 0958", Some("DE"), Some("+442079460958")),
            ("(212) 555-0123", Some("US"), Some("+12125550123")),
            ("1-800-FLOWERS", Some("US"), None),
            ("", Some("DE"), None),
        ];
        for (phone, country, expected) in table {
            let home = country.and_then(PhoneCountry::find);
            assert_eq!(e164(phone, home).as_deref(), expected, "{phone} at home in {country:?}");
        }
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        // FIPS 180-4's example, from NIST's page of examples.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex("abc"), expected);
        assert!(is_hex(expected, 64) && !is_hex(expected, 32) && !is_hex(&expected.to_uppercase(), 64));
        assert_eq!(sha256_base64("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
