//! Commands on their way through the log: idempotency, numbers, refusals.

use super::Context;
use super::problem::{Code, Problem};
use super::route::Call;
use engage::{Command, CommandError, Operation, Reply};
use engine::{Applied, SubmitError};
use model::id::Key;
use model::record::{RecordKind, encode_record};
use tokio::sync::oneshot;

/// Tries to find a free number. With 10,000 keys of 16,383 possible ones, all of them fail once in 10^13.
const NUMBER_TRIES_MAX: u32 = 64;

/// What a command is recognised by when it is sent again: the caller's key under the caller's token, or nothing.
pub(crate) fn idempotency_of(call: &Call) -> Result<Option<Key>, Problem> {
    let key = call.idempotency_key()?;
    Ok(key.map(|text| Key::of_text("idempotency", &format!("{}/{text}", call.caller.token_number))))
}

/// Appends a command, waits until it is applied, and brings the door up to date before it answers.
pub(crate) async fn execute(
    context: &Context,
    idempotency: Option<Key>,
    operation: Operation,
) -> Result<Reply, Problem> {
    let command = Command { idempotency: idempotency.unwrap_or_default(), operation };
    let mut body = Vec::new();
    command.encode(&mut body);
    let mut records = Vec::new();
    encode_record(&mut records, RecordKind::COMMAND, &body);
    let (word, verdict) = oneshot::channel::<Result<Applied, SubmitError>>();
    let done = Box::new(move |result| {
        let _ = word.send(result);
    });
    context.engine.submit(records, 1, context.submission_time(), done)?;
    let applied = verdict.await.map_err(|_| {
        let message = "the shard stopped before it answered; look at its log, then send the request again";
        Problem::new(Code::Unavailable, message)
    })??;
    let reply = applied.replies.first().map(|(_, bytes)| Reply::decode(bytes));
    let Some(Ok(reply)) = reply else {
        return Err(Problem::new(Code::Internal, "the command was applied, but its reply cannot be read"));
    };
    crate::serve::refresh_door(context);
    match reply {
        Reply::Refused(error) => Err(refused(&error)),
        reply => Ok(reply),
    }
}

pub(crate) fn refused(error: &CommandError) -> Problem {
    let code = match error {
        CommandError::Conflict => Code::IdempotencyConflict,
        CommandError::Malformed => Code::Internal,
        CommandError::Unknown(what) => match what.as_str() {
            "write key" => Code::NoSuchWriteKey,
            "token" => Code::NoSuchToken,
            "definition" => Code::NoSuchDefinition,
            _ => Code::NoSuchProfile,
        },
        CommandError::NotJoined | CommandError::TooMany(_) => Code::Conflict,
        CommandError::Invalid(_) => Code::BadValue,
        CommandError::Definition { code, message, excerpt } => {
            return Problem::of_definition(code, message, excerpt);
        }
    };
    Problem::new(code, error.to_string())
}

/// A number for a new key or token. It follows from its secret, which follows from the idempotency key, so a repeated
/// request makes the same command. `taken` says whether a number belongs to something else.
pub(crate) fn number_for(secret: &str, largest: u32, taken: impl Fn(u32) -> bool) -> Result<u32, Problem> {
    for attempt in 0..NUMBER_TRIES_MAX {
        let drawn = Key::of_text("number", &format!("{attempt}/{secret}")).0 as u32;
        let number = drawn % largest + 1;
        if !taken(number) {
            return Ok(number);
        }
    }
    Err(Problem::new(Code::Conflict, "no free number was found; remove what is not used any more"))
}
