//! The form in which spans travel: OTLP, protocol buffers.
//!
//! The messages are those of `opentelemetry-proto` 1.10 (`collector/trace/v1/trace_service.proto`, `trace/v1/trace.proto`,
//! `common/v1/common.proto`, `resource/v1/resource.proto`), with the fields that we write or read. A field's number is
//! its meaning and never changes. Why they stand here: docs/decisions/0012-traces-over-our-own-egress.md.

use super::span::{Span, Value};
use prost::Message;

/// Our own name in what is exported.
const SERVICE: &str = "throughline";
/// The trace is recorded (W3C Trace Context).
const FLAG_SAMPLED: u32 = 1;
/// The next flag says something, and: the parent is in another process (`SpanFlags` of OTLP).
const FLAG_REMOTE_IS_KNOWN: u32 = 0x100;
const FLAG_REMOTE: u32 = 0x200;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(fixed32, tag = "6")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyKind", tags = "1, 3")]
    value: Option<AnyKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AnyKind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// The body of a request to a collector.
pub(super) fn encode(spans: Vec<Span>) -> Vec<u8> {
    let named = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(AnyKind::Text(value.to_owned())) }),
    };
    let version = env!("CARGO_PKG_VERSION");
    let resource =
        Resource { attributes: vec![named("service.name", SERVICE), named("service.version", version)] };
    let scope = Scope { name: SERVICE.to_owned(), version: version.to_owned() };
    let scope_spans =
        ScopeSpans { scope: Some(scope), spans: spans.into_iter().map(WireSpan::from).collect() };
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans] };
    ExportRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

/// How many spans a collector rejected although it took the request. An answer that cannot be read rejects none.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportResponse::decode(answer).unwrap_or_default();
    answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}

impl From<Span> for WireSpan {
    fn from(span: Span) -> Self {
        let remote = match span.parent {
            Some((_, true)) => FLAG_REMOTE_IS_KNOWN | FLAG_REMOTE,
            _ => FLAG_REMOTE_IS_KNOWN,
        };
        let links = span.links.iter().map(|(trace_id, span_id)| Link {
            trace_id: trace_id.0.to_vec(),
            span_id: span_id.0.to_vec(),
            flags: FLAG_SAMPLED,
        });
        Self {
            trace_id: span.trace_id.0.to_vec(),
            span_id: span.span_id.0.to_vec(),
            parent_span_id: span.parent.map(|(parent, _)| parent.0.to_vec()).unwrap_or_default(),
            name: span.name,
            kind: span.kind as i32,
            start_time_unix_nano: span.start_unix_ns,
            end_time_unix_nano: span.end_unix_ns,
            links: links.collect(),
            attributes: span.attributes.into_iter().map(KeyValue::from).collect(),
            status: span.failed.then_some(Status { code: STATUS_ERROR }),
            flags: FLAG_SAMPLED | remote,
        }
    }
}

impl From<(&'static str, Value)> for KeyValue {
    fn from((key, value): (&'static str, Value)) -> Self {
        let value = match value {
            Value::Text(text) => AnyKind::Text(text),
            Value::Number(number) => AnyKind::Number(number),
        };
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::{Kind, SpanId, TraceId, number};
    use super::*;

    /// The bytes were put together by hand from the tables of the protocol (tag = number << 3 | wire type); that a
    /// decoder of somebody else reads the whole is tested by tests/smoke/80-traces.sh.
    #[test]
    fn a_span_is_written_field_by_field() {
        let span = Span {
            trace_id: TraceId([0x11; 16]),
            span_id: SpanId([0x22; 8]),
            parent: Some((SpanId([0x33; 8]), true)),
            name: "x".to_owned(),
            kind: Kind::Server,
            start_unix_ns: 1,
            end_unix_ns: 2,
            attributes: vec![("n", number(5_u32))],
            links: vec![(TraceId([0x44; 16]), SpanId([0x55; 8]))],
            failed: true,
        };
        let mut expected = vec![0x0a, 16];
        expected.extend([0x11; 16]);
        expected.extend([0x12, 8]);
        expected.extend([0x22; 8]);
        expected.extend([0x22, 8]);
        expected.extend([0x33; 8]);
        expected.extend([0x2a, 1, b'x', 0x30, 2]);
        expected.extend([0x39, 1, 0, 0, 0, 0, 0, 0, 0, 0x41, 2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x4a, 7, 0x0a, 1, b'n', 0x12, 2, 0x18, 5]);
        expected.extend([0x6a, 33, 0x0a, 16]);
        expected.extend([0x44; 16]);
        expected.extend([0x12, 8]);
        expected.extend([0x55; 8]);
        expected.extend([0x35, 1, 0, 0, 0]);
        expected.extend([0x7a, 2, 0x18, 2]);
        expected.extend([0x85, 0x01, 0x01, 0x03, 0, 0]);
        assert_eq!(WireSpan::from(span).encode_to_vec(), expected);
    }

    #[test]
    fn what_a_collector_rejected_is_read() {
        for (answer, expected) in [
            (&[][..], 0),
            (&[0x0a, 0], 0),
            (&[0x0a, 2, 0x08, 3], 3),
            // With a message behind the number, and a field that nobody knows yet.
            (&[0x0a, 5, 0x08, 3, 0x12, 1, b'!', 0x18, 7], 3),
            // Minus one, and what is no message at all.
            (&[0x0a, 11, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 0),
            (b"<html>", 0),
        ] {
            assert_eq!(rejected(answer), expected, "{answer:?}");
        }
    }
}
