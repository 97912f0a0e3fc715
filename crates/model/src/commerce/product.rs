//! What is sold: products, their options and variants, and the collections they are in.

use crate::id::Timestamp;
use crate::stored;

stored! {
    /// A product. Its variants belong to it and are changed with it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Product {
        /// Its public number.
        pub number: u64,
        /// Its name in addresses: lower-case letters, digits and hyphens; one product has it.
        pub handle: String,
        /// Its name.
        pub title: String,
        /// What is said of it, as HTML.
        pub description_html: String,
        /// Who makes it.
        pub vendor: String,
        /// What kind of thing it is.
        pub product_type: String,
        /// Words by which it is found and collected.
        pub tags: Vec<String>,
        /// By what its variants differ, in order. One that has none has the one option `Title` with `Default Title`.
        pub options: Vec<ProductOption>,
        /// At least one, in order.
        pub variants: Vec<Variant>,
        /// Pictures, in order.
        pub media: Vec<Image>,
        /// What search engines are told instead of title and description.
        pub seo: Seo,
        /// Since when it is shown; `None` keeps it hidden.
        pub published_at: Option<Timestamp>,
        /// Where it is shown; everywhere if empty.
        pub channels: Vec<String>,
        /// Which rates of tax hold for it; empty is the standard class.
        pub tax_class: String,
        /// Texts in other languages.
        pub translations: Vec<Translation>,
        /// Whatever else the shop keeps of it.
        pub metafields: Vec<Metafield>,
        /// When it came to be.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// By what variants differ.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ProductOption {
        /// E.g. `Size`.
        pub name: String,
        /// E.g. `S`, `M`, `L`, in order.
        pub values: Vec<OptionValue>,
    }

    /// One of the values of an option.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OptionValue {
        /// What it is called.
        pub name: String,
        /// Its colour, `#rrggbb`.
        pub swatch_color: Option<String>,
        /// The address of a picture of it.
        pub swatch_image: Option<String>,
    }

    /// What is put into a cart.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Variant {
        /// Its public number.
        pub number: u64,
        /// For each option of the product, which of its values: an index.
        pub selected: Vec<u32>,
        /// The shop's own number for it.
        pub sku: String,
        /// What scanners read.
        pub barcode: String,
        /// The price in the shop's own currency, in minor units.
        pub price_minor: i64,
        /// The price before, if it is to be shown.
        pub compare_at_minor: Option<i64>,
        /// Whether it has to be sent.
        pub requires_shipping: bool,
        /// Whether tax is due.
        pub taxable: bool,
        /// What it weighs.
        pub weight_grams: u32,
        /// Its picture: an index into the product's.
        pub image: Option<u32>,
        /// For prices by the litre or kilogram: how much it holds.
        pub unit: Option<UnitMeasure>,
    }

    /// How much something holds, and what the price is to be given for.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct UnitMeasure {
        /// `ML`, `CL`, `L`, `M3`, `MG`, `G`, `KG`, `MM`, `CM`, `M`, `M2`, as the platform's API names them.
        pub unit: String,
        /// How much, in thousandths of the unit.
        pub quantity_milli: u32,
        /// The unit of the reference.
        pub reference_unit: String,
        /// How much the price is given for.
        pub reference_quantity: u32,
    }

    /// A picture.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Image {
        /// Its address.
        pub url: String,
        /// What it shows, for who does not see it.
        pub alt: String,
        /// In pixels, where known.
        pub width: Option<u32>,
        /// In pixels, where known.
        pub height: Option<u32>,
    }

    /// What search engines are told.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Seo {
        /// Instead of the title.
        pub title: Option<String>,
        /// Instead of the description.
        pub description: Option<String>,
    }

    /// A text in another language.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Translation {
        /// E.g. `de`.
        pub language: String,
        /// `title`, `description_html`, `seo.title`, `seo.description`, or `options.SIZE` and `options.SIZE.S` in the
        /// shop's own words.
        pub field: String,
        /// The text.
        pub text: String,
    }

    /// Whatever else a shop keeps of a thing.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Metafield {
        /// Whose it is.
        pub namespace: String,
        /// Its name.
        pub key: String,
        /// What kind of value it is, as the platform's API names them.
        pub kind: String,
        /// Its value.
        pub value: String,
    }

    /// Products that are shown together.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Collection {
        /// Its public number.
        pub number: u64,
        /// Its name in addresses.
        pub handle: String,
        /// Its name.
        pub title: String,
        /// What is said of it, as HTML.
        pub description_html: String,
        /// Its picture.
        pub image: Option<Image>,
        /// Who is in it.
        pub members: Members,
        /// In which order they are shown.
        pub order: CollectionOrder,
        /// What search engines are told.
        pub seo: Seo,
        /// Since when it is shown.
        pub published_at: Option<Timestamp>,
        /// Texts in other languages.
        pub translations: Vec<Translation>,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// Who is in a collection.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Members {
        /// These products, in this order.
        Chosen(Vec<u64>) = 1,
        /// Whoever meets all of the conditions.
        All(Vec<Condition>) = 2,
        /// Whoever meets one of them.
        Any(Vec<Condition>) = 3,
    }

    /// A condition of a collection that fills itself.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Condition {
        /// Has the tag.
        Tag(String) = 1,
        /// Is of the kind.
        ProductType(String) = 2,
        /// Is made by.
        Vendor(String) = 3,
        /// The title holds the word.
        TitleContains(String) = 4,
        /// A variant costs less, in minor units of the shop's own currency.
        PriceBelow(i64) = 5,
        /// A variant costs more.
        PriceAbove(i64) = 6,
        /// A variant can be bought.
        Available = 7,
    }

    /// In which order a collection is shown.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CollectionOrder {
        /// As chosen; by number where it fills itself.
        Manual = 1,
        /// By title.
        Title = 2,
        /// The cheapest first.
        PriceAscending = 3,
        /// The dearest first.
        PriceDescending = 4,
        /// The newest first.
        Newest = 5,
        /// What was sold most first.
        BestSelling = 6,
    }
}

