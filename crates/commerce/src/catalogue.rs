//! Products, collections, and the terms under which they are sold.

use crate::check;
use crate::command::{Operation, Reply, StockSetting};
use crate::effect::{PRODUCT_CHANGED, ProductEffect};
use crate::machine::Step;
use crate::refusal::Refusal;
use crate::state::{About, Row, StockRow};
use crate::view::Change;
use model::commerce::product::{Collection, Condition, Members, Product, Variant};
use model::commerce::stock::StockItem;
use model::commerce::{Kind, MAX_OPTION_VALUES, MAX_OPTIONS, MAX_TEXT_BYTES, MAX_VARIANTS, handle};
use model::id::Key;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most tags, pictures, channels or metafields of a product.
const PARTS_MAX: usize = 250;
/// The most translated texts of a product.
const TRANSLATIONS_MAX: usize = 5_000;
/// The most products that are chosen for a collection.
const CHOSEN_MAX: usize = 50_000;
/// The most conditions of a collection.
const CONDITIONS_MAX: usize = 60;

impl Step<'_> {
    pub(crate) fn operate_catalogue(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::PutProduct { product, stock } => self.put_product(product, &stock),
            Operation::DeleteProduct(number) => self.delete_product(number),
            Operation::PutCollection(collection) => self.put_collection(collection),
            Operation::DeleteCollection(number) => self.delete_collection(number),
            _ => Err(Refusal::Malformed),
        }
    }

    fn put_product(&mut self, mut product: Product, stock: &[StockSetting]) -> Result<Reply, Refusal> {
        if product.handle.is_empty() {
            product.handle = handle::handle(&product.title);
        }
        check_product(&product)?;
        self.check_stock(&product, stock)?;
        self.free_name("product", &product.handle, product.number)?;
        let former = if product.number == 0 { None } else { self.state.product(product.number) };
        for variant in product.variants.iter().filter(|variant| variant.number != 0) {
            let owner = self.state.stock_row(variant.number).map_or(0, |row| row.product);
            if owner != 0 && owner != product.number {
                return Err(Refusal::Taken {
                    what: "product".to_owned(),
                    field: "variants.number".to_owned(),
                });
            }
        }
        let mut counters = self.state.counters();
        take_number(&mut counters.product, &mut product.number);
        // Stated numbers first, so that the next ones do not meet them.
        let stated = product.variants.iter().map(|variant| variant.number).max();
        counters.variant = counters.variant.max(stated.unwrap_or_default());
        product.variants.iter_mut().for_each(|one| take_number(&mut counters.variant, &mut one.number));
        self.state.set_counters(counters);
        product.created_at = former.as_ref().map_or(self.now, |former| former.created_at);
        product.updated_at = self.now;
        if let Some(former) = former {
            self.state.names.remove(name_key("product", &former.handle));
            self.part_with_variants(&former, &product);
        }
        self.state.names.insert(name_key("product", &product.handle), Row(product.number));
        let product = Arc::new(product);
        self.state.products.insert(Kind::Product.key(product.number), Row(Arc::clone(&product)));
        self.stock_product(&product, stock)?;
        self.show_product(&product);
        self.tell_product(product.number, false);
        let variants = product.variants.iter().map(|variant| variant.number).collect();
        Ok(Reply::Product { product: product.number, variants })
    }

    fn check_stock(&mut self, product: &Product, stock: &[StockSetting]) -> Result<(), Refusal> {
        check::count("stock settings", stock.len(), MAX_VARIANTS)?;
        for setting in stock {
            let variant = product.variants.get(setting.variant as usize);
            let variant = variant.ok_or_else(|| Refusal::invalid("stock.variant", "names no variant"))?;
            let row = self.state.stock_row(variant.number).filter(|_| variant.number != 0);
            let mut item = row.map(|row| row.item.clone()).unwrap_or_default();
            for (location, on_hand) in &setting.on_hand {
                self.location(*location)?;
                let counted = item.count(variant.number, *location, *on_hand);
                counted.map_err(|error| Refusal::Stock(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Rows of stock for new variants, and what is set of them.
    fn stock_product(&mut self, product: &Product, stock: &[StockSetting]) -> Result<(), Refusal> {
        for variant in &product.variants {
            let new = || {
                let item = StockItem { tracked: true, ..StockItem::default() };
                Row(StockRow { variant: variant.number, item, ..StockRow::default() })
            };
            let key = Kind::Variant.key(variant.number);
            if let Some(row) = self.state.stock.get_or_insert_with(key, new) {
                row.0.product = product.number;
            }
        }
        for setting in stock {
            let Some(variant) = product.variants.get(setting.variant as usize) else { continue };
            let number = variant.number;
            self.change_stock(number, &About::Operator(String::new()), |row| {
                (row.item.tracked, row.item.policy) = (setting.tracked, setting.policy);
                let count = |(location, on_hand): &(u64, i64)| row.item.count(number, *location, *on_hand);
                let lines: Result<Vec<_>, _> = setting.on_hand.iter().map(count).collect();
                lines.map_err(|error| Refusal::Stock(error.to_string()))
            })?;
        }
        Ok(())
    }

    /// Variants that the product has no more are sold no more. Their stock stays: somebody may be paying for it.
    fn part_with_variants(&mut self, former: &Product, product: &Product) {
        for variant in former.variants.iter().filter(|one| product.variant(one.number).is_none()) {
            if let Some(row) = self.state.stock.get_mut(Kind::Variant.key(variant.number)) {
                row.0.product = 0;
            }
        }
    }

    fn show_product(&mut self, product: &Arc<Product>) {
        let (mut available, mut sold) = (Vec::with_capacity(product.variants.len()), 0);
        for variant in &product.variants {
            let row = self.state.stock_row(variant.number);
            available.push(row.map_or(0, |row| row.item.available()));
            sold += row.map_or(0, |row| row.sold);
        }
        self.show(Change::Product { product: Arc::clone(product), available, sold });
    }

    fn tell_product(&mut self, product: u64, deleted: bool) {
        self.tell(PRODUCT_CHANGED, Kind::Product.key(product), &ProductEffect { product, deleted });
    }

    fn delete_product(&mut self, number: u64) -> Result<Reply, Refusal> {
        let product = self.state.product(number).ok_or_else(|| Refusal::unknown("product", "product"))?;
        let none = Product { variants: Vec::new(), ..(*product).clone() };
        self.part_with_variants(&product, &none);
        self.state.names.remove(name_key("product", &product.handle));
        self.state.products.remove(Kind::Product.key(number));
        self.show(Change::ProductGone(number));
        self.tell_product(number, true);
        Ok(Reply::Done)
    }

    fn put_collection(&mut self, mut collection: Collection) -> Result<Reply, Refusal> {
        if collection.handle.is_empty() {
            collection.handle = handle::handle(&collection.title);
        }
        check_collection(&collection)?;
        self.free_name("collection", &collection.handle, collection.number)?;
        let mut counters = self.state.counters();
        take_number(&mut counters.collection, &mut collection.number);
        self.state.set_counters(counters);
        collection.updated_at = self.now;
        let key = Kind::Collection.key(collection.number);
        if let Some(former) = self.state.collections.get(key).map(|row| row.0.handle.clone()) {
            self.state.names.remove(name_key("collection", &former));
        }
        self.state.names.insert(name_key("collection", &collection.handle), Row(collection.number));
        let collection = Arc::new(collection);
        self.state.collections.insert(key, Row(Arc::clone(&collection)));
        let number = collection.number;
        self.show(Change::Collection(collection));
        Ok(Reply::Number(number))
    }

    fn delete_collection(&mut self, number: u64) -> Result<Reply, Refusal> {
        let key = Kind::Collection.key(number);
        let former = self.state.collections.get(key).map(|row| row.0.handle.clone());
        let former = former.ok_or_else(|| Refusal::unknown("collection", "collection"))?;
        self.state.names.remove(name_key("collection", &former));
        self.state.collections.remove(key);
        self.show(Change::CollectionGone(number));
        Ok(Reply::Done)
    }

    /// Refuses a name that another one has.
    fn free_name(&mut self, what: &str, handle: &str, number: u64) -> Result<(), Refusal> {
        let owner = self.state.names.get(name_key(what, handle)).map(|row| row.0);
        if owner.is_some_and(|owner| owner != number) {
            return Err(Refusal::Taken { what: what.to_owned(), field: "handle".to_owned() });
        }
        Ok(())
    }
}

/// The row of a name that one thing of a kind has.
pub(crate) fn name_key(what: &str, name: &str) -> Key {
    Key::of_text(what, name).with(Key::of_text("name", what))
}

/// Gives what has no number the next one, and keeps the next one beyond what was stated.
pub(crate) fn take_number(last: &mut u64, number: &mut u64) {
    if *number == 0 {
        *number = *last + 1;
    }
    *last = (*last).max(*number);
}

fn check_product(product: &Product) -> Result<(), Refusal> {
    check::number("number", product.number)?;
    check::filled("title", &product.title)?;
    check::handle("handle", &product.handle)?;
    check::text("description_html", &product.description_html, MAX_TEXT_BYTES)?;
    check::name("vendor", &product.vendor)?;
    check::name("product_type", &product.product_type)?;
    check::name("tax_class", &product.tax_class)?;
    check::count("tags", product.tags.len(), PARTS_MAX)?;
    product.tags.iter().try_for_each(|tag| check::filled("tags", tag))?;
    check::count("channels", product.channels.len(), PARTS_MAX)?;
    product.channels.iter().try_for_each(|channel| check::filled("channels", channel))?;
    check::count("media", product.media.len(), PARTS_MAX)?;
    for image in &product.media {
        check::text("media.url", &image.url, 4_096)?;
        check::text("media.alt", &image.alt, 4_096)?;
    }
    check::count("metafields", product.metafields.len(), PARTS_MAX)?;
    for metafield in &product.metafields {
        check::filled("metafields.namespace", &metafield.namespace)?;
        check::filled("metafields.key", &metafield.key)?;
        check::name("metafields.kind", &metafield.kind)?;
        check::text("metafields.value", &metafield.value, MAX_TEXT_BYTES)?;
    }
    check::count("translations", product.translations.len(), TRANSLATIONS_MAX)?;
    for translation in &product.translations {
        check::filled("translations.language", &translation.language)?;
        check::filled("translations.field", &translation.field)?;
        check::text("translations.text", &translation.text, MAX_TEXT_BYTES)?;
    }
    check_options(product)?;
    check_variants(product)
}

fn check_options(product: &Product) -> Result<(), Refusal> {
    check::count("options", product.options.len(), MAX_OPTIONS)?;
    let mut names = BTreeSet::new();
    for option in &product.options {
        check::filled("options.name", &option.name)?;
        check::count("option values", option.values.len(), MAX_OPTION_VALUES)?;
        let mut values = BTreeSet::new();
        for value in &option.values {
            check::filled("options.values", &value.name)?;
            if !values.insert(&value.name) {
                return Err(Refusal::invalid("options.values", format!("has {} twice", value.name)));
            }
        }
        if !names.insert(&option.name) {
            return Err(Refusal::invalid("options.name", format!("has {} twice", option.name)));
        }
    }
    Ok(())
}

fn check_variants(product: &Product) -> Result<(), Refusal> {
    check::count("variants", product.variants.len(), MAX_VARIANTS)?;
    if product.variants.is_empty() {
        return Err(Refusal::invalid("variants", "must hold at least one"));
    }
    let (mut numbers, mut choices) = (BTreeSet::new(), BTreeSet::new());
    for variant in &product.variants {
        check_variant(product, variant)?;
        if variant.number != 0 && !numbers.insert(variant.number) {
            return Err(Refusal::invalid("variants.number", "is the same for two of them"));
        }
        if !choices.insert(&variant.selected) {
            return Err(Refusal::invalid("variants.selected", "is the same for two of them"));
        }
    }
    Ok(())
}

fn check_variant(product: &Product, variant: &Variant) -> Result<(), Refusal> {
    check::number("variants.number", variant.number)?;
    check::name("variants.sku", &variant.sku)?;
    check::name("variants.barcode", &variant.barcode)?;
    check::price("variants.price_minor", variant.price_minor)?;
    check::price("variants.compare_at_minor", variant.compare_at_minor.unwrap_or_default())?;
    let fits = variant.selected.len() == product.options.len()
        && variant
            .selected
            .iter()
            .zip(&product.options)
            .all(|(at, option)| (*at as usize) < option.values.len());
    if !fits {
        return Err(Refusal::invalid("variants.selected", "must name one value of each option"));
    }
    if variant.image.is_some_and(|image| image as usize >= product.media.len()) {
        return Err(Refusal::invalid("variants.image", "names no picture of the product"));
    }
    Ok(())
}

fn check_collection(collection: &Collection) -> Result<(), Refusal> {
    check::number("number", collection.number)?;
    check::filled("title", &collection.title)?;
    check::handle("handle", &collection.handle)?;
    check::text("description_html", &collection.description_html, MAX_TEXT_BYTES)?;
    check::count("translations", collection.translations.len(), TRANSLATIONS_MAX)?;
    match &collection.members {
        Members::Chosen(products) => check::count("chosen products", products.len(), CHOSEN_MAX),
        Members::All(conditions) | Members::Any(conditions) => {
            check::count("conditions", conditions.len(), CONDITIONS_MAX)?;
            conditions.iter().try_for_each(|condition| match condition {
                Condition::Tag(word)
                | Condition::ProductType(word)
                | Condition::Vendor(word)
                | Condition::TitleContains(word) => check::filled("members", word),
                Condition::PriceBelow(_) | Condition::PriceAbove(_) | Condition::Available => Ok(()),
            })
        }
    }
}
