//! Answers about variants.

use super::catalogue::{option_name, value_name, variant_title};
use super::names::{Name, Type};
use super::plan::Field;
use super::run::{Run, Stop, Written};
use crate::view::Shown;
use model::commerce::MAX_QUANTITY;
use model::commerce::product::{Product, UnitMeasure, Variant};

impl<'a> Run<'a> {
    /// Writes the variant at an index of a product.
    pub(crate) fn variant(&mut self, field: &'a Field, shown: &'a Shown, index: usize) -> Written {
        let product: &'a Product = &shown.product;
        let language = self.facts.locale.language.as_str();
        let Some(variant) = product.variants.get(index) else { return Err(Stop::Null) };
        self.object(Type::ProductVariant, &field.selected, |run, field| match field.name {
            Name::Id => run.id("ProductVariant", variant.number),
            Name::Title => run.text(&variant_title(product, variant, language)),
            Name::Sku => run.filled(&variant.sku),
            Name::Barcode => run.filled(&variant.barcode),
            Name::AvailableForSale => run.bool(shown.available(index) > 0),
            Name::QuantityAvailable => match shown.available(index) {
                i64::MAX => run.null(),
                units => run.int(units.clamp(0, i64::from(i32::MAX))),
            },
            Name::CurrentlyNotInStock | Name::RequiresComponents => run.bool(false),
            Name::RequiresShipping => run.bool(variant.requires_shipping),
            Name::Taxable => run.bool(variant.taxable),
            Name::Weight => run.int(i64::from(variant.weight_grams)),
            Name::WeightUnit => run.text("GRAMS"),
            Name::Price | Name::PriceV2 => match run.facts.unit_price(variant) {
                Some(price) => run.price(field, price.price_minor),
                None => run.fail("INTERNAL", "the price cannot be said in this market"),
            },
            Name::CompareAtPrice | Name::CompareAtPriceV2 => {
                match run.facts.unit_price(variant).and_then(|price| price.compare_at_minor) {
                    Some(minor) => run.price(field, minor),
                    None => run.null(),
                }
            }
            Name::UnitPrice => match run.by_measure(variant) {
                Some(minor) => run.price(field, minor),
                None => run.null(),
            },
            Name::UnitPriceMeasurement => match &variant.unit {
                Some(unit) => run.measurement(field, unit),
                None => run.null(),
            },
            Name::Image => match variant_image(product, variant) {
                Some((place, image)) => run.image(field, (product.number, place, image)),
                None => run.null(),
            },
            Name::SelectedOptions => {
                run.list(field, product.options.iter().zip(&variant.selected), |run, (option, value)| {
                    let value = option.values.get(*value as usize).map_or("", |value| value.name.as_str());
                    run.object(Type::SelectedOption, &field.selected, |run, field| match field.name {
                        Name::Name => run.text(option_name(product, option, language)),
                        Name::Value => run.text(value_name(product, option, value, language)),
                        _ => run.unanswered(Type::SelectedOption, field),
                    })
                })
            }
            Name::Product => run.product(field, shown),
            Name::QuantityRule => {
                run.object(Type::QuantityRule, &field.selected, |run, field| match field.name {
                    Name::Minimum | Name::Increment => run.int(1),
                    Name::Maximum => run.int(i64::from(MAX_QUANTITY)),
                    _ => run.unanswered(Type::QuantityRule, field),
                })
            }
            Name::Metafield => run.null(),
            Name::Metafields => {
                let count = run.arg(field, "identifiers").list().len();
                run.list(field, 0..count, |run, _| run.null())
            }
            _ => run.unanswered(Type::ProductVariant, field),
        })
    }

    /// What the reference quantity of a variant costs.
    fn by_measure(&self, variant: &Variant) -> Option<i64> {
        let unit = variant.unit.as_ref()?;
        let price = self.facts.unit_price(variant)?.price_minor;
        let ((_, kind, size), (_, reference_kind, reference_size)) =
            (measure(&unit.unit)?, measure(&unit.reference_unit)?);
        if kind != reference_kind {
            return None;
        }
        let reference = i64::from(unit.reference_quantity).checked_mul(reference_size)?.checked_mul(1_000)?;
        let held = i64::from(unit.quantity_milli).checked_mul(size)?;
        let rounding = self.facts.market.map(|market| market.rounding).unwrap_or_default();
        rounding.ratio(price, reference, held)
    }

    fn measurement(&mut self, field: &'a Field, unit: &'a UnitMeasure) -> Written {
        let name = |unit: &str| measure(unit).map_or("UNKNOWN", |(name, _, _)| name);
        self.object(Type::UnitPriceMeasurement, &field.selected, |run, field| match field.name {
            Name::MeasuredType => run.text(measure(&unit.unit).map_or("UNKNOWN", |(_, kind, _)| kind)),
            Name::QuantityUnit => run.text(name(&unit.unit)),
            Name::QuantityValue => {
                let (whole, part) = (unit.quantity_milli / 1_000, unit.quantity_milli % 1_000);
                run.out.extend_from_slice(format!("{whole}.{part:03}").as_bytes());
                Ok(())
            }
            Name::ReferenceUnit => run.text(name(&unit.reference_unit)),
            Name::ReferenceValue => run.int(i64::from(unit.reference_quantity).min(i64::from(i32::MAX))),
            _ => run.unanswered(Type::UnitPriceMeasurement, field),
        })
    }
}

/// The picture of a variant, else the product's first.
fn variant_image<'p>(
    product: &'p Product,
    variant: &Variant,
) -> Option<(usize, &'p model::commerce::product::Image)> {
    let place = variant.image.map_or(0, |place| place as usize);
    product.media.get(place).map(|image| (place, image))
}

/// A unit's name, what it measures, and how many of the smallest unit it is.
fn measure(unit: &str) -> Option<(&'static str, &'static str, i64)> {
    Some(match unit.to_ascii_uppercase().as_str() {
        "ML" => ("ML", "VOLUME", 1),
        "CL" => ("CL", "VOLUME", 10),
        "L" => ("L", "VOLUME", 1_000),
        "M3" => ("M3", "VOLUME", 1_000_000),
        "MG" => ("MG", "WEIGHT", 1),
        "G" => ("G", "WEIGHT", 1_000),
        "KG" => ("KG", "WEIGHT", 1_000_000),
        "MM" => ("MM", "LENGTH", 1),
        "CM" => ("CM", "LENGTH", 10),
        "M" => ("M", "LENGTH", 1_000),
        "M2" => ("M2", "AREA", 1),
        _ => return None,
    })
}