impl Product {
    /// A text in a language: its translation, or the shop's own. `de-AT` falls back to `de`.
    pub fn text<'a>(&'a self, field: &str, language: &str, own: &'a str) -> &'a str {
        translated(&self.translations, field, language).unwrap_or(own)
    }

    /// The variant with this number.
    pub fn variant(&self, number: u64) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.number == number)
    }

    /// What a variant is called in a language: the values of its options, e.g. `M / Red`.
    pub fn variant_title(&self, variant: &Variant, language: &str) -> String {
        let value = |(option, index): (&ProductOption, &u32)| {
            let value = option.values.get(*index as usize)?;
            let field = || format!("options.{}.{}", option.name, value.name);
            let own = value.name.as_str();
            let translated =
                if self.translations.is_empty() { own } else { self.text(&field(), language, own) };
            Some(translated.to_owned())
        };
        let values: Vec<String> = self.options.iter().zip(&variant.selected).filter_map(value).collect();
        values.join(" / ")
    }

    /// Whether it is shown in a channel at a time.
    pub fn is_shown(&self, channel: &str, at: Timestamp) -> bool {
        self.published_at.is_some_and(|since| since <= at)
            && (self.channels.is_empty() || self.channels.iter().any(|one| one == channel))
    }
}

/// The text of a field in a language, if there is one.
pub fn translated<'a>(translations: &'a [Translation], field: &str, language: &str) -> Option<&'a str> {
    let find = |language: &str| {
        let mut own = translations.iter().filter(|one| one.language.eq_ignore_ascii_case(language));
        own.find(|one| one.field == field).map(|one| one.text.as_str())
    };
    find(language).or_else(|| find(language.split(['-', '_']).next()?))
}

impl Condition {
    /// Whether a product meets it. `available` says whether a variant can be bought.
    pub fn holds(&self, product: &Product, available: impl Fn(&Variant) -> bool) -> bool {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        match self {
            Self::Tag(tag) => product.tags.iter().any(|one| same(one, tag)),
            Self::ProductType(kind) => same(&product.product_type, kind),
            Self::Vendor(vendor) => same(&product.vendor, vendor),
            Self::TitleContains(word) => product.title.to_lowercase().contains(&word.to_lowercase()),
            Self::PriceBelow(minor) => product.variants.iter().any(|one| one.price_minor < *minor),
            Self::PriceAbove(minor) => product.variants.iter().any(|one| one.price_minor > *minor),
            Self::Available => product.variants.iter().any(available),
        }
    }
}
