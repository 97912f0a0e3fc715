//! Google's rules: those of `format.py` in the Python package `google-ads-datamanager-util` 0.4.0.
//!
//! Only addresses of mail, phone numbers, names and the address line are hashed. Whether a value that is a hash already
//! would pass is not said anywhere, so such a value is refused like any other that is no address or number. Digits of
//! another script than ASCII's are refused, where the package hashes them as they are written.

use super::super::contact::{Unusable, has_foreign_digit, is_space, sha256_hex};

/// A field of a person, by Google's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An e-mail address.
    Email,
    /// A phone number: `+` and digits.
    Phone,
    /// The first name.
    GivenName,
    /// The last name.
    FamilyName,
    /// The postal code; not hashed.
    PostalCode,
    /// The country, ISO 3166-1 alpha-2; not hashed.
    RegionCode,
}

impl Field {
    /// What Google calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "emailAddress",
            Self::Phone => "phoneNumber",
            Self::GivenName => "givenName",
            Self::FamilyName => "familyName",
            Self::PostalCode => "postalCode",
            Self::RegionCode => "regionCode",
        }
    }
}

/// What is sent: SHA-256 in hexadecimal, or the normalised value itself where Google wants it in clear.
pub fn processed(field: Field, value: &str) -> Result<String, Unusable> {
    let value = value.trim_matches(is_space);
    if value.is_empty() {
        return Err(Unusable::new(field.name(), "empty"));
    }
    match field {
        Field::Email => email(value).map(|email| sha256_hex(&email)),
        Field::Phone => phone(value).map(|phone| sha256_hex(&phone)),
        Field::GivenName | Field::FamilyName => Ok(sha256_hex(&value.to_lowercase())),
        Field::PostalCode => Ok(value.to_owned()),
        Field::RegionCode => {
            let code = value.to_uppercase();
            let fits = code.chars().count() == 2;
            if fits { Ok(code) } else { Err(Unusable::new("regionCode", "not_two_letters")) }
        }
    }
}

fn email(value: &str) -> Result<String, Unusable> {
    let refused = |why| Err(Unusable::new("emailAddress", why));
    if value.contains(is_space) {
        return refused("inner_space");
    }
    let value = value.to_lowercase();
    let Some((user, host)) = value.split_once('@').filter(|(_, host)| !host.contains('@')) else {
        return refused("not_an_address");
    };
    if user.is_empty() || host.is_empty() {
        return refused("not_an_address");
    }
    if host != "gmail.com" && host != "googlemail.com" {
        return Ok(value);
    }
    // One mailbox of Gmail has many spellings: dots do not count, and what follows a plus sign is a label.
    let user = user.split('+').next().unwrap_or_default().replace('.', "");
    if user.is_empty() { refused("not_an_address") } else { Ok(format!("{user}@{host}")) }
}

fn phone(value: &str) -> Result<String, Unusable> {
    if has_foreign_digit(value) {
        return Err(Unusable::new("phoneNumber", "digits_not_ascii"));
    }
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() { Err(Unusable::new("phoneNumber", "no_digits")) } else { Ok(format!("+{digits}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_the_package_makes_them() {
        let table = [
            (Field::Email, " Ann.B+tag@Gmail.com ", Some(sha256_hex("annb@gmail.com"))),
            (Field::Email, "ann.b+tag@shop.test", Some(sha256_hex("ann.b+tag@shop.test"))),
            (Field::Email, "an n@shop.test", None),
            (Field::Email, "a@b@c", None),
            (Field::Email, "..+x@googlemail.com", None),
            (Field::Email, "a@b", Some(sha256_hex("a@b"))),
            (Field::Phone, "+44 20 7946-0958", Some(sha256_hex("+442079460958"))),
            (Field::Phone, "0044", Some(sha256_hex("+0044"))),
            (Field::Phone, "none", None),
            (Field::GivenName, " ÉMILE ", Some(sha256_hex("émile"))),
            (Field::FamilyName, " \u{1f} ", None),
            (Field::PostalCode, " SW1A 2AA ", Some("SW1A 2AA".to_owned())),
            (Field::RegionCode, "us", Some("US".to_owned())),
            (Field::RegionCode, "usa", None),
        ];
        for (field, value, expected) in table {
            assert_eq!(processed(field, value).ok(), expected, "{field:?} {value:?}");
        }
    }
}
