//! What an operator sets for the whole shop.

use model::commerce::market::Country;
use model::commerce::money::Currency;
use model::stored;

/// How long units are kept for a checkout unless the settings say otherwise.
pub const RESERVATION_DEFAULT_MS: u64 = 10 * 60 * 1_000;
/// The number of the first order unless the settings say otherwise.
pub const FIRST_ORDER_DEFAULT: u64 = 1_001;

stored! {
    /// The shop as a whole.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ShopSettings {
        /// What it is called.
        pub name: String,
        /// What it says of itself.
        pub description: String,
        /// Where its storefront is, e.g. `https://shop.example`.
        pub primary_domain: String,
        /// The e-mail address that buyers may write to.
        pub email: String,
        /// The currency of the prices of variants.
        pub currency: Currency,
        /// The country of buyers who did not say theirs.
        pub country: Country,
        /// The language of the shop's own words.
        pub language: String,
        /// How long units are kept for a checkout, in milliseconds.
        pub reservation_ms: u64,
        /// Who may carry out payments, by name. The first is asked unless another is chosen.
        pub providers: Vec<String>,
        /// The number of the first order. It holds until there is one.
        pub first_order: u64,
        /// Imprint, terms, privacy and the like.
        pub policies: Vec<Policy>,
        /// Menus of the storefront.
        pub menus: Vec<Menu>,
    }

    /// A text that a shop has to show.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Policy {
        /// Its name in addresses, e.g. `refund-policy`.
        pub handle: String,
        /// Its name.
        pub title: String,
        /// The text, as HTML.
        pub body_html: String,
    }

    /// A menu.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Menu {
        /// Its name, e.g. `main-menu`.
        pub handle: String,
        /// What it is called.
        pub title: String,
        /// Its links, in order.
        pub links: Vec<MenuLink>,
    }

    /// A link of a menu.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MenuLink {
        /// What is shown.
        pub title: String,
        /// Where it leads.
        pub url: String,
        /// The links below it.
        pub links: Vec<MenuLink>,
    }

    /// A place that holds stock.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Location {
        /// Its public number.
        pub number: u64,
        /// What it is called.
        pub name: String,
    }
}

impl Default for ShopSettings {
    fn default() -> Self {
        Self {
            name: "Shop".to_owned(),
            description: String::new(),
            primary_domain: String::new(),
            email: String::new(),
            currency: *b"EUR",
            country: *b"DE",
            language: "en".to_owned(),
            reservation_ms: RESERVATION_DEFAULT_MS,
            providers: Vec::new(),
            first_order: FIRST_ORDER_DEFAULT,
            policies: Vec::new(),
            menus: Vec::new(),
        }
    }
}
