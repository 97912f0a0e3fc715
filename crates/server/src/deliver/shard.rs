//! What sources and permits need of a shard, and nothing else of the server: so that a simulation runs them over a shard
//! that it steps itself.

use crate::api::Context;
use engage::{Answer, AsOf, Query, View};
use engine::EngineError;
use engine::feed::Feed;
use eventlog::LogHandle;
use model::seal::Keys;
use tokio::sync::oneshot;

/// The loop's answer, once it is there.
pub type Told = oneshot::Receiver<Result<(Answer, AsOf), EngineError>>;

/// A shard, as delivery sees it.
pub trait Shard: Send + Sync + 'static {
    /// Asks the loop, which answers in log order; or says why it takes no question now.
    fn ask(&self, query: Query) -> Result<Told, String>;

    /// What other threads read.
    fn view(&self) -> &View;

    /// The change feed.
    fn feed(&self) -> &Feed;

    /// The event log.
    fn log(&self) -> &LogHandle;

    /// The secrets that identifiers are sealed with.
    fn keys(&self) -> &Keys;

    /// Effects before a position were lost to a destination, because the feed begins there.
    fn note_lost(&self, destination: &str, position: model::id::Position);
}

impl Shard for Context {
    fn ask(&self, query: Query) -> Result<Told, String> {
        let (word, answer) = oneshot::channel();
        let asked = self.engine.query(query, move |result| {
            let _ = word.send(result);
        });
        asked.map(|()| answer).map_err(|error| error.to_string())
    }

    fn view(&self) -> &View {
        self.engine.view()
    }

    fn feed(&self) -> &Feed {
        self.engine.feed()
    }

    fn log(&self) -> &LogHandle {
        self.engine.log()
    }

    fn keys(&self) -> &Keys {
        &self.secrets.keys
    }

    fn note_lost(&self, destination: &str, position: model::id::Position) {
        tracing::error!(
            destination,
            position = position.0,
            "effects before this position are lost to a destination: the feed begins there"
        );
        self.deliveries.note_lost();
    }
}
