//! What the ledger must hold, computed from the log alone: a fold of a page, sharing no code with the loop.
//!
//! This is the independent oracle. It knows the rules of the ledger, of de-duplication and of timers as they are
//! documented, keeps everything in ordered maps, and starts from the first record every time.

use crate::ledger::{ALARM, Account, IDLE, TIMER_US, Transfer, account_key};
use engine::core::TIMERS_PER_FRAME_MAX;
use engine::feed::{Item, What};
use eventlog::Frame;
use model::id::{EffectId, Key, Position, Timestamp};
use model::record::{RecordKind, decode_records};
use std::collections::{BTreeMap, BTreeSet};

/// De-duplication of the simulated shards: short, so that runs cross many bucket borders.
pub const WINDOW_US: i64 = 60_000_000;
/// Length of a de-duplication bucket.
pub const BUCKET_US: i64 = 10_000_000;

/// The state, effects and positions that follow from a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Accounts by number.
    pub accounts: BTreeMap<u8, Account>,
    /// Effects in order: position, ordinal, kind, subject, body.
    pub effects: Vec<(Position, u32, u16, Key, Vec<u8>)>,
    /// Items of the feed, in order.
    pub feed: Vec<Item>,
    /// Messages that counted.
    pub counted: BTreeSet<u64>,
    /// Records dropped as duplicates.
    pub duplicates: u64,
    /// Next position.
    pub next: Position,
}

struct Fold {
    truth: Truth,
    skips: BTreeSet<Position>,
    /// Message to the bucket in which it was accepted last.
    accepted: BTreeMap<u64, i64>,
    timers: BTreeSet<(Timestamp, Key)>,
    log_time: Timestamp,
    ordinals: BTreeMap<Position, u32>,
}

impl Truth {
    /// Folds the whole log.
    pub fn of(frames: &[Frame]) -> Self {
        let mut fold = Fold {
            truth: Self::default(),
            skips: skips(frames),
            accepted: BTreeMap::new(),
            timers: BTreeSet::new(),
            log_time: Timestamp(0),
            ordinals: BTreeMap::new(),
        };
        for frame in frames {
            fold.frame(frame);
        }
        fold.truth
    }
}

fn skips(frames: &[Frame]) -> BTreeSet<Position> {
    let mut skips = BTreeSet::new();
    for frame in frames {
        for record in decode_records(&frame.body, frame.first, frame.received_at).flatten() {
            if let (RecordKind::SKIP, Ok(bytes)) = (record.kind, <[u8; 8]>::try_from(record.body)) {
                skips.insert(Position(u64::from_le_bytes(bytes)));
            }
        }
    }
    skips
}

impl Fold {
    fn frame(&mut self, frame: &Frame) {
        self.log_time = self.log_time.max(frame.received_at);
        for _ in 0..TIMERS_PER_FRAME_MAX {
            let Some((due, subject)) = self.timers.first().copied().filter(|(due, _)| *due <= self.log_time)
            else {
                break;
            };
            self.timers.pop_first();
            if let Some(account) = self.account(subject) {
                account.idles += 1;
                self.effect(frame.first, IDLE, subject, due.0.to_le_bytes().to_vec());
            }
        }
        for record in decode_records(&frame.body, frame.first, frame.received_at).flatten() {
            if record.kind == RecordKind::EVENT
                && !self.skips.contains(&record.position)
                && let Ok(transfer) = Transfer::decode(record.body)
            {
                self.transfer(record.position, frame.received_at, transfer);
            }
            self.truth.next = record.position.plus(1);
        }
    }

    fn account(&mut self, subject: Key) -> Option<&mut Account> {
        self.truth
            .accounts
            .iter_mut()
            .find(|(number, _)| account_key(**number) == subject)
            .map(|(_, account)| account)
    }

    fn transfer(&mut self, position: Position, received_at: Timestamp, transfer: Transfer) {
        let bucket = self.log_time.0.div_euclid(BUCKET_US);
        let oldest_live = (self.log_time.0 - WINDOW_US + 1).div_euclid(BUCKET_US);
        if self.accepted.get(&transfer.message).is_some_and(|accepted| *accepted >= oldest_live) {
            self.truth.duplicates += 1;
            return;
        }
        self.accepted.insert(transfer.message, bucket);
        self.truth.counted.insert(transfer.message);
        let account = self.truth.accounts.entry(transfer.account).or_default();
        account.balance += transfer.amount;
        account.messages += 1;
        let balance = account.balance;
        let subject = account_key(transfer.account);
        if balance > 500 {
            self.effect(position, ALARM, subject, balance.to_le_bytes().to_vec());
        }
        self.timers.retain(|(_, waiting)| *waiting != subject);
        self.timers.insert((received_at.plus_us(TIMER_US), subject));
        // An event's own item is the last of its record, whatever its effects.
        let id = EffectId { position, ordinal: u32::MAX };
        let what = What::Event { part: Key(u128::from(transfer.message)), named: None };
        self.truth.feed.push(Item { id, at: self.log_time, subject, what });
    }

    fn effect(&mut self, position: Position, kind: u16, subject: Key, body: Vec<u8>) {
        let ordinal = self.ordinals.entry(position).or_default();
        let id = EffectId { position, ordinal: *ordinal };
        let what = What::Effect { kind, body: body.clone() };
        self.truth.feed.push(Item { id, at: self.log_time, subject, what });
        self.truth.effects.push((position, *ordinal, kind, subject, body));
        *ordinal += 1;
    }
}
