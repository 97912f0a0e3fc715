//! An event spelled as the address of an image: `/pixel/v1/track?writeKey=…&event=…&properties.sku=…`.
//!
//! Names with dots are places in objects, as RudderStack reads them; all values are text. The query becomes the body
//! that a POST would have had, so one reader judges both.

use crate::http::reply::Refusal;
use crate::json::write_text;
use bytes::Bytes;
use hyper::StatusCode;
use std::collections::BTreeMap;

/// The most members of one query.
const MEMBERS_MAX: usize = 200;
/// How many objects a name may lead into.
const DEPTH_MAX: usize = 8;

/// The body that says what the query says.
pub(crate) fn body(query: &str) -> Result<Bytes, Refusal> {
    let mut event = Node::Branch(BTreeMap::new());
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    for (index, pair) in pairs.enumerate() {
        if index == MEMBERS_MAX {
            return Err(bad_query("the query has more than 200 members; send less in one event"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        if name == "writeKey" {
            continue;
        }
        let places: Vec<&str> = name.split('.').collect();
        if places.len() > DEPTH_MAX || places.iter().any(|place| place.is_empty()) {
            return Err(bad_query("a name in the query leads nowhere; write it like properties.sku"));
        }
        event.put(&places, value);
    }
    let mut text = String::with_capacity(query.len() + 64);
    event.write(&mut text);
    Ok(Bytes::from(text))
}

enum Node {
    Leaf(String),
    Branch(BTreeMap<String, Node>),
}

impl Node {
    /// Lays a value into its place; what was there before and does not fit makes room.
    fn put(&mut self, places: &[&str], value: String) {
        let Some((first, rest)) = places.split_first() else {
            *self = Self::Leaf(value);
            return;
        };
        if let Self::Leaf(_) = self {
            *self = Self::Branch(BTreeMap::new());
        }
        if let Self::Branch(members) = self {
            let member = members.entry((*first).to_owned()).or_insert_with(|| Self::Leaf(String::new()));
            member.put(rest, value);
        }
    }

    /// As deep as [`DEPTH_MAX`] at most.
    fn write(&self, out: &mut String) {
        match self {
            Self::Leaf(text) => write_text(out, text),
            Self::Branch(members) => {
                out.push('{');
                for (index, (name, member)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(out, name);
                    out.push(':');
                    member.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Half a code or broken UTF-8 refuses the event: a replacement would make two ids the same.
fn decoded(spelled: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(spelled.len());
    let mut rest = spelled.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let code = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                code.and_then(|code| u8::try_from(code).ok()).ok_or_else(bad_code)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad_code())
}

fn bad_code() -> Refusal {
    bad_query("the query holds a percent sign that is no code, or no UTF-8; encode it again")
}

fn bad_query(message: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad_query", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_become_bodies() {
        let table = [
            ("", Some("{}")),
            ("a=1", Some(r#"{"a":"1"}"#)),
            ("writeKey=WK&a=x+y%26&b", Some(r#"{"a":"x y&","b":""}"#)),
            ("p.q=1&p.r.s=2&t=3", Some(r#"{"p":{"q":"1","r":{"s":"2"}},"t":"3"}"#)),
            ("p=1&p.q=2", Some(r#"{"p":{"q":"2"}}"#)),
            ("p.q=2&p=1", Some(r#"{"p":"1"}"#)),
            ("a=1&a=2", Some(r#"{"a":"2"}"#)),
            ("a=%22%5c%00", Some(r#"{"a":"\"\\\u0000"}"#)),
            ("a.b.c.d.e.f.g.h=1", Some(r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":"1"}}}}}}}}"#)),
            ("a.b.c.d.e.f.g.h.i=1", None),
            (".a=1", None),
            ("a..b=1", None),
            ("=1", None),
            ("a=%f", None),
            ("a=%zz", None),
            ("a=%ff", None),
            ("%ff=a", None),
        ];
        for (query, expected) in table {
            let found = body(query).ok();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{query}");
        }
        let many = |count: usize| body(&vec!["a=1"; count].join("&"));
        assert!(many(MEMBERS_MAX).is_ok());
        assert!(many(MEMBERS_MAX + 1).is_err());
    }
}
