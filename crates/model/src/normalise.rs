//! Identifier values in one form, and the values that name nobody.
//!
//! Two spellings of one address must be one identifier, and a value that many people share by mistake (`null`, all
//! zeros) must be none: one such value would join strangers into one profile.

use crate::event::IdentifierKind;
use std::borrow::Cow;

/// The longest identifier value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256;
/// The longest e-mail address (RFC 5321).
const MAX_EMAIL_BYTES: usize = 254;
/// E.164 allows 15 digits; fewer than 8 with a country code is no subscriber's number.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// What a program writes where it has no value. Compared without regard to ASCII case.
const BLOCKED_VALUES: [&str; 5] = ["-1", "null", "anonymous", "undefined", "[object object]"];

/// How a country writes phone numbers at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneCountry {
    /// ISO 3166-1 alpha-2, upper case.
    pub code: [u8; 2],
    calling: &'static str,
    trunk: &'static str,
}

/// The countries whose national numbers are understood, with calling code and trunk prefix. Numbers written with
/// `+` or `00` need no entry here.
const PHONE_COUNTRIES: &[(&[u8; 2], &str, &str)] = &[
    (b"AR", "54", "0"),
    (b"AT", "43", "0"),
    (b"AU", "61", "0"),
    (b"BE", "32", "0"),
    (b"BG", "359", "0"),
    (b"BR", "55", "0"),
    (b"CA", "1", "1"),
    (b"CH", "41", "0"),
    (b"CL", "56", ""),
    (b"CN", "86", "0"),
    (b"CO", "57", ""),
    (b"CZ", "420", ""),
    (b"DE", "49", "0"),
    (b"DK", "45", ""),
    (b"EE", "372", ""),
    (b"ES", "34", ""),
    (b"FI", "358", "0"),
    (b"FR", "33", "0"),
    (b"GB", "44", "0"),
    (b"GR", "30", ""),
    (b"HR", "385", "0"),
    (b"HU", "36", "06"),
    (b"IE", "353", "0"),
    (b"IL", "972", "0"),
    (b"IN", "91", "0"),
    (b"IT", "39", ""),
    (b"JP", "81", "0"),
    (b"KR", "82", "0"),
    (b"LT", "370", "0"),
    (b"LU", "352", ""),
    (b"LV", "371", ""),
    (b"MX", "52", ""),
    (b"NL", "31", "0"),
    (b"NO", "47", ""),
    (b"NZ", "64", "0"),
    (b"PL", "48", ""),
    (b"PT", "351", ""),
    (b"RO", "40", "0"),
    (b"SE", "46", "0"),
    (b"SG", "65", ""),
    (b"SI", "386", "0"),
    (b"SK", "421", "0"),
    (b"TR", "90", "0"),
    (b"UA", "380", "0"),
    (b"US", "1", "1"),
    (b"ZA", "27", "0"),
];

impl PhoneCountry {
    /// Looks a country up by its ISO 3166-1 alpha-2 code, in either case.
    pub fn find(code: &str) -> Option<Self> {
        let wanted: [u8; 2] = code.as_bytes().try_into().ok()?;
        let wanted = wanted.map(|byte| byte.to_ascii_uppercase());
        let found = PHONE_COUNTRIES.iter().find(|(code, _, _)| **code == wanted);
        found.map(|(code, calling, trunk)| Self { code: **code, calling, trunk })
    }
}

/// Brings the value of an identifier into its one form. `None` if it names nobody.
pub fn identifier(kind: IdentifierKind, value: &str, home: Option<PhoneCountry>) -> Option<Cow<'_, str>> {
    match kind {
        IdentifierKind::EMAIL => email(value),
        IdentifierKind::PHONE => phone(value, home).map(Cow::Owned),
        _ => plain(value).map(Cow::Borrowed),
    }
}

/// An id that means what it says: trimmed, otherwise unchanged. `None` if it is blocked: empty, too long, only zeros
/// and dashes, with a control character in it, or one of the words that programs write for "no value".
pub fn plain(value: &str) -> Option<&str> {
    let value = trimmed(value);
    let blank = value.bytes().all(|byte| byte == b'0' || byte == b'-');
    if blank || value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
        return None;
    }
    let blocked = BLOCKED_VALUES.iter().any(|word| value.eq_ignore_ascii_case(word));
    (!blocked).then_some(value)
}

/// Text without white space around it. Nearly all text has none, which its two ends show.
pub fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

/// An e-mail address: trimmed, ASCII letters in lower case. `None` unless it has one `@` with something before it and
/// a dotted or bare host behind it. Nothing provider-specific is done (dots and `+tags` stay): two addresses that
/// one mailbox happens to share are still two addresses.
pub fn email(value: &str) -> Option<Cow<'_, str>> {
    let value = value.trim();
    let (local, host) = value.split_once('@')?;
    let shaped =
        !local.is_empty() && !host.is_empty() && !host.contains('@') && value.len() <= MAX_EMAIL_BYTES;
    let printable = !value.chars().any(|character| character.is_whitespace() || character.is_control());
    let addressed = !value.contains(['<', '>', ',', ';', '"']);
    if !(shaped && printable && addressed) || plain(local).is_none() {
        return None;
    }
    if value.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(Cow::Owned(value.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(value))
    }
}

