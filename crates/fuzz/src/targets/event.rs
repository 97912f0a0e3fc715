//! The stored form of an event, and the rows and words that stand beside it in the log.

use crate::Target;
use model::audience::Definition;
use model::codec::Decoder;
use model::event::Event;
use model::id::Timestamp;
use model::quarantine::Quarantined;

pub(crate) const TARGET: Target = Target {
    name: "event",
    promise: "stored forms are refused or read, never believed in part, and what is read is written again the same",
    check,
    seeds,
    words: &[b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x00", b"\x00", b"\x01", b"\x7f", b"\xff"],
};

fn check(data: &[u8]) -> bool {
    let Some((first, body)) = data.split_first() else { return false };
    match first % 3 {
        0 => event(body),
        1 => quarantined(body),
        _ => definition(body),
    }
}

fn event(body: &[u8]) -> bool {
    // The short ways have to agree with the long one, as far as they go.
    let (who, dedup) = (Event::peek_who(body), Event::peek_dedup_key(body));
    let Ok(event) = Event::decode(body) else { return false };
    assert_eq!(dedup.ok(), Some(event.dedup_key));
    let (identifiers, order) = who.expect("what can be read whole can be read in part");
    assert_eq!(identifiers.as_slice(), event.identifiers.as_slice());
    assert_eq!(order.is_some(), event.order.is_some());
    let mut again = Vec::new();
    event.encode(&mut again);
    let twice = Event::decode(&again).expect("what was written can be read");
    assert_eq!(format!("{twice:?}"), format!("{event:?}"));
    true
}

fn quarantined(body: &[u8]) -> bool {
    let Ok(read) = Quarantined::decode(body) else { return false };
    let mut again = Vec::new();
    read.encode(&mut again);
    let twice = Quarantined::decode(&again).expect("what was written can be read");
    assert_eq!(format!("{twice:?}"), format!("{read:?}"));
    if let Ok(emptied) = read.emptied() {
        assert!(emptied.len() <= body.len() + 64);
    }
    true
}

fn definition(body: &[u8]) -> bool {
    let mut decoder = Decoder::new(body);
    let Ok(read) = Definition::decode(&mut decoder) else { return false };
    let mut again = Vec::new();
    read.encode(&mut model::codec::Encoder(&mut again));
    assert_eq!(Definition::decode(&mut Decoder::new(&again)), Ok(read));
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let bodies = super::collector::TARGET.seeds;
    let mut seeds = super::records::events_of(&bodies());
    seeds.iter_mut().for_each(|event| event.insert(0, 0));
    if let Some(event) = seeds.first().cloned() {
        let quarantined = Quarantined {
            received_at: Timestamp(1_795_304_740_000_000),
            rows_max: 10,
            kept_s: 60,
            code: "off_plan",
            place: "/properties/price",
            reason: "it must be a number",
            event: event.get(1..).unwrap_or_default(),
        };
        let mut bytes = vec![1];
        quarantined.encode(&mut bytes);
        seeds.push(bytes);
    }
    let definition = Definition {
        id: model::audience::DefinitionId(1),
        name: "buyers".into(),
        version: 1,
        kind: model::audience::DefinitionKind::Audience {
            rule: "count(\"page\") > 1".into(),
            suppress: None,
        },
    };
    let mut bytes = vec![2];
    definition.encode(&mut model::codec::Encoder(&mut bytes));
    seeds.push(bytes);
    seeds
}
