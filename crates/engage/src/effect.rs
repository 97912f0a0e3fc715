//! What the machine asks of the outside. Kinds and bodies are stored: never change one.

use crate::redact::Extent;
use model::audience::{DefinitionId, Terms};
use model::codec::{DecodeError, Decoder, Encoder};
use model::event::IdentifierKind;
use model::id::{Key, Position, Timestamp};
use model::identity::Reason;
use model::line::{Figures, Place};
use model::suppression::Scope;

/// A profile is suppressed for scopes it was not suppressed for before.
pub const SUPPRESSION_STARTED: u16 = 1;
/// A profile is not suppressed for scopes any more.
pub const SUPPRESSION_ENDED: u16 = 2;
/// A profile became part of another.
pub const MERGED: u16 = 3;
/// A profile was parted.
pub const UNMERGED: u16 = 4;
/// An edge was refused.
pub const EDGE_REFUSED: u16 = 5;
/// Nodes were erased: the log, checkpoints and exports are to be rewritten.
pub const ERASED: u16 = 6;
/// A profile holds more identifiers than is usual.
pub const MANY_IDENTIFIERS: u16 = 7;

/// A profile entered an audience.
pub const AUDIENCE_ENTERED: u16 = 8;
/// A profile left an audience.
pub const AUDIENCE_EXITED: u16 = 9;

/// The line's figures of an hour and a campaign: the hour is over, or they were corrected.
pub const LINE: u16 = 10;

/// A person chose otherwise of a category of consent.
pub const CONSENT_CHANGED: u16 = 11;

/// What made somebody enter or leave an audience. Numbers are stored: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// An event of theirs.
    Event = 1,
    /// Time passed.
    Time = 2,
    /// Two profiles became one.
    Merge = 3,
    /// A profile was parted.
    Unmerge = 4,
    /// The audience was defined, changed or removed.
    Definition = 5,
    /// The person was erased.
    Erased = 6,
}

impl Cause {
    /// Its name in messages to the outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Time => "time",
            Self::Merge => "merge",
            Self::Unmerge => "unmerge",
            Self::Definition => "definition",
            Self::Erased => "erased",
        }
    }

    fn from_u8(byte: u8) -> Result<Self, DecodeError> {
        let all = [Self::Event, Self::Time, Self::Merge, Self::Unmerge, Self::Definition, Self::Erased];
        let found = all.into_iter().find(|one| *one as u8 == byte);
        found.ok_or(DecodeError::Unknown(u64::from(byte)))
    }
}

/// The most keys or scopes in one body.
pub const MAX_ITEMS: usize = 4 * model::suppression::MAX_ACTIVE;

/// An effect's body, decoded. Its subject is the profile it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// See [`SUPPRESSION_STARTED`]: scopes and until when, sorted by scope.
    SuppressionStarted(Vec<(Scope, Timestamp)>),
    /// See [`SUPPRESSION_ENDED`].
    SuppressionEnded(Vec<Scope>),
    /// See [`MERGED`]; the subject is the profile that remains.
    Merged {
        /// The profile that is no more.
        from: Key,
    },
    /// See [`UNMERGED`]: the profiles it became, by root.
    Unmerged(Vec<Key>),
    /// See [`EDGE_REFUSED`].
    EdgeRefused {
        /// The end that stays with the event.
        anchor: Key,
        /// The other end.
        other: Key,
        /// Its type.
        other_kind: IdentifierKind,
        /// Why.
        reason: Reason,
    },
    /// See [`ERASED`]: node keys, and the position before which the log is to be redacted.
    Erased {
        /// The nodes, and the devices of somebody else that they had sessions on.
        nodes: Vec<(Key, Extent)>,
        /// The record that erased them.
        position: Position,
    },
    /// See [`MANY_IDENTIFIERS`]: how many.
    ManyIdentifiers(u32),
    /// See [`AUDIENCE_ENTERED`] and [`AUDIENCE_EXITED`].
    Audience {
        /// Entered, or else left.
        entered: bool,
        /// Which.
        audience: DefinitionId,
        /// The version of its definition.
        version: u32,
        /// Why.
        cause: Cause,
        /// The log time that it holds from; before the record's where time made the difference.
        at: Timestamp,
        /// The conditions that held before.
        before: Terms,
        /// The conditions that hold now: those that differ flipped.
        after: Terms,
    },
    /// See [`CONSENT_CHANGED`].
    Consent {
        /// The category, by the name under which it is kept.
        category: Box<str>,
        /// What they chose before; `None` if nothing was said of it.
        before: Option<bool>,
        /// What they choose now. `None` where what was said was another's, from whom they were parted.
        after: Option<bool>,
    },
    /// See [`LINE`]; the subject is the figures' own key.
    Line {
        /// Which hour and campaign.
        place: Place,
        /// How often they were published before.
        correction: u32,
        /// All of them.
        figures: Box<Figures>,
    },
}

