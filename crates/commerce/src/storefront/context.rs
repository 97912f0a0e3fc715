//! What a request is answered from: the catalogue and terms at one moment, for a country, a language and a channel.

use super::StorefrontOptions;
use super::input::{Arg, Value};
use super::listing::Listings;
use super::plan::Operation;
use super::search::Search;
use super::supply::Supply;
use crate::terms::Terms;
use crate::view::Catalogue;
use model::commerce::market::{FixedPrice, Market, UnitPrice};
use model::commerce::product::{Product, Variant};
use model::id::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The country that stands for none, as clients send it that do not know theirs.
const NO_COUNTRY: &str = "ZZ";

/// Country and language of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Locale {
    /// The country, if the request named one.
    pub(crate) asked_country: Option<[u8; 2]>,
    /// The country that prices are for.
    pub(crate) country: [u8; 2],
    /// The language, e.g. `pt-br`.
    pub(crate) language: String,
    /// The language, if the request named one.
    pub(crate) asked_language: Option<String>,
}

impl Locale {
    /// Of an operation: what `@inContext` says, else what the shop's settings say.
    pub(crate) fn of(operation: &Operation, variables: &[Option<Value>], terms: &Terms) -> Self {
        let said = |value: &Option<Value>| {
            Arg::new(value.as_ref(), variables).text().map(str::to_owned).filter(|text| text != NO_COUNTRY)
        };
        let asked_country = said(&operation.country).and_then(|text| country(&text));
        let asked_language = said(&operation.language).map(|code| language(&code));
        Self {
            asked_country,
            country: asked_country.unwrap_or(terms.settings.country),
            language: asked_language.clone().unwrap_or_else(|| terms.settings.language.to_lowercase()),
            asked_language,
        }
    }
}

/// A country's code.
pub(crate) fn country(text: &str) -> Option<[u8; 2]> {
    let code: [u8; 2] = text.as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_uppercase).then_some(code)
}

/// A language as it is kept here: `PT_BR` is `pt-br`.
pub(crate) fn language(code: &str) -> String {
    code.to_lowercase().replace('_', "-")
}

/// What a request is answered from.
pub(crate) struct Facts<'a> {
    /// What is sold.
    pub(crate) catalogue: &'a Catalogue,
    /// Which version of it.
    pub(crate) version: u64,
    /// Under which terms.
    pub(crate) terms: &'a Terms,
    /// In which market; none while the shop has none.
    pub(crate) market: Option<&'a Market>,
    /// The prices that are fixed in it.
    pub(crate) fixed: Option<&'a Arc<BTreeMap<u64, FixedPrice>>>,
    /// The currency of prices.
    pub(crate) currency: [u8; 3],
    /// Country and language.
    pub(crate) locale: &'a Locale,
    /// Where products have to be published to be shown.
    pub(crate) channel: &'a str,
    /// When it is.
    pub(crate) now: Timestamp,
    /// Lists that were made before.
    pub(crate) listings: &'a Listings,
    /// What is found by words.
    pub(crate) search: &'a dyn Search,
    /// How this door is set up.
    pub(crate) options: &'a StorefrontOptions,
    /// What the loop said, by the key of the field that it is for.
    pub(crate) supplies: &'a BTreeMap<String, Supply>,
}

impl<'a> Facts<'a> {
    /// Whether a product is shown.
    pub(crate) fn is_shown(&self, product: &Product) -> bool {
        product.is_shown(self.channel, self.now)
    }

    /// What a variant costs here.
    pub(crate) fn unit_price(&self, variant: &Variant) -> Option<UnitPrice> {
        let fixed = self.fixed.and_then(|fixed| fixed.get(&variant.number)).copied();
        match self.market {
            Some(market) => market.unit_price(variant, fixed),
            None => Some(UnitPrice {
                price_minor: variant.price_minor,
                compare_at_minor: variant.compare_at_minor,
            }),
        }
    }

    /// The address of a page of the storefront; none while the shop has no address.
    pub(crate) fn page_url(&self, path: &str, handle: &str) -> Option<String> {
        let domain = self.terms.settings.primary_domain.trim_end_matches('/');
        (!domain.is_empty()).then(|| format!("{domain}/{path}/{handle}"))
    }
}

/// The number of a public id such as `gid://shopify/Product/1`.
pub(crate) fn number_of(id: &str, kind: &str) -> Option<u64> {
    let (named, rest) = id.strip_prefix("gid://shopify/")?.split_once('/')?;
    let digits = rest.split('?').next()?;
    let plain = !digits.is_empty() && digits.len() <= 19 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (named == kind && plain).then(|| digits.parse().ok())?
}
