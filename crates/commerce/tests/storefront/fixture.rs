//! A small shop: five products, two collections, three markets.

use commerce::storefront::{GraphqlRequest, RequestContext, Storefront, StorefrontOptions, WordSearch};
use commerce::{Commerce, Location, Menu, MenuLink, Operation, Policy, Shop, ShopSettings, StockSetting};
use engine::recovery::{OpenOptions, open};
use engine::{Engine, EngineOptions};
use env::Env;
use model::commerce::discount::{Discount, DiscountValue};
use model::commerce::market::{Conversion, Market};
use model::commerce::money::Rounding;
use model::commerce::product::{
    Collection, CollectionOrder, Condition, Image, Members, Metafield, OptionValue, Product, ProductOption,
    Seo, Translation, UnitMeasure, Variant,
};
use model::commerce::shipping::{ShippingMethod, ShippingRate, ShippingZone};
use model::commerce::stock::StockPolicy;
use model::commerce::tax::TaxRate;
use model::id::Timestamp;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;

/// When the tests are: 2026-11-22T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_348_800_000_000);
/// Where the checkout is.
pub(crate) const CHECKOUT: &str = "https://checkout.example";

/// A shop that runs, with its door.
pub(crate) struct Fixture {
    pub(crate) shop: Shop,
    pub(crate) door: Arc<Storefront>,
    runtime: Runtime,
    folder: PathBuf,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shop.engine().stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Bytes that look random and are the same in every run: xorshift64*.
fn random(seed: u64) -> commerce::storefront::Random {
    let state = AtomicU64::new(seed | 1);
    Arc::new(move |bytes: &mut [u8]| {
        for byte in bytes {
            let mut word = state.load(Ordering::Relaxed);
            word ^= word >> 12;
            word ^= word << 25;
            word ^= word >> 27;
            state.store(word, Ordering::Relaxed);
            *byte = (word.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8;
        }
    })
}

impl Fixture {
    /// A shop with nothing in it.
    pub(crate) fn empty(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("throughline-storefront-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let env = Env::real();
        let opened = open(&env, &folder, || Commerce, &OpenOptions::default()).unwrap();
        let shop = Shop::new(Engine::start(&env, opened, EngineOptions::default()).unwrap());
        let options = StorefrontOptions {
            checkout_url: CHECKOUT.to_owned(),
            introspection: true,
            password_rounds: NonZeroU32::new(10),
        };
        let door =
            Storefront::new(shop.clone(), options, Box::new(WordSearch::default()), random(7)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { shop, door: Arc::new(door), runtime, folder }
    }

    /// The small shop.
    pub(crate) fn new(name: &str) -> Self {
        let fixture = Self::empty(name);
        for operation in operations() {
            fixture.operate(operation);
        }
        fixture
    }

    /// Does something to the shop.
    pub(crate) fn operate(&self, operation: Operation) -> commerce::Reply {
        self.runtime.block_on(self.shop.operate(operation)).unwrap().unwrap()
    }

    /// The answer to a request, as bytes.
    pub(crate) fn answer(&self, request: &GraphqlRequest) -> Vec<u8> {
        let context =
            RequestContext { channel: "online".to_owned(), now: NOW, buyer_ip: None, idempotency: None };
        self.runtime.block_on(self.door.execute(request, &context))
    }

    /// The answer to a document with variables.
    pub(crate) fn ask(&self, query: &str, variables: Value) -> Value {
        let request = GraphqlRequest {
            query: query.to_owned(),
            operation_name: None,
            variables: variables.as_object().cloned(),
        };
        let answer = self.answer(&request);
        serde_json::from_slice(&answer)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer)))
    }

    /// What a document is answered, without errors.
    pub(crate) fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(query, variables);
        assert!(answer.get("errors").is_none(), "{query}\n{answer:#}");
        answer["data"].take()
    }

    /// The same without variables.
    pub(crate) fn read(&self, query: &str) -> Value {
        self.data(query, json!({}))
    }

    /// A new cart with some of a variant: its id.
    pub(crate) fn cart(&self, lines: Value) -> String {
        let query = "mutation($lines: [CartLineInput!]) {
            cartCreate(input: { lines: $lines }) { cart { id } userErrors { message } }
        }";
        let data = self.data(query, json!({ "lines": lines }));
        assert_eq!(data["cartCreate"]["userErrors"], json!([]));
        data["cartCreate"]["cart"]["id"].as_str().unwrap().to_owned()
    }
}

