//! Catalogues in and out: what is read, what is refused and why, and that what was written reads back as it was.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]

#[path = "import/items.rs"]
mod items;
#[path = "import/refused.rs"]
mod refused;

use commerce::StockSetting;
use commerce::import::{
    CONTINUE_UNITS, ImportTerms, Imported, Item, check, read_csv, read_json_lines, write_csv,
    write_json_lines,
};
use items::{any_items, sheet_items};
use model::commerce::product::{Image, Metafield};
use model::commerce::stock::StockPolicy;
use model::feature::value::instant;
use model::id::Timestamp;
use proptest::prelude::*;

const TERMS: ImportTerms =
    ImportTerms { currency: *b"EUR", location: 7, at: Timestamp(1_760_000_000_000_000) };

/// Name, values of the options, price, weight and picture of a variant.
type VariantFacts<'a, N> = (N, &'a [u32], i64, u32, Option<u32>);

fn csv(text: &str) -> Imported {
    read_csv(text.as_bytes(), &TERMS).unwrap()
}

fn lines(text: &str) -> Imported {
    read_json_lines(text.as_bytes(), &TERMS).unwrap()
}

fn written_csv(items: &[Item], terms: &ImportTerms) -> Vec<u8> {
    let mut out = Vec::new();
    write_csv(items.iter(), terms, &mut out).unwrap();
    out
}

fn written_lines(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    write_json_lines(items.iter(), &mut out).unwrap();
    out
}

fn image(url: &str, alt: &str) -> Image {
    Image { url: format!("https://img.example/{url}.jpg"), alt: alt.to_owned(), width: None, height: None }
}

fn setting(variant: u32, tracked: bool, policy: StockPolicy, units: i64) -> StockSetting {
    StockSetting { variant, tracked, policy, on_hand: vec![(TERMS.location, units)] }
}

#[test]
fn a_csv_becomes_products() {
    let imported = csv(include_str!("import/clothes.csv"));
    assert_eq!(imported.report.refused, []);
    assert_eq!((imported.report.rows, imported.report.rows_refused), (5, 0));
    let ignored = [("Google Shopping / Gender".to_owned(), 1), ("Cost per item".to_owned(), 1)];
    assert_eq!(imported.report.ignored, ignored);
    let [shirt, label] = &imported.items[..] else { panic!("{:?}", imported.items) };

    let product = &shirt.product;
    assert_eq!((product.handle.as_str(), product.title.as_str()), ("linen-shirt", "Linen shirt"));
    assert_eq!(product.description_html, "<p>Light, and \"cool\".\nTwo lines.</p>");
    assert_eq!(product.tags, ["linen", "summer"]);
    assert_eq!((product.published_at, product.tax_class.as_str()), (Some(TERMS.at), "clothes"));
    assert_eq!(product.seo.title.as_deref(), Some("Linen shirt | Nord"));
    let names: Vec<(&str, Vec<&str>)> = product
        .options
        .iter()
        .map(|option| (option.name.as_str(), option.values.iter().map(|value| value.name.as_str()).collect()))
        .collect();
    assert_eq!(names, [("Size", vec!["S", "M"]), ("Colour", vec!["Red", "Blue"])]);
    let media = [
        image("front", "From the front"),
        image("back", "From behind"),
        image("detail", ""),
        image("tag", "The tag"),
        image("red", ""),
    ];
    assert_eq!(product.media, media);
    let care = Metafield {
        namespace: "custom".to_owned(),
        key: "care".to_owned(),
        kind: "single_line_text_field".to_owned(),
        value: "Wash at 30".to_owned(),
    };
    assert_eq!(product.metafields, [care]);
    let facts: Vec<_> = product
        .variants
        .iter()
        .map(|one| (one.sku.as_str(), &one.selected[..], one.price_minor, one.weight_grams, one.image))
        .collect();
    let expected: [VariantFacts<'_, &str>; 3] = [
        ("LS-S-R", &[0, 0], 29_90, 180, Some(4)),
        ("LS-M-R", &[1, 0], 29_90, 190, None),
        // A fifth of a gram: `Variant Grams` is in grams, whatever the unit is that it is shown in.
        ("LS-M-B", &[1, 1], 31_50, 0, Some(0)),
    ];
    assert_eq!(facts, expected);
    assert_eq!(
        (product.variants[0].compare_at_minor, &*product.variants[0].barcode),
        (Some(39_90), "0123456789012")
    );
    let continued = StockPolicy::Backorder(CONTINUE_UNITS);
    assert_eq!(shirt.stock, [setting(0, true, StockPolicy::Deny, 4), setting(1, true, continued, -1)]);

    let variant = &label.product.variants[0];
    assert_eq!((label.product.published_at, label.stock.len()), (None, 0));
    assert_eq!((variant.price_minor, variant.requires_shipping, variant.taxable), (5_00, false, false));
    assert_eq!(label.product.variant_title(variant, ""), "Default Title");
}

