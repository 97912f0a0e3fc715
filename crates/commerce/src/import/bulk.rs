//! The platform's bulk export: one node a line, children flat, each naming its parent. A product is what its node and its
//! children say together; a child may come first.

use super::fault::{Fault, Refused};
use super::sheet::NO_OPTION;
use super::{CONTINUE_UNITS, ImportTerms, Item, Report, amount};
use crate::StockSetting;
use model::commerce::handle::handle;
use model::commerce::product::{Image, Metafield, OptionValue, Product, ProductOption, Seo, Variant};
use model::commerce::stock::StockPolicy;
use model::feature::value::instant;
use model::id::Timestamp;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Any node. Which fields there are is the choice of who asked for the export.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    id: Option<String>,
    #[serde(rename = "__parentId")]
    parent: Option<String>,
    title: Option<String>,
    position: Option<u32>,
    // A product.
    handle: Option<String>,
    #[serde(alias = "bodyHtml")]
    description_html: Option<String>,
    vendor: Option<String>,
    product_type: Option<String>,
    tags: Option<Tags>,
    status: Option<String>,
    is_gift_card: Option<bool>,
    /// Not there, there and null, or an instant.
    #[serde(deserialize_with = "stated")]
    published_at: Option<Option<String>>,
    created_at: Option<String>,
    updated_at: Option<String>,
    options: Option<Vec<OptionNode>>,
    seo: Option<SeoNode>,
    // A variant.
    sku: Option<String>,
    barcode: Option<String>,
    price: Option<Price>,
    compare_at_price: Option<Price>,
    selected_options: Option<Vec<Selected>>,
    inventory_quantity: Option<i64>,
    inventory_policy: Option<String>,
    inventory_item: Option<InventoryItem>,
    taxable: Option<bool>,
    tax_code: Option<String>,
    // A picture, or the picture of something.
    image: Option<ImageNode>,
    #[serde(flatten)]
    picture: ImageNode,
    // A metafield.
    namespace: Option<String>,
    key: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Price {
    Text(String),
    Money { amount: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionNode {
    name: String,
    #[serde(default)]
    position: u32,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    option_values: Vec<ValueNode>,
}

#[derive(Deserialize)]
struct ValueNode {
    name: String,
    swatch: Option<Swatch>,
}

#[derive(Deserialize)]
struct Swatch {
    color: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SeoNode {
    title: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct Selected {
    name: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct InventoryItem {
    tracked: Option<bool>,
    requires_shipping: Option<bool>,
    measurement: Option<Measurement>,
}

#[derive(Deserialize)]
struct Measurement {
    weight: Option<Weight>,
}

#[derive(Deserialize)]
struct Weight {
    unit: String,
    value: serde_json::Number,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ImageNode {
    #[serde(alias = "src", alias = "originalSrc")]
    url: Option<String>,
    #[serde(alias = "alt")]
    alt_text: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
}

fn stated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What a gid names: `gid://shopify/Product/1` is number 1 of the kind `Product`.
fn parse_gid(gid: &str) -> Option<(&str, u64)> {
    let (kind, number) = gid.strip_prefix("gid://shopify/")?.split_once('/')?;
    let number = number.split('?').next()?.parse().ok()?;
    Some((kind, number))
}

/// Lines that were read, until all are.
#[derive(Default)]
pub(super) struct Bulk {
    products: Vec<(u64, Node)>,
    children: BTreeMap<String, Vec<(u64, Node)>>,
    ignored: BTreeMap<String, u64>,
}

impl Bulk {
    /// Takes a line in.
    pub(super) fn add(&mut self, line: u64, text: &str) -> Result<(), serde_json::Error> {
        let mut node: Node = serde_json::from_str(text)?;
        match (node.kind_of(), node.parent.take()) {
            ("Product", None) => self.products.push((line, node)),
            ("ProductVariant" | "ProductImage" | "MediaImage" | "Metafield", Some(parent)) => {
                self.children.entry(parent).or_default().push((line, node));
            }
            (other, _) => *self.ignored.entry(other.to_owned()).or_default() += 1,
        }
        Ok(())
    }

    /// Puts products together. Each comes with the line of its node and the number of its lines.
    pub(super) fn finish(
        mut self,
        terms: &ImportTerms,
        items: &mut Vec<(u64, u64, Item)>,
        report: &mut Report,
    ) {
        for (line, node) in self.products {
            let gid = node.id.clone().unwrap_or_default();
            let children = self.children.remove(&gid).unwrap_or_default();
            let lines = 1 + children.len() as u64;
            // What belongs to a variant is not kept: nothing here has a place for it.
            for (_, child) in &children {
                let below = child.id.as_ref().and_then(|id| self.children.remove(id)).unwrap_or_default();
                if !below.is_empty() {
                    *self.ignored.entry("Metafield of ProductVariant".to_owned()).or_default() +=
                        below.len() as u64;
                }
            }
            let mut reader = Reader { terms, faults: Vec::new() };
            let item = reader.item(line, node, children);
            if reader.faults.is_empty() {
                items.push((line, lines, item));
            } else {
                report.rows_refused += lines;
                reader.faults.into_iter().for_each(|fault| report.refuse(fault));
            }
        }
        for (parent, children) in self.children {
            for (line, _) in children {
                report.rows_refused += 1;
                let (column, fault) = ("__parentId".to_owned(), Fault::Orphan(parent.clone()));
                report.refuse(Refused { line, column, fault });
            }
        }
        report.ignored.extend(self.ignored);
    }
}

impl Node {
    fn kind_of(&self) -> &'static str {
        const KNOWN: [&str; 5] = ["Product", "ProductVariant", "ProductImage", "MediaImage", "Metafield"];
        let stated = self.id.as_deref().and_then(parse_gid).map(|(kind, _)| kind);
        match stated {
            Some(kind) => KNOWN.into_iter().find(|known| *known == kind).unwrap_or("other"),
            None if self.namespace.is_some() && self.key.is_some() => "Metafield",
            None if self.picture.url.is_some() || self.image.is_some() => "ProductImage",
            None => "other",
        }
    }

    fn number(&self) -> u64 {
        self.id.as_deref().and_then(parse_gid).map_or(0, |(_, number)| number)
    }
}

struct Reader<'a> {
    terms: &'a ImportTerms,
    faults: Vec<Refused>,
}

impl Reader<'_> {
    fn fault(&mut self, line: u64, field: &str, fault: Fault) {
        self.faults.push(Refused { line, column: field.to_owned(), fault });
    }

    fn item(&mut self, line: u64, node: Node, children: Vec<(u64, Node)>) -> Item {
        let (mut variants, mut media, mut metafields) = (Vec::new(), Vec::new(), Vec::new());
        for (line, child) in children {
            match child.kind_of() {
                "ProductVariant" => variants.push((line, child)),
                "Metafield" => metafields.push(metafield(child)),
                _ => media.extend(picture(child)),
            }
        }
        variants.sort_by_key(|(_, variant)| variant.position.unwrap_or(u32::MAX));
        let mut product = self.product(line, node);
        product.media = media;
        product.metafields = metafields;
        let tax_code = variants.iter().find_map(|(_, variant)| variant.tax_code.clone());
        product.tax_class = tax_code.unwrap_or_default();
        if product.options.is_empty() {
            product.options = options_of(&variants);
        }
        let mut stock = Vec::new();
        for (index, (line, variant)) in (0_u32..).zip(variants) {
            stock.extend(self.stock(line, &variant, index));
            let variant = self.variant(line, variant, &mut product);
            product.variants.push(variant);
        }
        if product.variants.is_empty() {
            self.fault(line, "variants", Fault::Missing);
        }
        Item { product, stock }
    }

    fn product(&mut self, line: u64, node: Node) -> Product {
        let at = self.terms.at;
        let number = node.number();
        if node.is_gift_card == Some(true) {
            self.fault(line, "isGiftCard", Fault::GiftCard);
        }
        let title = node.title.unwrap_or_default();
        let shown = match node.status.as_deref() {
            None | Some("ACTIVE" | "UNLISTED") => true,
            Some("DRAFT" | "ARCHIVED") => false,
            Some(_) => {
                self.fault(line, "status", Fault::Word("ACTIVE, DRAFT, ARCHIVED, UNLISTED"));
                false
            }
        };
        let published_at = match node.published_at {
            None => Some(at),
            Some(None) => None,
            Some(Some(text)) => Some(self.instant(line, "publishedAt", Some(text))),
        };
        let tags = match node.tags {
            None => Vec::new(),
            Some(Tags::List(tags)) => tags,
            Some(Tags::Text(text)) => {
                text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
            }
        };
        let seo = node.seo.unwrap_or_default();
        let mut options = node.options.unwrap_or_default();
        options.sort_by_key(|option| option.position);
        Product {
            number,
            handle: node.handle.unwrap_or_else(|| handle(&title)),
            title,
            description_html: node.description_html.unwrap_or_default(),
            vendor: node.vendor.unwrap_or_default(),
            product_type: node.product_type.unwrap_or_default(),
            tags,
            options: options.into_iter().map(option).collect(),
            variants: Vec::new(),
            media: Vec::new(),
            seo: Seo { title: seo.title, description: seo.description },
            published_at: published_at.filter(|_| shown),
            channels: Vec::new(),
            tax_class: String::new(),
            translations: Vec::new(),
            metafields: Vec::new(),
            created_at: self.instant(line, "createdAt", node.created_at),
            updated_at: self.instant(line, "updatedAt", node.updated_at),
        }
    }

    fn instant(&mut self, line: u64, field: &str, text: Option<String>) -> Timestamp {
        match text.map(|text| instant(&text)) {
            None => self.terms.at,
            Some(Some(at)) => at,
            Some(None) => {
                self.fault(line, field, Fault::Time);
                self.terms.at
            }
        }
    }

    fn price(&mut self, line: u64, field: &str, price: &Price) -> i64 {
        let (Price::Text(text) | Price::Money { amount: text }) = price;
        let minor = amount::price(text, self.terms.currency);
        if minor.is_none() {
            self.fault(line, field, Fault::Price);
        }
        minor.unwrap_or_default()
    }

    fn variant(&mut self, line: u64, node: Node, product: &mut Product) -> Variant {
        let number = node.number();
        if number == 0 {
            self.fault(line, "id", Fault::Missing);
        }
        let selected = self.selected(line, node.selected_options.unwrap_or_default(), &mut product.options);
        if node.price.is_none() {
            self.fault(line, "price", Fault::Missing);
        }
        let item = node.inventory_item.unwrap_or_default();
        let weight = item.measurement.and_then(|measurement| measurement.weight);
        let grams = weight.map(|weight| amount::grams(&weight.value.to_string(), &weight.unit));
        if grams == Some(None) {
            self.fault(line, "inventoryItem.measurement.weight", Fault::Weight);
        }
        let image = node.image.and_then(|image| {
            let url = image.url.as_ref()?;
            let known = product.media.iter().position(|own| own.url == *url);
            let index = known.unwrap_or(product.media.len());
            if known.is_none() {
                product.media.push(image.image()?);
            }
            u32::try_from(index).ok()
        });
        Variant {
            number,
            selected,
            sku: node.sku.unwrap_or_default(),
            barcode: node.barcode.unwrap_or_default(),
            price_minor: node.price.map_or(0, |price| self.price(line, "price", &price)),
            compare_at_minor: node.compare_at_price.map(|price| self.price(line, "compareAtPrice", &price)),
            requires_shipping: item.requires_shipping.unwrap_or(true),
            taxable: node.taxable.unwrap_or(true),
            weight_grams: grams.flatten().unwrap_or_default(),
            image,
            unit: None,
        }
    }

    /// The values of a variant. A value that its option does not name yet is added to it.
    fn selected(&mut self, line: u64, given: Vec<Selected>, options: &mut [ProductOption]) -> Vec<u32> {
        let unnamed = given.is_empty() && matches!(&*options, [one] if one.name == NO_OPTION.0);
        let mut selected = Vec::with_capacity(options.len());
        for option in &mut *options {
            let value = given.iter().find(|one| one.name == option.name).map(|one| one.value.as_str());
            let Some(value) = value.or(unnamed.then_some(NO_OPTION.1)) else {
                self.fault(line, "selectedOptions", Fault::Options);
                continue;
            };
            let known = option.values.iter().position(|own| own.name == value);
            selected.push(known.unwrap_or(option.values.len()) as u32);
            if known.is_none() {
                option.values.push(plain_value(value.to_owned()));
            }
        }
        if given.len() > options.len() {
            self.fault(line, "selectedOptions", Fault::Options);
        }
        selected
    }

    fn stock(&mut self, line: u64, node: &Node, variant: u32) -> Option<StockSetting> {
        let tracked = node.inventory_item.as_ref().and_then(|item| item.tracked);
        if tracked.is_none() && node.inventory_quantity.is_none() && node.inventory_policy.is_none() {
            return None;
        }
        let policy = match node.inventory_policy.as_deref() {
            None | Some("DENY") => StockPolicy::Deny,
            Some("CONTINUE") => StockPolicy::Backorder(CONTINUE_UNITS),
            Some(_) => {
                self.fault(line, "inventoryPolicy", Fault::Word("DENY, CONTINUE"));
                StockPolicy::Deny
            }
        };
        let on_hand = node.inventory_quantity.map(|units| (self.terms.location, units)).into_iter().collect();
        // A quantity is counted unless the export says that it is not.
        Some(StockSetting { variant, tracked: tracked.unwrap_or(true), policy, on_hand })
    }
}

impl ImageNode {
    fn image(self) -> Option<Image> {
        let alt = self.alt_text.unwrap_or_default();
        Some(Image { url: self.url?, alt, width: self.width, height: self.height })
    }
}

fn picture(node: Node) -> Option<Image> {
    let own = node.picture.image();
    own.or_else(|| node.image.and_then(ImageNode::image))
}

fn metafield(node: Node) -> Metafield {
    Metafield {
        namespace: node.namespace.unwrap_or_default(),
        key: node.key.unwrap_or_default(),
        kind: node.kind.unwrap_or_default(),
        value: node.value.unwrap_or_default(),
    }
}

fn plain_value(name: String) -> OptionValue {
    OptionValue { name, swatch_color: None, swatch_image: None }
}

fn option(node: OptionNode) -> ProductOption {
    let values = if node.option_values.is_empty() {
        node.values.into_iter().map(plain_value).collect()
    } else {
        let value = |value: ValueNode| OptionValue {
            swatch_color: value.swatch.and_then(|swatch| swatch.color),
            ..plain_value(value.name)
        };
        node.option_values.into_iter().map(value).collect()
    };
    ProductOption { name: node.name, values }
}

/// The options that variants name, where their product names none.
fn options_of(variants: &[(u64, Node)]) -> Vec<ProductOption> {
    let first = variants.first().and_then(|(_, variant)| variant.selected_options.as_ref());
    let named = first.map(|selected| selected.iter().map(|one| one.name.clone()).collect());
    let names = Some(named.unwrap_or_default()).filter(|names: &Vec<String>| !names.is_empty());
    let names = names.unwrap_or_else(|| vec![NO_OPTION.0.to_owned()]);
    names.into_iter().map(|name| ProductOption { name, values: Vec::new() }).collect()
}
