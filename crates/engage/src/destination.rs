//! Destinations as operators define them: where effects go. How they go there is `delivery`'s and `outbound`'s.

use crate::command::CommandError;
use crate::settings::{MAX_TEXT_BYTES, Settings};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::Position;

/// The most destinations of a shard.
pub const MAX_DESTINATIONS: usize = 256;
/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 2_048;
/// The most kinds, audiences or identifier types that one destination names.
const MAX_NAMED: usize = 256;
/// The longest settings of a platform, as JSON, in bytes.
const MAX_PLATFORM_BYTES: usize = 32 * 1024;
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
        /// It is told of those who agreed to advertising only; otherwise of everybody who did not refuse it.
        consent_required: bool,
        /// What it is told of a person beside identifiers: some of [`PERSON_FIELDS`].
        person: Vec<String>,
    },
}

/// What a platform can be told of a person beside identifiers.
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
    /// Why it may not be told of a person who chose this of advertising, `None` being nothing: a stable word. `None` if it
    /// may. Only ad platforms ask for consent: what else a destination is told is between the shop and whoever it tells.
    pub fn refusal(&self, choice: Option<bool>) -> Option<&'static str> {
        let DestinationKind::Platform { consent_required, .. } = self.kind else { return None };
        match choice {
            Some(true) => None,
            Some(false) => Some("consent_denied"),
            None => consent_required.then_some("no_consent"),
        }
    }

    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Err(invalid("name must be 1 to 64 letters, digits, `_` or `-`"));
        }
        if let DestinationKind::Webhook { url } = &self.kind
            && !(1..=MAX_URL_BYTES).contains(&url.len())
        {
            return Err(invalid("url must have 1 to 2048 bytes"));
        }
        if let DestinationKind::Platform { settings, credentials, person, .. } = &self.kind {
            if person.iter().any(|field| !PERSON_FIELDS.contains(&field.as_str())) {
                return Err(invalid(
                    "person names first_name, last_name, city, state, postcode and country only",
                ));
            }
            if settings.len() > MAX_PLATFORM_BYTES {
                return Err(invalid("settings must have at most 32768 bytes"));
            }
            let long = |text: &String| text.is_empty() || text.len() > MAX_TEXT_BYTES;
            if credentials.len() > MAX_CREDENTIALS
                || credentials.iter().any(|(to, name)| long(to) || long(name))
            {
                return Err(invalid("credentials are at most 8, each with a name of 1 to 256 bytes"));
            }
        }
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

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.text(&self.name);
        match &self.kind {
            DestinationKind::Webhook { url } => {
                encoder.u8(1);
                encoder.text(url);
            }
            DestinationKind::Ndjson => encoder.u8(2),
            DestinationKind::Platform { settings, credentials, consent_required, person } => {
                encoder.u8(4);
                encoder.bool(*consent_required);
                encoder.varint(person.len() as u64);
                person.iter().for_each(|field| encoder.text(field));
                encoder.text(settings);
                encoder.varint(credentials.len() as u64);
                for (member, name) in credentials {
                    encoder.text(member);
                    encoder.text(name);
                }
            }
        }
        encoder.u8(self.class as u8);
        for list in [&self.kinds, &self.audiences, &self.identifiers, &self.events] {
            encoder.varint(list.len() as u64);
            list.iter().for_each(|one| encoder.text(one));
        }
        encoder.u32(self.secret_generation);
        encoder.bool(self.overlap);
        encoder.bool(self.enabled);
        let SendingLimits { concurrency_max, attempts_per_second, batch_max, flush_after_ms } = self.limits;
        encoder.u16(concurrency_max);
        [attempts_per_second, batch_max, flush_after_ms].iter().for_each(|one| encoder.u32(*one));
        encoder.varint(self.since.0);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let name = decoder.text()?.to_owned();
        let kind = match decoder.u8()? {
            1 => DestinationKind::Webhook { url: decoder.text()?.to_owned() },
            2 => DestinationKind::Ndjson,
            form @ (3 | 4) => {
                // The first form did not say: then nobody is told of who did not agree.
                let mut person = Vec::new();
                let consent_required = form == 3 || decoder.bool()?;
                for _ in 0..if form == 3 { 0 } else { decoder.count()? } {
                    person.push(decoder.text()?.to_owned());
                }
                let settings = decoder.text()?.to_owned();
                let mut credentials = Vec::new();
                for _ in 0..decoder.count()? {
                    credentials.push((decoder.text()?.to_owned(), decoder.text()?.to_owned()));
                }
                DestinationKind::Platform { settings, credentials, consent_required, person }
            }
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        let class = match decoder.u8()? {
            1 => SendingClass::Marketing,
            2 => SendingClass::Transactional,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        let mut lists: [Vec<String>; 4] = Default::default();
        for list in &mut lists {
            for _ in 0..decoder.count()? {
                list.push(decoder.text()?.to_owned());
            }
        }
        let [kinds, audiences, identifiers, events] = lists;
        Ok(Self {
            name,
            kind,
            class,
            kinds,
            audiences,
            identifiers,
            events,
            secret_generation: decoder.u32()?,
            overlap: decoder.bool()?,
            enabled: decoder.bool()?,
            limits: SendingLimits {
                concurrency_max: decoder.u16()?,
                attempts_per_second: decoder.u32()?,
                batch_max: decoder.u32()?,
                flush_after_ms: decoder.u32()?,
            },
            since: Position(decoder.varint()?),
        })
    }
}

