//! What the columns of a product CSV are called. The platform has renamed nearly all of them once; both names are read,
//! in any case and order, and the older are written, which every tool knows.

use super::MAX_COLUMNS;
use super::fault::ImportError;
use std::collections::BTreeSet;

/// A column that something is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Handle,
    Title,
    Body,
    Vendor,
    Type,
    Tags,
    Published,
    Status,
    Option1Name,
    Option1Value,
    Option2Name,
    Option2Value,
    Option3Name,
    Option3Value,
    Sku,
    Grams,
    Tracker,
    Quantity,
    Policy,
    Price,
    CompareAt,
    RequiresShipping,
    Taxable,
    UnitTotal,
    UnitTotalUnit,
    UnitBase,
    UnitBaseUnit,
    Barcode,
    ImageSource,
    ImagePosition,
    ImageAlt,
    GiftCard,
    SeoTitle,
    SeoDescription,
    VariantImage,
    Weight,
    WeightUnit,
    TaxCode,
}

/// Each column: the name that is written, and the other that is read.
pub(super) const COLUMNS: [(Column, &str, &str); 38] = [
    (Column::Handle, "Handle", "URL handle"),
    (Column::Title, "Title", "Title"),
    (Column::Body, "Body (HTML)", "Description"),
    (Column::Vendor, "Vendor", "Vendor"),
    (Column::Type, "Type", "Type"),
    (Column::Tags, "Tags", "Tags"),
    (Column::Published, "Published", "Published on online store"),
    (Column::Status, "Status", "Status"),
    (Column::Option1Name, "Option1 Name", "Option1 Name"),
    (Column::Option1Value, "Option1 Value", "Option1 Value"),
    (Column::Option2Name, "Option2 Name", "Option2 Name"),
    (Column::Option2Value, "Option2 Value", "Option2 Value"),
    (Column::Option3Name, "Option3 Name", "Option3 Name"),
    (Column::Option3Value, "Option3 Value", "Option3 Value"),
    (Column::Sku, "Variant SKU", "SKU"),
    (Column::Grams, "Variant Grams", "Weight value (grams)"),
    (Column::Tracker, "Variant Inventory Tracker", "Inventory tracker"),
    (Column::Quantity, "Variant Inventory Qty", "Inventory quantity"),
    (Column::Policy, "Variant Inventory Policy", "Continue selling when out of stock"),
    (Column::Price, "Variant Price", "Price"),
    (Column::CompareAt, "Variant Compare At Price", "Compare-at price"),
    (Column::RequiresShipping, "Variant Requires Shipping", "Requires shipping"),
    (Column::Taxable, "Variant Taxable", "Charge tax"),
    (Column::UnitTotal, "Unit Price Total Measure", "Unit price total measure"),
    (Column::UnitTotalUnit, "Unit Price Total Measure Unit", "Unit price total measure unit"),
    (Column::UnitBase, "Unit Price Base Measure", "Unit price base measure"),
    (Column::UnitBaseUnit, "Unit Price Base Measure Unit", "Unit price base measure unit"),
    (Column::Barcode, "Variant Barcode", "Barcode"),
    (Column::ImageSource, "Image Src", "Product image URL"),
    (Column::ImagePosition, "Image Position", "Image position"),
    (Column::ImageAlt, "Image Alt Text", "Image alt text"),
    (Column::GiftCard, "Gift Card", "Gift card"),
    (Column::SeoTitle, "SEO Title", "SEO title"),
    (Column::SeoDescription, "SEO Description", "SEO description"),
    (Column::VariantImage, "Variant Image", "Variant image URL"),
    (Column::Weight, "Variant Weight", "Variant Weight"),
    (Column::WeightUnit, "Variant Weight Unit", "Weight unit for display"),
    (Column::TaxCode, "Variant Tax Code", "Tax code"),
];

/// Names and values of the options, in order.
pub(super) const OPTIONS: [(Column, Column); 3] = [
    (Column::Option1Name, Column::Option1Value),
    (Column::Option2Name, Column::Option2Value),
    (Column::Option3Name, Column::Option3Value),
];

/// Whatever else is kept of a product, in columns such as `Care (product.metafields.custom.care)`.
const METAFIELD: &str = "(product.metafields.";

impl Column {
    /// The name that is written.
    pub(super) fn name(self) -> &'static str {
        COLUMNS.iter().find(|(column, ..)| *column == self).map_or("", |(_, name, _)| name)
    }
}

/// What one column of a header means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Known(Column),
    Metafield { namespace: String, key: String },
    Ignored(String),
}

/// A header that was read: a meaning for each column, by position.
pub(super) struct Header {
    pub(super) meanings: Vec<Meaning>,
}

impl Header {
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Result<Self, ImportError> {
        let mut meanings = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            let name = std::str::from_utf8(name).map_err(|_| ImportError::Encoding)?;
            let name = name.trim();
            if meanings.len() >= MAX_COLUMNS {
                return Err(ImportError::TooManyColumns);
            }
            let meaning = meaning_of(name);
            if let Meaning::Known(column) = meaning
                && !seen.insert(column)
            {
                return Err(ImportError::ColumnTwice(name.to_owned()));
            }
            meanings.push(meaning);
        }
        match [Column::Title, Column::Price].into_iter().find(|column| !seen.contains(column)) {
            Some(missing) => Err(ImportError::NoColumn(missing.name())),
            None => Ok(Self { meanings }),
        }
    }
}

fn meaning_of(name: &str) -> Meaning {
    let same = |other: &str| name.eq_ignore_ascii_case(other);
    if let Some((column, ..)) = COLUMNS.iter().find(|(_, one, other)| same(one) || same(other)) {
        return Meaning::Known(*column);
    }
    let metafield = name.split_once(METAFIELD).and_then(|(_, rest)| rest.strip_suffix(')')?.split_once('.'));
    match metafield {
        Some((namespace, key)) if !namespace.is_empty() && !key.is_empty() => {
            Meaning::Metafield { namespace: namespace.to_owned(), key: key.to_owned() }
        }
        _ => Meaning::Ignored(name.to_owned()),
    }
}

/// The name of the column of a metafield.
pub(super) fn metafield_name(namespace: &str, key: &str) -> String {
    format!("{key} {METAFIELD}{namespace}.{key})")
}
