//! The targets, one file each.

pub(crate) mod collector;
pub(crate) mod event;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod records;
pub(crate) mod rule;
pub(crate) mod run;

/// What tends to be read wrongly in JSON.
const JSON_WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x98",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"-1e-999",
    b"99999999999999999999",
    b"0.1",
    b"[[[[[[[[",
    b"{\"x\":{\"x\":",
    b"\"type\":\"alias\"",
    b"\"batch\":[]",
    b"\"context\":null",
    b"\"messageId\":null",
    b"\"userId\":\"\"",
    b"\"timestamp\":-1",
];
