//! A small machine with everything a machine can have: rows, effects, timers, a view, replies, and a record that
//! panics. Its truth is easy to compute another way, which is what a simulation needs.

use crate::classes::{Class, Classes};
use crate::subject::{Explained, Subject};
use crate::truth::Truth;
use anyhow::{Result, ensure};
use engine::core::{Core, FrameOutcome};
use engine::{AnyTable, AsOf, Machine, Outcome, Peek, Table, TableId, Tables, Value, Wanted};
use env::seeded::Seed;
use eventlog::Frame;
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::EffectId;
use model::id::{Key, Position, Timestamp};
use model::record::decode_records;
use model::record::{Record, RecordKind, encode_record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

const ACCOUNTS: TableId = TableId(16);
/// The balance above which an account's change causes an effect.
const ALARM_AT: i64 = 500;
/// How long after its last change an account's timer fires.
pub const TIMER_US: i64 = 3_000_000;

/// An effect: the balance passed the alarm.
pub const ALARM: u16 = 1;
/// An effect: nothing happened for a while.
pub const IDLE: u16 = 2;

/// One message: `amount` to `account`, once per `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// De-duplication goes by this.
    pub message: u64,
    /// Which account.
    pub account: u8,
    /// How much.
    pub amount: i64,
    /// Applying it panics.
    pub poison: bool,
}

impl Transfer {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        let mut encoder = Encoder(&mut body);
        encoder.u64(self.message);
        encoder.u8(self.account);
        encoder.signed(self.amount);
        encoder.bool(self.poison);
        encode_record(out, RecordKind::EVENT, &body);
    }

    /// Reads the body of a record.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(body);
        let transfer = Self {
            message: decoder.u64()?,
            account: decoder.u8()?,
            amount: decoder.signed()?,
            poison: decoder.bool()?,
        };
        decoder.finish()?;
        Ok(transfer)
    }
}

/// The key of an account's row.
pub fn account_key(account: u8) -> Key {
    Key(1).with(Key(u128::from(account)))
}

/// What an account holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sum of all amounts.
    pub balance: i64,
    /// How many messages.
    pub messages: u64,
    /// How many times its timer fired.
    pub idles: u64,
}

impl Value for Account {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.i64(self.balance);
        encoder.u64(self.messages);
        encoder.u64(self.idles);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let account = Self { balance: decoder.i64()?, messages: decoder.u64()?, idles: decoder.u64()? };
        decoder.finish()?;
        Ok(account)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The accounts.
pub struct Accounts(Table<Account>);

impl Tables for Accounts {
    fn visit(&mut self, visitor: &mut dyn FnMut(&mut dyn AnyTable)) {
        visitor(&mut self.0);
    }
}

/// Balances for other threads.
#[derive(Default)]
pub struct Balances(pub Mutex<BTreeMap<Key, i64>>);

/// The rules.
pub struct Ledger;

impl Ledger {
    fn set_timer(outcome: &mut Outcome<(Key, i64)>, account: Key, now: Timestamp) {
        outcome.timer(account, Some(now.plus_us(TIMER_US)));
    }
}

impl Machine for Ledger {
    type State = Accounts;
    type View = Balances;
    type Change = (Key, i64);
    type Query = u8;
    type Answer = Option<Account>;

    const RULES_VERSION: u32 = 1;
    const HISTORY_KINDS: &'static [u16] = &[ALARM];
    const VIEW_TABLES: &'static [TableId] = &[ACCOUNTS];

    fn empty_state(&self) -> Accounts {
        Accounts(Table::new(ACCOUNTS, "accounts"))
    }

    fn empty_view(&self) -> Balances {
        Balances::default()
    }

    fn dedup_key(&self, record: &Record<'_>) -> Option<Key> {
        let transfer = Transfer::decode(record.body).ok()?;
        Some(Key(2).with(Key(u128::from(transfer.message))))
    }

    fn wanted(&self, state: &Accounts, record: &Record<'_>, wanted: &mut Wanted) {
        if let Ok(transfer) = Transfer::decode(record.body) {
            wanted.unless_known(&state.0, account_key(transfer.account));
        }
    }

    fn apply(&self, state: &mut Accounts, record: &Record<'_>, outcome: &mut Outcome<(Key, i64)>) {
        let Ok(transfer) = Transfer::decode(record.body) else { return };
        let key = account_key(transfer.account);
        let Some(account) = state.0.get_or_insert_with(key, Account::default) else { return };
        account.balance += transfer.amount;
        account.messages += 1;
        assert!(!transfer.poison, "a poisonous record");
        if account.balance > ALARM_AT {
            outcome.effect(ALARM, key, account.balance.to_le_bytes().to_vec());
        }
        let part = Key(u128::from(transfer.message));
        outcome.subject = Some(engine::Subject { whole: key, part, named: None });
        outcome.changes.push((key, account.balance));
        outcome.reply = Some(account.balance.to_le_bytes().to_vec());
        Self::set_timer(outcome, key, record.received_at);
    }

