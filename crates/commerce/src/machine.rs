//! The machine that the loop runs: records in, state, effects and view differences out.

use crate::command::Reply;
use crate::query::{Answer, Query};
use crate::refusal::Refusal;
use crate::state::{COLLECTIONS, DISCOUNTS, DUES, FIXED, LOCATIONS, PRODUCTS, STOCK, State, TERMS};
use crate::view::{Change, View};
use engine::{AsOf, Machine, Outcome, TableId, Wanted};
use model::id::{Key, Position, Timestamp};
use model::record::Record;

/// The shop machine. It has no state of its own: everything is in [`State`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Commerce;

impl Machine for Commerce {
    type State = State;
    type View = View;
    type Change = Change;
    type Query = Query;
    type Answer = Answer;

    const RULES_VERSION: u32 = crate::RULES_VERSION;
    const VIEW_TABLES: &'static [TableId] =
        &[TERMS, DISCOUNTS, FIXED, LOCATIONS, PRODUCTS, COLLECTIONS, STOCK, DUES];

    fn empty_state(&self) -> State {
        State::empty()
    }

    fn empty_view(&self) -> View {
        View::default()
    }

    fn dedup_key(&self, _record: &Record<'_>) -> Option<Key> {
        None
    }

    fn wanted(&self, _state: &State, _record: &Record<'_>, _wanted: &mut Wanted) {}

    fn apply(&self, _state: &mut State, _record: &Record<'_>, outcome: &mut Outcome<Change>) {
        outcome.reply = Some(Reply::Refused(Refusal::Malformed).encode());
    }

    fn timer(
        &self,
        _state: &mut State,
        _subject: Key,
        _due: Timestamp,
        _at: Position,
        _outcome: &mut Outcome<Change>,
    ) {
    }

    fn wanted_by_query(&self, _state: &State, _query: &Query, _wanted: &mut Wanted) {}

    fn query(&self, _state: &mut State, _query: Query, _as_of: AsOf) -> Answer {
        Answer::Cart(None)
    }

    fn load_view(&self, _view: &View, _table: TableId, _key: Key, _row: &[u8]) {}

    fn publish(&self, view: &View, changes: Vec<Change>, as_of: AsOf) {
        view.publish(changes, as_of);
    }
}
