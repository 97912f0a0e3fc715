//! A shop's life: customers with audiences, purchases, merges and erasures, whose SDKs talk to the real encoder of the
//! door, with one to three destinations behind the real lanes; and people who send what they must not.
//!
//! Promises 1 to 4 are held as in [`crate::people`]. Beside them: promise 5 when each purchase is answered, promise 8 at
//! each permit and attempt and in the end, promise 10 for every command that must be refused and for the life without
//! all of them, promise 11 for every person.

mod arrivals;
mod requests;
mod setup;

use crate::classes::{Class, Classes};
use crate::outside::Outside;
use crate::people::{in_one_go, read_all};
use crate::promises::{Said, Word, browsers_unite_nobody, consent_is_not_loosened, suppressed_at_once};
use crate::subject::{Around, Explained, Subject, Told};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use collect::settings::DoorSettings;
use engage::effect::{AUDIENCE_ENTERED, ERASED};
use engage::{Answer, Engage, Query, Reply};
use engine::core::{Core, FrameOutcome};
use engine::feed::{Feed, Item, Place, What};
use env::seeded::{Seed, World};
use eventlog::{Frame, LogHandle};
use model::event::{Event, IdentifierKind, MAX_AGE_US, OrderChange};
use model::id::{EffectId, Key, Position, Timestamp};
use model::record::{RecordKind, decode_records, encode_record};
use model::seal::Keys;
use requests::{GOODS, PEOPLE};
use std::collections::{BTreeMap, BTreeSet};

/// The kind of a message about an accepted event.
const EVENT_ACCEPTED: u16 = 0;

/// A purchase that was answered.
#[derive(Clone, Copy, Debug)]
struct Purchase {
    /// The identifier that it counts under.
    buyer: Key,
    position: Position,
}

/// See the module.
pub struct Customers {
    keys: Keys,
    door: DoorSettings,
    without: Classes,
    /// Bodies of records that were sent.
    sent: Vec<Vec<u8>>,
    acknowledged: BTreeSet<Key>,
    /// Messages in the log when it was looked at last: some counted when a start read them, and nobody was answered.
    logged: BTreeSet<Key>,
    messages: u64,
    orders: u64,
    /// Orders that somebody cancelled or refunded.
    undone: BTreeSet<String>,
    /// Bodies of commands that must be refused.
    hostile: BTreeSet<Vec<u8>>,
    purchases: Vec<Purchase>,
    /// How many records report an order: what is reported twice counts where it was reported first.
    reports: BTreeMap<String, u32>,
    /// Commands on their way: a crash leaves it open whether they were applied.
    commands_pending: u32,
    setup: setup::Setup,
    outside: Outside,
    /// Where this destination is good all its life; `None` if none is.
    living: Option<usize>,
    told: Told,
    /// The first rule that was broken where nothing could be returned.
    trouble: Option<String>,
}

impl Customers {
    /// The keys of everybody there is.
    fn everybody(&self) -> Vec<Key> {
        let of = |number: u64| {
            [
                (IdentifierKind::USER_ID, format!("u{number}")),
                (IdentifierKind::EMAIL, format!("e{number}@example.com")),
                (IdentifierKind::ANONYMOUS_ID, format!("a{number}")),
            ]
        };
        let all = (0..PEOPLE).flat_map(of);
        all.map(|(kind, value)| self.keys.identifier(kind, value.as_bytes())).collect()
    }

