//! Answers about the shop itself: its name, menus, policies, countries and languages.

use super::context::language;
use super::names::{Name, Type};
use super::places;
use super::plan::Field;
use super::run::{Run, Written};
use crate::settings::{Menu, MenuLink, Policy};
use model::commerce::market::Market;
use std::collections::BTreeSet;

/// How deep menus go.
const MAX_MENU_DEPTH: usize = 6;

impl<'a> Run<'a> {
    /// Writes the shop.
    pub(crate) fn shop(&mut self, field: &'a Field) -> Written {
        let facts = self.facts;
        let settings = &facts.terms.settings;
        self.object(Type::Shop, &field.selected, |run, field| match field.name {
            Name::Id => run.id("Shop", 1),
            Name::Name => run.text(&settings.name),
            Name::Description => run.filled(&settings.description),
            Name::Brand => run.null(),
            Name::MoneyFormat => {
                let code = std::str::from_utf8(&settings.currency).unwrap_or("XXX");
                run.text(&format!("{{{{amount}}}} {code}"))
            }
            Name::PrimaryDomain => run.domain(field),
            Name::PaymentSettings => run.payment_settings(field),
            Name::ShipsToCountries => {
                let countries = run.ships_to();
                run.list(field, countries, |run, code| run.code(code))
            }
            Name::PrivacyPolicy => run.policy(field, "privacy-policy"),
            Name::RefundPolicy => run.policy(field, "refund-policy"),
            Name::ShippingPolicy => run.policy(field, "shipping-policy"),
            Name::TermsOfService => run.policy(field, "terms-of-service"),
            Name::SubscriptionPolicy => run.policy(field, "subscription-policy"),
            _ => run.unanswered(Type::Shop, field),
        })
    }

    fn domain(&mut self, field: &'a Field) -> Written {
        let url = self.facts.shop_url();
        self.object(Type::Domain, &field.selected, |run, field| match field.name {
            Name::Url => run.text(url),
            Name::Host => {
                let host = url.split_once("://").map_or(url, |(_, rest)| rest);
                run.text(host.split('/').next().unwrap_or_default())
            }
            Name::SslEnabled => run.bool(url.starts_with("https://")),
            _ => run.unanswered(Type::Domain, field),
        })
    }

    /// Writes how can be paid.
    pub(crate) fn payment_settings(&mut self, field: &'a Field) -> Written {
        let terms = self.facts.terms;
        self.object(Type::PaymentSettings, &field.selected, |run, field| match field.name {
            Name::AcceptedCardBrands | Name::SupportedDigitalWallets => run.none(),
            Name::CardVaultUrl => run.text(&format!("{}/checkout", run.facts.options.checkout_url)),
            Name::CountryCode => run.code(terms.settings.country),
            Name::CurrencyCode => run.code(terms.settings.currency),
            Name::EnabledPresentmentCurrencies => {
                let mut currencies: BTreeSet<[u8; 3]> =
                    terms.markets.iter().map(|one| one.currency).collect();
                currencies.insert(terms.settings.currency);
                run.list(field, currencies, |run, code| run.code(code))
            }
            Name::ShopifyPaymentsAccountId => run.null(),
            _ => run.unanswered(Type::PaymentSettings, field),
        })
    }

    /// Writes a code of letters.
    pub(crate) fn code<const N: usize>(&mut self, code: [u8; N]) -> Written {
        self.text(std::str::from_utf8(&code).unwrap_or_default())
    }

    fn ships_to(&self) -> BTreeSet<[u8; 2]> {
        let zones = &self.facts.terms.shipping_zones;
        let named = zones.iter().flat_map(|zone| zone.countries.iter().copied());
        // A zone that names none is for all others: of these, those that a market names.
        let everywhere = zones.iter().any(|zone| zone.countries.is_empty());
        let rest = if everywhere { self.countries() } else { BTreeSet::new() };
        named.chain(rest).collect()
    }

    fn countries(&self) -> BTreeSet<[u8; 2]> {
        let terms = self.facts.terms;
        let named = terms.markets.iter().flat_map(|market| market.countries.iter().copied());
        named.chain([terms.settings.country]).collect()
    }

