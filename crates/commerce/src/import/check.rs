//! What a product has to be, wherever it comes from.

use super::Item;
use super::fault::Fault;
use model::commerce::handle::is_handle;
use model::commerce::product::{Product, Variant};
use model::commerce::stock::{MAX_PLACES, MAX_UNITS};
use model::commerce::{MAX_OPTION_VALUES, MAX_OPTIONS, MAX_TEXT_BYTES, MAX_VARIANTS};
use model::money::MAX_MINOR;
use std::collections::BTreeSet;

/// The most tags, pictures, translations or metafields of a product; each kind by itself.
pub(super) const MAX_PARTS: usize = 10_000;

/// Says what is wrong with a product, and where: the name of a field, with an index where there are several.
pub fn check(item: &Item) -> Result<(), (String, Fault)> {
    let Item { product, stock } = item;
    let at = |field: &str, fault: Fault| Err((field.to_owned(), fault));
    if !is_handle(&product.handle) {
        return at("handle", Fault::Handle);
    }
    if product.title.trim().is_empty() {
        return at("title", Fault::Missing);
    }
    if let Some((field, _)) = texts(product).into_iter().find(|(_, text)| text.len() > MAX_TEXT_BYTES) {
        return at(field, Fault::TooLong);
    }
    let parts =
        [product.tags.len(), product.media.len(), product.translations.len(), product.metafields.len()];
    if parts.into_iter().any(|count| count > MAX_PARTS) {
        return at("tags, media, translations or metafields", Fault::TooMany);
    }
    options(product)?;
    let mut combinations = BTreeSet::new();
    for (index, one) in product.variants.iter().enumerate() {
        variant(product, one).map_err(|(field, fault)| (format!("variants[{index}].{field}"), fault))?;
        if !combinations.insert(one.selected.as_slice()) {
            return at(&format!("variants[{index}].selected"), Fault::SameVariant);
        }
    }
    for (index, setting) in stock.iter().enumerate() {
        let known = (setting.variant as usize) < product.variants.len();
        let levels = setting.on_hand.len() <= MAX_PLACES
            && setting.on_hand.iter().all(|(_, units)| units.unsigned_abs() <= MAX_UNITS.unsigned_abs());
        if !known || !levels {
            return at(&format!("stock[{index}]"), Fault::Number);
        }
    }
    Ok(())
}

fn options(product: &Product) -> Result<(), (String, Fault)> {
    let count = product.options.len();
    if count == 0 || count > MAX_OPTIONS {
        return Err(("options".to_owned(), Fault::TooMany));
    }
    if product.variants.is_empty() || product.variants.len() > MAX_VARIANTS {
        return Err(("variants".to_owned(), Fault::TooMany));
    }
    let mut names = BTreeSet::new();
    for (index, option) in product.options.iter().enumerate() {
        let field = format!("options[{index}]");
        if option.values.is_empty() || option.values.len() > MAX_OPTION_VALUES {
            return Err((field, Fault::TooMany));
        }
        let values: BTreeSet<&str> = option.values.iter().map(|value| value.name.as_str()).collect();
        let unnamed = option.name.is_empty() || values.contains("");
        if unnamed || values.len() < option.values.len() || !names.insert(option.name.as_str()) {
            return Err((field, Fault::Options));
        }
        let long = values.iter().any(|value| value.len() > MAX_TEXT_BYTES);
        if long || option.name.len() > MAX_TEXT_BYTES {
            return Err((field, Fault::TooLong));
        }
    }
    Ok(())
}

fn variant(product: &Product, variant: &Variant) -> Result<(), (&'static str, Fault)> {
    let in_range = |(selected, option): (&u32, &model::commerce::product::ProductOption)| {
        (*selected as usize) < option.values.len()
    };
    let chosen = variant.selected.len() == product.options.len()
        && variant.selected.iter().zip(&product.options).all(in_range);
    let amount = |minor: i64| (0..=MAX_MINOR).contains(&minor);
    let image = variant.image.is_none_or(|index| (index as usize) < product.media.len());
    let checks = [
        (chosen, "selected", Fault::Options),
        (amount(variant.price_minor), "price_minor", Fault::Price),
        (variant.compare_at_minor.is_none_or(amount), "compare_at_minor", Fault::Price),
        (image, "image", Fault::Image),
        (variant.sku.len() <= MAX_TEXT_BYTES, "sku", Fault::TooLong),
        (variant.barcode.len() <= MAX_TEXT_BYTES, "barcode", Fault::TooLong),
    ];
    match checks.into_iter().find(|(holds, ..)| !holds) {
        Some((_, field, fault)) => Err((field, fault)),
        None => Ok(()),
    }
}

/// The texts of a product that have no place among its options and variants.
fn texts(product: &Product) -> Vec<(&'static str, &str)> {
    let mut texts = vec![
        ("title", product.title.as_str()),
        ("description_html", &product.description_html),
        ("vendor", &product.vendor),
        ("product_type", &product.product_type),
        ("tax_class", &product.tax_class),
        ("seo.title", product.seo.title.as_deref().unwrap_or_default()),
        ("seo.description", product.seo.description.as_deref().unwrap_or_default()),
    ];
    texts.extend(product.tags.iter().map(|tag| ("tags", tag.as_str())));
    texts.extend(
        product.media.iter().flat_map(|image| [("media", image.url.as_str()), ("media", &image.alt)]),
    );
    texts.extend(product.translations.iter().map(|one| ("translations", one.text.as_str())));
    texts.extend(product.metafields.iter().map(|one| ("metafields", one.value.as_str())));
    texts
}