    fn timer(
        &self,
        state: &mut Accounts,
        subject: Key,
        due: Timestamp,
        _at: Position,
        outcome: &mut Outcome<(Key, i64)>,
    ) {
        if let Some(account) = state.0.get_mut(subject) {
            account.idles += 1;
            outcome.effect(IDLE, subject, due.0.to_le_bytes().to_vec());
        }
    }

    fn wanted_by_query(&self, state: &Accounts, query: &u8, wanted: &mut Wanted) {
        wanted.unless_known(&state.0, account_key(*query));
    }

    fn query(&self, state: &mut Accounts, query: u8, _as_of: AsOf) -> Option<Account> {
        match state.0.peek(account_key(query)) {
            Peek::Present(account) => Some(account.clone()),
            Peek::Absent => None,
            Peek::Unknown => state.0.get(account_key(query)).cloned(),
        }
    }

    fn load_view(&self, view: &Balances, _table: TableId, key: Key, row: &[u8]) {
        if let (Ok(account), Ok(mut balances)) = (Account::decode(row), view.0.lock()) {
            balances.insert(key, account.balance);
        }
    }

    fn publish(&self, view: &Balances, changes: Vec<(Key, i64)>, _as_of: AsOf) {
        if let Ok(mut balances) = view.0.lock() {
            balances.extend(changes);
        }
    }
}

/// Clients of a ledger.
pub struct Clients {
    /// Every message ever made.
    messages: Vec<Transfer>,
    /// Messages that were acknowledged: they must never be lost.
    acknowledged: BTreeSet<u64>,
    poison_left: u32,
    without: Classes,
}

impl Subject for Clients {
    type Rules = Ledger;
    const NAME: &'static str = "ledger";
    const PANICS: bool = true;

    fn new(_number: u64, without: Classes, seed: &mut Seed) -> Self {
        let poison_left = u32::from(seed.one_in(4) && !without.has(Class::Hostile));
        Self { messages: Vec::new(), acknowledged: BTreeSet::new(), poison_left, without }
    }

    fn rules() -> Ledger {
        Ledger
    }

    fn message(&mut self, seed: &mut Seed, _now: Timestamp, out: &mut Vec<u8>) {
        if !self.messages.is_empty() && seed.one_in(3) && !self.without.has(Class::Repeats) {
            let back = seed.below(self.messages.len().min(40) as u64) as usize;
            if let Some(transfer) = self.messages.get(self.messages.len() - 1 - back) {
                transfer.encode(out);
                return;
            }
        }
        let poison = self.poison_left > 0 && seed.one_in(40);
        self.poison_left -= u32::from(poison);
        let transfer = Transfer {
            message: self.messages.len() as u64,
            account: seed.below(12) as u8,
            amount: seed.below(200) as i64 - 60,
            poison,
        };
        self.messages.push(transfer);
        transfer.encode(out);
    }

    fn answered(&mut self, _core: &mut Core<Ledger>, frame: &Frame, _outcome: &FrameOutcome) -> Result<u64> {
        let mut new = 0;
        for record in decode_records(&frame.body, frame.first, frame.received_at) {
            let record = record?;
            if record.kind == RecordKind::EVENT {
                new += u64::from(self.acknowledged.insert(Transfer::decode(record.body)?.message));
            }
        }
        Ok(new)
    }

    fn check(&mut self, core: &mut Core<Ledger>, frames: &[Frame]) -> Result<Explained> {
        let truth = Truth::of(frames);
        for account in 0..12 {
            let found = core.query(account)?.unwrap_or_default();
            let expected = truth.accounts.get(&account).cloned().unwrap_or_default();
            ensure!(found == expected, "account {account}: found {found:?}, the log says {expected:?}");
            let view = core.view();
            let shown = view.0.lock().ok().and_then(|balances| balances.get(&account_key(account)).copied());
            ensure!(
                shown.unwrap_or(0) == expected.balance,
                "the view of account {account} shows {shown:?}, the log says {}",
                expected.balance
            );
        }
        // A quarantined record was never acknowledged: its process stopped instead of answering.
        for message in &self.acknowledged {
            ensure!(truth.counted.contains(message), "message {message} was acknowledged and does not count");
        }
        let effects = truth.effects.into_iter();
        let effects =
            effects.map(|(position, ordinal, kind, _, body)| (EffectId { position, ordinal }, kind, body));
        Ok(Explained { effects: effects.collect(), feed: truth.feed, duplicates: truth.duplicates })
    }
}
