//! The bytes of one aggregate, and the three things that are done with them: made from one event, merged, gathered.
//!
//! Merging is commutative and associative, and every state is a merge of single events, so no order of arrival and no
//! division over nodes can show.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::feature::Aggregation;
use crate::feature::times::{MAX_TIMES, Times};
use crate::feature::value::{MAX_VALUE_BYTES, MICRO, Value, number};
use crate::id::Timestamp;
use std::borrow::Cow;

/// How many of the smallest hashes a distinct count keeps; it is exact below this many.
pub const DISTINCT_HASHES: usize = 64;

const BOOL: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;

/// The cell of one event. `false` if the value is none that this aggregation can use: then the event changes nothing.
pub(crate) fn single(aggregation: Aggregation, at: Timestamp, value: &Value<'_>, out: &mut Vec<u8>) -> bool {
    let mut encoder = Encoder(out);
    match (aggregation, value) {
        (Aggregation::Count, _) => encoder.varint(1),
        (Aggregation::FirstAt | Aggregation::LastAt, _) => encoder.signed(at.0),
        (Aggregation::Times, _) => {
            encoder.varint(1);
            encoder.signed(at.0);
        }
        (_, Value::Absent) => return false,
        (Aggregation::First | Aggregation::Last, value) => {
            encoder.signed(at.0);
            return encode_value(value, encoder.0);
        }
        (Aggregation::Distinct, value) => {
            let mut bytes = Vec::new();
            if !encode_value(value, &mut bytes) {
                return false;
            }
            encoder.varint(1);
            encoder.u64(xxhash_rust::xxh3::xxh3_64(&bytes));
        }
        (Aggregation::Sum | Aggregation::Min | Aggregation::Max, value) => match value.to_number() {
            Value::Number(micro) if aggregation == Aggregation::Sum => wide(i128::from(micro), encoder.0),
            Value::Number(micro) => encoder.signed(micro),
            _ => return false,
        },
    }
    true
}

fn encode_value(value: &Value<'_>, out: &mut Vec<u8>) -> bool {
    let mut encoder = Encoder(out);
    match value {
        Value::Bool(flag) => {
            encoder.u8(BOOL);
            encoder.bool(*flag);
        }
        Value::Number(micro) => {
            encoder.u8(NUMBER);
            encoder.signed(*micro);
        }
        Value::Text(text) => {
            encoder.u8(TEXT);
            encoder.text(text.get(..text.floor_char_boundary(MAX_VALUE_BYTES)).unwrap_or_default());
        }
        Value::Absent | Value::Time(_) | Value::Duration(_) => return false,
    }
    true
}

fn decode_value<'a>(decoder: &mut Decoder<'a>) -> Result<Value<'a>, DecodeError> {
    Ok(match decoder.u8()? {
        BOOL => Value::Bool(decoder.bool()?),
        NUMBER => Value::Number(decoder.signed()?),
        TEXT => Value::Text(Cow::Borrowed(decoder.text()?)),
        other => return Err(DecodeError::Unknown(u64::from(other))),
    })
}

/// A signed integer of up to 128 bits, zigzag, seven bits to a byte.
fn wide(value: i128, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn decode_wide(decoder: &mut Decoder<'_>) -> Result<i128, DecodeError> {
    let mut value = 0_u128;
    for shift in (0..126).step_by(7) {
        let byte = decoder.u8()?;
        value |= u128::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok((value >> 1) as i128 ^ -((value & 1) as i128));
        }
    }
    Err(DecodeError::Overlong)
}