/// A phone number in E.164 (`+` and 8 to 15 digits).
///
/// International spellings (`+49 30 …`, `0049 30 …`, `+44 (0)20 …`) need no `home`; national ones (`030 …`) take the
/// calling code of `home` and lose its trunk prefix; without `home` they are no number. Limits, on purpose: lengths
/// are not checked country by country, extensions (`x12`) and letters make it no number.
pub fn phone(value: &str, home: Option<PhoneCountry>) -> Option<String> {
    let value = value.trim();
    if value.len() > MAX_VALUE_BYTES {
        return None;
    }
    let (international, rest) = match value.strip_prefix('+').or_else(|| value.strip_prefix("00")) {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    // "+44 (0)20": the zero in brackets is dialled at home only.
    let rest = if international { rest.replacen("(0)", "", 1) } else { rest.to_owned() };
    let mut digits = String::with_capacity(rest.len() + 4);
    for character in rest.chars() {
        match character {
            '0'..='9' => digits.push(character),
            ' ' | '\u{a0}' | '\u{202f}' | '-' | '\u{2010}'..='\u{2013}' | '.' | '(' | ')' | '/' | '\t' => {}
            _ => return None,
        }
    }
    if digits.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let number = if international { digits } else { from_national(&digits, home?) };
    let plausible = PHONE_DIGITS.contains(&number.len()) && !number.starts_with('0');
    plausible.then(|| format!("+{number}"))
}

fn from_national(digits: &str, home: PhoneCountry) -> String {
    let subscriber = match digits.strip_prefix(home.trunk) {
        Some(rest) if !home.trunk.is_empty() => rest,
        _ => digits,
    };
    format!("{}{subscriber}", home.calling)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_that_name_nobody_are_dropped() {
        for value in [
            "",
            " ",
            "0",
            "000",
            "-",
            "0-0-0",
            "-1",
            "null",
            "NULL",
            "anonymous",
            "undefined",
            "[object Object]",
            "a\0b",
            "a\u{85}b",
        ] {
            assert_eq!(plain(value), None, "{value:?}");
        }
        for (value, expected) in [("u1", "u1"), (" u1 ", "u1"), ("10", "10"), ("-2", "-2"), ("Ann", "Ann")] {
            assert_eq!(plain(value), Some(expected));
        }
        assert_eq!(plain(&"x".repeat(MAX_VALUE_BYTES + 1)), None);
        assert!(plain(&"x".repeat(MAX_VALUE_BYTES)).is_some());
    }

    #[test]
    fn addresses() {
        let table = [
            ("A@B.c", Some("a@b.c")),
            (" ann+x@shop.test ", Some("ann+x@shop.test")),
            ("Ünal@Shop.test", Some("Ünal@shop.test")),
            ("ann@localhost", Some("ann@localhost")),
            ("ann", None),
            ("@b.c", None),
            ("a@", None),
            ("a@b@c", None),
            ("a b@c.d", None),
            ("Ann <a@b.c>", None),
            ("null@b.c", None),
            ("a@b.c,d@e.f", None),
        ];
        for (value, expected) in table {
            assert_eq!(email(value).as_deref(), expected, "{value:?}");
        }
        assert_eq!(email(&format!("{}@b.c", "a".repeat(251))), None);
    }

    #[test]
    fn phone_numbers() {
        let table = [
            ("+49 30 123456", "", Some("+4930123456")),
            ("0049 (30) 12-34.56", "", Some("+4930123456")),
            ("030/123456", "DE", Some("+4930123456")),
            ("030/123456", "", None),
            ("+44 (0)20 7946 0958", "", Some("+442079460958")),
            ("020 7946 0958", "gb", Some("+442079460958")),
            ("(415) 555-2671", "US", Some("+14155552671")),
            ("1 415 555 2671", "US", Some("+14155552671")),
            ("06 20 123 4567", "HU", Some("+36201234567")),
            ("02 1234567", "IT", Some("+39021234567")),
            ("12 34 56 78", "DK", Some("+4512345678")),
            ("+1 415 555 2671 x12", "", None),
            ("000000000000", "DE", None),
            ("+0123456789", "", None),
            ("+1234567", "", None),
            ("+1234567890123456", "", None),
            ("12", "DE", None),
            ("call me", "DE", None),
            ("", "DE", None),
        ];
        for (value, home, expected) in table {
            assert_eq!(phone(value, PhoneCountry::find(home)).as_deref(), expected, "{value:?} in {home:?}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_normal_form(value in ".{0,300}|[-+() 0-9]{0,24}|[A-Za-z0-9]{1,9}@[A-Za-z.]{1,9}") {
            for kind in [IdentifierKind::USER_ID, IdentifierKind::EMAIL, IdentifierKind::PHONE] {
                if let Some(once) = identifier(kind, &value, PhoneCountry::find("DE")) {
                    let twice = identifier(kind, &once, PhoneCountry::find("DE"));
                    prop_assert_eq!(twice.as_deref(), Some(once.as_ref()), "{:?}", kind);
                    prop_assert!(once.len() <= MAX_VALUE_BYTES);
                }
            }
        }
    }
}
