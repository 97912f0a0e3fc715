//! What a damaged, cut or foreign journal does. Crashes are the simulation's.

use super::*;
use crate::ledger::{BreakerMemory, DeadLetter, DeadReason, Tries};
use crate::parcel::{Class, Parcel};
use bytes::Bytes;
use env::seeded::World;
use model::id::{EffectId, Key, Position, Timestamp};
use proptest::prelude::*;

fn folder() -> &'static Path {
    Path::new("/data/delivery")
}

fn file() -> PathBuf {
    folder().join(FILE)
}

fn keys(numbers: &[u32]) -> JournalOptions {
    let keys = numbers.iter().map(|number| (*number, Zeroizing::new([*number as u8; 32]))).collect();
    let active = numbers.last().copied().unwrap_or_default();
    JournalOptions { keys: Some(JournalKeys { active, keys: Arc::new(keys) }) }
}

fn id(position: u64) -> EffectId {
    EffectId { position: Position(position), ordinal: (position % 3) as u32 }
}

fn letter(position: u64, resend: bool) -> DeadLetter {
    DeadLetter {
        parcel: Parcel {
            id: id(position),
            issued_at: Timestamp(-5),
            kind: 9,
            about: Some(u32::MAX),
            subject: Key(u128::MAX - 1),
            class: Class::Marketing,
            idempotency_key: format!("key-{position}"),
            body: Bytes::from_static(b"a body that is a secret"),
        },
        reason: DeadReason::GaveUp,
        detail: "http_503".to_owned(),
        attempts: 7,
        died_at: Timestamp(12),
        resend,
    }
}

/// One group of entries of every kind.
fn group(number: u64) -> Vec<Entry> {
    let (lane, at) = (3, 100 + number * 10);
    let tries = Tries { attempts: 2, strikes: 1, not_before: Timestamp(99), alone: true, ..Tries::default() };
    vec![
        Entry::Named { lane, name: "hook".to_owned() },
        Entry::Through { lane, id: id(at) },
        Entry::Settled { lane, id: id(at + 3) },
        Entry::Tried { lane, id: id(at + 2), tries },
        Entry::Dead { lane, letter: letter(at + 4, number.is_multiple_of(2)) },
        Entry::Dead { lane, letter: letter(at + 5, false) },
        Entry::Resend { lane, id: id(at + 5) },
        Entry::Gone { lane, id: id(at - 6) },
        Entry::Breaker { lane, memory: BreakerMemory { opened: number as u32, until: Timestamp(77) } },
    ]
}

fn applied(groups: u64) -> Ledger {
    let mut ledger = Ledger::default();
    for number in 0..groups {
        group(number).iter().for_each(|entry| ledger.apply(entry));
    }
    ledger
}

fn write(world: &World, options: &JournalOptions, groups: u64) {
    let (mut journal, ledger) = Journal::open(&world.env(), folder(), options).unwrap();
    assert_eq!(ledger, Ledger::default());
    for number in 0..groups {
        journal.append(&group(number), true).unwrap();
    }
}

fn reopen(world: &World, options: &JournalOptions) -> Result<Ledger, JournalError> {
    world.kill();
    Journal::open(&world.env(), folder(), options).map(|(_, ledger)| ledger)
}

#[test]
fn what_was_appended_is_read_back_with_and_without_keys() {
    for options in [JournalOptions::default(), keys(&[1])] {
        let world = World::new(1, 0);
        write(&world, &options, 5);
        let bytes = world.read_file(&file()).unwrap();
        let visible = bytes.windows(8).any(|window| window == b"a secret");
        assert_eq!(visible, options.keys.is_none());
        for _ in 0..3 {
            assert_eq!(reopen(&world, &options).unwrap(), applied(5));
        }
    }
}

#[test]
fn keys_can_change_and_a_missing_one_is_named() {
    let world = World::new(1, 0);
    write(&world, &keys(&[1]), 2);
    let error = reopen(&world, &keys(&[2])).unwrap_err();
    assert!(matches!(error, JournalError::KeyMissing { key: 1, .. }), "{error}");
    assert_eq!(reopen(&world, &keys(&[1, 2])).unwrap(), applied(2));
    assert_eq!(reopen(&world, &keys(&[2])).unwrap(), applied(2), "the rewrite on opening uses the new key");
    let error = reopen(&world, &JournalOptions::default()).unwrap_err();
    assert_eq!(error.code(), "journal_key_missing");
}

