//! Follows the feed of a server and prints it, for `throughline follow`.

use super::client::{Feed, FollowError};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Waits between two tries to connect, at first and at most.
const RETRY: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long one answer may take; then it is asked for again.
const WAIT_MS: u64 = 3_600_000;

/// What to follow.
#[derive(Clone, Debug, Default)]
pub struct Follow {
    /// Kinds, separated by commas; without, all that the token shows.
    pub kinds: Option<String>,
    /// Where to begin: a cursor, or `end`. Without, at the oldest item.
    pub after: Option<String>,
    /// Begin with the state, then go on from its cursor.
    pub from_snapshot: bool,
    /// Print the lines as they come, heartbeats left out.
    pub json: bool,
    /// End once everything that is there was printed.
    pub once: bool,
}

/// Follows for ever, or until `say` refuses a line. `say` prints a line, `note` tells the person in front of it.
pub fn follow(
    feed: &Feed,
    mut what: Follow,
    say: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let mut retry = RETRY;
    loop {
        match once(feed, &mut what, say, &mut retry) {
            Ok(()) if what.once => return Ok(()),
            Ok(()) => {}
            Err(Stop::Follow(FollowError::Refused { code, message, .. })) if code == "cursor_gone" => {
                note(&format!("{message}; beginning with the state"));
                what.from_snapshot = true;
                what.after = None;
            }
            Err(Stop::Follow(FollowError::Refused { status: 429 | 503, message, .. })) => {
                note(&message);
                std::thread::sleep(retry);
            }
            Err(Stop::Follow(error @ FollowError::Lost { .. })) => {
                note(&format!("{error}; trying again in {} ms", retry.as_millis()));
                std::thread::sleep(retry);
                retry = (retry * 2).min(RETRY_MAX);
            }
            Err(Stop::Follow(error)) => return Err(error.into()),
            Err(Stop::Say(error)) => return Err(error),
        }
    }
}

enum Stop {
    Follow(FollowError),
    Say(anyhow::Error),
}

impl From<FollowError> for Stop {
    fn from(error: FollowError) -> Self {
        Self::Follow(error)
    }
}

/// One snapshot if it is wanted, then one answer of the feed.
fn once(
    feed: &Feed,
    what: &mut Follow,
    say: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    retry: &mut Duration,
) -> Result<(), Stop> {
    let kinds = what.kinds.as_ref().map(|kinds| format!("kinds={kinds}")).unwrap_or_default();
    if what.from_snapshot {
        let mut lines = feed.get(&format!("/feed/v1/snapshot?{kinds}"))?;
        let mut cursor = None;
        while let Some(line) = lines.next_line()? {
            print(&line, what.json, say)?;
            if let Some(found) = cursor_of(&line) {
                cursor = Some(found);
            }
        }
        // Without its last line a snapshot is not whole.
        let cut = FollowError::Answer("the snapshot was cut off; try again");
        what.after = Some(cursor.ok_or(cut)?);
        what.from_snapshot = false;
    }
    let wait_ms = if what.once { 0 } else { WAIT_MS };
    let mut path = format!("/feed/v1?wait_ms={wait_ms}&{kinds}");
    if let Some(after) = &what.after {
        // Writing to a String cannot fail.
        let _ = write!(path, "&after={after}");
    }
    let mut lines = feed.get(&path)?;
    *retry = RETRY;
    while let Some(line) = lines.next_line()? {
        print(&line, what.json, say)?;
        if let Some(cursor) = cursor_of(&line) {
            what.after = Some(cursor);
        } else if line.contains("\"kind\":\"gone\"") {
            let message = "the cursor is gone".to_owned();
            return Err(FollowError::Refused { status: 410, code: "cursor_gone".to_owned(), message }.into());
        }
    }
    Ok(())
}

fn cursor_of(line: &str) -> Option<String> {
    let object: Value = serde_json::from_str(line).ok()?;
    object.get("cursor").and_then(|cursor| cursor.as_str()).map(str::to_owned)
}

fn print(line: &str, json: bool, say: &mut dyn FnMut(&str) -> anyhow::Result<()>) -> Result<(), Stop> {
    let object: Value = serde_json::from_str(line).unwrap_or_default();
    if object.get("kind").is_some_and(|kind| kind == "heartbeat") {
        return Ok(());
    }
    let shown = if json { format!("{line}\n") } else { readable(&object) };
    say(&shown).map_err(Stop::Say)
}

/// `2026-01-02T03:04:05.678Z  suppression.started    prf_…  scopes=2`.
fn readable(object: &Value) -> String {
    let text = |name: &str| object.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let mut line = format!("{:24}  {:24} {:36}", text("at"), text("kind"), text("profile"));
    for name in ["detail", "event", "scopes", "audiences", "message"] {
        match object.get(name) {
            Some(Value::Object(fields)) => {
                for (field, value) in fields {
                    let _ = write!(line, " {field}={}", brief(value));
                }
            }
            Some(value) => {
                let _ = write!(line, " {name}={}", brief(value));
            }
            None => {}
        }
    }
    let mut line = line.trim_end().to_owned();
    line.push('\n');
    line
}

fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.len().to_string(),
        Value::Object(_) => "…".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_readable() {
        let object = serde_json::json!({
            "kind": "suppression.started", "at": "2026-01-02T03:04:05Z", "profile": "prf_1",
            "detail": { "scopes": [1, 2], "why": "x" }, "cursor": "cur_1",
        });
        let line = readable(&object);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["2026-01-02T03:04:05Z", "suppression.started", "prf_1", "scopes=2", "why=x"]);
        assert_eq!(cursor_of(&object.to_string()).as_deref(), Some("cur_1"));
        assert_eq!(cursor_of("{}"), None);
    }
}