fn operations() -> Vec<Operation> {
    vec![
        Operation::PutSettings(settings()),
        Operation::PutMarkets(markets()),
        Operation::PutTaxRates(vec![rate(*b"DE", "VAT", 190_000), rate(*b"US", "Sales tax", 80_000)]),
        Operation::PutShippingZones(zones()),
        Operation::PutLocation(Location { number: 0, name: "Main".to_owned() }),
        product(shoe(), &[5, 0, 3, 2, 1, 0]),
        product(oil(), &[10]),
        product(note(), &[-1]),
        product(hidden(), &[1]),
        product(sold_out(), &[0]),
        Operation::PutCollection(collection(1, "everyday", Members::Chosen(vec![2, 1, 4]))),
        Operation::PutCollection(collection(
            2,
            "shoes",
            Members::All(vec![Condition::Tag("shoe".to_owned())]),
        )),
        Operation::PutDiscount(Discount {
            code: "WELCOME10".to_owned(),
            value: DiscountValue::Percentage(100_000),
            products: Vec::new(),
            least_subtotal_minor: 0,
            currency: None,
            from: Timestamp(0),
            until: None,
            uses_max: None,
            uses_per_customer_max: None,
            combines: false,
        }),
    ]
}

fn settings() -> ShopSettings {
    let link =
        |title: &str, url: &str, links| MenuLink { title: title.to_owned(), url: url.to_owned(), links };
    ShopSettings {
        name: "Corner Shop".to_owned(),
        description: "Good things".to_owned(),
        primary_domain: "https://corner.example".to_owned(),
        policies: vec![Policy {
            handle: "privacy-policy".to_owned(),
            title: "Privacy".to_owned(),
            body_html: "<p>We keep little.</p>".to_owned(),
        }],
        menus: vec![Menu {
            handle: "main-menu".to_owned(),
            title: "Main".to_owned(),
            links: vec![link(
                "Shoes",
                "/collections/shoes",
                vec![link("Trail", "/products/trail-shoe", Vec::new())],
            )],
        }],
        ..ShopSettings::default()
    }
}

fn markets() -> Vec<Market> {
    let market = |handle: &str, countries: &[[u8; 2]], currency: [u8; 3], include: bool, conversion| Market {
        handle: handle.to_owned(),
        name: handle.to_uppercase(),
        countries: countries.to_vec(),
        currency,
        languages: vec!["en".to_owned(), "de".to_owned()],
        prices_include_tax: include,
        rounding: Rounding::HalfUp,
        cash_step_minor: 1,
        conversion,
    };
    let dollars = Conversion { numerator: 110, denominator: 100, ending_minor: 99, ending_of_minor: 100 };
    let yen = Conversion { numerator: 160, denominator: 100, ..Conversion::SAME };
    vec![
        market("eu", &[*b"DE", *b"AT", *b"FR"], *b"EUR", true, Conversion::SAME),
        market("us", &[*b"US"], *b"USD", false, dollars),
        market("jp", &[*b"JP"], *b"JPY", true, yen),
    ]
}

fn rate(country: [u8; 2], name: &str, rate_ppm: u32) -> TaxRate {
    TaxRate {
        country,
        region: None,
        tax_class: String::new(),
        name: name.to_owned(),
        rate_ppm,
        from: Timestamp(0),
        until: None,
        on_shipping: true,
    }
}

fn zones() -> Vec<ShippingZone> {
    let method = |handle: &str, price_minor| ShippingMethod {
        handle: handle.to_owned(),
        title: handle.to_uppercase(),
        currency: *b"EUR",
        rates: vec![ShippingRate { least_grams: 0, most_grams: None, least_minor: 0, price_minor }],
    };
    let methods = vec![method("standard", 4_90), method("express", 12_00)];
    vec![ShippingZone { handle: "eu".to_owned(), countries: vec![*b"DE", *b"AT"], methods }]
}

/// A product with what is on hand of each variant; below zero is not counted.
fn product(product: Product, on_hand: &[i64]) -> Operation {
    let setting = |(index, units): (usize, &i64)| StockSetting {
        variant: index as u32,
        tracked: *units >= 0,
        policy: StockPolicy::Deny,
        on_hand: if *units >= 0 { vec![(1, *units)] } else { Vec::new() },
    };
    let stock = on_hand.iter().enumerate().map(setting).collect();
    Operation::PutProduct { product, stock }
}

fn plain(number: u64, title: &str, price_minor: i64) -> Product {
    let handle = title.to_lowercase().replace(' ', "-");
    Product {
        number,
        handle,
        title: title.to_owned(),
        description_html: format!("<p>A <b>{title}</b> &amp; more.</p>"),
        vendor: "Acme".to_owned(),
        product_type: "Things".to_owned(),
        tags: vec!["all".to_owned()],
        options: vec![option("Title", &["Default Title"])],
        variants: vec![variant(number * 100, &[0], price_minor)],
        media: Vec::new(),
        seo: Seo::default(),
        published_at: Some(Timestamp(1_700_000_000_000_000)),
        channels: Vec::new(),
        tax_class: String::new(),
        translations: Vec::new(),
        metafields: Vec::new(),
        created_at: Timestamp(1_700_000_000_000_000),
        updated_at: Timestamp(1_700_000_000_000_000),
    }
}