    /// Promises 5 and 10, for a frame that was just answered.
    fn look_at_answers(
        &mut self,
        core: &mut Core<Engage>,
        frame: &Frame,
        outcome: &FrameOutcome,
    ) -> Result<u64> {
        let mut new = 0;
        let mut bought = Vec::new();
        let mut commanded = false;
        for (index, record) in decode_records(&frame.body, frame.first, frame.received_at).enumerate() {
            let record = record?;
            if record.kind == RecordKind::COMMAND {
                commanded = true;
                self.commands_pending = self.commands_pending.saturating_sub(1);
                if self.hostile.contains(record.body) {
                    let reply = outcome.replies.iter().find(|(at, _)| usize::try_from(*at) == Ok(index));
                    let reply = reply.map(|(_, reply)| Reply::decode(reply)).transpose()?;
                    let refused = matches!(reply, Some(Reply::Refused(_)));
                    ensure!(refused, "promise 10: the command at {} got {reply:?}", record.position);
                    self.told.refusals += 1;
                }
            } else if record.kind == RecordKind::EVENT {
                let event = Event::decode(record.body)?;
                let is_new = self.acknowledged.insert(event.dedup_key);
                new += u64::from(is_new);
                // What a start read from the log counted then: its repeat does not, also if the buyer was erased since.
                let counts_now = is_new && !self.logged.contains(&event.dedup_key);
                let order = event.order.filter(|order| order.change == OrderChange::Completed);
                let buyer = event.identifiers.as_slice().iter().find(|one| {
                    matches!(IdentifierKind(one.kind), IdentifierKind::USER_ID | IdentifierKind::EMAIL)
                });
                if let (true, true, Some(order), Some(buyer)) = (counts_now, event.from_server, order, buyer)
                    && !self.undone.contains(order.order_id)
                    && self.reports.get(order.order_id) == Some(&1)
                {
                    let goods = event
                        .products
                        .first()
                        .map(|one| (one.product_id.to_owned(), one.category.to_owned()));
                    bought.push((Purchase { buyer: buyer.key, position: record.position }, goods));
                }
            }
        }
        if commanded {
            // Somebody may have been erased or parted: what was bought before may be nobody's.
            self.purchases.clear();
            return Ok(new);
        }
        let (view, now) = (core.view(), core.progress().log_time);
        for (purchase, goods) in bought {
            if let Some((product, category)) = goods.filter(|(product, _)| !product.is_empty()) {
                suppressed_at_once(&view, purchase.buyer, &product, &category, purchase.position, now)
                    .map_err(|broken| anyhow!(broken))?;
                self.told.purchases += 1;
            }
            self.purchases.push(purchase);
        }
        Ok(new)
    }

    /// Promise 8: no permit is granted to tell somebody to buy who has bought, and it is noticed if that happens to
    /// somebody while a message to them is on the wire.
    fn judge_permits(&mut self, core: &mut Core<Engage>) -> Result<()> {
        let decisions = self.outside.books().take_decisions();
        if decisions.is_empty() {
            return Ok(());
        }
        let outbox = core.effects_after(None, usize::MAX).into_iter();
        let erased: Vec<_> = outbox.filter(|issued| issued.effect.kind == ERASED).collect();
        for decision in decisions {
            let parcel = &decision.parcel;
            // What somebody did is told of nobody who was erased since, also where they have come back.
            let gone = erased.iter().any(|one| one.effect.subject == parcel.subject && one.id > parcel.id);
            if gone && parcel.kind == EVENT_ACCEPTED {
                ensure!(!decision.granted, "promise 8: {} was permitted about an erased person", parcel.id);
            }
            if decision.reason.as_deref() == Some("erased") {
                let somebody = erased.iter().any(|one| one.id > parcel.id);
                ensure!(somebody, "promise 8: {} was refused, and nobody was erased since", parcel.id);
            }
            let is_about_a_cart = parcel.about == Some(setup::CART) && parcel.kind == AUDIENCE_ENTERED;
            if !is_about_a_cart || parcel.class != delivery::Class::Marketing {
                continue;
            }
            let Some(addressee) = profile(core, Query::Profile(parcel.subject))? else {
                ensure!(!decision.granted, "promise 8: {} was permitted about an erased person", parcel.id);
                continue;
            };
            for purchase in self.purchases.clone() {
                let buyer = profile(core, Query::Identifier(purchase.buyer))?;
                if buyer == Some(addressee) {
                    self.told.judged += 1;
                    ensure!(
                        !decision.granted,
                        "promise 8: {} was permitted, or not counted as crossed, although {} bought at {}",
                        parcel.id,
                        addressee,
                        purchase.position
                    );
                }
            }
        }
        Ok(())
    }

