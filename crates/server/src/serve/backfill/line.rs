//! Records on their way to the shard.

use super::pace::Pacer;
use crate::api::Context;
use engage::{Command, Operation, Reply};
use engine::{Applied, SubmitError};
use model::id::{Key, Position};
use model::record::{RecordKind, encode_record};
use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::Duration;

/// How long an answer of the shard may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long to wait for room where the shard's queue is full: live requests are being refused.
const FULL_WAIT: Duration = Duration::from_millis(500);

type Verdict = mpsc::Receiver<Result<Applied, SubmitError>>;

/// Appends a command and waits until it is applied.
pub(super) fn command(context: &Context, operation: Operation) -> Result<Reply, String> {
    answer_of(&submit(context, operation)?)
}

fn submit(context: &Context, operation: Operation) -> Result<Verdict, String> {
    let mut body = Vec::new();
    Command { idempotency: Key(0), operation }.encode(&mut body);
    let mut records = Vec::new();
    encode_record(&mut records, RecordKind::COMMAND, &body);
    loop {
        let (word, verdict) = mpsc::sync_channel(1);
        let done = Box::new(move |result: Result<Applied, SubmitError>| {
            let _ = word.send(result);
        });
        // After a stop nothing is handed in.
        context.backfills.rest(Duration::ZERO)?;
        match context.engine.submit(records.clone(), 1, context.submission_time(), done) {
            Ok(()) => return Ok(verdict),
            Err(SubmitError::Full { .. }) => context.backfills.rest(FULL_WAIT)?,
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn answer_of(verdict: &Verdict) -> Result<Reply, String> {
    let applied = verdict
        .recv_timeout(ANSWER_TIMEOUT)
        .map_err(|_| "the shard does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    match applied.replies.first().map(|(_, bytes)| Reply::decode(bytes)) {
        Some(Ok(Reply::Refused(error))) => Err(error.to_string()),
        Some(Ok(reply)) => Ok(reply),
        _ => Err("the shard's answer cannot be read".to_owned()),
    }
}

/// Commands on their way, as many as the pace allows, in order.
pub(super) struct Line<'p, 'c> {
    context: &'c Context,
    pub(super) pacer: &'p mut Pacer<'c>,
    waiting: VecDeque<(Verdict, (Position, u64))>,
}

impl<'p, 'c> Line<'p, 'c> {
    pub(super) fn new(context: &'c Context, pacer: &'p mut Pacer<'c>) -> Self {
        Self { context, pacer, waiting: VecDeque::new() }
    }

    /// Hands in a command that is to be answered with this.
    pub(super) fn push(&mut self, operation: Operation, expected: (Position, u64)) -> Result<(), String> {
        while self.waiting.len() >= self.pacer.records_at_once() {
            self.wait()?;
        }
        self.pacer.send()?;
        self.waiting.push_back((submit(self.context, operation)?, expected));
        Ok(())
    }

    fn wait(&mut self) -> Result<(), String> {
        let Some((verdict, expected)) = self.waiting.pop_front() else { return Ok(()) };
        match answer_of(&verdict)? {
            Reply::Backfill(read_to, chunks) if (read_to, chunks) == expected => Ok(()),
            _ => Err("the shard stands elsewhere; it begins again there".to_owned()),
        }
    }

    /// Waits for all of them.
    pub(super) fn finish(mut self) -> Result<(), String> {
        while !self.waiting.is_empty() {
            self.wait()?;
        }
        Ok(())
    }
}
