//! Answers as SDKs understand them: exactly 200 with `{"success":true}`, or a status with `code` and `message`.

use crate::json::write_text;
use crate::sink::SinkError;
use crate::wire::{Problem, WireError};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use std::borrow::Cow;

/// The body of every answer of the door.
pub type Body = Full<Bytes>;

const SUCCESS: &[u8] = br#"{"success":true}"#;
/// A GIF89a of 1 × 1 transparent pixel.
const GIF: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// A request that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    field: String,
    retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal that will stay one however often the request is repeated.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code: Cow::Borrowed(code),
            message: Cow::Borrowed(message),
            field: String::new(),
            retry_after_s: None,
        }
    }

    /// A refusal for now.
    pub(crate) fn later(code: &'static str, message: &'static str, retry_after_s: u32) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { retry_after_s: Some(retry_after_s), ..refusal }
    }

    /// A key that sends more than its rules allow.
    pub(crate) fn rate_limited(retry_after_s: u32) -> Self {
        let message = "this write key sends more events than its rules allow; send the request again later";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        Self { retry_after_s: Some(retry_after_s), ..refusal }
    }

    /// A body that cannot be read. Segment says 400 to what is too large, RudderStack 413.
    pub(crate) fn of_wire(error: &WireError, segment_family: bool) -> Self {
        let status = match &error.problem {
            Problem::NotSealed => StatusCode::INTERNAL_SERVER_ERROR,
            Problem::EventTooLarge { .. } | Problem::BodyTooLarge { .. } if !segment_family => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            _ => StatusCode::BAD_REQUEST,
        };
        Self {
            status,
            code: Cow::Borrowed(error.problem.code()),
            message: Cow::Owned(error.to_string()),
            field: error.field.clone(),
            retry_after_s: None,
        }
    }

    /// Events that the sink did not take. Busy is 429, because that and its Retry-After cost an SDK no attempt; a log
    /// that takes nothing is 503.
    pub(crate) fn of_sink(error: &SinkError) -> Self {
        let (status, code, retry_after_s) = match error {
            SinkError::Full { retry_after_s } => {
                (StatusCode::TOO_MANY_REQUESTS, "busy", Some(*retry_after_s))
            }
            SinkError::Unavailable { retry_after_s } => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(*retry_after_s))
            }
            SinkError::Refused { code, .. } => {
                let code = Cow::Owned(code.clone());
                let message = Cow::Owned(error.to_string());
                let status = StatusCode::BAD_REQUEST;
                return Self { status, code, message, field: String::new(), retry_after_s: None };
            }
        };
        let message = Cow::Owned(error.to_string());
        Self { status, code: Cow::Borrowed(code), message, field: String::new(), retry_after_s }
    }

    /// Its stable word.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut text = String::from(r#"{"success":false,"code":"#);
        write_text(&mut text, &self.code);
        text.push_str(r#","message":"#);
        write_text(&mut text, &self.message);
        if !self.field.is_empty() {
            text.push_str(r#","field":"#);
            write_text(&mut text, &self.field);
        }
        text.push('}');
        let mut response = json(self.status, Bytes::from(text));
        if let Some(retry_after_s) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }
}

/// All events of the request are durable and applied.
pub(crate) fn success() -> Response<Body> {
    json(StatusCode::OK, Bytes::from_static(SUCCESS))
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A transparent image of one pixel. Nothing may keep it: the next look is another event.
pub(crate) fn pixel() -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(GIF)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The path exists, for other methods.
pub(crate) fn only(methods: &'static str) -> Response<Body> {
    let message = "this path takes other methods: see the Allow header; events are sent with POST";
    let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
