//! Handlers of `/feed/v1`: what is asked for, whether it may be, and a thread to do it.

use super::Seat;
use super::kinds::Chosen;
use super::render::{Form, Renderer};
use super::snapshot::{self as state, parts};
use super::stream::{PIECES_MAX, Pieces, Reader, Wanted};
use crate::api::{Answering, Call, Code, Context, Problem, Reply, Stream};
use engine::feed::{Cursor, FeedError, Place};
use model::id::Position;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;

/// The longest answer, milliseconds: one day. A follower that loses its connection goes on from its cursor.
const WAIT_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Seconds after which a request that found no place may come again.
const RETRY_S: u32 = 5;

/// `GET /feed/v1`.
pub(crate) fn read(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let form = form(&call);
        let chosen = chosen(&call)?;
        let limit = number(&call, "limit", 1, u64::MAX)?.unwrap_or(u64::MAX);
        let otherwise = if form == Form::Events { WAIT_MS_MAX } else { 0 };
        let wait_ms = number(&call, "wait_ms", 0, WAIT_MS_MAX)?.unwrap_or(otherwise);
        let from = place(&context, &call)?;
        let settings = &context.config.feed;
        let (pieces, receiver) = pieces(&context)?;
        let reader = Reader {
            renderer: Renderer::new(context.engine.clone(), chosen, form),
            wanted: Wanted { from, limit, wait_ms, heartbeat_ms: settings.heartbeat_ms },
            pieces,
        };
        spawn(move || reader.run())?;
        Ok(Reply::stream(form.content_type(), Stream(receiver)))
    })
}

/// `GET /feed/v1/snapshot`.
pub(crate) fn snapshot(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let parts = parts(&chosen(&call)?);
        let feed = context.engine.feed();
        // Before the first row: see the module of snapshots.
        let position = Position(context.engine.status().checkpoint_next.load(Relaxed));
        let bounds = feed.bounds();
        if position < bounds.start {
            // The feed began anew behind the last checkpoint: the next one is seconds away.
            let message = "the feed began anew just now; take the snapshot again in a few seconds";
            return Err(Problem { retry_after_s: Some(RETRY_S), ..Problem::new(Code::Unavailable, message) });
        }
        let cursor = Cursor { identity: bounds.identity, next: Place::at(position) };
        let (pieces, receiver) = pieces(&context)?;
        let engine = context.engine.clone();
        // Whatever ends it early leaves out the cursor: without it a snapshot is not whole.
        spawn(move || drop(state::send(&engine, &parts, &cursor, &pieces)))?;
        Ok(Reply::stream(Form::Lines.content_type(), Stream(receiver)))
    })
}

fn spawn(body: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let spawned = std::thread::Builder::new().name("feed-reader".to_owned()).spawn(body);
    spawned.map(|_| ()).map_err(|error| {
        tracing::error!(error = %error, "a thread for a follower could not be started");
        busy()
    })
}

fn busy() -> Problem {
    let message = "there are as many readers of the feed as there may be (feed.readers_max)";
    Problem { retry_after_s: Some(RETRY_S), ..Problem::new(Code::Busy, message) }
}

fn pieces(context: &Context) -> Result<(Pieces, mpsc::Receiver<bytes::Bytes>), Problem> {
    let settings = &context.config.feed;
    let seat = Seat::take(&context.feeds, settings.readers_max).ok_or_else(busy)?;
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    Ok((Pieces { seat, sender, stall_ms: settings.stall_ms }, receiver))
}

fn form(call: &Call) -> Form {
    let accept = call.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.split(',').any(|one| one.trim().starts_with("text/event-stream")) {
        Form::Events
    } else {
        Form::Lines
    }
}

fn chosen(call: &Call) -> Result<Chosen, Problem> {
    // Libraries write a comma as %2C.
    let named = call.parameter("kinds").map(|text| text.replace("%2C", ",").replace("%2c", ","));
    Chosen::of(named.as_deref(), &call.caller.scopes)
}

fn number(call: &Call, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
    let Some(text) = call.parameter(name) else { return Ok(None) };
    let found = text.parse().ok().filter(|number| (least..=most).contains(number));
    let message = || format!("{name} must be a whole number from {least} to {most}");
    found.map(Some).ok_or_else(|| Problem::at(Code::BadRequest, name, message()))
}

/// Where to begin: `after`, or what a browser's EventSource sends after it lost its connection; else the oldest item.
fn place(context: &Context, call: &Call) -> Result<Place, Problem> {
    let feed = context.engine.feed();
    let last = call.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    // A reconnecting EventSource repeats its first URL: what it saw last counts.
    let text = last.filter(|text| !text.is_empty()).or_else(|| call.parameter("after"));
    match text {
        None => Ok(Place::at(feed.bounds().start)),
        Some("end") => Ok(Place::at(feed.bounds().complete)),
        Some(text) => Cursor::parse(text).and_then(|cursor| feed.place(&cursor)).map_err(|error| {
            let named = call.parameter("kinds").map(|kinds| format!("?kinds={kinds}")).unwrap_or_default();
            match error {
                FeedError::Gone { .. } => {
                    context.feeds.gone.fetch_add(1, Relaxed);
                    let message = format!("{error}: GET /feed/v1/snapshot{named}");
                    Problem::at(Code::CursorGone, "after", message)
                }
                error => Problem::at(Code::BadCursor, "after", error.to_string()),
            }
        }),
    }
}
