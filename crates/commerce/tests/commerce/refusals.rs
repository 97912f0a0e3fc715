//! Every refusal, by its code; and that what is refused changes nothing.

use super::checks::{orders, payment};
use super::setup::{
    BOOK, RESERVATION_US, SHIRT, SONG, address, cart_key, code, input, open_shop, pay, pay_input, product,
    ready_cart, variant,
};
use super::shard::{Bare, Shard};
use commerce::{
    CartInput, Command, CustomerInput, FulfilInput, LineChange, LineInput, Operation, RefundInput, Refusal,
    Reply, ShopSettings,
};
use model::commerce::cart::{Address, Attribute, Buyer};
use model::commerce::discount::DiscountValue;
use model::commerce::payment::{PaymentAnswer, PaymentOperation, PaymentState};
use model::commerce::stock::{LedgerReason, StockPolicy};
use model::id::{Key, Timestamp};
use model::record::RecordKind;

/// A shop in which something of everything happened.
struct Scene {
    shard: Bare,
    /// A cart that can be paid for.
    ready: commerce::CartShown,
    /// Captured, and nothing sent: order 1001.
    captured: Key,
    /// Authorised, not captured: order 1002.
    capturing: Key,
    /// Its answer is not known.
    authorising: Key,
    /// Sent: order 1003.
    sent: Key,
    customer: u64,
}

fn done() -> PaymentAnswer {
    PaymentAnswer::Done("ref".to_owned())
}

fn answered(payment: Key, operation: PaymentOperation, answer: PaymentAnswer) -> Operation {
    Operation::PaymentAnswered { payment, operation, attempt: 0, answer }
}

fn buy(shard: &mut Bare, name: &str, capture: bool) -> Key {
    let shown = ready_cart(shard, name, &[(BOOK, 2), (SONG, 1)]);
    let payment = Key::of_text("payment", name);
    pay(shard, &shown, payment).unwrap();
    shard.run(answered(payment, PaymentOperation::Authorise, done())).unwrap();
    if capture {
        shard.run(answered(payment, PaymentOperation::Capture, done())).unwrap();
    }
    payment
}

fn fulfil(order: u64, lines: &[(u32, u32)]) -> Operation {
    let (carrier, tracking_number, tracking_url) = (String::new(), String::new(), String::new());
    Operation::OrderFulfil(FulfilInput {
        order,
        lines: lines.to_vec(),
        carrier,
        tracking_number,
        tracking_url,
    })
}

fn refund(order: u64, lines: &[(u32, u32)], amount_minor: Option<i64>) -> Operation {
    let (lines, reason) = (lines.to_vec(), String::new());
    Operation::OrderRefund(RefundInput { order, lines, amount_minor, restock: true, reason })
}

fn scene() -> Scene {
    let mut shard = Bare::new();
    open_shop(&mut shard, 2);
    let captured = buy(&mut shard, "captured", true);
    let capturing = buy(&mut shard, "capturing", false);
    let sent = buy(&mut shard, "sent", true);
    shard.run(fulfil(1_003, &[])).unwrap();
    let shown = ready_cart(&mut shard, "paying", &[(SHIRT, 1)]);
    let authorising = Key::of_text("payment", "paying");
    pay(&mut shard, &shown, authorising).unwrap();
    let ready = ready_cart(&mut shard, "ready", &[(SHIRT, 1)]);
    let email = "ada@example.org".to_owned();
    let created = shard.run(Operation::CustomerCreate(CustomerInput { email, ..CustomerInput::default() }));
    let Ok(Reply::Number(customer)) = created else { panic!("{created:?}") };
    Scene { shard, ready, captured, capturing, authorising, sent, customer }
}

fn lines(variant: u64, quantity: u32) -> Vec<LineInput> {
    vec![LineInput { variant, quantity, attributes: Vec::new() }]
}

