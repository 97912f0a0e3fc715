//! The state that a follower begins from: who is suppressed for what, who is in which audience.
//!
//! The rows are those of the last checkpoint, read from its files while the loop goes on. The cursor that ends a
//! snapshot is taken *before* the first row: it may stand a little before what the rows show. That is sound because an
//! item says what holds from then on, not by how much something changed: applying one that a row shows already changes
//! nothing, and whatever changed meanwhile comes again.
//!
//! A further part of the state is one more [`Part`] in [`PARTS`].

use super::kinds::Chosen;
use super::render::{Form, audience_name, scope_text};
use super::stream::{Ended, Pieces};
use crate::calendar::iso;
use engage::{Engage, PROFILES, ProfileRow, SUPPRESSIONS, Suppressed};
use engine::feed::Cursor;
use engine::{Engine, TableId, Value as _};
use model::audience::Rulebook;
use model::id::{Key, public_id};
use serde_json::{Value, json};

/// A piece is sent from this size on.
const PIECE_BYTES: usize = 32 << 10;

/// One part of the state.
pub(super) trait Part: Sync {
    /// The kind of its lines.
    fn line_kind(&self) -> &'static str;
    /// The kinds of the feed that keep it up to date: a follower who wants any of them wants this part.
    fn kinds(&self) -> &'static [&'static str];
    /// The table it is in.
    fn table(&self) -> TableId;
    /// What a row says about the profile under this key; `None` if nothing.
    fn line(&self, row: &[u8], book: &Rulebook) -> Option<(&'static str, Value)>;
}

/// Every part, in the order of a snapshot.
pub(super) const PARTS: &[&dyn Part] = &[&Suppressions, &Audiences];

struct Suppressions;

impl Part for Suppressions {
    fn line_kind(&self) -> &'static str {
        "suppression.state"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["suppression.started", "suppression.ended"]
    }

    fn table(&self) -> TableId {
        SUPPRESSIONS
    }

    fn line(&self, row: &[u8], _: &Rulebook) -> Option<(&'static str, Value)> {
        let mut scopes: Vec<(model::suppression::Scope, model::id::Timestamp)> = Vec::new();
        for active in Suppressed::decode(row).ok()?.active.scopes() {
            // Sorted by scope: a server's and a browser's cause of one scope stand side by side.
            match scopes.last_mut() {
                Some((scope, until)) if *scope == active.scope => *until = active.until.max(*until),
                _ => scopes.push((active.scope, active.until)),
            }
        }
        let shown = |(scope, until): &(_, model::id::Timestamp)| json!({ "scope": scope_text(*scope), "until": iso(until.0) });
        (!scopes.is_empty()).then(|| ("scopes", scopes.iter().map(shown).collect()))
    }
}

struct Audiences;

impl Part for Audiences {
    fn line_kind(&self) -> &'static str {
        "audience.state"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["audience.entered", "audience.exited"]
    }

    fn table(&self) -> TableId {
        PROFILES
    }

    fn line(&self, row: &[u8], book: &Rulebook) -> Option<(&'static str, Value)> {
        let ProfileRow::Live(_, Some(membership)) = ProfileRow::decode(row).ok()? else { return None };
        let shown = |member: &engage::Member| {
            json!({
                "audience": audience_name(book, member.audience),
                "audience_number": member.audience.0,
                "since": iso(member.since_at.0),
                "position": member.since.0,
            })
        };
        let members: Vec<Value> = membership.audiences.iter().map(shown).collect();
        (!members.is_empty()).then_some(("audiences", Value::Array(members)))
    }
}

/// The parts that keep to the kinds chosen. With a kind of a part, both kinds have to be chosen: a state without its
/// ends would be wrong soon.
pub(super) fn parts(chosen: &Chosen) -> Vec<&'static dyn Part> {
    PARTS.iter().copied().filter(|part| part.kinds().iter().all(|kind| chosen.has(kind))).collect()
}

/// Sends the rows, then the cursor.
pub(super) fn send(
    engine: &Engine<Engage>,
    parts: &[&'static dyn Part],
    cursor: &Cursor,
    pieces: &Pieces,
) -> Result<(), Ended> {
    let form = Form::Lines;
    let mut text = String::new();
    for part in parts {
        for row in engine.scan(part.table()) {
            let (key, bytes): (Key, Vec<u8>) = row.map_err(|error| {
                tracing::error!(error = %error, "a snapshot could not be read");
                Ended
            })?;
            let Some((name, content)) = part.line(&bytes, &engine.view().book()) else { continue };
            let object = json!({ "kind": part.line_kind(), "profile": public_id("prf", key), name: content });
            form.put("", part.line_kind(), &object, &mut text);
            if text.len() >= PIECE_BYTES {
                pieces.send(&mut text)?;
            }
            if pieces.seat.feeds.is_stopping() {
                return Err(Ended);
            }
        }
    }
    let cursor_text = cursor.text();
    let end = json!({
        "kind": "snapshot.end",
        "position": cursor.next.position.0,
        "cursor": cursor_text,
    });
    form.put(&cursor_text, "snapshot.end", &end, &mut text);
    pieces.send(&mut text)
}