/// What cells of one feature come to: cells are added in any order, from any number of nodes and granules.
#[derive(Clone, Debug)]
pub(crate) enum Gathered<'a> {
    Count(u64),
    Sum(i128),
    Least(Option<i64>),
    Greatest(Option<i64>),
    First(Option<(i64, &'a [u8])>),
    Last(Option<(i64, &'a [u8])>),
    Smallest(Vec<u64>),
    Latest(Box<Times>),
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(aggregation: Aggregation) -> Self {
        match aggregation {
            Aggregation::Count => Self::Count(0),
            Aggregation::Sum => Self::Sum(0),
            Aggregation::Min | Aggregation::FirstAt => Self::Least(None),
            Aggregation::Max | Aggregation::LastAt => Self::Greatest(None),
            Aggregation::First => Self::First(None),
            Aggregation::Last => Self::Last(None),
            Aggregation::Distinct => Self::Smallest(Vec::new()),
            Aggregation::Times => Self::Latest(Box::default()),
        }
    }

    /// Takes in the cell that the decoder stands before, and reads past it.
    pub(crate) fn add(&mut self, decoder: &mut Decoder<'a>) -> Result<(), DecodeError> {
        match self {
            Self::Count(count) => *count = count.saturating_add(decoder.varint()?),
            Self::Sum(sum) => *sum = sum.saturating_add(decode_wide(decoder)?),
            Self::Least(least) => {
                let value = decoder.signed()?;
                *least = Some(least.map_or(value, |own| own.min(value)));
            }
            Self::Greatest(greatest) => {
                let value = decoder.signed()?;
                *greatest = Some(greatest.map_or(value, |own| own.max(value)));
            }
            Self::First(first) => {
                let found = placed(decoder)?;
                *first = Some(first.map_or(found, |own| if rank(own) <= rank(found) { own } else { found }));
            }
            Self::Last(last) => {
                let found = placed(decoder)?;
                *last = Some(last.map_or(found, |own| if rank(own) >= rank(found) { own } else { found }));
            }
            Self::Smallest(hashes) => {
                let count = bounded(decoder.count()?, DISTINCT_HASHES)?;
                hashes.reserve(count);
                for _ in 0..count {
                    let hash = decoder.u64()?;
                    // A cell holds them in order, so the first cell's all go to the end.
                    match hashes.last() {
                        Some(last) if *last >= hash => {
                            if let Err(place) = hashes.binary_search(&hash) {
                                hashes.insert(place, hash);
                            }
                        }
                        _ => hashes.push(hash),
                    }
                }
                hashes.truncate(DISTINCT_HASHES);
            }
            Self::Latest(times) => times.add(decoder)?,
        }
        Ok(())
    }

    /// Appends the cell.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        match self {
            Self::Count(count) => encoder.varint(*count),
            Self::Sum(sum) => wide(*sum, encoder.0),
            Self::Least(value) | Self::Greatest(value) => encoder.signed(value.unwrap_or_default()),
            Self::First(found) | Self::Last(found) => {
                let (at, value) = found.unwrap_or((0, &[BOOL, 0]));
                encoder.signed(at);
                encoder.0.extend_from_slice(value);
            }
            Self::Smallest(hashes) => {
                encoder.varint(hashes.len() as u64);
                for hash in hashes {
                    encoder.u64(*hash);
                }
            }
            Self::Latest(times) => times.encode(&mut encoder),
        }
    }

    /// What all of it is worth.
    pub(crate) fn value(&self, aggregation: Aggregation) -> Value<'a> {
        let time = |at: Option<i64>| at.map_or(Value::Absent, |at| Value::Time(Timestamp(at)));
        match self {
            Self::Count(count) => number(i128::from(*count) * i128::from(MICRO)),
            Self::Sum(sum) => number(*sum),
            Self::Least(at) if aggregation == Aggregation::FirstAt => time(*at),
            Self::Greatest(at) if aggregation == Aggregation::LastAt => time(*at),
            Self::Least(value) | Self::Greatest(value) => value.map_or(Value::Absent, Value::Number),
            Self::First(found) | Self::Last(found) => match found {
                Some((_, bytes)) => decode_value(&mut Decoder::new(bytes)).unwrap_or(Value::Absent),
                None => Value::Absent,
            },
            Self::Smallest(hashes) => number(i128::from(estimate(hashes)) * i128::from(MICRO)),
            Self::Latest(times) => time(times.newest_first().first().copied()),
        }
    }
}

/// How found values come one after the other: by time, then by kind, then numbers by size and texts by their bytes.
fn rank((at, bytes): (i64, &[u8])) -> (i64, u8, i64, Cow<'_, str>) {
    let (kind, number, text) = match decode_value(&mut Decoder::new(bytes)) {
        Ok(Value::Bool(value)) => (1, i64::from(value), Cow::Borrowed("")),
        Ok(Value::Number(micro)) => (2, micro, Cow::Borrowed("")),
        Ok(Value::Text(text)) => (3, 0, text),
        _ => (0, 0, Cow::Borrowed("")),
    };
    (at, kind, number, text)
}

/// Reads past a cell.
pub(crate) fn skip(aggregation: Aggregation, decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    match aggregation {
        Aggregation::Count
        | Aggregation::Min
        | Aggregation::Max
        | Aggregation::FirstAt
        | Aggregation::LastAt => decoder.varint().map(|_| ()),
        Aggregation::Sum => decode_wide(decoder).map(|_| ()),
        Aggregation::First | Aggregation::Last => placed(decoder).map(|_| ()),
        Aggregation::Distinct => {
            let count = bounded(decoder.count()?, DISTINCT_HASHES)?;
            decoder.take(8 * count).map(|_| ())
        }
        Aggregation::Times => {
            for _ in 0..bounded(decoder.count()?, MAX_TIMES)? {
                decoder.varint()?;
            }
            Ok(())
        }
    }
}

pub(crate) fn bounded(count: usize, most: usize) -> Result<usize, DecodeError> {
    if count > most { Err(DecodeError::Unknown(count as u64)) } else { Ok(count) }
}

fn placed<'a>(decoder: &mut Decoder<'a>) -> Result<(i64, &'a [u8]), DecodeError> {
    let at = decoder.signed()?;
    let before = decoder.rest();
    decode_value(decoder)?;
    let length = before.len() - decoder.rest().len();
    Ok((at, before.get(..length).unwrap_or_default()))
}

/// How many different values there were: exact below [`DISTINCT_HASHES`], else the estimate of Bar-Yossef et al.,
/// "Counting Distinct Elements in a Data Stream" (2002), from the largest of the k smallest hashes, in integers:
/// `(k - 1) * 2^64 / (largest + 1)`, at least k. Its relative standard error is about `1 / sqrt(k - 2)`, 13 %.
pub(crate) fn estimate(hashes: &[u64]) -> u64 {
    let count = hashes.len() as u64;
    match hashes.last() {
        Some(largest) if hashes.len() >= DISTINCT_HASHES => {
            let estimate = (u128::from(count - 1) << 64) / (u128::from(*largest) + 1);
            u64::try_from(estimate).unwrap_or(u64::MAX).max(count)
        }
        _ => count,
    }
}
