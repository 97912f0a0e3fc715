//! What goes wrong, as GraphQL says it: in `errors`, beside the data or instead of them.

use super::output;

/// The most errors that one answer lists.
pub(crate) const MAX_ERRORS: usize = 20;
/// The longest message that is passed on, in bytes.
const MAX_MESSAGE_BYTES: usize = 500;

/// An error of a request or of one of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A word that programs may rely on: `extensions.code`.
    pub(crate) code: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// Where in the document: line and column, from one.
    pub(crate) location: Option<(u32, u32)>,
    /// Which of the answer's fields.
    pub(crate) path: Vec<Step>,
}

/// A step to a field of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into an object, by the name in the answer.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl Fault {
    /// An error of the whole request.
    pub(crate) fn request(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), location: None, path: Vec::new() }
    }

    /// The same, with its place in the document.
    pub(crate) fn at(mut self, location: Option<(u32, u32)>) -> Self {
        self.location = location;
        self
    }
}

/// Writes `"errors":[...]`.
pub(crate) fn write(out: &mut Vec<u8>, faults: &[Fault]) {
    out.extend_from_slice(b"\"errors\":[");
    for (index, fault) in faults.iter().take(MAX_ERRORS).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_one(out, fault);
    }
    out.push(b']');
}

fn write_one(out: &mut Vec<u8>, fault: &Fault) {
    let mut end = fault.message.len().min(MAX_MESSAGE_BYTES);
    while !fault.message.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(b"{\"message\":");
    output::text(out, fault.message.get(..end).unwrap_or_default());
    if let Some((line, column)) = fault.location {
        out.extend_from_slice(format!(",\"locations\":[{{\"line\":{line},\"column\":{column}}}]").as_bytes());
    }
    if !fault.path.is_empty() {
        out.extend_from_slice(b",\"path\":[");
        for (index, step) in fault.path.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match step {
                Step::Key(key) => output::text(out, key),
                Step::Index(at) => output::int(out, *at as i64),
            }
        }
        out.push(b']');
    }
    out.extend_from_slice(b",\"extensions\":{\"code\":");
    output::text(out, fault.code);
    out.extend_from_slice(b"}}");
}

/// The answer to a request that was not begun.
pub(crate) fn refused(faults: &[Fault]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    write(&mut out, faults);
    out.push(b'}');
    out
}
