//! The one table of kinds: what can be in files, which keys it has, and where the admin API keeps it.
//!
//! A new kind is a row in [`KINDS`], at the place at which it can be made: behind everything that it refers to. Reading,
//! checking of keys and types, comparing, applying, exporting and the round-trip test then know it. `[[campaign]]` (a
//! channel, a budget, the audience it is for) belongs behind audiences and before or behind destinations.

use super::read::Item;
use crate::calendar::{DAY_US, date};
use crate::line::{rate_nano, rate_text};
use model::feature::value::instant;
use model::identity::{CapWindow, IdentitySettings, KindRule};
use model::line::{LineError, LineSettings, MAX_RATES};
use model::suppression::SuppressionSettings;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    /// Text, exactly as it stands.
    Text,
    /// A rule or expression: blanks at its ends do not count.
    Rule,
    /// A decimal number above zero with at most nine places, as text: it has to come through without loss.
    Decimal,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer { least: i64, most: i64 },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Names, each once, in no order.
    Names(Reference),
    /// A table with these keys.
    Table(&'static [Field]),
    /// A table with any keys, which somebody else knows: text, whole numbers, `true`, lists and tables.
    Free,
    /// Tables with these keys, in the order of some of them, which together no two have in common.
    Tables(&'static [Field], &'static [&'static str]),
}

/// What names in a list refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// Definitions of this kind.
    Kind(&'static str),
    /// Kinds of messages.
    Messages,
    /// Types of identifiers.
    Identifiers,
    /// Events, which nobody lists.
    Events,
}

/// What a key means that is not there.
#[derive(Clone, Copy)]
pub(crate) enum Otherwise {
    /// It has to be there.
    Refused,
    /// Nothing.
    Nothing,
    /// The same as this.
    This(fn() -> Value),
    /// What is usual for its `type`, which stands before it; nothing for some.
    OfType(fn(&str) -> Option<Value>),
}

impl Otherwise {
    /// The value that is meant, where the others of its table are these.
    pub(crate) fn value(self, others: &Values) -> Option<Value> {
        match self {
            Self::Refused | Self::Nothing => None,
            Self::This(this) => Some(this()),
            Self::OfType(of) => of(others.get("type")?.as_str()?),
        }
    }
}

/// A key.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    /// As in the admin API.
    pub(crate) name: &'static str,
    pub(crate) holds: Type,
    pub(crate) otherwise: Otherwise,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

/// How often there is one of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Any number, each with a name: `[[audience]]`.
    Named,
    /// One: `[settings.identity]`. Left out of the files, it is left alone on the server.
    Settings,
}

/// A key that is wrong, and why.
pub(crate) type Wrong = (&'static str, String);

/// A kind of definition.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The word in files.
    pub(crate) word: &'static str,
    pub(crate) form: Form,
    /// Which file an export writes it to.
    pub(crate) file: &'static str,
    /// Where the admin API lists it; a name comes behind a slash.
    pub(crate) path: &'static str,
    /// The member of the list's answer.
    pub(crate) member: &'static str,
    /// Whether the admin API refuses a change of another version than the one that is named.
    pub(crate) has_versions: bool,
    pub(crate) fields: &'static [Field],
    /// What the keys must say together, beyond their types.
    pub(crate) check: fn(&Item) -> Option<Wrong>,
}

/// Every kind, in the order in which definitions are made; they are removed in the reverse order.
pub(crate) static KINDS: &[Kind] = &[
    Kind {
        word: "identity",
        form: Form::Settings,
        file: "settings.toml",
        path: "/admin/v1/settings/identity",
        member: "",
        has_versions: false,
        fields: IDENTITY,
        check: check_identity,
    },
    Kind {
        word: "suppression",
        form: Form::Settings,
        file: "settings.toml",
        path: "/admin/v1/settings/suppression",
        member: "",
        has_versions: false,
        fields: SUPPRESSION,
        check: check_suppression,
    },
    Kind {
        word: "line",
        form: Form::Settings,
        file: "settings.toml",
        path: "/admin/v1/settings/line",
        member: "",
        has_versions: false,
        fields: LINE,
        check: check_line,
    },
    Kind {
        word: FEATURE,
        form: Form::Named,
        file: "features.toml",
        path: "/admin/v1/features",
        member: "features",
        has_versions: true,
        fields: &[needed("expression", Type::Rule)],
        check: |_| None,
    },
    Kind {
        word: AUDIENCE,
        form: Form::Named,
        file: "audiences.toml",
        path: "/admin/v1/audiences",
        member: "audiences",
        has_versions: true,
        fields: &[needed("rule", Type::Rule), optional("suppress", Type::Table(SUPPRESS))],
        check: check_audience,
    },
    Kind {
        word: "destination",
        form: Form::Named,
        file: "destinations.toml",
        path: "/admin/v1/destinations",
        member: "destinations",
        has_versions: false,
        fields: DESTINATION,
        check: check_destination,
    },
];

/// Kinds whose definitions are compiled into the rulebook.
pub(crate) const FEATURE: &str = "feature";
pub(crate) const AUDIENCE: &str = "audience";

const SUPPRESS: &[Field] = &[
    optional("everything", Type::Boolean),
    optional("product_id", Type::Text),
    optional("category", Type::Text),
];

const DESTINATION: &[Field] = &[
    needed("type", Type::OneOf(&["webhook", "http", "ndjson", "platform"])),
    optional("url", Type::Text),
    or("class", Type::OneOf(&["marketing", "transactional"]), || json!("marketing")),
    or("kinds", Type::Names(Reference::Messages), || json!([])),
    or("audiences", Type::Names(Reference::Kind(AUDIENCE)), || json!([])),
    or("identifiers", Type::Names(Reference::Identifiers), || json!([])),
    or("events", Type::Names(Reference::Events), || json!([])),
    or("enabled", Type::Boolean, || json!(true)),
    optional("concurrency_max", Type::Integer { least: 1, most: engage::MAX_CONCURRENCY as i64 }),
    optional("attempts_per_second", CAP),
    optional("batch_max", CAP),
    optional("flush_after_ms", CAP),
    of_type("settings", Type::Free, |word| (word == "http").then(|| json!({}))),
    of_type("credentials", Type::Free, |word| has_settings(word).then(|| json!({}))),
    of_type("consent", Type::OneOf(&["required", "unless_denied", "not_needed"]), |word| {
        Some(json!(if word == "platform" { "required" } else { "not_needed" }))
    }),
    optional("consent_category", Type::Text),
    of_type("person", Type::Free, |word| has_settings(word).then(|| json!([]))),
];

/// Types of destinations that are told how by settings.
fn has_settings(word: &str) -> bool {
    matches!(word, "platform" | "http")
}

const IDENTITY: &[Field] = &[
    or("alias_cap", U16, || json!(IdentitySettings::default().alias_cap)),
    or("shared_takers", U8, || json!(IdentitySettings::default().shared_takers)),
    or("shared_window_s", SECONDS, || json!(IdentitySettings::default().shared_window_us / 1_000_000)),
    or("soft_cap", U16, || json!(IdentitySettings::default().soft_cap)),
    or("kinds", Type::Tables(IDENTITY_KIND, &["number"]), identity_kinds),
];

const IDENTITY_KIND: &[Field] = &[
    needed("number", Type::Integer { least: 1, most: 255 }),
    needed("name", Type::Text),
    needed("priority", U8),
    needed("cap", U16),
    or("window", Type::OneOf(&["ever", "year", "month", "week"]), || json!("ever")),
    or("unique", Type::Boolean, || json!(false)),
];

const SUPPRESSION: &[Field] = &[
    or("window_s", SECONDS, || json!(SuppressionSettings::default().window_us / 1_000_000)),
    or("products", Type::Boolean, || json!(SuppressionSettings::default().products)),
    or("categories", Type::Boolean, || json!(SuppressionSettings::default().categories)),
    or("everything", Type::Boolean, || json!(SuppressionSettings::default().everything)),
    or("refund_lifts", Type::Boolean, || json!(SuppressionSettings::default().refund_lifts)),
];

const LINE: &[Field] = &[
    optional("currency", Type::Text),
    or("view_window_s", SECONDS, || json!(LineSettings::default().view_window_us / 1_000_000)),
    or("click_window_s", SECONDS, || json!(LineSettings::default().click_window_us / 1_000_000)),
    or("frequency_cap", CAP, || json!(LineSettings::default().frequency_cap)),
    or("cap_window_s", SECONDS, || json!(LineSettings::default().cap_window_us / 1_000_000)),
    or("duplicate_window_s", SECONDS, || json!(LineSettings::default().duplicate_window_us / 1_000_000)),
    or("grace_s", SECONDS, || json!(LineSettings::default().grace_us / 1_000_000)),
    or("sessions", Type::Boolean, || json!(LineSettings::default().sessions)),
    or("consent_category", Type::Text, || json!(LineSettings::default().consent_category)),
    or("rates", Type::Tables(RATE, &["currency", "day"]), || json!([])),
];

const RATE: &[Field] =
    &[needed("currency", Type::Text), needed("day", Type::Text), needed("rate", Type::Decimal)];

const CAP: Type = Type::Integer { least: 1, most: u32::MAX as i64 };
const U8: Type = Type::Integer { least: 0, most: u8::MAX as i64 };
const U16: Type = Type::Integer { least: 0, most: u16::MAX as i64 };
/// Far beyond every limit that the settings have, and still a number of microseconds.
const SECONDS: Type = Type::Integer { least: 0, most: i64::MAX / 1_000_000 };

const fn needed(name: &'static str, holds: Type) -> Field {
    Field { name, holds, otherwise: Otherwise::Refused }
}

const fn optional(name: &'static str, holds: Type) -> Field {
    Field { name, holds, otherwise: Otherwise::Nothing }
}

const fn or(name: &'static str, holds: Type, this: fn() -> Value) -> Field {
    Field { name, holds, otherwise: Otherwise::This(this) }
}

const fn of_type(name: &'static str, holds: Type, of: fn(&str) -> Option<Value>) -> Field {
    Field { name, holds, otherwise: Otherwise::OfType(of) }
}

impl Kind {
    /// As the head of its tables is written.
    pub(crate) fn head(&self) -> String {
        match self.form {
            Form::Named => format!("[[{}]]", self.word),
            Form::Settings => format!("[settings.{}]", self.word),
        }
    }

    /// For people: `audience`, `settings.identity`.
    pub(crate) fn title(&self) -> String {
        match self.form {
            Form::Named => self.word.to_owned(),
            Form::Settings => format!("settings.{}", self.word),
        }
    }
}

/// Values of keys.
pub(crate) type Values = BTreeMap<&'static str, Value>;

/// What an answer of the admin API says of these keys, in the one form in which values are compared. Other members are
/// how something is, not what it is.
pub(crate) fn values_of(fields: &'static [Field], answer: &Value) -> Values {
    let mut values = Values::new();
    for field in fields {
        let own = answer.get(field.name).filter(|value| !value.is_null()).cloned();
        if let Some(value) = own.or_else(|| field.otherwise.value(&values)) {
            values.insert(field.name, canonical(field.holds, value));
        }
    }
    values
}

/// The one form in which values are compared: what means the same looks the same.
pub(crate) fn canonical(holds: Type, value: Value) -> Value {
    match (holds, value) {
        (Type::Rule, Value::String(text)) => Value::from(text.replace("\r\n", "\n").trim()),
        (Type::Names(_), Value::Array(mut names)) => {
            names.sort_by(|one, two| one.as_str().cmp(&two.as_str()));
            names.dedup();
            Value::Array(names)
        }
        (Type::Table(fields), value) => json!(values_of(fields, &value)),
        (Type::Tables(fields, by), Value::Array(tables)) => {
            let mut tables: Vec<Values> = tables.iter().map(|table| values_of(fields, table)).collect();
            let order = |table: &Values| -> Vec<(Option<i64>, String)> {
                let keys = by.iter().filter_map(|by| table.get(by));
                keys.map(|key| (key.as_i64(), key.as_str().unwrap_or_default().to_owned())).collect()
            };
            tables.sort_by_cached_key(order);
            json!(tables)
        }
        (Type::Decimal, Value::String(text)) => match rate_nano(&text).filter(|nano| *nano > 0) {
            Some(nano) => Value::from(rate_text(nano)),
            None => Value::from(text),
        },
        (_, value) => value,
    }
}

fn identity_kinds() -> Value {
    let default = IdentitySettings::default();
    let kind = |rule: &KindRule| {
        json!({
            "number": rule.kind, "name": rule.name, "priority": rule.priority, "cap": rule.cap,
            "window": WINDOWS.iter().find(|(_, window)| *window == rule.window).map(|(word, _)| *word),
            "unique": rule.unique,
        })
    };
    default.kinds.iter().map(kind).collect()
}

const WINDOWS: &[(&str, CapWindow)] = &[
    ("ever", CapWindow::Ever),
    ("year", CapWindow::Year),
    ("month", CapWindow::Month),
    ("week", CapWindow::Week),
];

fn check_audience(item: &Item) -> Option<Wrong> {
    let suppress = item.values.get("suppress")?;
    let (everything, product) = (suppress.get("everything"), suppress.get("product_id"));
    let named = [everything, product, suppress.get("category")].iter().flatten().count();
    if named == 1 && everything.is_none_or(|everything| *everything == Value::Bool(true)) {
        return None;
    }
    let message = "`suppress` says one of everything = true, product_id = \"…\" and category = \"…\"";
    Some(("suppress", message.to_owned()))
}

fn check_destination(item: &Item) -> Option<Wrong> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=64).contains(&item.name.len()) || !item.name.bytes().all(plain) {
        return Some(("name", "a destination's name has 1 to 64 letters, digits, `_` or `-`".to_owned()));
    }
    let url = item.text("url");
    let wrong = match (item.text("type")?, url) {
        ("webhook", None) => "a webhook needs a `url`",
        ("http", None) => "a request needs a `url`",
        ("webhook" | "http", Some(url)) if !url.starts_with("https://") && !url.starts_with("http://") => {
            "a url begins with https:// (or http://, where the server's `delivery.allow` lets it)"
        }
        ("ndjson", Some(_)) => "files have no `url`: leave it out",
        ("platform", Some(_)) => {
            "a platform's address is `base_url` of its `settings`, if it is not the usual one"
        }
        ("platform", None) if !item.values.contains_key("settings") => "a platform needs `settings`",
        _ => return None,
    };
    Some((if url.is_some() { "url" } else { "type" }, wrong.to_owned()))
}

