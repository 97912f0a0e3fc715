//! A file of products, taken in at a start.

use super::done;
use crate::calendar::now_us;
use anyhow::Context as _;
use commerce::import::{ImportTerms, Item, read_csv, read_json_lines};
use commerce::{Operation, Reply, Shop};
use model::commerce::product::Product;
use model::id::Timestamp;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// How many refused rows are named in the server's log.
const NAMED_MAX: usize = 20;

/// Takes in a file. What cannot be read is named and left out; a product that is there already is replaced by handle, and
/// keeps its numbers and its stock.
pub(super) async fn take_in(shop: &Shop, path: &Path) -> anyhow::Result<()> {
    let file =
        File::open(path).with_context(|| format!("shop.products: {} cannot be read", path.display()))?;
    let location = match shop.view().locations().first() {
        Some(location) => location.number,
        None => first_location(shop).await?,
    };
    let terms =
        ImportTerms { currency: shop.view().terms().settings.currency, location, at: Timestamp(now_us()) };
    let reader = BufReader::new(file);
    let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let imported = if is_csv { read_csv(reader, &terms) } else { read_json_lines(reader, &terms) };
    let imported = imported.with_context(|| format!("shop.products: {}", path.display()))?;
    for refused in imported.report.refused.iter().take(NAMED_MAX) {
        tracing::warn!(line = refused.line, reason = %refused.fault, "a product was not taken in");
    }
    let (mut taken, mut refused) = (0_u64, imported.report.refused_count);
    for item in imported.items {
        let handle = item.product.handle.clone();
        // A start with the same file writes nothing.
        let Some(operation) = put(shop, item) else { continue };
        match shop.operate(operation).await? {
            Ok(_) => taken += 1,
            Err(refusal) => {
                refused += 1;
                tracing::warn!(handle, %refusal, "a product was not taken in");
            }
        }
    }
    tracing::info!(taken, refused, "products were taken in");
    Ok(())
}

async fn first_location(shop: &Shop) -> anyhow::Result<u64> {
    let location = commerce::Location { number: 0, name: "Main".to_owned() };
    match done(shop, Operation::PutLocation(location)).await? {
        Reply::Number(number) => Ok(number),
        other => Err(anyhow::anyhow!("a place was answered with {other:?}")),
    }
}

/// The product, with the numbers of the one that has its handle, and without stock for what is known. `None` where nothing is
/// new.
fn put(shop: &Shop, item: Item) -> Option<Operation> {
    let Item { mut product, mut stock } = item;
    let catalogue = shop.view().catalogue();
    if let Some(known) = catalogue.product_by_handle(&product.handle) {
        product.number = known.product.number;
        product.created_at = known.product.created_at;
        let numbers: HashMap<Vec<String>, u64> = known
            .product
            .variants
            .iter()
            .map(|one| (values_of(&known.product, &one.selected), one.number))
            .collect();
        let values: Vec<_> =
            product.variants.iter().map(|variant| values_of(&product, &variant.selected)).collect();
        for (variant, values) in product.variants.iter_mut().zip(values) {
            variant.number = numbers.get(&values).copied().unwrap_or(0);
        }
        let variants = &product.variants;
        stock.retain(|one| variants.get(one.variant as usize).is_some_and(|variant| variant.number == 0));
        // Times that the file does not state are those of the reading.
        product.updated_at = known.product.updated_at;
        if product.published_at.is_some() && known.product.published_at.is_some() {
            product.published_at = known.product.published_at;
        }
        if product == *known.product {
            return None;
        }
    }
    Some(Operation::PutProduct { product, stock })
}

/// What a variant is, by the words of its options: their places may have changed.
fn values_of(product: &Product, selected: &[u32]) -> Vec<String> {
    let values = product
        .options
        .iter()
        .zip(selected)
        .filter_map(|(option, index)| option.values.get(*index as usize).map(|value| value.name.clone()));
    values.collect()
}