fn cart_table(scene: &Scene) -> Vec<(&'static str, Operation)> {
    let ready = scene.ready.cart.key;
    let add = |lines| Operation::CartLinesAdd { cart: ready, lines };
    let change = |number, quantity, variant| Operation::CartLinesUpdate {
        cart: ready,
        lines: vec![LineChange { number, quantity, variant, attributes: None }],
    };
    let buyer = |buyer| Operation::CartBuyer { cart: ready, buyer };
    let email = |text: &str| buyer(Buyer { email: Some(text.to_owned()), ..Buyer::default() });
    let attribute = |key: &str| Attribute { key: key.to_owned(), value: String::new() };
    vec![
        ("cart_exists", Operation::CartCreate { cart: ready, input: CartInput::default() }),
        ("not_found", Operation::CartEmpty { cart: Key(1) }),
        ("not_found", add(lines(99, 1))),
        ("invalid", add(lines(SHIRT, 0))),
        ("invalid", add(lines(SHIRT, 1_000_001))),
        ("not_found", change(77, Some(1), None)),
        ("invalid", change(1, Some(u32::MAX), None)),
        ("not_found", change(1, None, Some(99))),
        ("not_found", Operation::CartLinesRemove { cart: ready, lines: vec![1, 9] }),
        ("invalid", email("ada")),
        ("invalid", email("a b@example.org")),
        ("invalid", email("a@b@example.org")),
        ("not_found", buyer(Buyer { customer: Some(99), ..Buyer::default() })),
        ("invalid", buyer(Buyer { country: Some(*b"de"), ..Buyer::default() })),
        ("invalid", Operation::CartNote { cart: ready, note: "x".repeat(5_001) }),
        ("invalid", Operation::CartNote { cart: ready, note: "\u{0}".to_owned() }),
        ("invalid", Operation::CartAttributes { cart: ready, attributes: vec![attribute("")] }),
        ("too_many", Operation::CartAttributes { cart: ready, attributes: vec![attribute("a"); 251] }),
        ("too_many", Operation::CartDiscountCodes { cart: ready, codes: vec!["A".to_owned(); 21] }),
        ("invalid", Operation::CartDiscountCodes { cart: ready, codes: vec![" ".to_owned()] }),
        ("cart_paying", Operation::CartEmpty { cart: cart_key("paying") }),
        ("cart_ordered", Operation::CartEmpty { cart: cart_key("captured") }),
    ]
}

fn pay_table(scene: &Scene) -> Vec<(&'static str, Operation)> {
    let input = pay_input(&scene.shard, &scene.ready, Key(5), "tok");
    let with = |change: fn(&mut commerce::PayInput)| {
        let mut input = input.clone();
        change(&mut input);
        Operation::Pay(input)
    };
    let paying = commerce::PayInput { payment: scene.captured, ..input.clone() };
    let ordered = commerce::PayInput { order: scene.captured.with(Key(7)), ..input.clone() };
    let authorise = PaymentOperation::Authorise;
    vec![
        ("not_found", with(|input| input.cart = Key(1))),
        ("cart_paying", with(|input| input.cart = cart_key("paying"))),
        ("cart_ordered", with(|input| input.cart = cart_key("captured"))),
        ("cart_changed", with(|input| input.revision += 1)),
        ("price_changed", with(|input| input.expected_total_minor -= 1)),
        ("no_such_provider", with(|input| input.provider = "nobody".to_owned())),
        ("payment_exists", Operation::Pay(paying)),
        ("taken", Operation::Pay(ordered)),
        ("not_found", answered(Key(1), authorise, done())),
        ("nothing_new", answered(scene.captured, authorise, done())),
        ("nothing_new", answered(scene.capturing, PaymentOperation::Void, done())),
        ("nothing_new", answered(scene.authorising, PaymentOperation::Capture, done())),
        (
            "nothing_new",
            Operation::PaymentAnswered {
                payment: scene.capturing,
                operation: PaymentOperation::Capture,
                attempt: 1,
                answer: done(),
            },
        ),
        ("payment_state", Operation::CheckoutGivenUp { payment: scene.captured }),
        ("payment_state", Operation::CheckoutGivenUp { payment: scene.capturing }),
        ("payment_state", Operation::CaptureAgain { payment: scene.captured }),
        ("payment_state", Operation::CaptureAgain { payment: scene.authorising }),
    ]
}

