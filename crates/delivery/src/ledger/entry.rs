//! One change of the ledger, and its stored form (version 1, docs/delivery.md).

use super::{BreakerMemory, DeadLetter, DeadReason, Tries};
use crate::parcel::{Class, Parcel};
use bytes::Bytes;
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{EffectId, Key, Position, Timestamp};

const NAMED: u8 = 1;
const THROUGH: u8 = 2;
const SETTLED: u8 = 3;
const TRIED: u8 = 4;
/// As [`DEAD`], before letters said what they are about.
const DEAD_FORMERLY: u8 = 5;
const RESEND: u8 = 6;
const GONE: u8 = 7;
const BREAKER: u8 = 8;
const DEAD: u8 = 9;

/// One change of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A lane gets its number.
    Named {
        /// The number.
        lane: u32,
        /// The lane's name.
        name: String,
    },
    /// Everything up to here is settled.
    Through {
        /// The lane.
        lane: u32,
        /// The last settled parcel.
        id: EffectId,
    },
    /// One parcel is settled.
    Settled {
        /// The lane.
        lane: u32,
        /// The parcel.
        id: EffectId,
    },
    /// An attempt failed, or a marketing attempt begins.
    Tried {
        /// The lane.
        lane: u32,
        /// The parcel.
        id: EffectId,
        /// All that is known of its attempts.
        tries: Tries,
    },
    /// A parcel has died; this settles it.
    Dead {
        /// The lane.
        lane: u32,
        /// The letter.
        letter: DeadLetter,
    },
    /// A dead letter is to be sent again.
    Resend {
        /// The lane.
        lane: u32,
        /// The parcel.
        id: EffectId,
    },
    /// A dead letter is gone: delivered, refused by a permit, discarded or forgotten.
    Gone {
        /// The lane.
        lane: u32,
        /// The parcel.
        id: EffectId,
    },
    /// The breaker opened or closed.
    Breaker {
        /// The lane.
        lane: u32,
        /// Its new state.
        memory: BreakerMemory,
    },
}

impl Entry {
    /// The number of the lane that it concerns.
    pub fn lane(&self) -> u32 {
        match self {
            Self::Named { lane, .. }
            | Self::Through { lane, .. }
            | Self::Settled { lane, .. }
            | Self::Tried { lane, .. }
            | Self::Dead { lane, .. }
            | Self::Resend { lane, .. }
            | Self::Gone { lane, .. }
            | Self::Breaker { lane, .. } => *lane,
        }
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut to = Encoder(out);
        let mut head = |tag: u8| {
            to.u8(tag);
            to.varint(u64::from(self.lane()));
        };
        match self {
            Self::Named { name, .. } => {
                head(NAMED);
                to.text(name);
            }
            Self::Through { id, .. } => {
                head(THROUGH);
                encode_id(&mut to, *id);
            }
            Self::Settled { id, .. } => {
                head(SETTLED);
                encode_id(&mut to, *id);
            }
            Self::Tried { id, tries, .. } => {
                head(TRIED);
                encode_id(&mut to, *id);
                encode_tries(&mut to, tries);
            }
            Self::Dead { letter, .. } => {
                head(DEAD);
                encode_letter(&mut to, letter);
            }
            Self::Resend { id, .. } => {
                head(RESEND);
                encode_id(&mut to, *id);
            }
            Self::Gone { id, .. } => {
                head(GONE);
                encode_id(&mut to, *id);
            }
            Self::Breaker { memory, .. } => {
                head(BREAKER);
                to.varint(u64::from(memory.opened));
                to.i64(memory.until.0);
            }
        }
    }

