//! The rows of one handle, read as a product: the first says what holds for all, each may hold a variant, a picture, or
//! both.

use super::columns::{Column, Header, Meaning, OPTIONS};
use super::fault::{Fault, Refused};
use super::rows::Row;
use super::{CONTINUE_UNITS, ImportTerms, Item, amount};
use crate::StockSetting;
use model::commerce::product::{
    Image, Metafield, OptionValue, Product, ProductOption, Seo, UnitMeasure, Variant,
};
use model::commerce::stock::StockPolicy;
use std::collections::BTreeMap;

/// The option of a product that has none, and its value.
pub(super) const NO_OPTION: (&str, &str) = ("Title", "Default Title");
/// What a CSV does not say of a metafield: which kind of value it is.
pub(super) const METAFIELD_KIND: &str = "single_line_text_field";
/// The units of prices by the litre or kilogram.
const UNITS: [&str; 11] = ["ML", "CL", "L", "M3", "MG", "G", "KG", "MM", "CM", "M", "M2"];

/// The product of some rows, or everything that is wrong with them.
pub(super) fn item(
    handle: &str,
    rows: &[Row],
    header: &Header,
    terms: &ImportTerms,
) -> Result<Item, Vec<Refused>> {
    let Some(first) = rows.first() else {
        return Err(Vec::new());
    };
    let mut sheet = Sheet { terms, faults: Vec::new() };
    let mut pictures = Pictures::of(rows, &mut sheet);
    let mut product = sheet.product(handle, first, header);
    let mut options = sheet.options(first);
    let mut stock = Vec::new();
    let sold = rows.iter().filter(|row| is_variant(row));
    for (index, row) in (0_u32..).zip(sold) {
        let selected = sheet.selected(row, &mut options);
        product.variants.push(sheet.variant(row, selected, &mut pictures));
        stock.extend(sheet.stock(row, index));
    }
    if product.variants.is_empty() {
        sheet.fault(first, Column::Price, Fault::Missing);
    }
    product.options = options;
    product.media = pictures.images;
    if sheet.faults.is_empty() { Ok(Item { product, stock }) } else { Err(sheet.faults) }
}

fn is_variant(row: &Row) -> bool {
    [Column::Price, Column::Option1Value, Column::Sku].into_iter().any(|column| !row.get(column).is_empty())
}

/// The pictures of a product, each once, and where each is.
struct Pictures {
    images: Vec<Image>,
    by_url: BTreeMap<String, u32>,
}

impl Pictures {
    fn of(rows: &[Row], sheet: &mut Sheet<'_>) -> Self {
        let mut placed: Vec<(u32, Image)> = Vec::new();
        let mut seen = BTreeMap::new();
        for row in rows.iter().filter(|row| !row.get(Column::ImageSource).is_empty()) {
            let url = row.get(Column::ImageSource);
            if seen.insert(url, ()).is_none() {
                let here = placed.len() as u32 + 1;
                let position =
                    sheet.read(row, Column::ImagePosition, Fault::Number, |text| text.parse().ok());
                let (url, alt) = (url.to_owned(), row.get(Column::ImageAlt).to_owned());
                placed.push((position.unwrap_or(here), Image { url, alt, width: None, height: None }));
            }
        }
        placed.sort_by_key(|(position, _)| *position);
        let images: Vec<Image> = placed.into_iter().map(|(_, image)| image).collect();
        let by_url = images.iter().zip(0..).map(|(image, index)| (image.url.clone(), index)).collect();
        Self { images, by_url }
    }

    /// The index of a picture, which is added if it is new.
    fn index(&mut self, url: &str) -> u32 {
        if let Some(index) = self.by_url.get(url) {
            return *index;
        }
        let index = self.images.len() as u32;
        self.images.push(Image { url: url.to_owned(), alt: String::new(), width: None, height: None });
        self.by_url.insert(url.to_owned(), index);
        index
    }
}

struct Sheet<'a> {
    terms: &'a ImportTerms,
    faults: Vec<Refused>,
}

