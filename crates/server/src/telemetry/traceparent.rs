//! The header in which a caller says which trace its request belongs to.
//!
//! W3C Trace Context, level 1 (recommendation of 23 November 2021), section 3.2: `00-TRACE-PARENT-FLAGS` in lower-case
//! hexadecimal digits. What cannot be read counts as absent, as the recommendation asks. `tracestate` is not read: we
//! put nothing into it, and what others put there may be anything.

use super::span::{SpanId, TraceId};
use hyper::HeaderMap;
use hyper::header::HeaderName;

static NAME: HeaderName = HeaderName::from_static("traceparent");
/// Bytes of version 00, and of the part of a later version that is read.
const BYTES: usize = 55;
/// The flag that says that the caller records the trace.
const SAMPLED: u8 = 1;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traceparent {
    pub(crate) trace_id: TraceId,
    /// The caller's span.
    pub(crate) span_id: SpanId,
    /// Whether the caller records the trace.
    pub(crate) sampled: bool,
}

impl Traceparent {
    /// The header of a request, if there is exactly one that can be read.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        // Most requests have none, so the cheap question comes first.
        let value = headers.get(&NAME)?;
        if headers.get_all(&NAME).iter().nth(1).is_some() {
            return None;
        }
        Self::read(value.as_bytes())
    }

    /// Reads a value.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (own, rest) = value.split_at_checked(BYTES)?;
        let [version] = digits::<1>(own.get(..2)?)?;
        // Later versions may add parts behind a dash; 255 is no version.
        match version {
            0 if rest.is_empty() => {}
            1..=254 if rest.is_empty() || rest.starts_with(b"-") => {}
            _ => return None,
        }
        if [2, 35, 52].iter().any(|at| own.get(*at) != Some(&b'-')) {
            return None;
        }
        let trace_id = digits::<16>(own.get(3..35)?)?;
        let span_id = digits::<8>(own.get(36..52)?)?;
        let [flags] = digits::<1>(own.get(53..)?)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(Self {
            trace_id: TraceId(trace_id),
            span_id: SpanId(span_id),
            sampled: flags & SAMPLED == SAMPLED,
        })
    }
}

fn digits<const COUNT: usize>(text: &[u8]) -> Option<[u8; COUNT]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; COUNT];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    (text.len() == 2 * COUNT).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_recommendation_is_read() {
        let read = Traceparent::read(GOOD.as_bytes()).unwrap();
        assert_eq!(format!("{:032x}", u128::from_be_bytes(read.trace_id.0)), &GOOD[3..35]);
        assert_eq!(format!("{:016x}", u64::from_be_bytes(read.span_id.0)), &GOOD[36..52]);
        assert!(read.sampled);
    }

    #[test]
    fn what_is_taken_and_what_counts_as_absent() {
        let with = |from: &str, to: &str| GOOD.replace(from, to);
        let taken = [
            (with("-01", "-00"), false),
            (with("-01", "-02"), false),
            (with("-01", "-03"), true),
            (with("-01", "-ff"), true),
            // Later versions are read as far as they are known.
            (with("00-0a", "01-0a"), true),
            (with("00-0a", "cc-0a"), true),
            (with("00-0a", "fe-0a") + "-what-comes-later", true),
            (with("00-0a", "01-0a") + "-", true),
        ];
        for (value, sampled) in taken {
            let read = Traceparent::read(value.as_bytes());
            assert_eq!(read.map(|read| read.sampled), Some(sampled), "{value}");
        }
        let refused = [
            String::new(),
            "00".to_owned(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-"),
            format!("{GOOD}0"),
            format!("{GOOD}-what-comes-later"),
            format!(" {GOOD}"),
            format!("{GOOD} "),
            with("00-0a", "ff-0a"),
            with("00-0a", "0g-0a"),
            with("00-0a", "0A-0a"),
            with("00-0a", "01-0a") + "x",
            with("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            with("b7ad6b7169203331", &"0".repeat(16)),
            with("0af7", "0AF7"),
            with("b7ad", "B7AD"),
            with("0af7", "0xf7"),
            with("-01", "-0g"),
            with("-01", "-1"),
            with("-01", "_01"),
            with("-b7", "_b7"),
            with("00-", "00_"),
            with("0af7", "0aé"),
            GOOD.to_uppercase(),
            format!("{GOOD},{GOOD}"),
        ];
        for value in refused {
            assert_eq!(Traceparent::read(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn two_headers_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(Traceparent::of(&headers), None);
        headers.append(&NAME, HeaderValue::from_static(GOOD));
        assert_eq!(Traceparent::of(&headers), Traceparent::read(GOOD.as_bytes()));
        headers.append(&NAME, HeaderValue::from_static(GOOD));
        assert_eq!(Traceparent::of(&headers), None);
    }

    /// Bytes that look enough like a header to get far.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let changes = prop::collection::vec((0..60_usize, any::<u8>()), 0..4);
        (changes, 0..60_usize).prop_map(|(changes, length)| {
            let mut bytes = GOOD.as_bytes().to_vec();
            for (at, byte) in changes {
                match bytes.get_mut(at) {
                    Some(slot) => *slot = byte,
                    None => bytes.push(byte),
                }
            }
            if length < 50 {
                bytes.truncate(length);
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_only_what_is_well_formed_is_taken(
            value in prop_oneof![nearly(), prop::collection::vec(any::<u8>(), 0..80)]
        ) {
            let expected = is_well_formed(&value);
            prop_assert_eq!(Traceparent::read(&value).is_some(), expected, "{:?}", String::from_utf8_lossy(&value));
        }

        #[test]
        fn what_is_written_is_read(trace in 1_u128.., span in 1_u64.., flags: u8) {
            let value = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            let read = Traceparent::read(value.as_bytes()).unwrap();
            prop_assert_eq!(read.trace_id.0, trace.to_be_bytes());
            prop_assert_eq!(read.span_id.0, span.to_be_bytes());
            prop_assert_eq!(read.sampled, flags % 2 == 1);
        }
    }

    /// The grammar of the recommendation, told a second time.
    fn is_well_formed(value: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(value) else { return false };
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let hexadecimal = |text: &str| text.chars().all(|letter| "0123456789abcdef".contains(letter));
        let zeros = |text: &str| text.chars().all(|letter| letter == '0');
        let [version, trace, span, flags, ..] = parts[..] else { return false };
        [(version, 2), (trace, 32), (span, 16), (flags, 2)]
            .iter()
            .all(|(part, length)| part.len() == *length && hexadecimal(part))
            && version != "ff"
            && (version != "00" || parts.len() == 4)
            && !zeros(trace)
            && !zeros(span)
    }
}
