//! A stretch of time with a name, and what belongs to it.

/// Which trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

/// Which span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

/// An instant on both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Wall time, microseconds since 1970.
    pub(super) unix_us: i64,
    /// Nanoseconds of [`env::Clock::monotonic_ns`].
    pub(super) monotonic_ns: u64,
}

impl Moment {
    /// Wall time of another monotonic instant, in nanoseconds since 1970. All spans of a trace are placed by one moment,
    /// so a wall clock that jumps meanwhile takes none out of its parent.
    pub(super) fn unix_ns(&self, monotonic_ns: u64) -> u64 {
        let own_ns = i128::from(self.unix_us) * 1_000;
        let other_ns = own_ns + i128::from(monotonic_ns) - i128::from(self.monotonic_ns);
        u64::try_from(other_ns.max(0)).unwrap_or(u64::MAX)
    }
}

/// On which side of a call a span is (`SpanKind` of OTLP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

/// Names and values. Names that begin with `throughline.` are ours, the others are OpenTelemetry's conventions.
pub(super) type Attributes = Vec<(&'static str, Value)>;

/// One span, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// The span that it is a part of, and whether that one is somebody else's.
    pub(super) parent: Option<(SpanId, bool)>,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Nanoseconds since 1970.
    pub(super) start_unix_ns: u64,
    /// Not before the start.
    pub(super) end_unix_ns: u64,
    pub(super) attributes: Attributes,
    /// Spans of other traces that this one follows from.
    pub(super) links: Vec<(TraceId, SpanId)>,
    /// Whether what it stands for failed, on our side.
    pub(super) failed: bool,
}

/// A number as an attribute; what does not fit is the greatest that does.
pub(super) fn number(number: impl TryInto<i64>) -> Value {
    Value::Number(number.try_into().unwrap_or(i64::MAX))
}

/// Text as an attribute.
pub(super) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_follows_the_clock_that_never_goes_back() {
        let moment = Moment { unix_us: 1_795_304_740_000_000, monotonic_ns: 5_000_000_500 };
        for (monotonic_ns, unix_ns) in [
            (5_000_000_500, 1_795_304_740_000_000_000),
            (5_000_000_501, 1_795_304_740_000_000_001),
            (6_000_000_500, 1_795_304_741_000_000_000),
            (500, 1_795_304_735_000_000_000),
        ] {
            assert_eq!(moment.unix_ns(monotonic_ns), unix_ns);
        }
        let before = Moment { unix_us: -1, monotonic_ns: 0 };
        assert_eq!(before.unix_ns(0), 0);
    }
}
