//! Destinations as operators define them: where effects go. How they go there is `delivery`'s and `outbound`'s. `form` is
//! how they stand in records and checkpoints.

mod form;

use crate::command::CommandError;
use crate::settings::{MAX_TEXT_BYTES, Settings};
use model::consent::MAX_CATEGORY_BYTES;
use model::id::Position;
use std::collections::BTreeSet;

/// The most destinations of a shard.
pub const MAX_DESTINATIONS: usize = 256;
/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 2_048;
/// The most kinds, audiences or identifier types that one destination names.
const MAX_NAMED: usize = 256;
/// The longest settings of a platform, as JSON, in bytes.
const MAX_PLATFORM_BYTES: usize = 32 * 1024;
/// The longest settings of a request with templates, as JSON, in bytes.
const MAX_HTTP_BYTES: usize = 96 * 1024;
/// The most categories of consent that all destinations of a shard name: whoever chooses anew is looked up in each.
const MAX_CONSENT_CATEGORIES: usize = 16;
/// The most credentials that a platform takes.
const MAX_CREDENTIALS: usize = 8;
/// The most attempts under way at a time that a destination may ask for.
pub const MAX_CONCURRENCY: u16 = 1_000;

/// What becomes of an attempt that nobody knows the outcome of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SendingClass {
    /// Better never than twice, and only while it is right: see the permits.
    Marketing = 1,
    /// Better twice than never.
    Transactional = 2,
}

/// What a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationKind {
    /// A signed POST for every message.
    Webhook {
        /// Where to.
        url: String,
    },
    /// Lines in files of the data directory.
    Ndjson,
    /// An ad platform's interface.
    Platform {
        /// Which, and how, as a JSON object without secrets: what `outbound` reads.
        settings: String,
        /// What proves to the platform who we are: the member of the settings that it belongs in, and the name under
        /// which operators keep it. The credentials themselves are in no record.
        credentials: Vec<(String, String)>,
        /// What it is told of a person beside identifiers: some of [`PERSON_FIELDS`].
        person: Vec<String>,
    },
    /// A request whose parts operators write as templates.
    Http {
        /// Where to. No part of it comes from a message.
        url: String,
        /// The rest, as a JSON object without secrets: what `outbound` reads.
        settings: String,
        /// As those of a platform.
        credentials: Vec<(String, String)>,
        /// As that of a platform.
        person: Vec<String>,
    },
}

/// What a destination needs of a person before it is told of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConsentNeed {
    /// They agreed.
    Required = 1,
    /// They did not refuse.
    UnlessDenied = 2,
    /// Nothing: it works for the shop, as the shop itself does.
    NotNeeded = 3,
}

impl ConsentNeed {
    /// Every one with its word.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Required, "required"),
        (Self::UnlessDenied, "unless_denied"),
        (Self::NotNeeded, "not_needed"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(need, _)| *need == self).map_or("", |(_, word)| word)
    }

    /// What a word means.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, own)| *own == word).map(|(need, _)| *need)
    }
}

impl DestinationKind {
    /// What it is told of a person beside identifiers.
    pub fn person(&self) -> &[String] {
        match self {
            Self::Platform { person, .. } | Self::Http { person, .. } => person,
            Self::Webhook { .. } | Self::Ndjson => &[],
        }
    }

    /// What it needs where nobody says otherwise: those whom others may know of agreed to it, and the shop's own systems
    /// are the shop.
    pub fn usual_consent(&self) -> ConsentNeed {
        match self {
            Self::Platform { .. } => ConsentNeed::Required,
            Self::Webhook { .. } | Self::Ndjson | Self::Http { .. } => ConsentNeed::NotNeeded,
        }
    }
}

/// What can be told of a person beside identifiers.
pub const PERSON_FIELDS: [&str; 6] = ["first_name", "last_name", "city", "state", "postcode", "country"];

/// How fast a destination is sent to; 0 leaves it to the kind of destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendingLimits {
    /// Attempts under way at a time.
    pub concurrency_max: u16,
    /// Attempts a second, in the long run.
    pub attempts_per_second: u32,
    /// Messages of one attempt, where the kind of destination batches at all.
    pub batch_max: u32,
    /// How long a batch that is not full waits for more, in milliseconds.
    pub flush_after_ms: u32,
}

