//! Meta's rules: those of `serverside/normalize.py` in the Python package `facebook-business` 26.0.3, line by line.
//!
//! Two inputs are refused here that the package hashes, because nobody can be found under the result: a value of which
//! nothing is left (it hashes the empty text), and digits of another script than ASCII's.

use super::super::contact::{Unusable, has_foreign_digit, is_hex, is_space, sha256_hex, strip_lower};

/// ISO 3166-1 alpha-2, as in `pycountry` 26.2.16, which the package asks.
const COUNTRIES: &str = "ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs \
    bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg eh er es et fi fj \
    fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it \
    je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mf mg mh mk ml mm mn mo mp \
    mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re \
    ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv \
    tw tz ua ug um us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw";

/// A field of a person, by Meta's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `em`.
    Email,
    /// `ph`: digits with the country's code and without `+`.
    Phone,
    /// `fn`.
    FirstName,
    /// `ln`.
    LastName,
    /// `ct`.
    City,
    /// `st`.
    State,
    /// `zp`.
    Postcode,
    /// `country`.
    Country,
}

impl Field {
    /// What Meta calls it in an event's `user_data`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "em",
            Self::Phone => "ph",
            Self::FirstName => "fn",
            Self::LastName => "ln",
            Self::City => "ct",
            Self::State => "st",
            Self::Postcode => "zp",
            Self::Country => "country",
        }
    }
}

/// The SHA-256 in hexadecimal of the normalised value. A value that is an MD5 or SHA-256 in hexadecimal already passes.
pub fn hashed(field: Field, value: &str) -> Result<String, Unusable> {
    let value = strip_lower(value);
    if is_hex(&value, 32) || is_hex(&value, 64) {
        return Ok(value);
    }
    Ok(sha256_hex(&normalised(field, value)?))
}

fn normalised(field: Field, value: String) -> Result<String, Unusable> {
    let value = match field {
        Field::Email => email(value)?,
        Field::Phone => phone(&value)?,
        Field::FirstName | Field::LastName => value,
        Field::City | Field::State => value.chars().filter(|character| stays_in_place(*character)).collect(),
        Field::Postcode => {
            let dense: String = value.chars().filter(|character| !is_space(*character)).collect();
            dense.split('-').next().unwrap_or_default().to_owned()
        }
        Field::Country => {
            let code: String = value.chars().filter(char::is_ascii_lowercase).collect();
            if !COUNTRIES.split(' ').any(|country| country == code) {
                return Err(Unusable::new("country", "not_iso_3166"));
            }
            code
        }
    };
    if value.is_empty() {
        return Err(Unusable::new(field.name(), "empty"));
    }
    Ok(value)
}

fn stays_in_place(character: char) -> bool {
    !(character.is_ascii_digit() || is_space(character) || matches!(character, '.' | '-' | '(' | ')'))
}

/// `.+@.+\..+`, from the beginning and within the first line; what comes behind it does not matter.
fn email(value: String) -> Result<String, Unusable> {
    let refused = Err(Unusable::new("em", "not_an_address"));
    let line = value.split('\n').next().unwrap_or_default();
    let mut places = line.char_indices().filter(|(place, character)| *place > 0 && *character == '@');
    let Some((at, _)) = places.next() else { return refused };
    let host = line.get(at + 1..).unwrap_or_default();
    let mut dots = host.char_indices().filter(|(place, character)| *place > 0 && *character == '.');
    if dots.any(|(place, _)| place + 1 < host.len()) { Ok(value) } else { refused }
}

fn phone(value: &str) -> Result<String, Unusable> {
    let dropped = |character: &char| !(is_space(*character) || matches!(character, '-' | '(' | ')'));
    let dense: String = value.chars().filter(dropped).collect();
    // The package does this twice, so that up to four zeros and two plus signs go.
    let digits = without_international_prefix(without_international_prefix(&dense));
    if has_foreign_digit(digits) {
        return Err(Unusable::new("ph", "digits_not_ascii"));
    }
    // `^\d{1,4}\(?\d{2,3}\)?\d{4,}$`, where brackets are gone already: seven digits or more.
    let plain = digits.len() >= 7 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || digits.starts_with('0') {
        return Err(Unusable::new("ph", "not_international"));
    }
    Ok(digits.to_owned())
}

/// `^\+?0{0,2}`.
fn without_international_prefix(text: &str) -> &str {
    let text = text.strip_prefix('+').unwrap_or(text);
    text.strip_prefix("00").or_else(|| text.strip_prefix('0')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_the_package_makes_them() {
        let table = [
            (Field::Email, " Ann.B+tag@Gmail.com ", Some("ann.b+tag@gmail.com")),
            (Field::Email, "a b@c.d", Some("a b@c.d")),
            (Field::Email, "ann@shop", None),
            (Field::Email, "@shop.test", None),
            (Field::Email, "@@.x.y", Some("@@.x.y")),
            (Field::Email, "", None),
            (Field::Phone, "+44 20 7946-0958", Some("442079460958")),
            (Field::Phone, "0044 (20) 79460958", Some("442079460958")),
            (Field::Phone, "020 7946 0958", Some("2079460958")),
            (Field::Phone, "0000442079460958", Some("442079460958")),
            (Field::Phone, "00000442079460958", None),
            (Field::Phone, "44.20.79460958", None),
            (Field::Phone, "1-800-flowers", None),
            (Field::Phone, "123456", None),
            (Field::City, "St. John's (2)", Some("stjohn's")),
            (Field::State, " New-York ", Some("newyork")),
            (Field::Postcode, "SW1A 2AA", Some("sw1a2aa")),
            (Field::Postcode, "94107-1234", Some("94107")),
            (Field::Postcode, "-1", None),
            (Field::Country, "u.s.", Some("us")),
            (Field::Country, "usa", None),
            (Field::FirstName, " ÉMILE ", Some("émile")),
            (Field::LastName, "  ", None),
        ];
        for (field, value, expected) in table {
            assert_eq!(hashed(field, value).ok(), expected.map(sha256_hex), "{field:?} {value:?}");
        }
        let hash = sha256_hex("x");
        assert_eq!(hashed(Field::Phone, &hash.to_uppercase()), Ok(hash));
        assert!(hashed(Field::Phone, "+٤٤٢٠٧٩٤٦٠٩٥٨").is_err());
    }
}