impl Sheet<'_> {
    fn fault(&mut self, row: &Row, column: Column, fault: Fault) {
        self.faults.push(Refused { line: row.line, column: column.name().to_owned(), fault });
    }

    /// Reads a cell. `None` if it says nothing, and also, with a fault, if it cannot be read.
    fn read<T>(
        &mut self,
        row: &Row,
        column: Column,
        fault: Fault,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = row.get(column);
        if text.is_empty() {
            return None;
        }
        let value = read(text);
        if value.is_none() {
            self.fault(row, column, fault);
        }
        value
    }

    fn truth(&mut self, row: &Row, column: Column) -> Option<bool> {
        self.read(row, column, Fault::Truth, |text| match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    /// What holds for all variants.
    fn product(&mut self, handle: &str, row: &Row, header: &Header) -> Product {
        if row.get(Column::Title).is_empty() {
            self.fault(row, Column::Title, Fault::Missing);
        }
        if self.truth(row, Column::GiftCard) == Some(true) {
            self.fault(row, Column::GiftCard, Fault::GiftCard);
        }
        let words = Fault::Word("active, draft, archived, unlisted");
        let active = self.read(row, Column::Status, words, |text| match text.to_ascii_lowercase().as_str() {
            "active" | "unlisted" => Some(true),
            "draft" | "archived" => Some(false),
            _ => None,
        });
        // A cell that says nothing publishes, as it does on the platform.
        let published = self.truth(row, Column::Published).unwrap_or(true) && active.unwrap_or(true);
        let mut tags: Vec<String> = Vec::new();
        for tag in row.get(Column::Tags).split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if !tags.iter().any(|own| own == tag) {
                tags.push(tag.to_owned());
            }
        }
        let text = |column: Column| row.get(column).to_owned();
        let stated = |column: Column| Some(text(column)).filter(|text| !text.is_empty());
        let metafield = |(index, value): &(usize, String)| match header.meanings.get(*index) {
            Some(Meaning::Metafield { namespace, key }) => Some(Metafield {
                namespace: namespace.clone(),
                key: key.clone(),
                kind: METAFIELD_KIND.to_owned(),
                value: value.clone(),
            }),
            _ => None,
        };
        Product {
            number: 0,
            handle: handle.to_owned(),
            title: text(Column::Title),
            description_html: text(Column::Body),
            vendor: text(Column::Vendor),
            product_type: text(Column::Type),
            tags,
            options: Vec::new(),
            variants: Vec::new(),
            media: Vec::new(),
            seo: Seo { title: stated(Column::SeoTitle), description: stated(Column::SeoDescription) },
            published_at: published.then_some(self.terms.at),
            channels: Vec::new(),
            tax_class: text(Column::TaxCode),
            translations: Vec::new(),
            metafields: row.metafields.iter().filter_map(metafield).collect(),
            created_at: self.terms.at,
            updated_at: self.terms.at,
        }
    }

    /// The options that the first row names; their values come with the variants.
    fn options(&mut self, first: &Row) -> Vec<ProductOption> {
        let mut options = Vec::new();
        let mut ended = false;
        for (name, _) in OPTIONS {
            match first.get(name) {
                "" => ended = true,
                _ if ended => self.fault(first, name, Fault::Options),
                named => options.push(ProductOption { name: named.to_owned(), values: Vec::new() }),
            }
        }
        if options.is_empty() {
            options.push(ProductOption { name: NO_OPTION.0.to_owned(), values: Vec::new() });
        }
        options
    }

    /// Which values a variant has. Values that are new are added to their options.
    fn selected(&mut self, row: &Row, options: &mut [ProductOption]) -> Vec<u32> {
        let mut selected = Vec::with_capacity(options.len());
        let unnamed = matches!(&*options, [one] if one.name == NO_OPTION.0);
        for (index, (name, value)) in OPTIONS.into_iter().enumerate() {
            let (named, mut text) = (row.get(name), row.get(value));
            let Some(option) = options.get_mut(index) else {
                if !text.is_empty() || !named.is_empty() {
                    self.fault(row, value, Fault::Options);
                }
                continue;
            };
            if text.is_empty() && unnamed {
                text = NO_OPTION.1;
            }
            if text.is_empty() || !(named.is_empty() || named == option.name) {
                self.fault(row, if text.is_empty() { value } else { name }, Fault::Options);
                continue;
            }
            let known = option.values.iter().position(|own| own.name == text);
            selected.push(known.unwrap_or(option.values.len()) as u32);
            if known.is_none() {
                option.values.push(OptionValue {
                    name: text.to_owned(),
                    swatch_color: None,
                    swatch_image: None,
                });
            }
        }
        selected
    }

    fn variant(&mut self, row: &Row, selected: Vec<u32>, pictures: &mut Pictures) -> Variant {
        let currency = self.terms.currency;
        if row.get(Column::Price).is_empty() {
            self.fault(row, Column::Price, Fault::Missing);
        }
        let price = |text: &str| amount::price(text, currency);
        let price_minor = self.read(row, Column::Price, Fault::Price, price).unwrap_or_default();
        let compare_at_minor = self.read(row, Column::CompareAt, Fault::Price, price);
        // Spreadsheets show digits as numbers unless an apostrophe stands before them; it is not part of the code.
        let barcode = row.get(Column::Barcode);
        let code = barcode.strip_prefix('\'').filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        let image = Some(row.get(Column::VariantImage)).filter(|url| !url.is_empty());
        Variant {
            number: 0,
            selected,
            sku: row.get(Column::Sku).to_owned(),
            barcode: code.unwrap_or(barcode).to_owned(),
            price_minor,
            compare_at_minor,
            requires_shipping: self.truth(row, Column::RequiresShipping).unwrap_or(true),
            taxable: self.truth(row, Column::Taxable).unwrap_or(true),
            weight_grams: self.weight(row),
            image: image.map(|url| pictures.index(url)),
            unit: self.unit(row),
        }
    }

    /// Grams where they are given: the unit is then only how the platform shows them.
    fn weight(&mut self, row: &Row) -> u32 {
        let unit = Some(row.get(Column::WeightUnit)).filter(|unit| !unit.is_empty()).unwrap_or("g");
        if amount::grams("0", unit).is_none() {
            self.fault(row, Column::WeightUnit, Fault::Weight);
            return 0;
        }
        let grams = self.read(row, Column::Grams, Fault::Weight, |text| amount::grams(text, "g"));
        let grams =
            grams.or_else(|| self.read(row, Column::Weight, Fault::Weight, |text| amount::grams(text, unit)));
        grams.unwrap_or_default()
    }

    fn unit(&mut self, row: &Row) -> Option<UnitMeasure> {
        let quantity_milli = self.read(row, Column::UnitTotal, Fault::Number, amount::milli)?;
        let mut unit = |column: Column| {
            let words = Fault::Word("ml, cl, l, m3, mg, g, kg, mm, cm, m, m2");
            let known = |text: &str| UNITS.iter().find(|unit| unit.eq_ignore_ascii_case(text)).copied();
            if row.get(column).is_empty() {
                self.fault(row, column, Fault::Missing);
            }
            Some(self.read(row, column, words, known)?.to_owned())
        };
        let (total_unit, reference_unit) = (unit(Column::UnitTotalUnit), unit(Column::UnitBaseUnit));
        let reference = self.read(row, Column::UnitBase, Fault::Number, |text| text.parse().ok());
        Some(UnitMeasure {
            unit: total_unit?,
            quantity_milli,
            reference_unit: reference_unit?,
            reference_quantity: reference.unwrap_or(1),
        })
    }

    /// What is said of the stock of a variant, if anything is.
    fn stock(&mut self, row: &Row, variant: u32) -> Option<StockSetting> {
        let columns = [Column::Tracker, Column::Quantity, Column::Policy];
        if columns.into_iter().all(|column| row.get(column).is_empty()) {
            return None;
        }
        let words = Fault::Word("deny, continue");
        let policy = self.read(row, Column::Policy, words, |text| match text.to_ascii_lowercase().as_str() {
            "deny" => Some(StockPolicy::Deny),
            "continue" => Some(StockPolicy::Backorder(CONTINUE_UNITS)),
            _ => None,
        });
        let units = self.read(row, Column::Quantity, Fault::Number, |text| text.parse::<i64>().ok());
        Some(StockSetting {
            variant,
            tracked: !row.get(Column::Tracker).is_empty(),
            policy: policy.unwrap_or_default(),
            on_hand: units.map(|units| (self.terms.location, units)).into_iter().collect(),
        })
    }
}