    /// Promise 11, for everybody.
    fn judge_claims(
        &mut self,
        core: &mut Core<Engage>,
        frames: &[Frame],
        explained: &Explained,
    ) -> Result<()> {
        let last = |wanted: u16| {
            let found = explained.effects.iter().filter(|(_, kind, _)| *kind == wanted);
            found.map(|(id, _, _)| id.position).max()
        };
        let erased = last(ERASED).unwrap_or(Position(0));
        let parts: BTreeMap<Position, Key> = explained.feed.iter().filter_map(part_of).collect();
        let (mut said, mut words) = (Said::default(), Vec::new());
        for frame in frames {
            for record in decode_records(&frame.body, frame.first, frame.received_at).flatten() {
                if record.kind != RecordKind::EVENT {
                    continue;
                }
                let event = Event::decode(record.body)?;
                self.logged.insert(event.dedup_key);
                if event.from_server {
                    let named = event.identifiers.as_slice().iter().map(|one| one.key).collect();
                    said.by_shop.push((record.position, named));
                } else {
                    said.by_browsers.insert(record.position);
                }
                let Some(node) = parts.get(&record.position) else { continue };
                let at = event.clamped_at(record.received_at, MAX_AGE_US);
                words.extend(event.consent.iter().map(|consent| Word {
                    node: *node,
                    from_server: event.from_server,
                    category: consent.category.to_owned(),
                    granted: consent.granted,
                    said: (at, record.position),
                }));
            }
        }
        for who in self.everybody() {
            let Answer::Profile(Some(read), _) = core.query(Query::Identifier(who))? else { continue };
            browsers_unite_nobody(&read, &said).map_err(|broken| anyhow!(broken))?;
            consent_is_not_loosened(&read, &words, erased).map_err(|broken| anyhow!(broken))?;
        }
        Ok(())
    }

    /// Two shards say the same of everybody.
    fn compare(&self, core: &mut Core<Engage>, second: &mut Core<Engage>, what: &str) -> Result<()> {
        for who in self.everybody() {
            let (found, expected) =
                (core.query(Query::Identifier(who))?, second.query(Query::Identifier(who))?);
            let (Answer::Profile(found, _), Answer::Profile(expected, _)) = (found, expected) else {
                bail!("a question about a person got another answer");
            };
            ensure!(found == expected, "{who}: found {found:?}, {what} {expected:?}");
            for (product, category) in GOODS {
                let now = core.progress().log_time;
                let found = core.view().decide(&[who], product, category, now);
                let expected = second.view().decide(&[who], product, category, now);
                ensure!(found == expected, "{who}, {product}: {found:?}, {what} {expected:?}");
            }
        }
        Ok(())
    }

    /// Promise 10: a life without all that was refused is the same life.
    fn judge_refusals(&self, core: &mut Core<Engage>, frames: &[Frame]) -> Result<()> {
        let mut without = frames.to_vec();
        for frame in &mut without {
            let mut body = Vec::new();
            for record in decode_records(&frame.body, frame.first, frame.received_at).flatten() {
                let refused = record.kind == RecordKind::COMMAND && self.hostile.contains(record.body);
                let (kind, bytes) =
                    if refused { (RecordKind::TICK, &[][..]) } else { (record.kind, record.body) };
                encode_record(&mut body, kind, bytes);
            }
            frame.body = body;
        }
        let (mut second, _) = in_one_go(&without)?;
        ensure!(
            core.progress().effects_digest == second.progress().effects_digest,
            "promise 10: what was refused had effects"
        );
        self.compare(core, &mut second, "promise 10: without what was refused")
    }
}

fn part_of(item: &Item) -> Option<(Position, Key)> {
    match item.what {
        What::Event { part, .. } => Some((item.id.position, part)),
        What::Effect { .. } => None,
    }
}

fn effect_of(item: &Item) -> Option<(EffectId, u16, Vec<u8>)> {
    match &item.what {
        What::Event { .. } => None,
        What::Effect { kind, body } => Some((item.id, *kind, body.clone())),
    }
}

/// The profile that a question leads to.
fn profile(core: &mut Core<Engage>, query: Query) -> Result<Option<Key>> {
    match core.query(query)? {
        Answer::Profile(read, _) => Ok(read.map(|read| read.profile)),
        _ => Ok(None),
    }
}