impl Body {
    /// Its kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::SuppressionStarted(_) => SUPPRESSION_STARTED,
            Self::SuppressionEnded(_) => SUPPRESSION_ENDED,
            Self::Merged { .. } => MERGED,
            Self::Unmerged(_) => UNMERGED,
            Self::EdgeRefused { .. } => EDGE_REFUSED,
            Self::Erased { .. } => ERASED,
            Self::ManyIdentifiers(_) => MANY_IDENTIFIERS,
            Self::Audience { entered: true, .. } => AUDIENCE_ENTERED,
            Self::Audience { entered: false, .. } => AUDIENCE_EXITED,
            Self::Line { .. } => LINE,
            Self::Consent { .. } => CONSENT_CHANGED,
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        let encoder = &mut Encoder(&mut out);
        match self {
            Self::SuppressionStarted(scopes) => {
                for (scope, until) in scopes {
                    encoder.u64(scope.0);
                    encoder.signed(until.0);
                }
            }
            Self::SuppressionEnded(scopes) => scopes.iter().for_each(|scope| encoder.u64(scope.0)),
            Self::Merged { from } => encoder.u128(from.0),
            Self::Unmerged(parts) => parts.iter().for_each(|part| encoder.u128(part.0)),
            Self::EdgeRefused { anchor, other, other_kind, reason } => {
                encoder.u128(anchor.0);
                encoder.u128(other.0);
                encoder.u8(other_kind.0);
                encoder.u8(*reason as u8);
            }
            Self::Erased { nodes, position } => {
                encoder.varint(position.0);
                for (node, extent) in nodes {
                    encoder.u128(node.0);
                    encoder.u8(*extent as u8);
                }
            }
            Self::ManyIdentifiers(count) => encoder.varint(u64::from(*count)),
            Self::Audience { audience, version, cause, at, before, after, .. } => {
                encoder.varint(u64::from(audience.0));
                encoder.varint(u64::from(*version));
                encoder.u8(*cause as u8);
                encoder.signed(at.0);
                encoder.varint(before.0);
                encoder.varint(after.0);
            }
            Self::Line { place, correction, figures } => {
                encoder.signed(i64::from(place.hour));
                encoder.u64(place.campaign);
                encoder.u32(*correction);
                figures.encode(encoder);
            }
            Self::Consent { category, before, after } => {
                encoder.text(category);
                [before, after]
                    .into_iter()
                    .for_each(|choice| encoder.u8(choice.map_or(0, |yes| 1 + u8::from(yes))));
            }
        }
        out
    }

    /// Reads the stored form.
    pub fn decode(kind: u16, bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let body = match kind {
            SUPPRESSION_STARTED => Self::SuppressionStarted(items(decoder, |decoder| {
                Ok((Scope(decoder.u64()?), Timestamp(decoder.signed()?)))
            })?),
            SUPPRESSION_ENDED => Self::SuppressionEnded(items(decoder, |decoder| decoder.u64().map(Scope))?),
            MERGED => Self::Merged { from: Key(decoder.u128()?) },
            UNMERGED => Self::Unmerged(items(decoder, |decoder| decoder.u128().map(Key))?),
            EDGE_REFUSED => Self::EdgeRefused {
                anchor: Key(decoder.u128()?),
                other: Key(decoder.u128()?),
                other_kind: IdentifierKind(decoder.u8()?),
                reason: Reason::from_u8(decoder.u8()?)?,
            },
            ERASED => {
                let position = Position(decoder.varint()?);
                let read =
                    |decoder: &mut Decoder<'_>| Ok((Key(decoder.u128()?), Extent::from_u8(decoder.u8()?)?));
                Self::Erased { nodes: items(decoder, read)?, position }
            }
            MANY_IDENTIFIERS => {
                let count = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
                Self::ManyIdentifiers(count)
            }
            AUDIENCE_ENTERED | AUDIENCE_EXITED => Self::Audience {
                entered: kind == AUDIENCE_ENTERED,
                audience: DefinitionId(small(decoder)?),
                version: small(decoder)?,
                cause: Cause::from_u8(decoder.u8()?)?,
                at: Timestamp(decoder.signed()?),
                before: Terms(decoder.varint()?),
                after: Terms(decoder.varint()?),
            },
            LINE => {
                let hour = i32::try_from(decoder.signed()?).map_err(|_| DecodeError::Overlong)?;
                let place = Place { hour, campaign: decoder.u64()? };
                Self::Line { place, correction: decoder.u32()?, figures: Box::new(Figures::decode(decoder)?) }
            }
            CONSENT_CHANGED => Self::Consent {
                category: decoder.text()?.into(),
                before: choice(decoder)?,
                after: choice(decoder)?,
            },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        decoder.finish()?;
        Ok(body)
    }
}