    fn policy(&mut self, field: &'a Field, handle: &str) -> Written {
        let facts = self.facts;
        match facts.terms.settings.policies.iter().find(|policy| policy.handle == handle) {
            Some(policy) => self.one_policy(field, policy),
            None => self.null(),
        }
    }

    /// Writes a policy.
    pub(crate) fn one_policy(&mut self, field: &'a Field, policy: &'a Policy) -> Written {
        let of = match field.name {
            Name::SubscriptionPolicy => Type::ShopPolicyWithDefault,
            _ => Type::ShopPolicy,
        };
        self.object(of, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&format!("gid://shopify/ShopPolicy/{}", policy.handle)),
            Name::Handle => run.text(&policy.handle),
            Name::Title => run.text(&policy.title),
            Name::Body => run.text(&policy.body_html),
            Name::Url => run.text(&format!("{}/policies/{}", run.facts.shop_url(), policy.handle)),
            _ => run.unanswered(of, field),
        })
    }

    /// Writes a menu.
    pub(crate) fn menu(&mut self, field: &'a Field, handle: &str) -> Written {
        let facts = self.facts;
        let Some(menu) = facts.terms.settings.menus.iter().find(|menu| menu.handle == handle) else {
            return self.null();
        };
        let menu: &'a Menu = menu;
        self.object(Type::Menu, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&format!("gid://shopify/Menu/{}", menu.handle)),
            Name::Handle => run.text(&menu.handle),
            Name::Title => run.text(&menu.title),
            Name::ItemsCount => run.int(count(&menu.links, 0)),
            Name::Items => run.menu_items(field, &menu.links, &menu.handle, 0),
            _ => run.unanswered(Type::Menu, field),
        })
    }

    fn menu_items(&mut self, field: &'a Field, links: &'a [MenuLink], at: &str, depth: usize) -> Written {
        if depth >= MAX_MENU_DEPTH {
            return self.none();
        }
        self.list(field, links.iter().enumerate(), |run, (index, link)| {
            let at = format!("{at}-{index}");
            let url = run.absolute(&link.url);
            let (kind, resource) = run.resource(&link.url);
            run.object(Type::MenuItem, &field.selected, |run, field| match field.name {
                Name::Id => run.text(&format!("gid://shopify/MenuItem/{at}")),
                Name::Title => run.text(&link.title),
                Name::Url => run.filled(&url),
                Name::Tags => run.none(),
                Name::Type => run.text(kind),
                Name::ResourceId => run.text_if(resource.as_deref()),
                Name::Items => run.menu_items(field, &link.links, &at, depth + 1),
                _ => run.unanswered(Type::MenuItem, field),
            })
        })
    }

    fn absolute(&self, url: &str) -> String {
        if url.starts_with('/') { format!("{}{url}", self.facts.shop_url()) } else { url.to_owned() }
    }

    /// What kind of page a link of a menu leads to, and the id of what it shows.
    fn resource(&self, url: &str) -> (&'static str, Option<String>) {
        let catalogue = self.facts.catalogue;
        let path = url.strip_prefix(self.facts.shop_url()).unwrap_or(url);
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let mut parts = path.split('/').skip(1);
        match (path.starts_with('/') || path.is_empty(), parts.next(), parts.next()) {
            (true, None, _) => ("FRONTPAGE", None),
            (true, Some("search"), None) => ("SEARCH", None),
            (true, Some("collections"), None) => ("COLLECTIONS", None),
            (true, Some("collections"), Some("all")) => ("CATALOG", None),
            (true, Some("collections"), Some(handle)) => {
                let collection = catalogue.collection_by_handle(handle);
                let id = collection.map(|one| format!("gid://shopify/Collection/{}", one.number));
                ("COLLECTION", id)
            }
            (true, Some("products"), Some(handle)) => {
                let product = catalogue.product_by_handle(handle);
                ("PRODUCT", product.map(|one| format!("gid://shopify/Product/{}", one.product.number)))
            }
            (true, Some("policies"), Some(handle)) => {
                ("SHOP_POLICY", Some(format!("gid://shopify/ShopPolicy/{handle}")))
            }
            (true, Some("pages"), Some(_)) => ("PAGE", None),
            (true, Some("blogs"), Some(_)) => ("BLOG", None),
            _ => ("HTTP", None),
        }
    }

    /// Writes countries and languages.
    pub(crate) fn localization(&mut self, field: &'a Field) -> Written {
        let facts = self.facts;
        self.object(Type::Localization, &field.selected, |run, field| match field.name {
            Name::AvailableCountries => {
                let countries = run.countries();
                run.list(field, countries, |run, code| run.country(field, code))
            }
            Name::AvailableLanguages => {
                let languages = languages(run.facts.market, &run.facts.terms.settings.language);
                run.list(field, languages, |run, language| run.language(field, &language))
            }
            Name::Country => run.country(field, facts.locale.country),
            Name::Language => run.language(field, &facts.locale.language),
            Name::Market => match facts.market {
                Some(market) => run.market(field, market),
                None => run.fail("NOT_FOUND", "the shop has no market yet: set one up"),
            },
            _ => run.unanswered(Type::Localization, field),
        })
    }

    fn country(&mut self, field: &'a Field, code: [u8; 2]) -> Written {
        let terms = self.facts.terms;
        let market = terms.market_of(code);
        let currency = market.map_or(terms.settings.currency, |market| market.currency);
        self.object(Type::Country, &field.selected, |run, field| match field.name {
            Name::IsoCode => run.code(code),
            Name::Name => run.text(places::country(std::str::from_utf8(&code).unwrap_or_default())),
            Name::Currency => run.object(Type::Currency, &field.selected, |run, field| {
                let code = std::str::from_utf8(&currency).unwrap_or("XXX");
                match field.name {
                    Name::IsoCode => run.text(code),
                    Name::Name => run.text(places::currency(code).0),
                    Name::Symbol => run.text(places::currency(code).1),
                    _ => run.unanswered(Type::Currency, field),
                }
            }),
            Name::AvailableLanguages => {
                let languages = languages(market, &terms.settings.language);
                run.list(field, languages, |run, language| run.language(field, &language))
            }
            Name::DefaultLanguage => {
                let languages = languages(market, &terms.settings.language);
                run.language(field, languages.first().map_or("en", String::as_str))
            }
            Name::Market => match market {
                Some(market) => run.market(field, market),
                None => run.null(),
            },
            Name::UnitSystem => run.text(if matches!(&code, b"US" | b"LR" | b"MM") {
                "IMPERIAL_SYSTEM"
            } else {
                "METRIC_SYSTEM"
            }),
            _ => run.unanswered(Type::Country, field),
        })
    }

    fn language(&mut self, field: &'a Field, language: &str) -> Written {
        let (name, endonym) = places::language(language);
        self.object(Type::Language, &field.selected, |run, field| match field.name {
            Name::IsoCode => run.text(&language.to_uppercase().replace('-', "_")),
            Name::Name => run.text(name),
            Name::EndonymName => run.text(endonym),
            _ => run.unanswered(Type::Language, field),
        })
    }

    /// Writes a market.
    pub(crate) fn market(&mut self, field: &'a Field, market: &'a Market) -> Written {
        self.object(Type::Market, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&format!("gid://shopify/Market/{}", market.handle)),
            Name::Handle => run.text(&market.handle),
            _ => run.unanswered(Type::Market, field),
        })
    }
}

/// The languages of a market, the first of them first.
fn languages(market: Option<&Market>, own: &str) -> Vec<String> {
    let own = || vec![language(own)];
    let Some(market) = market else { return own() };
    let languages: Vec<String> = market.languages.iter().map(|one| language(one)).collect();
    if languages.is_empty() { own() } else { languages }
}

fn count(links: &[MenuLink], depth: usize) -> i64 {
    if depth >= MAX_MENU_DEPTH {
        return 0;
    }
    links.iter().map(|link| 1 + count(&link.links, depth + 1)).sum()
}

impl super::context::Facts<'_> {
    /// The address of the shop: as its settings say, else of this door.
    pub(crate) fn shop_url(&self) -> &str {
        let domain = self.terms.settings.primary_domain.trim_end_matches('/');
        if domain.is_empty() { &self.options.checkout_url } else { domain }
    }
}

impl<'a> Run<'a> {
    /// A thing that is not there, where there has to be one.
    pub(crate) fn gone(&mut self, what: &str) -> Written {
        self.fail("NOT_FOUND", format!("{what} is no longer there"))
    }
}
