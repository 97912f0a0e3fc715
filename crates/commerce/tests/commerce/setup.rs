//! A small shop to test with.

use super::shard::Shard;
use commerce::{
    CartInput, CartShown, LineInput, Operation, PayInput, PaymentShown, Refusal, Reply, ShopSettings,
    StockSetting, token_key,
};
use model::commerce::cart::{Address, Buyer};
use model::commerce::discount::{Discount, DiscountValue};
use model::commerce::product::{OptionValue, Product, ProductOption, Seo, Variant};
use model::commerce::shipping::{ShippingMethod, ShippingRate, ShippingZone};
use model::commerce::stock::StockPolicy;
use model::commerce::tax::TaxRate;
use model::id::{Key, Timestamp};

pub const RESERVATION_US: i64 = 600_000_000;
pub const SHIRT: u64 = 1;
pub const BOOK: u64 = 2;
/// Needs no sending and is not counted.
pub const SONG: u64 = 3;

pub fn variant(number: u64, selected: u32, price_minor: i64, requires_shipping: bool) -> Variant {
    Variant {
        number,
        selected: vec![selected],
        sku: format!("SKU-{number}"),
        barcode: String::new(),
        price_minor,
        compare_at_minor: None,
        requires_shipping,
        taxable: true,
        weight_grams: 300,
        image: None,
        unit: None,
    }
}

pub fn product(handle: &str, variants: Vec<Variant>) -> Product {
    let value = |at: usize| OptionValue { name: format!("V{at}"), swatch_color: None, swatch_image: None };
    let values = (0..variants.len()).map(value).collect();
    Product {
        number: 0,
        handle: handle.to_owned(),
        title: format!("The {handle}"),
        description_html: String::new(),
        vendor: String::new(),
        product_type: String::new(),
        tags: Vec::new(),
        options: vec![ProductOption { name: "Kind".to_owned(), values }],
        variants,
        media: Vec::new(),
        seo: Seo::default(),
        published_at: Some(Timestamp(0)),
        channels: Vec::new(),
        tax_class: String::new(),
        translations: Vec::new(),
        metafields: Vec::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub fn stock(variant: u32, on_hand: Vec<(u64, i64)>) -> StockSetting {
    StockSetting { variant, tracked: true, policy: StockPolicy::Deny, on_hand }
}

/// Two places; so many shirts, three of them in the second place if there are that many; 1,000 books; songs.
pub fn open_shop(shard: &mut impl Shard, shirts: i64) {
    let settings = ShopSettings {
        providers: vec!["test".to_owned()],
        reservation_ms: (RESERVATION_US / 1_000) as u64,
        ..ShopSettings::default()
    };
    shard.run(Operation::PutSettings(settings)).unwrap();
    for name in ["Warehouse", "Shop"] {
        let location = commerce::Location { number: 0, name: name.to_owned() };
        shard.run(Operation::PutLocation(location)).unwrap();
    }
    let rate = TaxRate {
        country: *b"DE",
        region: None,
        tax_class: String::new(),
        name: "VAT".to_owned(),
        rate_ppm: 190_000,
        from: Timestamp(0),
        until: None,
        on_shipping: true,
    };
    shard.run(Operation::PutTaxRates(vec![rate])).unwrap();
    let rates = vec![ShippingRate { least_grams: 0, most_grams: None, least_minor: 0, price_minor: 490 }];
    let (handle, title) = ("standard".to_owned(), "Standard".to_owned());
    let methods = vec![ShippingMethod { handle, title, currency: *b"EUR", rates }];
    let zone = ShippingZone { handle: "world".to_owned(), countries: Vec::new(), methods };
    shard.run(Operation::PutShippingZones(vec![zone])).unwrap();
    shard.run(Operation::PutDiscount(code("TENTH", DiscountValue::Percentage(100_000)))).unwrap();
    let few = Discount { uses_max: Some(3), ..code("FEW", DiscountValue::Percentage(500_000)) };
    shard.run(Operation::PutDiscount(few)).unwrap();
    shard.run(Operation::PutDiscount(code("GIFT", DiscountValue::Percentage(1_000_000)))).unwrap();
    let away = shirts.min(3);
    let on_hand = vec![(1, shirts - away), (2, away)];
    put(shard, product("shirt", vec![variant(0, 0, 1_999, true)]), vec![stock(0, on_hand)]);
    put(shard, product("book", vec![variant(0, 0, 750, true)]), vec![stock(0, vec![(1, 1_000)])]);
    let uncounted = StockSetting { tracked: false, ..stock(0, Vec::new()) };
    put(shard, product("song", vec![variant(0, 0, 99, false)]), vec![uncounted]);
}

pub fn code(code: &str, value: DiscountValue) -> Discount {
    Discount {
        code: code.to_owned(),
        value,
        products: Vec::new(),
        least_subtotal_minor: 0,
        currency: None,
        from: Timestamp(0),
        until: None,
        uses_max: None,
        uses_per_customer_max: None,
        combines: true,
    }
}

pub fn put(shard: &mut impl Shard, product: Product, stock: Vec<StockSetting>) -> Reply {
    shard.run(Operation::PutProduct { product, stock }).unwrap()
}

pub fn cart_key(name: &str) -> Key {
    token_key("cart", name)
}

pub fn address() -> Address {
    Address {
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        address1: "Main street 1".to_owned(),
        city: "Berlin".to_owned(),
        zip: "10115".to_owned(),
        country: *b"DE",
        ..Address::default()
    }
}

pub fn input(lines: &[(u64, u32)], email: &str) -> CartInput {
    let line = |(variant, quantity): &(u64, u32)| LineInput {
        variant: *variant,
        quantity: *quantity,
        attributes: Vec::new(),
    };
    CartInput {
        lines: lines.iter().map(line).collect(),
        buyer: Buyer { email: Some(email.to_owned()), ..Buyer::default() },
        address: Some(address()),
        ..CartInput::default()
    }
}

/// A cart that only has to be paid for.
pub fn ready_cart(shard: &mut impl Shard, name: &str, lines: &[(u64, u32)]) -> CartShown {
    let cart = cart_key(name);
    let create = Operation::CartCreate { cart, input: input(lines, &format!("{name}@example.org")) };
    shard.run(create).unwrap();
    let method = Some("standard".to_owned());
    match shard.run(Operation::CartShipping { cart, method }).unwrap() {
        Reply::Cart(reply) => reply.shown,
        other => panic!("{other:?}"),
    }
}

pub fn pay_input(shard: &impl Shard, shown: &CartShown, payment: Key, method: &str) -> PayInput {
    let price = shard.view().price(shown, shard.now().plus_us(1)).unwrap();
    PayInput {
        cart: shown.cart.key,
        revision: shown.cart.revision,
        payment,
        order: payment.with(Key(7)),
        provider: "test".to_owned(),
        method: method.to_owned(),
        expected_total_minor: price.totals.total_minor,
    }
}

pub fn pay(shard: &mut impl Shard, shown: &CartShown, payment: Key) -> Result<PaymentShown, Refusal> {
    let input = pay_input(shard, shown, payment, "tok_ok");
    match shard.run(Operation::Pay(input))? {
        Reply::Payment(shown) => Ok(*shown),
        other => panic!("{other:?}"),
    }
}