#[test]
fn cells_mean_what_they_mean_on_the_platform() {
    for (published, status, shown) in [
        ("", "", true),
        ("TRUE", "", true),
        ("false", "", false),
        ("", "active", true),
        ("true", "Draft", false),
        ("true", "archived", false),
        ("false", "active", false),
    ] {
        let imported = csv(&format!("Title,Price,Published,Status\nA,1,{published},{status}\n"));
        let expected = shown.then_some(TERMS.at);
        assert_eq!(imported.items[0].product.published_at, expected, "{published:?} {status:?}");
    }
    for (weight, unit, grams) in [("1.5", "lb", 680), ("1.5", "", 2), ("0.25", "kg", 250), ("", "oz", 0)] {
        let imported = csv(&format!("Title,Price,Variant Weight,Variant Weight Unit\nA,1,{weight},{unit}\n"));
        assert_eq!(imported.items[0].product.variants[0].weight_grams, grams, "{weight} {unit}");
    }
    let imported = csv("Handle,Title,Price,Image Src\na,A,1,one\na,,,two\na,,,one\n");
    let pictures: Vec<&str> = imported.items[0].product.media.iter().map(|one| one.url.as_str()).collect();
    assert_eq!(pictures, ["one", "two"]);
    for (said, shown) in [("", Some(TERMS.at)), (r#","publishedAt":null"#, None)] {
        let product = format!(r#"{{"id":"gid://shopify/Product/1","title":"A"{said}}}"#);
        let variant =
            r#"{"id":"gid://shopify/ProductVariant/2","price":"1","__parentId":"gid://shopify/Product/1"}"#;
        assert_eq!(lines(&format!("{product}\n{variant}")).items[0].product.published_at, shown, "{said}");
    }
}

/// Positions of pictures count from one, what holds for all variants stands in the first row, and what is empty is empty.
#[test]
fn an_export_is_a_csv_as_the_platform_writes_it() {
    let header = "Handle,Title,Published,Status,Gift Card,Variant Price,Variant Grams,Variant Weight Unit,\
        Variant Requires Shipping,Variant Taxable,Option1 Name,Option1 Value,Image Src,Image Position";
    let rows = [
        "a,A,true,active,false,1.00,0,g,true,true,Size,S,one,1",
        "a,,,,,2.00,0,g,true,true,,M,two,2",
        "a,,,,,,,,,,,,three,3",
    ];
    let imported = csv(&format!("{header}\n{}\n", rows.join("\n")));
    let written = written_csv(&imported.items, &TERMS);
    let mut read = ::csv::Reader::from_reader(&written[..]);
    let names = read.headers().unwrap().clone();
    for (record, row) in read.records().zip(rows) {
        let record = record.unwrap();
        let cell = |name: &str| record.get(names.iter().position(|own| own == name)?);
        let cells: Vec<&str> = header.split(',').map(|name| cell(name).unwrap()).collect();
        assert_eq!(cells.join(","), row);
        let filled = row.split(',').filter(|cell| !cell.is_empty()).count();
        assert_eq!(record.iter().filter(|cell| !cell.is_empty()).count(), filled, "nothing else is said");
    }
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 4);
}

#[test]
fn a_bulk_export_becomes_products() {
    let imported = lines(include_str!("import/bulk.jsonl"));
    let refused: Vec<_> =
        imported.report.refused.iter().map(|one| (one.line, one.column.as_str(), one.fault.code())).collect();
    assert_eq!(refused, [(9, "__parentId", "orphan"), (11, "price", "price")]);
    assert_eq!((imported.report.rows, imported.report.rows_refused), (12, 3));
    assert_eq!(
        imported.report.ignored,
        [("Metafield of ProductVariant".to_owned(), 1), ("other".to_owned(), 1)]
    );
    let [belt, sleeve] = &imported.items[..] else { panic!("{:?}", imported.items) };

    let product = &belt.product;
    assert_eq!((product.number, product.handle.as_str()), (1, "belt"));
    assert_eq!(product.published_at, instant("2026-01-02T03:04:05Z"));
    assert_eq!((product.created_at, product.updated_at), (instant("2026-01-01").unwrap(), TERMS.at));
    assert_eq!(product.options[0].values[0].swatch_color.as_deref(), Some("#aabbcc"));
    let shown = Image { width: Some(800), height: Some(600), ..image("belt", "A belt") };
    assert_eq!(product.media, [shown, image("s", "S")]);
    assert_eq!((product.metafields.len(), product.tax_class.as_str()), (1, "clothes"));
    let facts: Vec<_> = product
        .variants
        .iter()
        .map(|one| (one.number, &one.selected[..], one.price_minor, one.weight_grams, one.image))
        .collect();
    let expected: [VariantFacts<'_, u64>; 2] = [(21, &[0], 12_00, 250, Some(1)), (22, &[1], 12_50, 0, None)];
    assert_eq!(facts, expected);
    let continued = StockPolicy::Backorder(CONTINUE_UNITS);
    assert_eq!(belt.stock, [setting(0, true, StockPolicy::Deny, 7), setting(1, true, continued, 3)]);

    assert_eq!((sleeve.product.handle.as_str(), sleeve.product.published_at), ("armel-3", None));
    assert_eq!(sleeve.product.variants[0].price_minor, 1_50);
}

/// Real files, which are not shipped. Their figures were counted by other means.
#[test]
fn catalogues_of_the_platform_are_read_whole() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/catalog_shopify_csv");
    for (name, rows, products, variants, pictures) in
        [("apparel.csv", 22, 20, 22, 20), ("jewelery.csv", 41, 20, 23, 41)]
    {
        #[expect(clippy::disallowed_methods, reason = "a test reads its data from the machine's disk")]
        let Ok(text) = std::fs::read_to_string(format!("{folder}/{name}")) else {
            eprintln!("SKIPPED: {name} is not in {folder}: nothing was proved about real catalogues");
            continue;
        };
        let imported = csv(&text);
        assert_eq!(imported.report.refused, [], "{name}");
        let count = |part: fn(&Item) -> usize| imported.items.iter().map(part).sum::<usize>();
        let found = (
            imported.report.rows,
            imported.items.len(),
            count(|item| item.product.variants.len()),
            count(|item| item.product.media.len()),
        );
        assert_eq!(found, (rows, products, variants, pictures), "{name}");
        let again = read_csv(&written_csv(&imported.items, &TERMS)[..], &TERMS).unwrap();
        assert_eq!(again.items, imported.items);
        assert_eq!(lines(&String::from_utf8(written_lines(&imported.items)).unwrap()).items, imported.items);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_a_csv_can_say_reads_back(
        items in sheet_items(), currency in prop::sample::select(vec![*b"EUR", *b"JPY", *b"KWD", *b"CLF"]),
    ) {
        let terms = ImportTerms { currency, ..TERMS };
        let text = written_csv(&items, &terms);
        let imported = read_csv(&text[..], &terms).unwrap();
        prop_assert_eq!(&imported.report.refused, &[], "{}", String::from_utf8_lossy(&text));
        prop_assert_eq!(imported.items, items, "{}", String::from_utf8_lossy(&text));
        prop_assert_eq!(imported.report.ignored, []);
    }

    #[test]
    fn everything_reads_back_from_json_lines(items in any_items()) {
        let text = written_lines(&items);
        let imported = read_json_lines(&text[..], &TERMS).unwrap();
        prop_assert_eq!(&imported.report.refused, &[], "{}", String::from_utf8_lossy(&text));
        prop_assert_eq!(imported.items, items, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        start in prop::sample::select(vec!["", "Title,Variant Price,Handle,Option1 Value,Image Src\n", "{\"id\":\"gid://shopify/Product/1\""]),
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b",\"\n;{}[]:'a1.".to_vec())], 0..300),
    ) {
        let text = [start.as_bytes(), &bytes[..]].concat();
        for imported in [read_csv(&text[..], &TERMS), read_json_lines(&text[..], &TERMS)].into_iter().flatten() {
            prop_assert!(imported.items.iter().all(|item| check(item).is_ok()));
            prop_assert!(imported.report.rows_refused <= imported.report.rows);
            prop_assert_eq!(imported.report.refused.is_empty(), imported.report.rows_refused == 0);
        }
    }
}