fn check_suppression(item: &Item) -> Option<Wrong> {
    let window_us = item.number("window_s").saturating_mul(1_000_000);
    let settings = SuppressionSettings { window_us, ..SuppressionSettings::default() };
    settings.check().err().map(|_| ("window_s", "`window_s` is 1 second to 400 days".to_owned()))
}

fn check_line(item: &Item) -> Option<Wrong> {
    let is_code = |text: &str| model::money::currency(text).is_some_and(|code| code == text.as_bytes());
    if item.text("currency").is_some_and(|text| !is_code(text)) {
        return Some((
            "currency",
            "`currency` is three capital letters of ISO 4217, e.g. \"EUR\"".to_owned(),
        ));
    }
    let rates = item.values.get("rates").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for rate in rates {
        let text = |name| rate.get(name).and_then(Value::as_str).unwrap_or_default();
        let (currency, day, rate) = (text("currency"), text("day"), text("rate"));
        let advice = if !is_code(currency) {
            format!("{currency:?} is no currency: write three capital letters of ISO 4217")
        } else if instant(day).is_none_or(|at| date(at.0) != day || at.0.rem_euclid(DAY_US) != 0) {
            format!("{day:?} is no day: write one as 2026-11-22")
        } else if !rate_nano(rate).is_some_and(|nano| (1..=1_000_000 * model::line::NANO).contains(&nano)) {
            format!("{rate:?} is no rate: write a decimal number from 0.000000001 to 1000000, in quotes")
        } else {
            continue;
        };
        return Some(("rates", advice));
    }
    if rates.len() > MAX_RATES {
        return Some(("rates", format!("there are more than {MAX_RATES} rates")));
    }
    let micro = |name| item.number(name).saturating_mul(1_000_000);
    let settings = LineSettings {
        view_window_us: micro("view_window_s"),
        click_window_us: micro("click_window_s"),
        cap_window_us: micro("cap_window_s"),
        duplicate_window_us: micro("duplicate_window_s"),
        grace_us: micro("grace_s"),
        ..LineSettings::default()
    };
    let Err(LineError::Window { field }) = settings.check() else { return None };
    let seconds = field.trim_end_matches("_us");
    let own = LINE.iter().find(|own| own.name.strip_suffix("_s") == Some(seconds))?.name;
    Some((own, format!("`{own}` is 0 to 30 days, in seconds: 0 to 2592000")))
}

