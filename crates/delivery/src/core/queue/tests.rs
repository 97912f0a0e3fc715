//! Turns, order and bounds of batches, against a plain re-implementation.

use super::*;
use crate::parcel::Class;
use bytes::Bytes;
use model::id::Position;
use proptest::prelude::*;

fn item(position: u64, subject: u64, body_bytes: usize, alone: bool) -> Item {
    let id = EffectId { position: Position(position), ordinal: 0 };
    let parcel = Parcel {
        id,
        issued_at: Timestamp(0),
        kind: 0,
        about: None,
        subject: Key(u128::from(subject)),
        class: Class::Transactional,
        idempotency_key: String::new(),
        body: Bytes::from(vec![0; body_bytes]),
    };
    Item { parcel, tries: Tries { alone, ..Tries::default() }, resend: false }
}

/// One subject with very many parcels does not keep the others waiting: everybody gets a turn before it gets its next.
#[test]
fn a_subject_with_very_many_parcels_waits_for_its_turn() {
    let mut queue = Queue::default();
    for position in 0..1_000 {
        queue.push(item(position, 1, 1, false), 0, 0);
    }
    for position in 1_000..1_050 {
        queue.push(item(position, position, 1, false), 0, 0);
    }
    let mut turns_of_one = 0;
    let mut others = 0;
    while others < 50 {
        let batch = queue.take_batch(1, 100, 0);
        let subject = queue.get(batch[0]).unwrap().parcel.subject;
        queue.remove(batch[0]);
        queue.release(subject, 0, 0);
        turns_of_one += u64::from(subject == Key(1));
        others += u64::from(subject != Key(1));
    }
    assert!(turns_of_one <= 2, "{turns_of_one} turns before all others had one");
    queue.check();
}

proptest! {
    #[test]
    fn batches_take_turns_in_order_and_within_bounds(
        parcels in prop::collection::vec((0_u64..6, 0_usize..40, prop::bool::weighted(0.1)), 1..80),
        parcels_max in 1_usize..12,
        bytes_max in 1_usize..120,
    ) {
        let mut queue = Queue::default();
        for (position, (subject, body_bytes, alone)) in parcels.iter().enumerate() {
            queue.push(item(position as u64, *subject, *body_bytes, *alone), 0, 0);
        }
        queue.check();
        let mut taken: BTreeMap<Key, Vec<EffectId>> = BTreeMap::new();
        let mut left = parcels.len();
        while left > 0 {
            let batch = queue.take_batch(parcels_max, bytes_max, 0);
            queue.check();
            prop_assert!(!batch.is_empty() && batch.len() <= parcels_max);
            let items: Vec<Item> = batch.iter().map(|id| queue.get(*id).unwrap().clone()).collect();
            let bytes: usize = items.iter().map(|item| item.parcel.body.len()).sum();
            prop_assert!(batch.len() == 1 || bytes <= bytes_max);
            prop_assert!(batch.len() == 1 || items.iter().all(|item| !item.tries.alone));
            // Nobody gets a second parcel into a batch before everybody who is ready has one: counts differ by one.
            let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
            for item in &items {
                let count = counts.entry(item.parcel.subject).or_default();
                *count += 1;
                taken.entry(item.parcel.subject).or_default().push(item.parcel.id);
            }
            // While the batch is under way nothing else of its subjects can be taken.
            let second = queue.take_batch(parcels_max, bytes_max, 0);
            for id in &second {
                prop_assert!(!counts.contains_key(&queue.get(*id).unwrap().parcel.subject));
            }
            for id in second.iter().rev() {
                queue.put_back(*id);
            }
            for id in second {
                let subject = queue.get(id).unwrap().parcel.subject;
                queue.release(subject, 0, 0);
            }
            for id in &batch {
                queue.remove(*id);
            }
            left -= batch.len();
            for subject in counts.keys() {
                queue.release(*subject, 0, 0);
            }
            queue.check();
        }
        prop_assert_eq!(queue.len(), 0);
        prop_assert_eq!(queue.held_bytes(), 0);
        prop_assert!(taken.values().all(|ids| ids.is_sorted()));
    }
}
