//! Answers about products and what belongs to them.

use super::context::Facts;
use super::names::{Name, Type};
use super::page::List;
use super::plan::Field;
use super::run::{Run, Stop, Written};
use super::words::plain_text;
use crate::view::Shown;
use model::commerce::market::UnitPrice;
use model::commerce::product::{Image, Product, ProductOption, Seo, Variant};

/// The types of a page of products.
pub(crate) const PRODUCTS: (Type, Type) = (Type::ProductConnection, Type::ProductEdge);
/// The types of a page of variants.
const VARIANTS: (Type, Type) = (Type::ProductVariantConnection, Type::ProductVariantEdge);
/// The types of a page of pictures.
const IMAGES: (Type, Type) = (Type::ImageConnection, Type::ImageEdge);
/// The types of a page of media.
const MEDIA: (Type, Type) = (Type::MediaConnection, Type::MediaEdge);

/// A picture of a product: which, and its place among them.
pub(crate) type Picture<'p> = (u64, usize, &'p Image);

impl<'a> Run<'a> {
    /// The product with a number, if it is shown.
    pub(crate) fn product_by_number(&self, number: u64) -> Option<&'a Shown> {
        let facts: &'a Facts<'a> = self.facts;
        let shown = facts.catalogue.products.get(&number)?;
        facts.is_shown(&shown.product).then_some(shown)
    }

    /// Writes the product with a number; null if it is not shown.
    pub(crate) fn product_number(&mut self, field: &'a Field, number: u64) -> Written {
        match self.product_by_number(number) {
            Some(shown) => self.product(field, shown),
            None => Err(Stop::Null),
        }
    }

    /// Writes a product.
    pub(crate) fn product(&mut self, field: &'a Field, shown: &'a Shown) -> Written {
        let product: &'a Product = &shown.product;
        let facts: &'a Facts<'a> = self.facts;
        let language = facts.locale.language.as_str();
        let own = |name: &str, own: &'a str| product.text(name, language, own);
        self.object(Type::Product, &field.selected, |run, field| match field.name {
            Name::Id => run.id("Product", product.number),
            Name::Handle => run.text(&product.handle),
            Name::Title => run.text(own("title", &product.title)),
            Name::DescriptionHtml => run.text(own("description_html", &product.description_html)),
            Name::Description => run.described(field, own("description_html", &product.description_html)),
            Name::Vendor => run.text(&product.vendor),
            Name::ProductType => run.text(&product.product_type),
            Name::Tags => run.list(field, &product.tags, |run, tag| run.text(tag)),
            Name::PublishedAt => run.instant(product.published_at.unwrap_or(product.created_at)),
            Name::CreatedAt => run.instant(product.created_at),
            Name::UpdatedAt => run.instant(product.updated_at),
            Name::OnlineStoreUrl => run.text_if(facts.page_url("products", &product.handle).as_deref()),
            Name::TrackingParameters => run.null(),
            Name::IsGiftCard | Name::RequiresSellingPlan => run.bool(false),
            Name::AvailableForSale => run.bool(shown.is_available()),
            Name::Seo => run.seo(field, &product.seo, |name, text| product.text(name, language, text)),
            Name::FeaturedImage => match product.media.first() {
                Some(image) => run.image(field, (product.number, 0, image)),
                None => run.null(),
            },
            Name::Images | Name::Media => run.pictures(field, product),
            Name::PriceRange => run.price_range(field, product, |price| Some(price.price_minor)),
            Name::CompareAtPriceRange => run.price_range(field, product, |price| price.compare_at_minor),
            Name::Options => run.options(field, shown),
            Name::Variants => run.variants(field, shown),
            Name::VariantsCount => run.object(Type::Count, &field.selected, |run, field| match field.name {
                Name::Count => run.int(product.variants.len() as i64),
                Name::Precision => run.text("EXACT"),
                _ => run.unanswered(Type::Count, field),
            }),
            Name::TotalInventory => run.total_inventory(shown),
            Name::Collections => run.collections_of(field, shown),
            Name::Metafield => run.metafield(field, product),
            Name::Metafields => run.metafields(field, product),
            other => run.product_choice(field, shown, other),
        })
    }

    /// The fields of a product that choose among its variants.
    fn product_choice(&mut self, field: &'a Field, shown: &'a Shown, name: Name) -> Written {
        let product: &'a Product = &shown.product;
        match name {
            Name::SelectedOrFirstAvailableVariant => {
                let index = self.selected(field, shown).or_else(|| self.first_available(shown));
                self.variant_if(field, shown, index)
            }
            Name::VariantBySelectedOptions => {
                let index = self.selected(field, shown);
                self.variant_if(field, shown, index)
            }
            Name::AdjacentVariants => {
                let current = self.selected(field, shown).or_else(|| self.first_available(shown));
                let current = current.and_then(|index| product.variants.get(index));
                let adjacent = product.variants.iter().enumerate().filter(|(_, one)| {
                    current.is_some_and(|current| {
                        current
                            .selected
                            .iter()
                            .zip(&one.selected)
                            .filter(|(mine, other)| mine != other)
                            .count()
                            == 1
                    })
                });
                self.list(field, adjacent, |run, (index, _)| run.variant(field, shown, index))
            }
            Name::EncodedVariantExistence => self.text(&product.encoded_variants(|_| true)),
            Name::EncodedVariantAvailability => {
                // It is asked for each variant once, in order.
                let mut indices = 0..;
                let available = |_: &Variant| indices.next().is_some_and(|index| shown.available(index) > 0);
                self.text(&product.encoded_variants(available))
            }
            _ => self.unanswered(Type::Product, field),
        }
    }

    /// Which variant has the options that a field names: the first that can be bought, else the first.
    fn selected(&self, field: &'a Field, shown: &Shown) -> Option<usize> {
        let product = &shown.product;
        let language = self.facts.locale.language.as_str();
        let any_case = self.arg(field, "caseInsensitiveMatch").bool().unwrap_or(false);
        let lenient = field.name != Name::VariantBySelectedOptions;
        let lenient = self.arg(field, "ignoreUnknownOptions").bool().unwrap_or(lenient);
        let same = |one: &str, other: &str| match any_case {
            true => one.to_lowercase() == other.to_lowercase(),
            false => one == other,
        };
        let mut wanted: Vec<(usize, u32)> = Vec::new();
        for option in self.arg(field, "selectedOptions").list() {
            let (name, value) = (option.field("name").text()?, option.field("value").text()?);
            let named = |one: &ProductOption| {
                same(&one.name, name) || same(option_name(product, one, language), name)
            };
            let Some(place) = product.options.iter().position(named) else {
                if lenient { continue } else { return None }
            };
            let option = product.options.get(place)?;
            let valued = |one: &model::commerce::product::OptionValue| {
                same(&one.name, value) || same(value_name(product, option, &one.name, language), value)
            };
            wanted.push((place, u32::try_from(option.values.iter().position(valued)?).ok()?));
        }
        if wanted.is_empty() {
            return None;
        }
        let fits = |(_, variant): &(usize, &Variant)| {
            wanted.iter().all(|(place, value)| variant.selected.get(*place) == Some(value))
        };
        let all = || product.variants.iter().enumerate().filter(fits).map(|(index, _)| index);
        all().find(|index| shown.available(*index) > 0).or_else(|| all().next())
    }

    fn first_available(&self, shown: &Shown) -> Option<usize> {
        let count = shown.product.variants.len();
        (0..count).find(|index| shown.available(*index) > 0).or((count > 0).then_some(0))
    }

    fn variant_if(&mut self, field: &'a Field, shown: &'a Shown, index: Option<usize>) -> Written {
        match index {
            Some(index) => self.variant(field, shown, index),
            None => self.null(),
        }
    }

    /// Writes a text in words only, cut where the field says.
    pub(crate) fn described(&mut self, field: &'a Field, html: &str) -> Written {
        let limit = self.arg(field, "truncateAt").int().and_then(|limit| usize::try_from(limit).ok());
        self.text(&plain_text(html, limit))
    }

    /// Writes what search engines are told.
    pub(crate) fn seo<'t>(
        &mut self,
        field: &'a Field,
        seo: &'t Seo,
        translated: impl Fn(&str, &'t str) -> &'t str,
    ) -> Written {
        self.object(Type::SEO, &field.selected, |run, field| match field.name {
            Name::Title => run.text_if(seo.title.as_deref().map(|text| translated("seo.title", text))),
            Name::Description => {
                run.text_if(seo.description.as_deref().map(|text| translated("seo.description", text)))
            }
            _ => run.unanswered(Type::SEO, field),
        })
    }

    fn price_range(
        &mut self,
        field: &'a Field,
        product: &'a Product,
        of: impl Fn(UnitPrice) -> Option<i64>,
    ) -> Written {
        let facts = self.facts;
        let prices = || product.variants.iter().filter_map(|one| of(facts.unit_price(one)?));
        let (least, most) = (prices().min().unwrap_or(0), prices().max().unwrap_or(0));
        self.object(Type::ProductPriceRange, &field.selected, |run, field| match field.name {
            Name::MinVariantPrice => run.price(field, least),
            Name::MaxVariantPrice => run.price(field, most),
            _ => run.unanswered(Type::ProductPriceRange, field),
        })
    }

    fn options(&mut self, field: &'a Field, shown: &'a Shown) -> Written {
        let product: &'a Product = &shown.product;
        let language = self.facts.locale.language.as_str();
        let first = self.arg(field, "first").int().and_then(|first| usize::try_from(first).ok());
        let options = product.options.iter().enumerate().take(first.unwrap_or(usize::MAX));
        self.list(field, options, |run, (place, option)| {
            run.object(Type::ProductOption, &field.selected, |run, field| match field.name {
                Name::Id => run.text(&format!("gid://shopify/ProductOption/{}-{place}", product.number)),
                Name::Name => run.text(option_name(product, option, language)),
                Name::OptionValues => run.list(field, option.values.iter().enumerate(), |run, (index, _)| {
                    run.option_value(field, shown, (place, option), index)
                }),
                Name::Values => run.list(field, &option.values, |run, value| {
                    run.text(value_name(product, option, &value.name, language))
                }),
                _ => run.unanswered(Type::ProductOption, field),
            })
        })
    }

    fn option_value(
        &mut self,
        field: &'a Field,
        shown: &'a Shown,
        (place, option): (usize, &'a ProductOption),
        index: usize,
    ) -> Written {
        let product: &'a Product = &shown.product;
        let language = self.facts.locale.language.as_str();
        let Some(value) = option.values.get(index) else { return Err(Stop::Null) };
        self.object(Type::ProductOptionValue, &field.selected, |run, field| match field.name {
            Name::Id => {
                run.text(&format!("gid://shopify/ProductOptionValue/{}-{place}-{index}", product.number))
            }
            Name::Name => run.text(value_name(product, option, &value.name, language)),
            Name::FirstSelectableVariant => {
                // The one with the first values of all other options.
                let has = |(_, one): &(usize, &Variant)| {
                    one.selected.get(place) == u32::try_from(index).ok().as_ref()
                };
                let variants = product.variants.iter().enumerate().filter(has);
                let first = variants.min_by_key(|(_, one)| one.selected.as_slice());
                run.variant_if(field, shown, first.map(|(index, _)| index))
            }
            Name::Swatch if value.swatch_color.is_none() && value.swatch_image.is_none() => run.null(),
            Name::Swatch => {
                run.object(Type::ProductOptionValueSwatch, &field.selected, |run, field| match field.name {
                    Name::Color => run.text_if(value.swatch_color.as_deref()),
                    Name::Image => match &value.swatch_image {
                        Some(url) => run.swatch_image(field, url, &value.name),
                        None => run.null(),
                    },
                    _ => run.unanswered(Type::ProductOptionValueSwatch, field),
                })
            }
            _ => run.unanswered(Type::ProductOptionValue, field),
        })
    }

    fn swatch_image(&mut self, field: &'a Field, url: &str, alt: &str) -> Written {
        let image = Image { url: url.to_owned(), alt: alt.to_owned(), width: None, height: None };
        self.media_image(field, (0, 0, &image))
    }

    fn variants(&mut self, field: &'a Field, shown: &'a Shown) -> Written {
        let product: &'a Product = &shown.product;
        let mut order: Vec<u64> = (0..product.variants.len() as u64).collect();
        let at = |index: &u64| product.variants.get(*index as usize);
        match self.arg(field, "sortKey").text() {
            Some("ID") => order.sort_by_key(|index| at(index).map(|one| one.number)),
            Some("SKU") => order.sort_by_key(|index| at(index).map(|one| one.sku.as_str())),
            Some("TITLE") => {
                order.sort_by_cached_key(|index| at(index).map(|one| variant_title(product, one, "")))
            }
            _ => {}
        }
        let reverse = self.arg(field, "reverse").bool().unwrap_or(false);
        let page = self.page(field, &List { numbers: &order, reverse }, |_| true)?;
        self.connection(field, VARIANTS, &page, order.len(), |run, field, index| {
            run.variant(field, shown, index as usize)
        })
    }

    fn pictures(&mut self, field: &'a Field, product: &'a Product) -> Written {
        let order: Vec<u64> = (0..product.media.len() as u64).collect();
        let reverse = self.arg(field, "reverse").bool().unwrap_or(false);
        let page = self.page(field, &List { numbers: &order, reverse }, |_| true)?;
        let types = if field.name == Name::Media { MEDIA } else { IMAGES };
        self.connection(field, types, &page, order.len(), |run, field, index| {
            let Some(image) = product.media.get(index as usize) else { return Err(Stop::Null) };
            let picture = (product.number, index as usize, image);
            if types == MEDIA { run.media_image(field, picture) } else { run.image(field, picture) }
        })
    }

    fn total_inventory(&mut self, shown: &Shown) -> Written {
        let counted = (0..shown.product.variants.len()).map(|index| shown.available(index));
        let sum: i64 = counted.filter(|units| *units != i64::MAX).map(|units| units.max(0)).sum();
        self.int(sum.min(i64::from(i32::MAX)))
    }

    /// Writes a picture.
    pub(crate) fn image(&mut self, field: &'a Field, (owner, place, image): Picture<'_>) -> Written {
        self.object(Type::Image, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&format!("gid://shopify/ProductImage/{owner}-{place}")),
            // Pictures are served as they are: what a transformation asks for is a wish.
            Name::Url => run.text(&image.url),
            Name::AltText => run.filled(&image.alt),
            Name::Width => run.int_if(image.width.map(i64::from)),
            Name::Height => run.int_if(image.height.map(i64::from)),
            _ => run.unanswered(Type::Image, field),
        })
    }

    /// Writes a picture among media.
    pub(crate) fn media_image(&mut self, field: &'a Field, picture: Picture<'_>) -> Written {
        let (owner, place, image) = picture;
        self.object(Type::MediaImage, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&format!("gid://shopify/MediaImage/{owner}-{place}")),
            Name::Alt => run.filled(&image.alt),
            Name::MediaContentType => run.text("IMAGE"),
            Name::Image | Name::PreviewImage => run.image(field, picture),
            _ => run.unanswered(Type::MediaImage, field),
        })
    }

    /// Writes a number if there is one.
    pub(crate) fn int_if(&mut self, number: Option<i64>) -> Written {
        match number {
            Some(number) => self.int(number),
            None => self.null(),
        }
    }

    fn metafield(&mut self, field: &'a Field, product: &'a Product) -> Written {
        let (key, namespace) = (self.arg(field, "key").text(), self.arg(field, "namespace").text());
        self.metafield_named(field, product, key.unwrap_or_default(), namespace)
    }

    fn metafields(&mut self, field: &'a Field, product: &'a Product) -> Written {
        let identifiers = self.arg(field, "identifiers").list();
        self.list(field, identifiers, |run, one| {
            let key = one.field("key").text().unwrap_or_default();
            run.metafield_named(field, product, key, one.field("namespace").text())
        })
    }

    fn metafield_named(
        &mut self,
        field: &'a Field,
        product: &'a Product,
        key: &str,
        namespace: Option<&str>,
    ) -> Written {
        let named = |one: &&model::commerce::product::Metafield| {
            one.key == key && namespace.is_none_or(|namespace| one.namespace == namespace)
        };
        let Some(meta) = product.metafields.iter().find(named) else { return self.null() };
        self.object(Type::Metafield, &field.selected, |run, field| match field.name {
            Name::Id => run
                .text(&format!("gid://shopify/Metafield/{}-{}.{}", product.number, meta.namespace, meta.key)),
            Name::Namespace => run.text(&meta.namespace),
            Name::Key => run.text(&meta.key),
            Name::Type => run.text(&meta.kind),
            Name::Value => run.text(&meta.value),
            Name::Description => run.null(),
            Name::CreatedAt => run.instant(product.created_at),
            Name::UpdatedAt => run.instant(product.updated_at),
            _ => run.unanswered(Type::Metafield, field),
        })
    }
}

/// What an option is called in a language.
pub(crate) fn option_name<'p>(product: &'p Product, option: &'p ProductOption, language: &str) -> &'p str {
    if product.translations.is_empty() {
        return &option.name;
    }
    product.text(&format!("options.{}", option.name), language, &option.name)
}

/// What a value of an option is called in a language.
pub(crate) fn value_name<'p>(
    product: &'p Product,
    option: &ProductOption,
    value: &'p str,
    language: &str,
) -> &'p str {
    if product.translations.is_empty() {
        return value;
    }
    product.text(&format!("options.{}.{value}", option.name), language, value)
}

/// What a variant is called: its values.
pub(crate) fn variant_title(product: &Product, variant: &Variant, language: &str) -> String {
    let mut title = String::new();
    for (option, index) in product.options.iter().zip(&variant.selected) {
        let Some(value) = option.values.get(*index as usize) else { continue };
        if !title.is_empty() {
            title.push_str(" / ");
        }
        title.push_str(value_name(product, option, &value.name, language));
    }
    title
}
