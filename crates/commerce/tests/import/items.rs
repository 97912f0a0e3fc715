//! Random products: those that a CSV can say, and all.

use super::TERMS;
use commerce::StockSetting;
use commerce::import::{CONTINUE_UNITS, Item};
use model::commerce::product::{
    Image, Metafield, OptionValue, Product, ProductOption, Seo, Translation, UnitMeasure, Variant,
};
use model::commerce::stock::StockPolicy;
use model::id::Timestamp;
use proptest::prelude::*;

/// A word without anything that a cell would lose: blanks around it, or nothing at all.
fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9äßé\"'<>&=+@;:-]([a-zA-Z0-9 ,\"'\n\t<>&;:äß-]{0,20}[a-zA-Z0-9\"!?.])?"
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 3 => word()]
}

fn tag() -> impl Strategy<Value = String> {
    "[a-z0-9\"]([a-z0-9 \"]{0,10}[a-z0-9])?"
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9]([A-Za-z0-9 /\",.]{0,10}[A-Za-z0-9])?"
}

fn unit() -> impl Strategy<Value = Option<UnitMeasure>> {
    let names = || prop::sample::select(vec!["ML", "CL", "L", "G", "KG", "M2"]);
    let measure = (names(), 0_u32..2_000_000, names(), 0_u32..1_000);
    prop::option::of(measure.prop_map(|(unit, quantity_milli, reference_unit, reference_quantity)| {
        UnitMeasure {
            unit: unit.to_owned(),
            quantity_milli,
            reference_unit: reference_unit.to_owned(),
            reference_quantity,
        }
    }))
}

/// What a variant is, but for the values of its options.
fn variant() -> impl Strategy<Value = (Variant, Option<(bool, bool, Option<i64>)>)> {
    let money = || prop_oneof![0_i64..100_000, Just(0), Just(1_000_000_000_000_000)];
    let texts = (words(), "[0-9]{0,13}|[A-Z0-9]{1,8}");
    let flags = (any::<bool>(), any::<bool>(), 0_u32..100_000, prop::option::of(0_u32..4), unit());
    let stock = prop::option::of((any::<bool>(), any::<bool>(), prop::option::of(-100_i64..1_000_000)));
    (texts, money(), prop::option::of(money()), flags, stock).prop_map(
        |((sku, barcode), price_minor, compare_at_minor, flags, stock)| {
            let (requires_shipping, taxable, weight_grams, image, unit) = flags;
            let variant = Variant {
                number: 0,
                selected: Vec::new(),
                sku,
                barcode,
                price_minor,
                compare_at_minor,
                requires_shipping,
                taxable,
                weight_grams,
                image,
                unit,
            };
            (variant, stock)
        },
    )
}

fn product() -> impl Strategy<Value = Product> {
    let texts = (word(), words(), words(), words(), words());
    let seo = (prop::option::of(word()), prop::option::of(word()));
    let metafields = prop::collection::btree_map("[a-c]", word(), 0..3);
    let media = prop::collection::vec(words(), 0..6);
    (texts, prop::collection::btree_set(tag(), 0..4), seo, metafields, media, any::<bool>()).prop_map(
        |(
            (title, description_html, vendor, product_type, tax_class),
            tags,
            seo,
            metafields,
            media,
            shown,
        )| Product {
            number: 0,
            handle: String::new(),
            title,
            description_html,
            vendor,
            product_type,
            tags: tags.into_iter().collect(),
            options: Vec::new(),
            variants: Vec::new(),
            media: (0..).zip(media).map(picture).collect(),
            seo: Seo { title: seo.0, description: seo.1 },
            published_at: shown.then_some(TERMS.at),
            channels: Vec::new(),
            tax_class,
            translations: Vec::new(),
            metafields: metafields.into_iter().map(metafield).collect(),
            created_at: TERMS.at,
            updated_at: TERMS.at,
        },
    )
}

fn picture((index, alt): (u32, String)) -> Image {
    Image { url: format!("https://img.example/{index}.jpg?v=1,2"), alt, width: None, height: None }
}

fn metafield((key, value): (String, String)) -> Metafield {
    Metafield { namespace: "custom".to_owned(), key, kind: "single_line_text_field".to_owned(), value }
}

/// A product as a CSV can say it: values of options are in the order in which variants have them first.
fn sheet_item() -> impl Strategy<Value = Item> {
    let names = prop::collection::btree_set(name(), 0..=3);
    let variants = prop::collection::btree_map((0_u32..3, 0_u32..3, 0_u32..3), variant(), 1..6);
    (product(), names, variants, any::<bool>()).prop_map(|(mut product, names, variants, reversed)| {
        let names: Vec<String> = names.into_iter().collect();
        if names.is_empty() {
            product.options = vec![option("Title".to_owned())];
        } else {
            product.options = names.into_iter().map(option).collect();
        }
        let mut variants: Vec<_> = variants.into_iter().collect();
        if reversed {
            variants.reverse();
        }
        let mut stock = Vec::new();
        let mut seen: Vec<Vec<u32>> = Vec::new();
        let unnamed = product.options.len() == 1 && product.options[0].name == "Title";
        for ((one, two, three), (mut variant, said)) in variants {
            let chosen: Vec<u32> = [one, two, three].into_iter().take(product.options.len()).collect();
            if seen.contains(&chosen) || (unnamed && !seen.is_empty()) {
                continue;
            }
            seen.push(chosen.clone());
            for (option, value) in product.options.iter_mut().zip(chosen) {
                let name =
                    if unnamed { "Default Title".to_owned() } else { format!("{} {value}", option.name) };
                let known = option.values.iter().position(|own| own.name == name);
                variant.selected.push(known.unwrap_or(option.values.len()) as u32);
                if known.is_none() {
                    option.values.push(OptionValue { name, swatch_color: None, swatch_image: None });
                }
            }
            variant.image = variant.image.filter(|index| (*index as usize) < product.media.len());
            if let Some((tracked, endless, units)) = said {
                stock.push(StockSetting {
                    variant: product.variants.len() as u32,
                    tracked,
                    policy: if endless { StockPolicy::Backorder(CONTINUE_UNITS) } else { StockPolicy::Deny },
                    on_hand: units.map(|units| (TERMS.location, units)).into_iter().collect(),
                });
            }
            product.variants.push(variant);
        }
        Item { product, stock }
    })
}

fn option(name: String) -> ProductOption {
    ProductOption { name, values: Vec::new() }
}

/// Products with handles of their own.
pub fn sheet_items() -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(sheet_item(), 0..5).prop_map(|mut items| {
        for (index, item) in items.iter_mut().enumerate() {
            item.product.handle = format!("product-{index}");
        }
        items
    })
}