#[test]
fn a_changed_byte_in_what_is_durable_is_damage() {
    let world = World::new(1, 0);
    write(&world, &keys(&[1]), 3);
    let ledger = reopen(&world, &keys(&[1])).unwrap();
    let bytes = world.read_file(&file()).unwrap();
    let trailer = bytes.len() - 36 - 16;
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        world.write_file(&file(), &damaged);
        match reopen(&world, &keys(&[1])) {
            Err(JournalError::Corrupt { .. }) => {}
            Ok(found) => {
                assert!(place >= trailer, "byte {place} of {} was changed unseen", bytes.len());
                assert_eq!(found, ledger);
            }
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
}

#[test]
fn a_journal_cut_anywhere_gives_a_prefix_of_its_groups() {
    let world = World::new(1, 0);
    write(&world, &JournalOptions::default(), 4);
    let bytes = world.read_file(&file()).unwrap();
    let prefixes: Vec<Ledger> = (0..=4).map(applied).collect();
    let mut reached = 0;
    for len in MAGIC_LEN..=bytes.len() {
        world.write_file(&file(), &bytes[..len]);
        let found = reopen(&world, &JournalOptions::default()).unwrap();
        let place = prefixes.iter().position(|prefix| *prefix == found).expect("not a prefix");
        assert!(place >= reached);
        reached = place;
    }
    assert_eq!(reached, 4);
    for len in 0..MAGIC_LEN {
        world.write_file(&file(), &bytes[..len]);
        assert_eq!(reopen(&world, &JournalOptions::default()).unwrap_err().code(), "journal_corrupt");
    }
}

const MAGIC_LEN: usize = frame::MAGIC.len();

#[test]
fn a_newer_form_is_refused_and_a_second_writer_too() {
    let world = World::new(1, 0);
    let (_journal, _) = Journal::open(&world.env(), folder(), &JournalOptions::default()).unwrap();
    let error = Journal::open(&world.env(), folder(), &JournalOptions::default()).err().unwrap();
    assert_eq!(error.code(), "journal_locked");
    let sealer = Sealer::new(None, world.env().entropy);
    let mut bytes = frame::MAGIC.to_vec();
    bytes.extend_from_slice(&sealer.frame(&[200, 0], 0).unwrap());
    world.write_file(&file(), &bytes);
    let error = reopen(&world, &JournalOptions::default()).unwrap_err();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
}

#[test]
fn growth_ends_in_a_rewrite_that_holds_the_same() {
    let world = World::new(1, 0);
    let (mut journal, mut ledger) =
        Journal::open(&world.env(), folder(), &JournalOptions::default()).unwrap();
    let mut rewrites = 0;
    for number in 0..150_000_u64 {
        let entry = Entry::Through { lane: 3, id: id(number) };
        let named = Entry::Named { lane: 3, name: "hook".to_owned() };
        ledger.apply(&named);
        ledger.apply(&entry);
        journal.append(&[named, entry], number.is_multiple_of(1_000)).unwrap();
        if journal.wants_rewrite() {
            journal.rewrite(&ledger).unwrap();
            assert!(journal.len_bytes() < 1_000);
            rewrites += 1;
        }
    }
    assert!(rewrites > 0 && journal.len_bytes() <= REWRITE_BYTES_MIN + 1_000);
    assert_eq!(reopen(&world, &JournalOptions::default()).unwrap(), ledger);
}

proptest! {
    /// Decoding never panics, and what it accepts means the same when written again.
    #[test]
    fn bytes_from_anywhere_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(entry) = Entry::decode(&mut Decoder::new(&bytes)) {
            let mut written = Vec::new();
            entry.encode(&mut written);
            prop_assert_eq!(Entry::decode(&mut Decoder::new(&written)), Ok(entry));
        }
    }
}
