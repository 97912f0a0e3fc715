//! How destinations stand in records and checkpoints.
//!
//! A destination that asks for the consent that is usual for its kind is written as it was before that could be said, so
//! that what is known of it has the same bytes as ever.

use super::{ConsentNeed, Destination, DestinationKind, SendingClass, SendingLimits};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::Position;

/// Precedes the kind of a destination that says what it needs of a person.
const WITH_CONSENT: u8 = 5;

impl Destination {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.text(&self.name);
        // Platforms have always said whether consent is required.
        let is_said =
            matches!(self.kind, DestinationKind::Platform { .. }) && self.consent != ConsentNeed::NotNeeded;
        if self.consent_category.is_some() || !(is_said || self.consent == self.kind.usual_consent()) {
            encoder.u8(WITH_CONSENT);
            encoder.u8(self.consent as u8);
            encoder.text(self.consent_category.as_deref().unwrap_or_default());
        }
        self.encode_kind(encoder);
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

    fn encode_kind(&self, encoder: &mut Encoder<'_>) {
        match &self.kind {
            DestinationKind::Webhook { url } => {
                encoder.u8(1);
                encoder.text(url);
            }
            DestinationKind::Ndjson => encoder.u8(2),
            DestinationKind::Platform { settings, credentials, person } => {
                encoder.u8(4);
                encoder.bool(self.consent == ConsentNeed::Required);
                encoder.varint(person.len() as u64);
                person.iter().for_each(|field| encoder.text(field));
                encoder.text(settings);
                encode_credentials(encoder, credentials);
            }
            DestinationKind::Http { url, settings, credentials, person } => {
                encoder.u8(6);
                encoder.text(url);
                encoder.varint(person.len() as u64);
                person.iter().for_each(|field| encoder.text(field));
                encoder.text(settings);
                encode_credentials(encoder, credentials);
            }
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let name = decoder.text()?.to_owned();
        let mut form = decoder.u8()?;
        let (mut said, mut consent_category) = (None, None);
        if form == WITH_CONSENT {
            let need = decoder.u8()?;
            let known = ConsentNeed::ALL.iter().find(|(own, _)| *own as u8 == need);
            said = Some(known.ok_or(DecodeError::Unknown(u64::from(need)))?.0);
            consent_category = Some(decoder.text()?.to_owned()).filter(|name| !name.is_empty());
            form = decoder.u8()?;
        }
        let (kind, consent) = decode_kind(decoder, form)?;
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
            consent: said.unwrap_or(consent),
            consent_category,
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

/// A kind, and the consent that it needs where nothing else is said.
fn decode_kind(decoder: &mut Decoder<'_>, form: u8) -> Result<(DestinationKind, ConsentNeed), DecodeError> {
    let kind = match form {
        1 => DestinationKind::Webhook { url: decoder.text()?.to_owned() },
        2 => DestinationKind::Ndjson,
        6 => {
            let url = decoder.text()?.to_owned();
            let mut person = Vec::new();
            for _ in 0..decoder.count()? {
                person.push(decoder.text()?.to_owned());
            }
            let settings = decoder.text()?.to_owned();
            DestinationKind::Http { url, settings, credentials: decode_credentials(decoder)?, person }
        }
        3 | 4 => {
            // The first form did not say: then nobody is told of who did not agree.
            let mut person = Vec::new();
            let is_required = form == 3 || decoder.bool()?;
            for _ in 0..if form == 3 { 0 } else { decoder.count()? } {
                person.push(decoder.text()?.to_owned());
            }
            let settings = decoder.text()?.to_owned();
            let credentials = decode_credentials(decoder)?;
            let consent = if is_required { ConsentNeed::Required } else { ConsentNeed::UnlessDenied };
            return Ok((DestinationKind::Platform { settings, credentials, person }, consent));
        }
        other => return Err(DecodeError::Unknown(u64::from(other))),
    };
    let consent = kind.usual_consent();
    Ok((kind, consent))
}

fn encode_credentials(encoder: &mut Encoder<'_>, credentials: &[(String, String)]) {
    encoder.varint(credentials.len() as u64);
    for (member, name) in credentials {
        encoder.text(member);
        encoder.text(name);
    }
}

fn decode_credentials(decoder: &mut Decoder<'_>) -> Result<Vec<(String, String)>, DecodeError> {
    let mut credentials = Vec::new();
    for _ in 0..decoder.count()? {
        credentials.push((decoder.text()?.to_owned(), decoder.text()?.to_owned()));
    }
    Ok(credentials)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn destination(kind: DestinationKind) -> Destination {
        Destination {
            name: "d".to_owned(),
            consent: kind.usual_consent(),
            kind,
            consent_category: None,
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

    pub(crate) fn platform() -> DestinationKind {
        let (settings, credentials) = ("{}".to_owned(), vec![("access_token".to_owned(), "t".to_owned())]);
        DestinationKind::Platform { settings, credentials, person: vec!["city".to_owned()] }
    }

    fn written(own: &Destination) -> Vec<u8> {
        let mut bytes = Vec::new();
        own.encode(&mut Encoder(&mut bytes));
        bytes
    }

    #[test]
    fn destinations_read_back_whatever_they_need() {
        let webhook = DestinationKind::Webhook { url: "https://crm.test/".to_owned() };
        let http = DestinationKind::Http {
            url: "https://mail.test/".to_owned(),
            settings: "{\"body\":\"{{ id }}\"}".to_owned(),
            credentials: vec![("bearer".to_owned(), "mail-token".to_owned())],
            person: vec!["first_name".to_owned()],
        };
        for kind in [platform(), webhook, http, DestinationKind::Ndjson] {
            for (consent, _) in ConsentNeed::ALL {
                for consent_category in [None, Some("Email".to_owned())] {
                    let own = Destination { consent, consent_category, ..destination(kind.clone()) };
                    assert_eq!(Destination::decode(&mut Decoder::new(&written(&own))).unwrap(), own);
                }
            }
        }
    }

    #[test]
    fn what_could_be_said_before_has_the_bytes_that_it_had() {
        let unless_denied = Destination { consent: ConsentNeed::UnlessDenied, ..destination(platform()) };
        let table = [
            (destination(DestinationKind::Ndjson), 2),
            (destination(platform()), 4),
            (unless_denied, 4),
            (
                Destination { consent: ConsentNeed::Required, ..destination(DestinationKind::Ndjson) },
                WITH_CONSENT,
            ),
        ];
        for (own, form) in table {
            // Behind the length of the name and its one letter.
            assert_eq!(written(&own)[2], form, "{own:?}");
        }
    }

    #[test]
    fn older_platforms_ask_for_consent() {
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