/// What else a product may have.
#[derive(Clone, Debug)]
struct Rest {
    numbered: bool,
    at: [i64; 3],
    channel: Option<String>,
    translation: Option<(String, String)>,
    swatch: Option<String>,
    size: Option<u32>,
    location: u64,
    backorder: Option<u32>,
    text: String,
}

fn rest() -> impl Strategy<Value = Rest> {
    // Years from 1653 to 9999, to the microsecond.
    let at = prop::array::uniform3(-10_000_000_000_000_000_i64..250_000_000_000_000_000);
    let texts = (prop::option::of(words()), prop::option::of((name(), any::<String>())), any::<String>());
    let options =
        (prop::option::of("#[0-9a-f]{6}"), prop::option::of(any::<u32>()), prop::option::of(any::<u32>()));
    (any::<bool>(), at, texts, options, any::<u64>()).prop_map(|(numbered, at, texts, options, location)| {
        Rest {
            numbered,
            at,
            channel: texts.0,
            translation: texts.1,
            swatch: options.0,
            size: options.1,
            location,
            backorder: options.2,
            text: texts.2,
        }
    })
}

/// Any products that may be.
pub fn any_items() -> impl Strategy<Value = Vec<Item>> {
    (sheet_items(), prop::collection::vec(rest(), 5)).prop_map(|(mut items, rests)| {
        for ((index, item), rest) in (1_u64..).zip(&mut items).zip(rests) {
            extend(index, item, rest);
        }
        items
    })
}

fn extend(index: u64, item: &mut Item, rest: Rest) {
    let product = &mut item.product;
    product.number = if rest.numbered { index } else { 0 };
    for (variant, number) in product.variants.iter_mut().zip(index * 100..) {
        variant.number = if rest.numbered { number } else { 0 };
    }
    product.description_html.push_str(&rest.text);
    product.published_at = product.published_at.map(|_| Timestamp(rest.at[0]));
    product.created_at = Timestamp(rest.at[1]);
    product.updated_at = Timestamp(rest.at[2]);
    product.channels.extend(rest.channel);
    let translation = |(language, text)| Translation { language, field: "title".to_owned(), text };
    product.translations.extend(rest.translation.map(translation));
    product.options[0].values[0].swatch_color = rest.swatch;
    if let Some(image) = product.media.first_mut() {
        image.width = rest.size;
        image.height = rest.size;
    }
    for setting in &mut item.stock {
        setting.on_hand.push((rest.location, 1));
        setting.policy = rest.backorder.map_or(StockPolicy::Deny, StockPolicy::Backorder);
    }
}
