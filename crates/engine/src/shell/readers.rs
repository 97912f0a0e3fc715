//! Threads that read rows ahead, so that an epoch waits for the slowest of its rows and not for their sum.

use super::mailbox::Mailbox;
use crate::core::{ReadRows, RowRead};
use crate::error::EngineError;
use crate::panics;
use env::{Env, Thread};
use model::id::Key;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use store::{RowSource, StoreError, TableId};

/// Fewer rows than this are not worth waking anybody: most are answered from a filter or the page cache, in less time
/// than a wake-up takes.
const ROWS_PER_THREAD_MIN: usize = 64;
const IDLE: Duration = Duration::from_secs(1);

/// A part of a request: which rows, from where, and the place of the first in the answer.
struct Part {
    source: Arc<dyn RowSource>,
    rows: Vec<(TableId, Key)>,
    start: usize,
    gather: Arc<Gather>,
}

struct Gather {
    parts: Mutex<Vec<(usize, Vec<RowRead>)>>,
    arrived: Condvar,
}

pub(crate) struct Readers {
    inbox: Arc<Mailbox<Part>>,
    threads: Vec<Box<dyn Thread>>,
}

impl Readers {
    pub(crate) fn start(env: &Env, threads: usize) -> Result<Self, EngineError> {
        let inbox: Arc<Mailbox<Part>> = Arc::new(Mailbox::new(1_024, usize::MAX));
        let mut started = Vec::new();
        for index in 0..threads {
            let inbox = Arc::clone(&inbox);
            let body = move || serve(&inbox);
            let thread = env
                .spawner
                .spawn(&format!("read-{index}"), Box::new(body))
                .map_err(|error| EngineError::System { what: "a thread could not be started", error })?;
            started.push(thread);
        }
        Ok(Self { inbox, threads: started })
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.inbox.close();
        for thread in self.threads.drain(..) {
            thread.join();
        }
    }
}

fn serve(inbox: &Mailbox<Part>) {
    loop {
        match inbox.pop(IDLE) {
            Some(part) => {
                // The applying thread waits for every part: a panic here must be an answer too.
                let answers = panics::guard(|| read(&part.source, &part.rows))
                    .unwrap_or_else(|message| part.rows.iter().map(|_| Err(panicked(&message))).collect());
                part.gather.parts.lock().unwrap_or_else(PoisonError::into_inner).push((part.start, answers));
                part.gather.arrived.notify_one();
            }
            None if inbox.is_closed() => return,
            None => {}
        }
    }
}

fn panicked(message: &str) -> StoreError {
    StoreError::Io {
        action: "read",
        object: "a row".to_owned(),
        source: io::Error::other(format!("the reading thread panicked: {message}")),
    }
}

fn read(source: &Arc<dyn RowSource>, rows: &[(TableId, Key)]) -> Vec<RowRead> {
    rows.iter().map(|(table, key)| source.read(*table, *key)).collect()
}

impl ReadRows for Readers {
    fn read_rows(&mut self, source: &Arc<dyn RowSource>, rows: &[(TableId, Key)]) -> Vec<RowRead> {
        let per_thread = rows.len().div_ceil(self.threads.len() + 1).max(ROWS_PER_THREAD_MIN);
        let mut parts = rows.chunks(per_thread);
        // The first part is read here while the others are read elsewhere.
        let own = parts.next().unwrap_or_default();
        let gather = Arc::new(Gather { parts: Mutex::new(Vec::new()), arrived: Condvar::new() });
        let mut expected = 0;
        let mut left_over = Vec::new();
        let mut start = own.len();
        for part in parts {
            let request =
                Part { source: Arc::clone(source), rows: part.to_vec(), start, gather: Arc::clone(&gather) };
            match self.inbox.push(request, 1) {
                Ok(()) => expected += 1,
                Err(request) => left_over.push((request.start, read(source, &request.rows))),
            }
            start += part.len();
        }
        let mut answers = read(source, own);
        let mut parts = gather.parts.lock().unwrap_or_else(PoisonError::into_inner);
        while parts.len() < expected {
            parts = gather.arrived.wait(parts).unwrap_or_else(PoisonError::into_inner);
        }
        let mut gathered = std::mem::take(&mut *parts);
        gathered.append(&mut left_over);
        gathered.sort_by_key(|(start, _)| *start);
        answers.extend(gathered.into_iter().flat_map(|(_, part)| part));
        answers
    }
}