fn order_table(scene: &Scene) -> Vec<(&'static str, Operation)> {
    let cancel = |order| Operation::OrderCancel { order, reason: String::new() };
    let _ = scene;
    vec![
        ("not_found", fulfil(9, &[])),
        ("not_paid", fulfil(1_002, &[])),
        ("line_exceeded", fulfil(1_001, &[(1, 3)])),
        ("line_exceeded", fulfil(1_001, &[(2, 1)])),
        ("not_found", fulfil(1_001, &[(9, 1)])),
        ("invalid", fulfil(1_001, &[(1, 0)])),
        ("invalid", fulfil(1_001, &[(1, 1), (1, 1)])),
        ("order_fulfilled", fulfil(1_003, &[])),
        ("order_fulfilled", cancel(1_003)),
        ("not_found", cancel(9)),
        ("invalid", refund(1_001, &[], None)),
        ("invalid", refund(1_001, &[], Some(0))),
        ("invalid", refund(1_001, &[], Some(-1))),
        ("refund_exceeds_captured", refund(1_001, &[], Some(1_000_000))),
        ("line_exceeded", refund(1_001, &[(1, 3)], None)),
        ("not_paid", refund(1_002, &[], Some(1))),
    ]
}

fn catalogue_table() -> Vec<(&'static str, Operation)> {
    let put = |change: fn(&mut model::commerce::product::Product)| {
        let mut product = product("hat", vec![variant(0, 0, 500, true)]);
        change(&mut product);
        Operation::PutProduct { product, stock: Vec::new() }
    };
    let adjust = |variant, location, change, reason| Operation::StockAdjust {
        variant,
        location,
        change,
        reason,
        note: String::new(),
    };
    let count =
        |variant, location| Operation::StockCount { variant, location, on_hand: 1, note: String::new() };
    let moved =
        |from, to, quantity| Operation::StockMove { variant: SHIRT, from, to, quantity, note: String::new() };
    let settings = |change: fn(&mut ShopSettings)| {
        let mut settings = ShopSettings::default();
        change(&mut settings);
        Operation::PutSettings(settings)
    };
    let prices = |market: &str| Operation::PutFixedPrices {
        market: market.to_owned(),
        prices: Vec::new(),
        removed: Vec::new(),
    };
    vec![
        ("invalid", put(|product| product.title.clear())),
        ("invalid", put(|product| product.handle = "A hat".to_owned())),
        ("taken", put(|product| product.handle = "shirt".to_owned())),
        ("invalid", put(|product| product.variants.clear())),
        ("invalid", put(|product| product.variants[0].price_minor = -1)),
        ("invalid", put(|product| product.variants[0].selected = vec![1])),
        ("invalid", put(|product| product.variants[0].selected.clear())),
        ("invalid", put(|product| product.variants[0].image = Some(0))),
        ("taken", put(|product| product.variants[0].number = SHIRT)),
        ("invalid", put(|product| product.variants.push(product.variants[0].clone()))),
        ("too_many", put(|product| product.options = vec![product.options[0].clone(); 4])),
        ("invalid", put(|product| product.number = 1 << 60)),
        ("not_found", Operation::DeleteProduct(99)),
        ("not_found", Operation::DeleteCollection(99)),
        ("not_found", Operation::DeleteDiscount("none".to_owned())),
        ("invalid", Operation::PutDiscount(code("BIG", DiscountValue::Percentage(1_000_001)))),
        ("invalid", Operation::PutDiscount(code("SUM", DiscountValue::Amount(5)))),
        ("invalid", Operation::PutDiscount(code("", DiscountValue::FreeShipping))),
        ("not_found", prices("nowhere")),
        ("invalid", settings(|settings| settings.name.clear())),
        ("invalid", settings(|settings| settings.reservation_ms = 0)),
        ("invalid", settings(|settings| settings.currency = *b"eur")),
        ("not_found", adjust(99, 1, 1, LedgerReason::Received)),
        ("not_found", adjust(SHIRT, 99, 1, LedgerReason::Received)),
        ("invalid", adjust(SHIRT, 1, 1, LedgerReason::Sold)),
        ("stock", adjust(SHIRT, 1, i64::MAX, LedgerReason::Received)),
        ("not_found", count(SHIRT, 99)),
        ("invalid", moved(1, 1, 1)),
        ("invalid", moved(1, 2, 0)),
        ("stock", moved(2, 1, 100)),
        ("not_found", moved(1, 99, 1)),
        ("invalid", Operation::StockKeepBack { variant: SHIRT, location: 1, safety: -1 }),
        ("not_found", Operation::StockPolicy { variant: 99, tracked: true, policy: StockPolicy::Deny }),
    ]
}