fn check_identity(item: &Item) -> Option<Wrong> {
    let mut settings = IdentitySettings::default();
    // Types and their ranges were held before.
    let small = |value: i64| u16::try_from(value).unwrap_or(u16::MAX);
    let tiny = |value: i64| u8::try_from(value).unwrap_or(u8::MAX);
    settings.alias_cap = small(item.number("alias_cap"));
    settings.shared_takers = tiny(item.number("shared_takers"));
    settings.shared_window_us = item.number("shared_window_s").saturating_mul(1_000_000);
    settings.soft_cap = small(item.number("soft_cap"));
    settings.kinds.clear();
    for kind in item.values.get("kinds").and_then(Value::as_array).into_iter().flatten() {
        let number = |name| kind.get(name).and_then(Value::as_i64).unwrap_or(0);
        let word = kind.get("window").and_then(Value::as_str);
        settings.kinds.push(KindRule {
            kind: tiny(number("number")),
            name: kind.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            priority: tiny(number("priority")),
            cap: small(number("cap")),
            window: WINDOWS.iter().find(|(own, _)| Some(*own) == word).map_or(CapWindow::Ever, |one| one.1),
            unique: kind.get("unique").and_then(Value::as_bool).unwrap_or(false),
        });
    }
    let error = settings.check().err()?.to_string();
    if error.contains("shared_window_us") {
        return Some(("shared_window_s", "`shared_window_s` is 1 second to 400 days".to_owned()));
    }
    let own = IDENTITY.iter().find(|field| error.contains(field.name)).map_or("kinds", |field| field.name);
    Some((own, error))
}
