//! The body of a frame: a sequence of records.

use crate::Target;
use collect::settings::{DoorSettings, WriteKey, WriteKeyKind};
use collect::wire::{Call, Encoding, Envelope, Sender};
use model::id::{Position, Timestamp};
use model::record::{decode_records, encode_record};
use model::seal::Keys;

pub(crate) const TARGET: Target = Target {
    name: "records",
    promise: "a frame's body is read to its end or to the first mistake, and what was read is written again the same",
    check,
    seeds,
    words: &[b"\x10", b"\x11", b"\x80\x01", b"\xff\xff\xff\xff\x0f", b"\x00\x00"],
};

fn check(data: &[u8]) -> bool {
    let (mut again, mut whole) = (Vec::new(), true);
    for record in decode_records(data, Position(u64::MAX - 3), Timestamp(9)) {
        match record {
            Ok(record) => encode_record(&mut again, record.kind, record.body),
            Err(_) => {
                assert!(std::mem::replace(&mut whole, false), "there is something behind a mistake");
            }
        }
    }
    assert!(again.len() <= data.len(), "more was read than there is");
    if whole && again.len() == data.len() {
        assert_eq!(again, data);
    }
    whole
}

fn seeds() -> Vec<Vec<u8>> {
    let bodies = super::collector::TARGET.seeds;
    encoded(&bodies())
}

/// The records of request bodies.
fn encoded(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let settings = DoorSettings::default();
    let keys = Keys::derive(&[7; 32]);
    let encoding = Encoding { keys: &keys, settings: &settings, fresh: &|| [1; 16] };
    let sender = Sender {
        key: WriteKey { number: 1, kind: WriteKeyKind::Server, enabled: true, value_counts: false },
        received_at: Timestamp(1_795_304_740_000_000),
        ip: None,
        user_agent: None,
    };
    let batches = bodies.iter().filter(|body| body.first() == Some(&0));
    let read = batches.filter_map(|body| Envelope::read(body.get(1..)?, Call::Batch, &settings.limits).ok());
    read.filter_map(|envelope| Some(encoding.encode(&envelope, &sender).ok()?.records)).collect()
}

/// The stored events of request bodies.
pub(super) fn events_of(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let frames = encoded(bodies);
    let records = frames.iter().flat_map(|frame| decode_records(frame, Position(0), Timestamp(0)));
    records.filter_map(|record| Some(record.ok()?.body.to_vec())).collect()
}