fn option(name: &str, values: &[&str]) -> ProductOption {
    let value = |name: &&str| OptionValue {
        name: (*name).to_owned(),
        swatch_color: (*name == "Red").then(|| "#ff0000".to_owned()),
        swatch_image: (*name == "Blue").then(|| "https://cdn.example/blue.png".to_owned()),
    };
    ProductOption { name: name.to_owned(), values: values.iter().map(value).collect() }
}

fn variant(number: u64, selected: &[u32], price_minor: i64) -> Variant {
    Variant {
        number,
        selected: selected.to_vec(),
        sku: format!("SKU-{number}"),
        barcode: String::new(),
        price_minor,
        compare_at_minor: None,
        requires_shipping: true,
        taxable: true,
        weight_grams: 400,
        image: None,
        unit: None,
    }
}

fn shoe() -> Product {
    let unit = UnitMeasure {
        unit: "G".to_owned(),
        quantity_milli: 800_000,
        reference_unit: "KG".to_owned(),
        reference_quantity: 1,
    };
    let variants = (0..6_u32).map(|index| {
        let price = 59_00 + i64::from(index % 2) * 1_00;
        let number = 100 + u64::from(index);
        Variant { unit: Some(unit.clone()), ..variant(number, &[index / 2, index % 2], price) }
    });
    let image = |name: &str| Image {
        url: format!("https://cdn.example/{name}.jpg"),
        alt: name.to_owned(),
        width: Some(800),
        height: Some(600),
    };
    let said = |field: &str, text: &str| Translation {
        language: "de".to_owned(),
        field: field.to_owned(),
        text: text.to_owned(),
    };
    Product {
        tags: vec!["shoe".to_owned(), "all".to_owned()],
        product_type: "Shoes".to_owned(),
        options: vec![option("Size", &["S", "M", "L"]), option("Color", &["Red", "Blue"])],
        variants: variants.collect(),
        media: vec![image("front"), image("side")],
        seo: Seo { title: Some("Shoes for trails".to_owned()), description: None },
        translations: vec![
            said("title", "Wanderschuh"),
            said("options.Size", "Größe"),
            said("options.Color.Red", "Rot"),
        ],
        metafields: vec![Metafield {
            namespace: "care".to_owned(),
            key: "guide".to_owned(),
            kind: "single_line_text_field".to_owned(),
            value: "Brush \"dry\"".to_owned(),
        }],
        ..plain(1, "Trail Shoe", 0)
    }
}

fn oil() -> Product {
    let unit = UnitMeasure {
        unit: "ML".to_owned(),
        quantity_milli: 500_000,
        reference_unit: "L".to_owned(),
        reference_quantity: 1,
    };
    let bottle = Variant { unit: Some(unit), compare_at_minor: Some(15_00), ..variant(200, &[0], 12_50) };
    Product { vendor: "Olea".to_owned(), variants: vec![bottle], ..plain(2, "Olive Oil", 0) }
}

fn note() -> Product {
    let digital = Variant { requires_shipping: false, ..variant(300, &[0], 1_00) };
    Product { variants: vec![digital], ..plain(3, "Gift Note", 0) }
}

fn hidden() -> Product {
    Product { published_at: None, ..plain(4, "Secret Thing", 1_00) }
}

fn sold_out() -> Product {
    plain(5, "Rare Book", 99_00)
}

fn collection(number: u64, handle: &str, members: Members) -> Collection {
    Collection {
        number,
        handle: handle.to_owned(),
        title: handle.to_uppercase(),
        description_html: "<p>Chosen.</p>".to_owned(),
        image: Some(Image {
            url: "https://cdn.example/c.jpg".to_owned(),
            alt: String::new(),
            width: None,
            height: None,
        }),
        members,
        order: CollectionOrder::Manual,
        seo: Seo::default(),
        published_at: Some(Timestamp(0)),
        translations: Vec::new(),
        updated_at: Timestamp(0),
    }
}

impl Fixture {
    /// The number of the customer with an e-mail address.
    pub(crate) fn shop_customer(&self, email: &str) -> u64 {
        let query = commerce::Query::CustomerByEmail(email.to_owned());
        self.runtime.block_on(self.shop.customer(query)).unwrap().unwrap().number
    }

    /// Runs something beside the door.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}
