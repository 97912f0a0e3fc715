//! A simulated shard as delivery sees it. Questions wait until the simulation lets the loop answer them.

use engage::{Answer, AsOf, Query, View};
use engine::EngineError;
use engine::feed::Feed;
use eventlog::LogHandle;
use model::id::Position;
use model::seal::Keys;
use server::deliver::{Shard, Told};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Word = oneshot::Sender<Result<(Answer, AsOf), EngineError>>;

/// Questions to the loop, in the order in which they were asked.
#[derive(Clone, Default)]
pub(super) struct Questions(Arc<Mutex<VecDeque<(Query, Word)>>>);

impl Questions {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Query, Word)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pop(&self) -> Option<(Query, Word)> {
        self.lock().pop_front()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}

/// See the module.
pub(super) struct SimulatedShard {
    pub(super) view: Arc<View>,
    pub(super) feed: Feed,
    pub(super) log: LogHandle,
    pub(super) keys: Keys,
    pub(super) questions: Questions,
    pub(super) books: super::Books,
}

impl Shard for SimulatedShard {
    fn ask(&self, query: Query) -> Result<Told, String> {
        let (word, answer) = oneshot::channel();
        self.questions.lock().push_back((query, word));
        Ok(answer)
    }

    fn view(&self) -> &View {
        &self.view
    }

    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn log(&self) -> &LogHandle {
        &self.log
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn note_lost(&self, destination: &str, position: Position) {
        self.books.lost(destination, position);
    }
}
