//! Products written as the platform's CSV. What it has no place for is left out.

use super::columns::{COLUMNS, Column, OPTIONS, metafield_name};
use super::{ImportTerms, Item, amount};
use model::commerce::product::{Image, Metafield, Product, Variant};
use model::commerce::stock::StockPolicy;
use model::money::exponent;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Writes products as a CSV with the platform's columns, and one for each metafield. A price has all places of the
/// currency, a quantity is the sum over all places.
pub fn write_csv<'a>(
    items: impl Iterator<Item = &'a Item> + Clone,
    terms: &ImportTerms,
    out: impl Write,
) -> io::Result<()> {
    let name = |one: &'a Metafield| (one.namespace.as_str(), one.key.as_str());
    let metafields: BTreeSet<(&str, &str)> =
        items.clone().flat_map(|item| item.product.metafields.iter().map(name)).collect();
    let mut csv = csv::Writer::from_writer(out);
    let names = COLUMNS.iter().map(|(_, name, _)| (*name).to_owned());
    let own = metafields.iter().map(|(namespace, key)| metafield_name(namespace, key));
    csv.write_record(names.chain(own)).map_err(into_io)?;
    for item in items {
        let rows = item.product.variants.len().max(item.product.media.len()).max(1);
        for index in 0..rows {
            let cells = row(item, index, terms);
            let known = COLUMNS.iter().map(|(column, ..)| cells.get(column).map_or("", String::as_str));
            let own = metafields.iter().map(|name| {
                let mut fields = item.product.metafields.iter().filter(|_| index == 0);
                fields
                    .find(|one| (one.namespace.as_str(), one.key.as_str()) == *name)
                    .map_or("", |one| one.value.as_str())
            });
            csv.write_record(known.chain(own)).map_err(into_io)?;
        }
    }
    csv.flush()
}

fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

type Cells = BTreeMap<Column, String>;

fn row(item: &Item, index: usize, terms: &ImportTerms) -> Cells {
    let product = &item.product;
    let mut cells = Cells::from([(Column::Handle, product.handle.clone())]);
    if index == 0 {
        put_product(&mut cells, product);
    }
    if let Some(variant) = product.variants.get(index) {
        put_variant(&mut cells, product, variant, terms);
        put_stock(&mut cells, item, index);
    }
    if let Some(Image { url, alt, .. }) = product.media.get(index) {
        cells.insert(Column::ImageSource, url.clone());
        cells.insert(Column::ImagePosition, (index + 1).to_string());
        cells.insert(Column::ImageAlt, alt.clone());
    }
    cells
}

fn put_product(cells: &mut Cells, product: &Product) {
    let published = product.published_at.is_some();
    cells.extend([
        (Column::Title, product.title.clone()),
        (Column::Body, product.description_html.clone()),
        (Column::Vendor, product.vendor.clone()),
        (Column::Type, product.product_type.clone()),
        (Column::Tags, product.tags.join(", ")),
        (Column::Published, published.to_string()),
        (Column::Status, (if published { "active" } else { "draft" }).to_owned()),
        (Column::GiftCard, false.to_string()),
        (Column::SeoTitle, product.seo.title.clone().unwrap_or_default()),
        (Column::SeoDescription, product.seo.description.clone().unwrap_or_default()),
        (Column::TaxCode, product.tax_class.clone()),
    ]);
    for (option, (name, _)) in product.options.iter().zip(OPTIONS) {
        cells.insert(name, option.name.clone());
    }
}

fn put_variant(cells: &mut Cells, product: &Product, variant: &Variant, terms: &ImportTerms) {
    let places = exponent(terms.currency);
    let money = |minor: i64| amount::written(minor, places);
    cells.extend([
        (Column::Sku, variant.sku.clone()),
        (Column::Grams, variant.weight_grams.to_string()),
        (Column::WeightUnit, "g".to_owned()),
        (Column::Price, money(variant.price_minor)),
        (Column::CompareAt, variant.compare_at_minor.map(money).unwrap_or_default()),
        (Column::RequiresShipping, variant.requires_shipping.to_string()),
        (Column::Taxable, variant.taxable.to_string()),
        (Column::Barcode, variant.barcode.clone()),
    ]);
    for ((option, selected), (_, value)) in product.options.iter().zip(&variant.selected).zip(OPTIONS) {
        let name = option.values.get(*selected as usize).map(|value| value.name.clone());
        cells.insert(value, name.unwrap_or_default());
    }
    if let Some(image) = variant.image.and_then(|index| product.media.get(index as usize)) {
        cells.insert(Column::VariantImage, image.url.clone());
    }
    if let Some(unit) = &variant.unit {
        cells.extend([
            (Column::UnitTotal, amount::written(i64::from(unit.quantity_milli), 3)),
            (Column::UnitTotalUnit, unit.unit.to_ascii_lowercase()),
            (Column::UnitBase, unit.reference_quantity.to_string()),
            (Column::UnitBaseUnit, unit.reference_unit.to_ascii_lowercase()),
        ]);
    }
}

fn put_stock(cells: &mut Cells, item: &Item, index: usize) {
    let Some(setting) = item.stock.iter().find(|setting| setting.variant as usize == index) else {
        return;
    };
    let units = setting.on_hand.iter().map(|(_, units)| units);
    let units = (!setting.on_hand.is_empty()).then(|| units.sum::<i64>().to_string());
    let policy = match setting.policy {
        StockPolicy::Deny => "deny",
        StockPolicy::Backorder(_) => "continue",
    };
    cells.extend([
        (Column::Tracker, (if setting.tracked { "shopify" } else { "" }).to_owned()),
        (Column::Quantity, units.unwrap_or_default()),
        (Column::Policy, policy.to_owned()),
    ]);
}
