//! A product as JSON of our own: every field under its own name, so that nothing is lost. Amounts are whole minor units,
//! instants are texts of RFC 3339. What may be left out is empty then; a name that is not known is refused, since a typing
//! mistake would lose something silently.

use super::Item;
use crate::StockSetting;
use model::commerce::product::{
    Image, Metafield, OptionValue, Product, ProductOption, Seo, Translation, UnitMeasure, Variant,
};
use model::commerce::stock::StockPolicy;
use model::feature::Value;
use model::feature::value::instant;
use model::id::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A form and what it is the form of.
trait FormOf<T>: Sized {
    fn of(value: T) -> Self;
    fn back(self) -> T;
}

macro_rules! same {
    ($($type:ty),*) => {$(
        impl FormOf<$type> for $type {
            fn of(value: $type) -> Self {
                value
            }

            fn back(self) -> $type {
                self
            }
        }
    )*};
}

same!(bool, u32, u64, i64, String);

impl<T, F: FormOf<T>> FormOf<Vec<T>> for Vec<F> {
    fn of(value: Vec<T>) -> Self {
        value.into_iter().map(F::of).collect()
    }

    fn back(self) -> Vec<T> {
        self.into_iter().map(F::back).collect()
    }
}

impl<T, F: FormOf<T>> FormOf<Option<T>> for Option<F> {
    fn of(value: Option<T>) -> Self {
        value.map(F::of)
    }

    fn back(self) -> Option<T> {
        self.map(F::back)
    }
}

/// An instant, as a text.
#[derive(Clone, Copy, Default)]
struct Instant(Timestamp);

impl FormOf<Timestamp> for Instant {
    fn of(value: Timestamp) -> Self {
        Self(value)
    }

    fn back(self) -> Timestamp {
        self.0
    }
}

impl Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Value::Time(self.0))
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let at = instant(&text);
        at.map(Self).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no instant of RFC 3339")))
    }
}

/// Defines the JSON form of a struct: the same fields, each in its own form.
macro_rules! forms {
    ($($name:ident of $of:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name { $($(#[$meta])* $field: $type,)* }

        impl FormOf<$of> for $name {
            fn of(value: $of) -> Self {
                Self { $($field: FormOf::of(value.$field),)* }
            }

            fn back(self) -> $of {
                $of { $($field: FormOf::back(self.$field),)* }
            }
        }
    )*};
}

forms! {
    OptionForm of ProductOption {
        name: String,
        values: Vec<ValueForm>,
    }
    ValueForm of OptionValue {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")] swatch_color: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")] swatch_image: Option<String>,
    }
    VariantForm of Variant {
        #[serde(default)] number: u64,
        selected: Vec<u32>,
        #[serde(default)] sku: String,
        #[serde(default)] barcode: String,
        price_minor: i64,
        #[serde(default)] compare_at_minor: Option<i64>,
        #[serde(default = "yes")] requires_shipping: bool,
        #[serde(default = "yes")] taxable: bool,
        #[serde(default)] weight_grams: u32,
        #[serde(default)] image: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")] unit: Option<UnitForm>,
    }
    UnitForm of UnitMeasure {
        unit: String,
        quantity_milli: u32,
        reference_unit: String,
        reference_quantity: u32,
    }
    ImageForm of Image {
        url: String,
        #[serde(default)] alt: String,
        #[serde(default)] width: Option<u32>,
        #[serde(default)] height: Option<u32>,
    }
    SeoForm of Seo {
        #[serde(default)] title: Option<String>,
        #[serde(default)] description: Option<String>,
    }
    TranslationForm of Translation {
        language: String,
        field: String,
        text: String,
    }
    MetafieldForm of Metafield {
        namespace: String,
        key: String,
        kind: String,
        value: String,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemForm {
    #[serde(default)]
    number: u64,
    handle: String,
    title: String,
    #[serde(default)]
    description_html: String,
    #[serde(default)]
    vendor: String,
    #[serde(default)]
    product_type: String,
    #[serde(default)]
    tags: Vec<String>,
    options: Vec<OptionForm>,
    variants: Vec<VariantForm>,
    #[serde(default)]
    media: Vec<ImageForm>,
    #[serde(default = "no_seo")]
    seo: SeoForm,
    #[serde(default)]
    published_at: Option<Instant>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    tax_class: String,
    #[serde(default)]
    translations: Vec<TranslationForm>,
    #[serde(default)]
    metafields: Vec<MetafieldForm>,
    #[serde(default)]
    created_at: Option<Instant>,
    #[serde(default)]
    updated_at: Option<Instant>,
    #[serde(default)]
    stock: Vec<StockForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StockForm {
    /// Which of the variants: an index.
    variant: u32,
    tracked: bool,
    /// How many may be sold beyond what is there; none if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backorder_units: Option<u32>,
    #[serde(default)]
    on_hand: Vec<LevelForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelForm {
    location: u64,
    units: i64,
}

fn yes() -> bool {
    true
}

fn no_seo() -> SeoForm {
    SeoForm { title: None, description: None }
}

impl StockForm {
    fn of(setting: StockSetting) -> Self {
        let backorder_units = match setting.policy {
            StockPolicy::Deny => None,
            StockPolicy::Backorder(units) => Some(units),
        };
        let level = |(location, units)| LevelForm { location, units };
        let on_hand = setting.on_hand.into_iter().map(level).collect();
        Self { variant: setting.variant, tracked: setting.tracked, backorder_units, on_hand }
    }

    fn back(self) -> StockSetting {
        let policy = self.backorder_units.map_or(StockPolicy::Deny, StockPolicy::Backorder);
        let on_hand = self.on_hand.into_iter().map(|level| (level.location, level.units)).collect();
        StockSetting { variant: self.variant, tracked: self.tracked, policy, on_hand }
    }
}

/// Reads a line. Instants that are left out are `at`.
pub(super) fn read(line: &str, at: Timestamp) -> Result<Item, serde_json::Error> {
    let form: ItemForm = serde_json::from_str(line)?;
    let product = Product {
        number: form.number,
        handle: form.handle,
        title: form.title,
        description_html: form.description_html,
        vendor: form.vendor,
        product_type: form.product_type,
        tags: form.tags,
        options: form.options.back(),
        variants: form.variants.back(),
        media: form.media.back(),
        seo: form.seo.back(),
        published_at: form.published_at.back(),
        channels: form.channels,
        tax_class: form.tax_class,
        translations: form.translations.back(),
        metafields: form.metafields.back(),
        created_at: form.created_at.map_or(at, Instant::back),
        updated_at: form.updated_at.map_or(at, Instant::back),
    };
    Ok(Item { product, stock: form.stock.into_iter().map(StockForm::back).collect() })
}

/// Writes a line, without its end.
pub(super) fn write(item: &Item) -> Result<String, serde_json::Error> {
    let Item { product, stock } = item.clone();
    serde_json::to_string(&ItemForm {
        number: product.number,
        handle: product.handle,
        title: product.title,
        description_html: product.description_html,
        vendor: product.vendor,
        product_type: product.product_type,
        tags: product.tags,
        options: FormOf::of(product.options),
        variants: FormOf::of(product.variants),
        media: FormOf::of(product.media),
        seo: FormOf::of(product.seo),
        published_at: FormOf::of(product.published_at),
        channels: product.channels,
        tax_class: product.tax_class,
        translations: FormOf::of(product.translations),
        metafields: FormOf::of(product.metafields),
        created_at: Some(Instant(product.created_at)),
        updated_at: Some(Instant(product.updated_at)),
        stock: stock.into_iter().map(StockForm::of).collect(),
    })
}