/// Where effects go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its name: letters, digits, `_` and `-`. Progress is kept under it.
    pub name: String,
    /// What it is.
    pub kind: DestinationKind,
    /// What it needs of a person.
    pub consent: ConsentNeed,
    /// The category of consent that this is about; that of the line where none is named.
    pub consent_category: Option<String>,
    /// What becomes of unknown outcomes, and whether permits look at the person.
    pub class: SendingClass,
    /// The kinds of effects that it gets, e.g. `audience.entered`; all of them where this is empty.
    pub kinds: Vec<String>,
    /// The audiences that it gets entries and exits of; all of them where this is empty.
    pub audiences: Vec<String>,
    /// The types of identifiers that messages carry; none where this is empty.
    pub identifiers: Vec<String>,
    /// The names of accepted events that it gets, as rules know them; none where this is empty.
    pub events: Vec<String>,
    /// Grows when its secret is changed. The secret follows from this, the name and the directory's master secret.
    pub secret_generation: u32,
    /// The former secret signs as well, until the next change.
    pub overlap: bool,
    /// Sends at present.
    pub enabled: bool,
    /// How fast.
    pub limits: SendingLimits,
    /// The record that defined it: it gets what comes later. Set by the machine.
    pub since: Position,
}

impl Destination {
    /// The category of consent that it goes by.
    pub fn consent_category<'a>(&'a self, settings: &'a Settings) -> &'a str {
        self.consent_category.as_deref().unwrap_or(&settings.line.consent_category)
    }

    /// Why it may not be told of a person who chose this of its category, `None` being nothing: a stable word. `None` if
    /// it may.
    pub fn refusal(&self, choice: Option<bool>) -> Option<&'static str> {
        match (self.consent, choice) {
            (ConsentNeed::NotNeeded, _) | (_, Some(true)) | (ConsentNeed::UnlessDenied, None) => None,
            (_, Some(false)) => Some("consent_denied"),
            (ConsentNeed::Required, None) => Some("no_consent"),
        }
    }

    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Err(invalid("name must be 1 to 64 letters, digits, `_` or `-`"));
        }
        if self.consent_category.as_ref().is_some_and(|name| !(1..=MAX_CATEGORY_BYTES).contains(&name.len()))
        {
            return Err(invalid("consent_category must have 1 to 64 bytes"));
        }
        self.check_kind()?;
        if self.limits.concurrency_max > MAX_CONCURRENCY {
            return Err(invalid("concurrency_max must be at most 1000"));
        }
        for list in [&self.kinds, &self.audiences, &self.identifiers, &self.events] {
            if list.len() > MAX_NAMED || list.iter().any(|one| one.len() > MAX_TEXT_BYTES) {
                return Err(invalid("a list names at most 256 things, each of at most 256 bytes"));
            }
        }
        Ok(())
    }

    fn check_kind(&self) -> Result<(), CommandError> {
        let (url, settings, credentials, most) = match &self.kind {
            DestinationKind::Ndjson => return Ok(()),
            DestinationKind::Webhook { url } => (Some(url), "", &[][..], 0),
            DestinationKind::Platform { settings, credentials, .. } => {
                if self.consent == ConsentNeed::NotNeeded {
                    return Err(invalid("an ad platform needs consent: required or unless_denied"));
                }
                (None, settings.as_str(), credentials.as_slice(), MAX_PLATFORM_BYTES)
            }
            DestinationKind::Http { url, settings, credentials, .. } => {
                (Some(url), settings.as_str(), credentials.as_slice(), MAX_HTTP_BYTES)
            }
        };
        if self.kind.person().iter().any(|field| !PERSON_FIELDS.contains(&field.as_str())) {
            return Err(invalid(
                "person names first_name, last_name, city, state, postcode and country only",
            ));
        }
        if url.is_some_and(|url| !(1..=MAX_URL_BYTES).contains(&url.len())) {
            return Err(invalid("url must have 1 to 2048 bytes"));
        }
        if settings.len() > most {
            return Err(CommandError::Invalid(format!("settings must have at most {most} bytes")));
        }
        let long = |text: &String| text.is_empty() || text.len() > MAX_TEXT_BYTES;
        if credentials.len() > MAX_CREDENTIALS || credentials.iter().any(|(to, name)| long(to) || long(name))
        {
            return Err(invalid("credentials are at most 8, each with a name of 1 to 256 bytes"));
        }
        Ok(())
    }
}

/// The categories of consent that somebody goes by, each once: the line's, and those that destinations name.
pub(crate) fn consent_categories(settings: &Settings) -> Vec<&str> {
    let own = settings.destinations.iter().filter_map(|one| one.consent_category.as_deref());
    let mut all = vec![&*settings.line.consent_category];
    for category in own {
        if !all.contains(&category) {
            all.push(category);
        }
    }
    all
}