/// Adds a destination, or replaces the one of that name, which keeps the position it began at.
pub(crate) fn define(
    settings: &mut Settings,
    mut destination: Destination,
    position: Position,
) -> Result<(), CommandError> {
    destination.check()?;
    destination.since = position;
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
    use super::*;

    fn destination(kind: DestinationKind) -> Destination {
        Destination {
            name: "d".to_owned(),
            kind,
            class: SendingClass::Transactional,
            kinds: Vec::new(),
            audiences: Vec::new(),
            identifiers: Vec::new(),
            events: Vec::new(),
            secret_generation: 0,
            overlap: false,
            enabled: true,
            limits: SendingLimits::default(),
            since: Position(0),
        }
    }

    fn platform(consent_required: bool) -> DestinationKind {
        let (settings, credentials) = ("{}".to_owned(), vec![("access_token".to_owned(), "t".to_owned())]);
        DestinationKind::Platform { settings, credentials, consent_required, person: vec!["city".to_owned()] }
    }

    #[test]
    fn platforms_are_told_of_those_who_agreed() {
        let table = [
            (platform(true), [None, Some("consent_denied"), Some("no_consent")]),
            (platform(false), [None, Some("consent_denied"), None]),
            (DestinationKind::Ndjson, [None, None, None]),
        ];
        for (kind, expected) in table {
            let destination = destination(kind);
            let found = [Some(true), Some(false), None].map(|choice| destination.refusal(choice));
            assert_eq!(found, expected, "{:?}", destination.kind);
        }
    }

    #[test]
    fn destinations_read_back_and_older_ones_ask_for_consent() {
        for kind in [platform(true), platform(false), DestinationKind::Ndjson] {
            let (own, mut bytes) = (destination(kind), Vec::new());
            own.encode(&mut Encoder(&mut bytes));
            assert_eq!(Destination::decode(&mut Decoder::new(&bytes)).unwrap(), own);
        }
        // Name, form 3, settings, no credentials, and all that follows.
        let mut bytes = Vec::new();
        let mut encoder = Encoder(&mut bytes);
        encoder.text("d");
        encoder.u8(3);
        encoder.text("{}");
        encoder.varint(0);
        encoder.u8(2);
        (0..4).for_each(|_| encoder.varint(0));
        encoder.u32(0);
        encoder.bool(false);
        encoder.bool(true);
        encoder.u16(0);
        (0..3).for_each(|_| encoder.u32(0));
        encoder.varint(7);
        let read = Destination::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!((read.refusal(None), read.since), (Some("no_consent"), Position(7)));
    }
}
