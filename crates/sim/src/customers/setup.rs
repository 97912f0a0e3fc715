//! What an operator sets before the shop opens: audiences, found for the nobody who is there yet, and destinations.

use crate::outside::Outside;
use engage::{
    Command, ConsentNeed, Destination, DestinationKind, Draft, Operation, PARTS, SendingClass, SendingLimits,
    Stretch, View,
};
use env::seeded::Seed;
use model::audience::{DefinitionId, DefinitionKind};
use model::id::{Key, Position};

/// The audience of those who looked and did not buy.
pub(super) const CART: u32 = 0;
const AUDIENCES: [(&str, &str); 3] = [
    ("cart", r#"count("Product Viewed", "30d") > 0 && count("Order Completed", "30d") == 0"#),
    ("buyers", r#"count("Order Completed") > 0"#),
    ("agreed", r#"consent("Advertising")"#),
];

/// What a destination gets.
pub(super) struct Wish {
    pub(super) name: &'static str,
    pub(super) class: SendingClass,
    pub(super) kinds: &'static [&'static str],
    pub(super) audiences: &'static [&'static str],
    pub(super) events: &'static [&'static str],
}

const WISHES: [Wish; 3] = [
    Wish {
        name: "reminders",
        class: SendingClass::Marketing,
        kinds: &["audience.entered", "audience.exited"],
        audiences: &["cart"],
        events: &[],
    },
    Wish {
        name: "crm",
        class: SendingClass::Transactional,
        kinds: &[
            "audience.entered",
            "audience.exited",
            "profile.merged",
            "profile.erased",
            "suppression.started",
            "suppression.ended",
        ],
        audiences: &[],
        events: &[],
    },
    Wish {
        name: "orders",
        class: SendingClass::Transactional,
        kinds: &[],
        audiences: &[],
        events: &["Order Completed"],
    },
];

/// See the module.
pub(super) struct Setup {
    destinations: Vec<&'static Wish>,
    next: Option<Operation>,
    open: bool,
}

impl Setup {
    pub(super) fn new(seed: &mut Seed, destinations: usize) -> Self {
        let first = seed.below(WISHES.len() as u64) as usize;
        let places = (first..first + destinations).map(|place| place % WISHES.len());
        let destinations = places.filter_map(|place| WISHES.get(place)).collect();
        let mut setup = Self { destinations, next: None, open: false };
        setup.look(&View::default());
        setup
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.destinations.iter().map(|wish| wish.name.to_owned()).collect()
    }

    pub(super) fn wishes(&self) -> &[&'static Wish] {
        &self.destinations
    }

    /// The command that is to be sent next; nothing once the shop is open.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let operation = self.next.clone()?;
        let mut body = Vec::new();
        Command { idempotency: Key(0), operation }.encode(&mut body);
        Some(body)
    }

    pub(super) fn is_done(&self) -> bool {
        self.open
    }

    /// Sees how far the shard is, as the thread of a server that fills audiences back does.
    pub(super) fn look(&mut self, view: &View) {
        if !self.open {
            self.next = self.wanted(view);
            self.open = self.next.is_none();
        }
    }

    fn wanted(&self, view: &View) -> Option<Operation> {
        let (book, settings) = (view.book(), view.settings());
        if let Some((name, rule)) = AUDIENCES.iter().find(|(name, _)| book.named(name).is_none()) {
            let kind = DefinitionKind::Audience { rule: (*rule).into(), suppress: None };
            return Some(Operation::Define(Draft { name: (*name).to_owned(), changes: None, kind }));
        }
        if let Some(row) = view.backfills().into_iter().next() {
            let definition: DefinitionId = row.definition;
            if row.is_gathering() {
                let stretch =
                    Stretch { from: row.read_to, to: row.defined_at, parts: (0, PARTS), nodes: Vec::new() };
                return Some(Operation::Gather { definitions: vec![definition], stretch });
            }
            if row.chunks == u64::MAX {
                return Some(Operation::Backfilled { definition, chunks: u64::MAX });
            }
            let (from, to) = (row.chunks, u64::MAX);
            return Some(Operation::Reckon { definitions: vec![definition], from, to, people: Vec::new() });
        }
        let is_known = |wish: &Wish| settings.destinations.iter().any(|one| one.name == wish.name);
        let place = self.destinations.iter().position(|wish| !is_known(wish))?;
        self.destinations.get(place).map(|wish| Operation::DefineDestination(destination(wish, place)))
    }
}

fn destination(wish: &Wish, place: usize) -> Destination {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Destination {
        name: wish.name.to_owned(),
        kind: DestinationKind::Webhook { url: Outside::url(place) },
        consent: ConsentNeed::NotNeeded,
        consent_category: None,
        class: wish.class,
        kinds: owned(wish.kinds),
        audiences: owned(wish.audiences),
        identifiers: Vec::new(),
        events: owned(wish.events),
        secret_generation: 0,
        overlap: false,
        enabled: true,
        limits: SendingLimits::default(),
        since: Position(0),
    }
}