/// Adds a destination, or replaces the one of that name, which keeps the position it began at.
pub(crate) fn define(
    settings: &mut Settings,
    mut destination: Destination,
    position: Position,
) -> Result<(), CommandError> {
    destination.check()?;
    destination.since = position;
    let others = || settings.destinations.iter().filter(|own| own.name != destination.name);
    let mut categories: BTreeSet<&str> = others().filter_map(|own| own.consent_category.as_deref()).collect();
    categories.extend(destination.consent_category.as_deref());
    if categories.len() > MAX_CONSENT_CATEGORIES {
        return Err(CommandError::TooMany(format!("{MAX_CONSENT_CATEGORIES} categories of consent")));
    }
    let own = settings.destinations.binary_search_by(|own| own.name.cmp(&destination.name));
    match own {
        Ok(at) => {
            if let Some(own) = settings.destinations.get_mut(at) {
                destination.since = own.since;
                *own = destination;
            }
        }
        Err(_) if settings.destinations.len() >= MAX_DESTINATIONS => {
            return Err(CommandError::TooMany(format!("{MAX_DESTINATIONS} destinations")));
        }
        Err(at) => settings.destinations.insert(at, destination),
    }
    Ok(())
}

/// Removes the destination of that name.
pub(crate) fn remove(settings: &mut Settings, name: &str) -> Result<(), CommandError> {
    let before = settings.destinations.len();
    settings.destinations.retain(|own| own.name != name);
    if settings.destinations.len() == before {
        return Err(CommandError::Unknown("destination".to_owned()));
    }
    Ok(())
}

fn invalid(message: &str) -> CommandError {
    CommandError::Invalid(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::form::tests::{destination, platform};
    use super::*;

    #[test]
    fn who_may_be_told_of_is_what_a_destination_needs() {
        let table = [
            (ConsentNeed::Required, [None, Some("consent_denied"), Some("no_consent")]),
            (ConsentNeed::UnlessDenied, [None, Some("consent_denied"), None]),
            (ConsentNeed::NotNeeded, [None, None, None]),
        ];
        for (consent, expected) in table {
            let own = Destination { consent, ..destination(DestinationKind::Ndjson) };
            let found = [Some(true), Some(false), None].map(|choice| own.refusal(choice));
            assert_eq!(found, expected, "{consent:?}");
            assert_eq!(ConsentNeed::of_word(consent.word()), Some(consent));
        }
    }

    #[test]
    fn a_platform_needs_consent_and_others_may() {
        for (kind, usual, may_do_without) in [
            (platform(), ConsentNeed::Required, false),
            (DestinationKind::Ndjson, ConsentNeed::NotNeeded, true),
        ] {
            assert_eq!(kind.usual_consent(), usual);
            let own = Destination { consent: ConsentNeed::NotNeeded, ..destination(kind) };
            assert_eq!(own.check().is_ok(), may_do_without, "{own:?}");
        }
    }

    #[test]
    fn categories_are_few_and_the_line_is_where_none_is_named() {
        let mut settings = Settings::default();
        let named = |number: usize, category: Option<String>| Destination {
            name: format!("d{number}"),
            consent_category: category,
            ..destination(DestinationKind::Ndjson)
        };
        for number in 0..MAX_CONSENT_CATEGORIES {
            define(&mut settings, named(number, Some(format!("c{number}"))), Position(1)).unwrap();
        }
        define(&mut settings, named(100, None), Position(1)).unwrap();
        define(&mut settings, named(101, Some("c3".to_owned())), Position(1)).unwrap();
        let one_more = define(&mut settings, named(102, Some("x".to_owned())), Position(1));
        assert!(matches!(one_more, Err(CommandError::TooMany(_))), "{one_more:?}");
        // In place of another one it is not one more.
        define(&mut settings, named(0, Some("x".to_owned())), Position(1)).unwrap();
        let categories = consent_categories(&settings);
        assert_eq!((categories.len(), categories[0]), (MAX_CONSENT_CATEGORIES + 1, "Advertising"));
        let of = |name: &str| settings.destinations.iter().find(|one| one.name == name).unwrap();
        assert_eq!(of("d100").consent_category(&settings), "Advertising");
        assert_eq!(of("d101").consent_category(&settings), "c3");
        let long = named(1, Some("x".repeat(MAX_CATEGORY_BYTES + 1)));
        assert!(matches!(define(&mut settings, long, Position(1)), Err(CommandError::Invalid(_))));
    }
}
