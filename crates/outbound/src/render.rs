//! The form of a message: what a webhook's body and a line of a file hold.

use delivery::BODY_BYTES_MAX;
use model::id::{EffectId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

/// What is said to a destination.
///
/// As JSON: `{"type": kind, "id": id, "timestamp": "2026-11-22T04:51:00.000000Z", "data": data}`: the members `type`,
/// `timestamp` and `data` are those that Standard Webhooks recommend for a payload.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is, e.g. `audience.entered`: words of lower case with dots.
    pub kind: &'a str,
    /// The effect, the same on every replay.
    pub id: EffectId,
    /// Log time of the record that caused it.
    pub issued_at: Timestamp,
    /// The rest, as JSON.
    pub data: &'a [u8],
}

/// A message that cannot be written.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The data is not JSON.
    #[error("the data of a {kind} is not JSON ({cause}): the machine that issued it is wrong")]
    NotJson {
        /// The message's kind.
        kind: String,
        /// What the reader said.
        cause: serde_json::Error,
    },
    /// The message is longer than a parcel may be.
    #[error("a {kind} has {actual_bytes} bytes, and {BODY_BYTES_MAX} are the limit: let it name less")]
    TooLarge {
        /// The message's kind.
        kind: String,
        /// Its length.
        actual_bytes: usize,
    },
}

impl RenderError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "message_not_json",
            Self::TooLarge { .. } => "message_too_large",
        }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    r#type: &'a str,
    id: String,
    timestamp: String,
    data: &'a RawValue,
}

/// Writes a message on one line: the body of a parcel.
pub fn render(message: &Message<'_>) -> Result<Vec<u8>, RenderError> {
    let not_json = |cause| RenderError::NotJson { kind: message.kind.to_owned(), cause };
    // Read and written again in the smallest form: raw data could hold line breaks, which end a line of a file.
    let value: serde_json::Value = serde_json::from_slice(message.data).map_err(not_json)?;
    let data = serde_json::value::to_raw_value(&value).map_err(not_json)?;
    let written = Written {
        r#type: message.kind,
        id: message.id.to_string(),
        timestamp: format_instant(message.issued_at),
        data: &data,
    };
    let bytes = serde_json::to_vec(&written).map_err(not_json)?;
    if bytes.len() > BODY_BYTES_MAX {
        return Err(RenderError::TooLarge { kind: message.kind.to_owned(), actual_bytes: bytes.len() });
    }
    Ok(bytes)
}

/// RFC 3339 in UTC with microseconds. Years 0 to 9999; beyond, the nearest of them.
///
/// Days to a date by Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms").
pub fn format_instant(instant: Timestamp) -> String {
    const DAY_US: i64 = 86_400_000_000;
    let (first_us, last_us) = (-62_167_219_200_000_000, 253_402_300_799_999_999);
    let us = instant.0.clamp(first_us, last_us);
    let (days, in_day_us) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let seconds = in_day_us / 1_000_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let micros = in_day_us % 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::Position;
    use proptest::prelude::*;

    #[test]
    fn instants_are_written_as_others_write_them() {
        // From GNU date: `date -u -d @SECONDS +%FT%T`.
        let table = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000000Z"),
        ];
        for (us, text) in table {
            assert_eq!(format_instant(Timestamp(us)), text);
        }
    }

    proptest! {
        /// Counting days one month at a time, as on paper, gives the same date.
        #[test]
        fn dates_agree_with_counting(days in -200_000_i64..200_000) {
            let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = |year, month| match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let (mut year, mut month, mut left) = (1970, 1, days);
            while left < 0 {
                (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
                left += length(year, month);
            }
            while left >= length(year, month) {
                left -= length(year, month);
                (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            }
            let expected = format!("{year:04}-{month:02}-{:02}T00:00:00.000000Z", left + 1);
            prop_assert_eq!(format_instant(Timestamp(days * 86_400_000_000)), expected);
        }
    }

    #[test]
    fn messages_are_one_line_of_json() {
        let id = EffectId { position: Position(12), ordinal: 3 };
        let data = b"{\"a\": 1,\n \"text\": \"two\\nlines\"}";
        let message = Message { kind: "audience.entered", id, issued_at: Timestamp(0), data };
        let bytes = render(&message).unwrap();
        assert!(!bytes.contains(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["type"], "audience.entered");
        assert_eq!(value["id"], "eff_12_3");
        assert_eq!(value["timestamp"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(value["data"]["text"], "two\nlines");
        for (data, code) in
            [(&b"{"[..], "message_not_json"), (b"", "message_not_json"), (b"{} {}", "message_not_json")]
        {
            assert_eq!(render(&Message { data, ..message }).unwrap_err().code(), code);
        }
        let long = format!("\"{}\"", "x".repeat(BODY_BYTES_MAX));
        let error = render(&Message { data: long.as_bytes(), ..message }).unwrap_err();
        assert_eq!(error.code(), "message_too_large");
    }
}
