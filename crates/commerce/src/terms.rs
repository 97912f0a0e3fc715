//! Under which terms the shop sells: settings, markets, taxes, shipping, discounts, fixed prices.

use crate::settings::ShopSettings;
use model::commerce::discount::{Discount, folded};
use model::commerce::market::{Conversion, FixedPrice, Market, market_of};
use model::commerce::money::Rounding;
use model::commerce::shipping::ShippingZone;
use model::commerce::tax::TaxRate;
use model::id::Key;
use model::stored;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The terms, whole. Its parts are shared, so that a copy costs little.
///
/// The view knows all of it. The machine's own copy has no discounts and no fixed prices: there may be many, and each is
/// a row that is looked up when it is wanted.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The shop as a whole.
    pub settings: Arc<ShopSettings>,
    /// Where it sells.
    pub markets: Arc<Vec<Market>>,
    /// Rates of tax.
    pub tax_rates: Arc<Vec<TaxRate>>,
    /// Where things are sent.
    pub shipping_zones: Arc<Vec<ShippingZone>>,
    /// Codes, by what they are looked up by ([`folded`]).
    pub discounts: Arc<BTreeMap<String, Discount>>,
    /// Fixed prices, by market and variant.
    pub fixed_prices: BTreeMap<String, Arc<BTreeMap<u64, FixedPrice>>>,
    /// The market of a shop that has none.
    own: Arc<Market>,
}

impl Default for Terms {
    fn default() -> Self {
        let settings = ShopSettings::default();
        Self {
            own: Arc::new(own_market(&settings)),
            settings: Arc::new(settings),
            markets: Arc::default(),
            tax_rates: Arc::default(),
            shipping_zones: Arc::default(),
            discounts: Arc::default(),
            fixed_prices: BTreeMap::new(),
        }
    }
}

/// Everywhere, in the shop's own currency and language, at the shop's own prices.
fn own_market(settings: &ShopSettings) -> Market {
    Market {
        handle: "own".to_owned(),
        name: settings.name.clone(),
        countries: Vec::new(),
        currency: settings.currency,
        languages: vec![settings.language.clone()],
        prices_include_tax: true,
        rounding: Rounding::HalfUp,
        cash_step_minor: 1,
        conversion: Conversion::SAME,
    }
}

stored! {
    /// A part of the terms, as its row holds it.
    #[derive(Clone, Debug)]
    pub enum Part {
        /// The settings.
        Settings(Arc<ShopSettings>) = 1,
        /// The markets.
        Markets(Arc<Vec<Market>>) = 2,
        /// The rates of tax.
        TaxRates(Arc<Vec<TaxRate>>) = 3,
        /// The zones of shipping.
        ShippingZones(Arc<Vec<ShippingZone>>) = 4,
    }

    /// A fixed price with its market, as its row holds it.
    #[derive(Clone, Debug)]
    pub struct FixedRow {
        /// The market's handle.
        pub market: String,
        /// The price.
        pub price: FixedPrice,
    }
}

impl Part {
    /// The rows of all parts.
    pub(crate) const KEYS: [Key; 4] = [Key(1), Key(2), Key(3), Key(4)];

    /// The row of this part.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Settings(_) => Key(1),
            Self::Markets(_) => Key(2),
            Self::TaxRates(_) => Key(3),
            Self::ShippingZones(_) => Key(4),
        }
    }
}

impl Terms {
    /// Takes in a part.
    pub(crate) fn put(&mut self, part: Part) {
        match part {
            Part::Settings(settings) => {
                self.own = Arc::new(own_market(&settings));
                self.settings = settings;
            }
            Part::Markets(markets) => self.markets = markets,
            Part::TaxRates(rates) => self.tax_rates = rates,
            Part::ShippingZones(zones) => self.shipping_zones = zones,
        }
    }

    /// The fixed price of a variant in a market.
    pub fn fixed_price(&self, market: &str, variant: u64) -> Option<FixedPrice> {
        self.fixed_prices.get(market)?.get(&variant).copied()
    }

    /// The code as it is known, however it was typed.
    pub fn discount(&self, code: &str) -> Option<&Discount> {
        self.discounts.get(&folded(code))
    }

    /// The market of a country. While there are no markets, the shop sells everywhere in its own currency.
    pub fn market_of(&self, country: [u8; 2]) -> Option<&Market> {
        if self.markets.is_empty() { Some(&self.own) } else { market_of(&self.markets, country) }
    }
}

/// The row of a code.
pub(crate) fn discount_key(code: &str) -> Key {
    Key::of_text("discount", &folded(code))
}

/// The row of a fixed price.
pub(crate) fn fixed_key(market: &str, variant: u64) -> Key {
    Key::of_text("market", market).with(Key(u128::from(variant)))
}