impl Subject for Customers {
    type Rules = Engage;
    const NAME: &'static str = "customers";
    const ATTENDS: bool = true;

    fn new(number: u64, without: Classes, seed: &mut Seed) -> Self {
        let destinations = 1 + seed.below(3) as usize;
        let setup = setup::Setup::new(seed, destinations);
        let living = seed.one_in(2).then(|| seed.below(destinations as u64) as usize);
        Self {
            keys: Keys::derive(&[7; 32]),
            door: DoorSettings::default(),
            without,
            sent: Vec::new(),
            acknowledged: BTreeSet::new(),
            logged: BTreeSet::new(),
            messages: 0,
            orders: 0,
            undone: BTreeSet::new(),
            hostile: BTreeSet::new(),
            purchases: Vec::new(),
            reports: BTreeMap::new(),
            commands_pending: 0,
            outside: Outside::new(number, setup.names()),
            setup,
            living,
            told: Told::default(),
            trouble: None,
        }
    }

    fn rules() -> Engage {
        Engage
    }

    fn message(&mut self, seed: &mut Seed, now: Timestamp, out: &mut Vec<u8>) {
        if let Some(body) = self.setup.next() {
            encode_record(out, RecordKind::COMMAND, &body);
            return;
        }
        let before = out.len();
        if seed.one_in(14) && !self.without.has(Class::Commands) {
            self.command(seed, out);
        } else {
            self.request(seed, now, out);
        }
        if out.len() == before {
            encode_record(out, RecordKind::TICK, &[]);
        }
    }

    fn answered(&mut self, core: &mut Core<Engage>, frame: &Frame, outcome: &FrameOutcome) -> Result<u64> {
        self.setup.look(&core.view());
        self.look_at_answers(core, frame, outcome)
    }

    fn check(&mut self, core: &mut Core<Engage>, frames: &[Frame]) -> Result<Explained> {
        if let Some(trouble) = &self.trouble {
            bail!("{trouble}");
        }
        let (mut second, feed) = in_one_go(frames)?;
        ensure!(core.progress().effects_digest == second.progress().effects_digest, "the effects differ");
        ensure!(core.progress().applied == second.progress().applied, "other records counted");
        self.compare(core, &mut second, "in one go")?;
        let feed = read_all(&feed, Place::default())?;
        // Not from the outbox, which forgets whom somebody erased.
        let effects = feed.iter().filter_map(effect_of).collect();
        let explained = Explained { effects, feed, duplicates: second.progress().duplicates };
        self.judge_claims(core, frames, &explained)?;
        Ok(explained)
    }

    fn is_ready(&self) -> bool {
        self.setup.is_done()
    }

    fn began(&mut self, core: &mut Core<Engage>, feed: &Feed, log: LogHandle, world: &World) {
        if std::mem::take(&mut self.commands_pending) > 0 {
            self.purchases.clear();
        }
        self.setup.look(&core.view());
        self.outside.process_began(core, feed, log, &self.keys, world);
    }

    fn ended(&mut self) {
        self.outside.process_ended();
    }

    fn attend(&mut self, around: &mut Around<'_, Engage>) -> Result<()> {
        let bad = !self.without.has(Class::Receivers);
        self.outside.attend(around, bad, self.living)?;
        self.judge_permits(around.core)
    }

    fn finish(
        &mut self,
        around: &mut Around<'_, Engage>,
        frames: &[Frame],
        explained: &Explained,
    ) -> Result<()> {
        let through = explained.feed.last().map(|item| item.id);
        let dead = self.outside.settle(around, through)?;
        self.judge_permits(around.core)?;
        self.told.dead = dead.len() as u64;
        self.judge_arrivals(around, frames, explained, &dead).context("in the end")?;
        self.judge_refusals(around.core, frames)
    }

    fn told(&self) -> Told {
        let books = self.outside.books();
        Told {
            attempts: books.attempts(),
            received: self.outside.network().received() as u64,
            refused: books.refusals() as u64,
            crossed: books.crossed(),
            trace: books.trace(),
            ..self.told
        }
    }
}