fn customer_table(customer: u64, now: Timestamp) -> Vec<(&'static str, Operation)> {
    let with = |email: &str| CustomerInput { email: email.to_owned(), ..CustomerInput::default() };
    let token = |until, password_version| Operation::CustomerToken {
        customer,
        token: Key(9),
        until,
        password_version,
    };
    let bad = Address { country: *b"??", ..address() };
    let put =
        |number, address| Operation::CustomerAddressPut { customer, number, address, is_default: false };
    vec![
        ("taken", Operation::CustomerCreate(with("ADA@example.org"))),
        ("invalid", Operation::CustomerCreate(with("nobody"))),
        ("not_found", Operation::CustomerPut { customer: 99, input: with("b@example.org") }),
        ("not_found", Operation::CustomerDelete(99)),
        ("invalid", put(0, bad)),
        ("not_found", put(9, address())),
        ("not_found", Operation::CustomerAddressDelete { customer, number: 9 }),
        ("password_changed", token(now.plus_us(1_000_000_000), 7)),
        ("invalid", token(now, 0)),
        ("invalid", token(now.plus_us(i64::MAX / 2), 0)),
        ("not_found", Operation::CustomerTokenRevoke { token: Key(1) }),
    ]
}

#[test]
fn every_refusal_has_its_code_and_changes_nothing() {
    let mut scene = scene();
    let mut table = cart_table(&scene);
    table.extend(pay_table(&scene));
    table.extend(order_table(&scene));
    table.extend(catalogue_table());
    table.extend(customer_table(scene.customer, scene.shard.now()));
    for (code, operation) in table {
        let (rows, effects) = (scene.shard.state.dump(), scene.shard.effects.len());
        let told = format!("{operation:?}");
        match scene.shard.run(operation) {
            Err(refusal) => {
                assert_eq!(refusal.code(), code, "{refusal} ({told})");
                assert!(!refusal.to_string().is_empty());
            }
            Ok(reply) => panic!("{reply:?} instead of {code} for {told}"),
        }
        assert!(scene.shard.state.dump() == rows, "a refusal changed something: {told}");
        assert_eq!(scene.shard.effects.len(), effects, "a refusal told something: {told}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut shard = Bare::new();
    for body in [&[][..], &[9], &[1, 0], &[1, 1, 2, 3]] {
        let reply = shard.apply(RecordKind::COMMAND, body.to_vec()).unwrap();
        assert_eq!(Reply::decode(&reply).unwrap(), Reply::Refused(Refusal::Malformed));
    }
}

#[test]
fn a_cart_is_refused_until_it_is_complete() {
    let mut shard = Bare::new();
    open_shop(&mut shard, 2);
    let cart = cart_key("one");
    let empty = CartInput::default();
    let Ok(Reply::Cart(reply)) = shard.run(Operation::CartCreate { cart, input: empty }) else { panic!() };
    let mut shown = reply.shown;
    let steps = [
        ("cart_empty", Operation::CartLinesAdd { cart, lines: lines(SHIRT, 1) }),
        ("email_missing", Operation::CartBuyer { cart, buyer: input(&[], "a@example.org").buyer }),
        (
            "address_missing",
            Operation::CartAddress { cart, address: Some(Address { country: *b"DE", ..Address::default() }) },
        ),
        ("address_missing", Operation::CartAddress { cart, address: Some(address()) }),
        ("shipping_missing", Operation::CartShipping { cart, method: Some("standard".to_owned()) }),
    ];
    for (code, next) in steps {
        let refusal = pay(&mut shard, &shown, Key(1)).unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
        let Ok(Reply::Cart(reply)) = shard.run(next) else { panic!() };
        shown = reply.shown;
    }
    // Somebody else takes both, and pays later.
    let other = ready_cart(&mut shard, "other", &[(SHIRT, 2)]);
    pay(&mut shard, &other, Key(2)).unwrap();
    let refusal = pay(&mut shard, &shown, Key(1)).unwrap_err();
    let Refusal::NotEnoughStock(short) = &refusal else { panic!("{refusal:?}") };
    assert_eq!((short[0].variant, short[0].available, short[0].wanted), (SHIRT, 0, 1));
    assert!(short[0].may_come_back, "the other checkout may give its units back");
    shard.advance(RESERVATION_US + 1);
    pay(&mut shard, &shown, Key(1)).unwrap();
    // The other one's answer comes late: the last two shirts are not both there.
    shard.run(answered(Key(2), PaymentOperation::Authorise, done())).unwrap();
    let late = payment(&mut shard, Key(2)).unwrap();
    assert_eq!((late.state, late.reason.as_deref()), (PaymentState::Voiding, Some("sold_out")));
    assert!(orders(&mut shard).is_empty());
    let product = shard.view().catalogue().products.get(&1).unwrap().product.clone();
    let hidden = model::commerce::product::Product { published_at: None, ..(*product).clone() };
    shard.run(Operation::PutProduct { product: hidden, stock: Vec::new() }).unwrap();
    let Ok(Reply::Payment(_)) = shard.run(Operation::CheckoutGivenUp { payment: Key(1) }) else { panic!() };
    let commerce::Answer::Cart(Some(shown)) = shard.query(commerce::Query::Cart(cart)) else { panic!() };
    let refusal = pay(&mut shard, &shown, Key(3)).unwrap_err();
    assert_eq!(refusal, Refusal::NotForSale(SHIRT));
}

#[test]
fn a_key_is_for_one_body_and_answers_the_same() {
    let mut scene = scene();
    let once = |note: &str| {
        let note = note.to_owned();
        let adjust = Operation::StockAdjust {
            variant: SHIRT,
            location: 1,
            change: 1,
            reason: LedgerReason::Received,
            note,
        };
        Command::once(Key(77), adjust)
    };
    let first = scene.shard.command(&once("a"));
    assert_eq!(first, Reply::Done);
    let rows = scene.shard.state.dump();
    assert_eq!(scene.shard.command(&once("a")), first);
    let conflict = Reply::Refused(Refusal::IdempotencyConflict);
    assert_eq!(scene.shard.command(&once("b")), conflict);
    assert!(scene.shard.state.dump() == rows, "done once");
    scene.shard.advance(23 * 3_600_000_000);
    assert_eq!(scene.shard.command(&once("b")), conflict, "known for a day");
    scene.shard.advance(2 * 3_600_000_000);
    assert_eq!(scene.shard.command(&once("b")), Reply::Done, "forgotten after it");
}

#[test]
fn carts_go_when_nobody_touches_them_and_orders_stay() {
    let mut scene = scene();
    let day = 24 * 3_600_000_000;
    scene.shard.advance(29 * day);
    scene.shard.run(Operation::CartEmpty { cart: scene.ready.cart.key }).unwrap();
    scene.shard.advance(2 * day);
    let of = |name: &str| commerce::Query::Cart(cart_key(name));
    assert_eq!(scene.shard.query(of("captured")), commerce::Answer::Cart(None));
    let paying = scene.shard.query(of("paying"));
    assert!(matches!(paying, commerce::Answer::Cart(Some(_))), "somebody pays for it");
    assert!(matches!(scene.shard.query(of("ready")), commerce::Answer::Cart(Some(_))), "it was touched");
    assert_eq!(orders(&mut scene.shard).len(), 3);
    // Without its cart, an order can still be refunded.
    scene.shard.run(refund(1_001, &[(1, 1)], None)).unwrap();
}
