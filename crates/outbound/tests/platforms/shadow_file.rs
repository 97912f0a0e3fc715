//! The file of a shadow: sealed, told from damage, and empty of whoever was erased.

use crate::shadow::{folder, keys, opened, path, row, wish};
use delivery::JournalKeys;
use delivery::env::OpenMode;
use delivery::env::seeded::World;
use model::id::{Key, Position};
use outbound::platform::shadow::{Held, Shadow, ShadowOptions, Wish};
use std::collections::BTreeMap;
use std::sync::Arc;

/// With keys nothing can be read in the file, keys may change, and without them it is refused instead of being empty.
#[test]
fn a_shadow_is_sealed_and_does_not_open_without_its_key() {
    let world = World::new(4, 0);
    let open = |keys: Option<JournalKeys>| {
        Shadow::open(&world.env(), &folder(), "meta", ShadowOptions { people_max: 10, keys })
    };
    let mut shadow = open(Some(keys(1))).unwrap();
    shadow.wish(&[wish(1, &[1]), wish(2, &[2])]).unwrap();
    drop(shadow);
    let holds = |text: &[u8]| {
        let bytes = world.read_file(&path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text)
    };
    assert!(!holds(b"row-") && !holds(b"buyers"));
    assert_eq!(open(None).unwrap_err().code(), "shadow_key_missing");
    let shadow = open(Some(keys(2))).unwrap();
    assert_eq!(shadow.wanted("buyers", Key(2)).unwrap(), [row(2)]);
    drop(shadow);
    let only_new = JournalKeys { active: 2, keys: Arc::new([(2, [2; 32].into())].into()) };
    assert_eq!(
        open(Some(only_new)).unwrap().summary("buyers").people,
        2,
        "the old key is not needed any more"
    );
}

/// A frame that was durable is not taken for a torn end: whoever it speaks of could never be taken out of a list.
#[test]
fn damage_is_told_from_a_torn_end() {
    let world = World::new(5, 0);
    let mut shadow = opened(&world, "meta", 10).unwrap();
    for person in 1..5 {
        shadow.wish(&[wish(person, &[u64::try_from(person).unwrap()])]).unwrap();
    }
    drop(shadow);
    let disk = world.env().disk;
    let file = disk.open(&path(), OpenMode::ReadWrite).unwrap();
    let len = file.len().unwrap();
    // Half a frame that was never durable.
    file.write_all_at(len, b"\xD1TLs and nothing that makes sense").unwrap();
    assert_eq!(opened(&world, "meta", 10).unwrap().summary("buyers").people, 4);
    let mut shadow = opened(&world, "meta", 10).unwrap();
    for person in 5..8 {
        shadow.wish(&[wish(person, &[u64::try_from(person).unwrap()])]).unwrap();
    }
    drop(shadow);
    let bytes = world.read_file(&path()).unwrap();
    let at = bytes.windows(5).position(|window| window == b"row-6").unwrap();
    let file = disk.open(&path(), OpenMode::ReadWrite).unwrap();
    file.write_all_at(at as u64, b"x").unwrap();
    assert_eq!(opened(&world, "meta", 10).unwrap_err().code(), "shadow_damaged");
    file.write_all_at(0, b"x").unwrap();
    assert_eq!(opened(&world, "meta", 10).unwrap_err().code(), "shadow_foreign");
}

/// A message that was on its way while its person was erased puts nobody in again; whoever comes anew is put in.
#[test]
fn older_words_bring_nobody_back() {
    let world = World::new(6, 0);
    let mut shadow = opened(&world, "meta", 10).unwrap();
    let at = |position: u64| Wish { position: Position(position), ..wish(1, &[1]) };
    assert_eq!(shadow.wish(&[at(5)]).unwrap()[0].add, [row(1)]);
    let erased = BTreeMap::from([(Key(1), Position(10))]);
    shadow.bar(&erased);
    let held = Held { list: "buyers".to_owned(), person: Key(1), kept: Vec::new() };
    assert_eq!(shadow.held_of(&erased).unwrap(), [held]);
    let change = shadow.wish(&[at(9)]).unwrap().remove(0);
    assert_eq!((change.add.len(), change.remove), (0, vec![row(1)]));
    // An exit that the erasure itself brought about makes what is not out yet no newer.
    shadow.wish(&[Wish { position: Position(10), ..wish(1, &[]) }]).unwrap();
    assert_eq!(shadow.held_of(&erased).unwrap().len(), 1);
    assert_eq!(shadow.wish(&[Wish { rows: vec![row(2)], ..at(11) }]).unwrap()[0].add, [row(2)]);
    let held = shadow.held_of(&erased).unwrap();
    assert_eq!(held[0].kept, [row(2)], "who came anew stays, and the rest is still to be taken out");
    assert_eq!(shadow.wish(&[held[0].wish()]).unwrap()[0].remove, [row(1)]);
    shadow.abandon(&held).unwrap();
    assert!(shadow.held_of(&erased).unwrap().is_empty());
    assert_eq!(shadow.wanted("buyers", Key(1)).unwrap(), [row(2)]);
}