fn choice(decoder: &mut Decoder<'_>) -> Result<Option<bool>, DecodeError> {
    match decoder.u8()? {
        0 => Ok(None),
        1 => Ok(Some(false)),
        2 => Ok(Some(true)),
        other => Err(DecodeError::Unknown(u64::from(other))),
    }
}

fn small(decoder: &mut Decoder<'_>) -> Result<u32, DecodeError> {
    u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)
}

fn items<'a, T>(
    decoder: &mut Decoder<'a>,
    read: impl Fn(&mut Decoder<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    while !decoder.is_empty() {
        if all.len() >= MAX_ITEMS {
            return Err(DecodeError::Overlong);
        }
        all.push(read(decoder)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_read_back() {
        let bodies = [
            Body::SuppressionStarted(vec![(Scope(3), Timestamp(4)), (Scope(5), Timestamp(-6))]),
            Body::SuppressionEnded(vec![Scope(3)]),
            Body::Merged { from: Key(7) },
            Body::Unmerged(vec![Key(1), Key(2)]),
            Body::EdgeRefused {
                anchor: Key(1),
                other: Key(2),
                other_kind: IdentifierKind::EMAIL,
                reason: Reason::Cap,
            },
            Body::Erased {
                nodes: vec![(Key(1), Extent::Whole), (Key(9), Extent::Session)],
                position: Position(5),
            },
            Body::ManyIdentifiers(51),
            Body::Audience {
                entered: true,
                audience: DefinitionId(7),
                version: 2,
                cause: Cause::Time,
                at: Timestamp(-4),
                before: Terms(1),
                after: Terms(3),
            },
            Body::Consent { category: "Advertising".into(), before: None, after: Some(true) },
            Body::Consent { category: "".into(), before: Some(false), after: None },
        ];
        let mut figures = Figures::default();
        figures.add(model::line::Measure::Orders, 3);
        figures.add_span(model::line::Span::Cycle, 5_000_000);
        let place = Place { hour: -4, campaign: 9 };
        let line = Body::Line { place, correction: 1, figures: Box::new(figures) };
        for body in bodies.into_iter().chain([line]) {
            assert_eq!(Body::decode(body.kind(), &body.encode()), Ok(body));
        }
        assert!(Body::decode(99, &[]).is_err());
    }
}
