use super::*;
use crate::objects::LocalObjects;
use env::seeded::{Seed, World};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Rows = BTreeMap<(TableId, Key), Option<Vec<u8>>>;

fn write(objects: &LocalObjects, name: &str, rows: &Rows, block: usize, sealing: Option<&Sealing>) -> Run {
    let mut writer = RunWriter::create(objects, name, block, sealing).unwrap();
    for ((table, key), value) in rows {
        writer.push(*table, *key, value.as_deref()).unwrap();
    }
    let bytes = writer.finish().unwrap();
    Run::open(objects, name, bytes, sealing).unwrap()
}

fn sealing(world: &World, active: u32) -> Sealing {
    Sealing::new(world.env().entropy.clone(), active, [(1, [1; 32]), (2, [2; 32])].into()).unwrap()
}

fn keys() -> impl Strategy<Value = u128> {
    prop_oneof![any::<u128>(), 0_u128..50, (0_u128..50).prop_map(|key| key << 100)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_run_reads_back(
        rows in prop::collection::btree_map(
            (prop_oneof![0_u8..3, Just(255)].prop_map(TableId), keys().prop_map(Key)),
            prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..700)),
            0..200,
        ),
        others in prop::collection::vec((0_u8..4, keys()), 0..50),
        block in 256_usize..2_000,
        read_bytes in 1_usize..5_000,
        sealed: bool,
    ) {
        let world = World::new(1, 0);
        let objects = LocalObjects::open(&world.env(), Path::new("/d/store")).unwrap();
        let keyring = sealed.then(|| sealing(&world, 1));
        let run = Arc::new(write(&objects, "run-0", &rows, block, keyring.as_ref()));
        prop_assert_eq!(run.entries(), rows.len() as u64);
        let wanted = rows.keys().copied().chain(others.into_iter().map(|(table, key)| (TableId(table), Key(key))));
        for (table, key) in wanted.collect::<BTreeSet<_>>() {
            let found = match run.read(table, key).unwrap() {
                Found::Value(bytes) => Some(Some(bytes)),
                Found::Deleted => Some(None),
                Found::Absent => None,
            };
            prop_assert_eq!(found, rows.get(&(table, key)).cloned());
        }
        for only in [None, Some(TableId(1)), Some(TableId(9))] {
            let mut cursor = RunCursor::new(run.clone(), only, read_bytes);
            let mut read = Rows::new();
            while cursor.advance().unwrap() {
                let (table, key, value) = cursor.row();
                prop_assert!(read.last_key_value().is_none_or(|(last, _)| *last < (table, key)));
                read.insert((table, key), value.map(<[u8]>::to_vec));
            }
            let mut expected = rows.clone();
            expected.retain(|(table, _), _| only.is_none_or(|only| *table == only));
            prop_assert_eq!(read, expected);
        }
    }
}

/// Every byte of a run is covered: whatever one is changed, opening or reading fails and never gives a wrong row.
#[test]
fn damage_is_noticed_wherever_it_is() {
    for sealed in [false, true] {
        let world = World::new(1, 0);
        let objects = LocalObjects::open(&world.env(), Path::new("/d/store")).unwrap();
        let keyring = sealed.then(|| sealing(&world, 2));
        let mut seed = Seed::new(7);
        let rows: Rows = (0..60_u8)
            .map(|row| {
                let key = Key(u128::from(seed.next_u64()) << 64 | u128::from(row));
                ((TableId(1), key), (row % 5 != 0).then(|| vec![row; seed.below(40) as usize]))
            })
            .collect();
        let path = Path::new("/d/store/run-0");
        let run = write(&objects, "run-0", &rows, 256, keyring.as_ref());
        let bytes = run.footer.end + format::FOOTER_BYTES as u64;
        let good = world.read_file(path).unwrap();
        assert_eq!(good.len() as u64, bytes);
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 1 << (at % 8);
            world.write_file(path, &damaged);
            let Ok(run) = Run::open(&objects, "run-0", bytes, keyring.as_ref()) else { continue };
            let mut noticed = false;
            for ((table, key), value) in &rows {
                match run.read(*table, *key) {
                    Ok(Found::Value(bytes)) => assert_eq!(Some(&bytes), value.as_ref(), "byte {at}"),
                    Ok(Found::Deleted) => assert_eq!(*value, None, "byte {at}"),
                    Ok(Found::Absent) => panic!("byte {at}: a row is gone"),
                    Err(StoreError::Damaged { .. }) => noticed = true,
                    Err(other) => panic!("byte {at}: {other}"),
                }
            }
            assert!(noticed, "the change of byte {at} of {bytes} went unnoticed");
        }
    }
}

#[test]
fn a_sealed_run_needs_its_key() {
    let world = World::new(1, 0);
    let objects = LocalObjects::open(&world.env(), Path::new("/d/store")).unwrap();
    let rows: Rows = [((TableId(1), Key(5)), Some(b"the secret of a person".to_vec()))].into();
    let run = write(&objects, "run-0", &rows, 4096, Some(&sealing(&world, 1)));
    let raw = world.read_file(Path::new("/d/store/run-0")).unwrap();
    assert!(!raw.windows(6).any(|window| window == b"secret"), "sealed means unreadable on disk");
    let bytes = raw.len() as u64;
    assert!(matches!(run.read(TableId(1), Key(5)).unwrap(), Found::Value(_)));
    // The keyring was rotated: the old key still opens old runs.
    let rotated = sealing(&world, 2);
    let run = Run::open(&objects, "run-0", bytes, Some(&rotated)).unwrap();
    assert!(matches!(run.read(TableId(1), Key(5)).unwrap(), Found::Value(_)));
    let without = Sealing::new(world.env().entropy.clone(), 2, [(2, [2; 32])].into()).unwrap();
    for keyring in [None, Some(&without)] {
        let refused = Run::open(&objects, "run-0", bytes, keyring).err().unwrap();
        assert!(matches!(refused, StoreError::NoKey { key_id: 1, .. }), "{refused}");
    }
}