    /// Reads one stored form.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let tag = from.u8()?;
        let lane = small(from)?;
        Ok(match tag {
            NAMED => Self::Named { lane, name: from.text()?.to_owned() },
            THROUGH => Self::Through { lane, id: decode_id(from)? },
            SETTLED => Self::Settled { lane, id: decode_id(from)? },
            TRIED => Self::Tried { lane, id: decode_id(from)?, tries: decode_tries(from)? },
            DEAD_FORMERLY => Self::Dead { lane, letter: decode_letter(from, false)? },
            DEAD => Self::Dead { lane, letter: decode_letter(from, true)? },
            RESEND => Self::Resend { lane, id: decode_id(from)? },
            GONE => Self::Gone { lane, id: decode_id(from)? },
            BREAKER => {
                let memory = BreakerMemory { opened: small(from)?, until: Timestamp(from.i64()?) };
                Self::Breaker { lane, memory }
            }
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

fn small(from: &mut Decoder<'_>) -> Result<u32, DecodeError> {
    u32::try_from(from.varint()?).map_err(|_| DecodeError::Overlong)
}

fn encode_id(to: &mut Encoder<'_>, id: EffectId) {
    to.varint(id.position.0);
    to.varint(u64::from(id.ordinal));
}

fn decode_id(from: &mut Decoder<'_>) -> Result<EffectId, DecodeError> {
    Ok(EffectId { position: Position(from.varint()?), ordinal: small(from)? })
}

fn encode_tries(to: &mut Encoder<'_>, tries: &Tries) {
    to.varint(u64::from(tries.attempts));
    to.varint(u64::from(tries.strikes));
    to.i64(tries.first_failed_at.0);
    to.i64(tries.not_before.0);
    to.bool(tries.on_the_wire);
    to.bool(tries.alone);
}

fn decode_tries(from: &mut Decoder<'_>) -> Result<Tries, DecodeError> {
    Ok(Tries {
        attempts: small(from)?,
        strikes: small(from)?,
        first_failed_at: Timestamp(from.i64()?),
        not_before: Timestamp(from.i64()?),
        on_the_wire: from.bool()?,
        alone: from.bool()?,
    })
}

fn encode_letter(to: &mut Encoder<'_>, letter: &DeadLetter) {
    let parcel = &letter.parcel;
    encode_id(to, parcel.id);
    to.i64(parcel.issued_at.0);
    to.u16(parcel.kind);
    to.varint(parcel.about.map_or(0, |about| u64::from(about) + 1));
    to.u128(parcel.subject.0);
    to.bool(parcel.class == Class::Marketing);
    to.text(&parcel.idempotency_key);
    to.bytes(&parcel.body);
    to.u8(match letter.reason {
        DeadReason::Refused => 0,
        DeadReason::GaveUp => 1,
        DeadReason::UnknownOutcome => 2,
        DeadReason::TooLarge => 3,
    });
    to.text(&letter.detail);
    to.varint(u64::from(letter.attempts));
    to.i64(letter.died_at.0);
    to.bool(letter.resend);
}

fn decode_about(from: &mut Decoder<'_>) -> Result<Option<u32>, DecodeError> {
    match from.varint()? {
        0 => Ok(None),
        about => u32::try_from(about - 1).map(Some).map_err(|_| DecodeError::Overlong),
    }
}

fn decode_letter(from: &mut Decoder<'_>, says_about: bool) -> Result<DeadLetter, DecodeError> {
    let parcel = Parcel {
        id: decode_id(from)?,
        issued_at: Timestamp(from.i64()?),
        kind: from.u16()?,
        about: if says_about { decode_about(from)? } else { None },
        subject: Key(from.u128()?),
        class: if from.bool()? { Class::Marketing } else { Class::Transactional },
        idempotency_key: from.text()?.to_owned(),
        body: Bytes::copy_from_slice(from.bytes()?),
    };
    let reason = match from.u8()? {
        0 => DeadReason::Refused,
        1 => DeadReason::GaveUp,
        2 => DeadReason::UnknownOutcome,
        3 => DeadReason::TooLarge,
        other => return Err(DecodeError::Unknown(u64::from(other))),
    };
    Ok(DeadLetter {
        parcel,
        reason,
        detail: from.text()?.to_owned(),
        attempts: small(from)?,
        died_at: Timestamp(from.i64()?),
        resend: from.bool()?,
    })
}
