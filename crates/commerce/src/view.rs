//! What other threads read without the loop: the catalogue with what is available, the terms, and the payments that wait
//! to be carried out.

use crate::command::CartShown;
use crate::pricing::{self, CartPrice, Pricing};
use crate::refusal::Refusal;
use crate::settings::Location;
use crate::terms::{FixedRow, Part, Terms};
use engine::AsOf;
use model::commerce::discount::{Discount, folded};
use model::commerce::payment::Payment;
use model::commerce::product::{Collection, Product};
use model::id::{Key, Position, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// What is sold, as everybody sees it.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Products, by number.
    pub products: BTreeMap<u64, Arc<Shown>>,
    /// Their numbers, by handle.
    pub by_handle: BTreeMap<String, u64>,
    /// The product of each variant.
    pub variants: HashMap<u64, u64>,
    /// Collections, by number.
    pub collections: BTreeMap<u64, Arc<Collection>>,
    /// Their numbers, by handle.
    pub collections_by_handle: BTreeMap<String, u64>,
}

/// A product as it is shown.
#[derive(Debug)]
pub struct Shown {
    /// The product.
    pub product: Arc<Product>,
    /// What of each variant can be sold now, in the product's order; [`i64::MAX`] where units are not counted.
    pub available: Vec<AtomicI64>,
    /// How many were sold, ever.
    pub sold: AtomicU64,
}

impl Shown {
    /// What can be sold now of the variant at this index of the product.
    pub fn available(&self, index: usize) -> i64 {
        self.available.get(index).map_or(0, |available| available.load(Ordering::Relaxed))
    }

    /// Whether some variant can be bought.
    pub fn is_available(&self) -> bool {
        self.available.iter().any(|available| available.load(Ordering::Relaxed) > 0)
    }
}

impl Catalogue {
    /// The product of a variant, and the variant's index in it.
    pub fn variant(&self, variant: u64) -> Option<(&Arc<Shown>, usize)> {
        let shown = self.products.get(self.variants.get(&variant)?)?;
        let index = shown.product.variants.iter().position(|one| one.number == variant)?;
        Some((shown, index))
    }

    /// The product of a handle.
    pub fn product_by_handle(&self, handle: &str) -> Option<&Arc<Shown>> {
        self.products.get(self.by_handle.get(handle)?)
    }

    /// The collection of a handle.
    pub fn collection_by_handle(&self, handle: &str) -> Option<&Arc<Collection>> {
        self.collections.get(self.collections_by_handle.get(handle)?)
    }

    fn put_product(&mut self, product: Arc<Product>, available: Vec<i64>, sold: u64) {
        self.remove_product(product.number);
        self.by_handle.insert(product.handle.clone(), product.number);
        for variant in &product.variants {
            self.variants.insert(variant.number, product.number);
        }
        let available = available.into_iter().map(AtomicI64::new).collect();
        let number = product.number;
        self.products.insert(number, Arc::new(Shown { product, available, sold: AtomicU64::new(sold) }));
    }

    fn remove_product(&mut self, number: u64) {
        let Some(former) = self.products.remove(&number) else { return };
        if self.by_handle.get(&former.product.handle) == Some(&number) {
            self.by_handle.remove(&former.product.handle);
        }
        for variant in &former.product.variants {
            if self.variants.get(&variant.number) == Some(&number) {
                self.variants.remove(&variant.number);
            }
        }
    }

    fn put_collection(&mut self, collection: Arc<Collection>) {
        self.remove_collection(collection.number);
        self.collections_by_handle.insert(collection.handle.clone(), collection.number);
        self.collections.insert(collection.number, collection);
    }

    fn remove_collection(&mut self, number: u64) {
        if let Some(former) = self.collections.remove(&number)
            && self.collections_by_handle.get(&former.handle) == Some(&number)
        {
            self.collections_by_handle.remove(&former.handle);
        }
    }
}

/// One difference of the view.
#[derive(Debug)]
pub enum Change {
    /// A part of the terms is another.
    Terms(Part),
    /// A code is there.
    Discount(Discount),
    /// A code is gone: what it is looked up by.
    DiscountGone(String),
    /// A price is fixed.
    Fixed(FixedRow),
    /// A price is no longer fixed, in this market, of this variant.
    FixedGone(String, u64),
    /// A place is there.
    Location(Location),
    /// A product is there.
    Product {
        /// The product.
        product: Arc<Product>,
        /// What of each variant can be sold.
        available: Vec<i64>,
        /// How many were sold, ever.
        sold: u64,
    },
    /// A product is gone.
    ProductGone(u64),
    /// A collection is there.
    Collection(Arc<Collection>),
    /// A collection is gone.
    CollectionGone(u64),
    /// Of a variant there is more or less.
    Stock {
        /// The variant.
        variant: u64,
        /// What can be sold now.
        available: i64,
        /// How many more were sold.
        sold: u64,
    },
    /// A payment has something to do, or waits for its buyer.
    Due(Arc<Payment>),
    /// A payment has nothing to do.
    NotDue(Key),
}

/// What other threads read.
#[derive(Debug, Default)]
pub struct View {
    catalogue: RwLock<Catalogue>,
    terms: RwLock<Arc<Terms>>,
    locations: RwLock<BTreeMap<u64, Location>>,
    due: Mutex<BTreeMap<Key, Arc<Payment>>>,
    due_changed: Notify,
    catalogue_version: AtomicU64,
    next_position: AtomicU64,
    log_time: AtomicI64,
}

impl View {
    /// The catalogue. Hold the guard shortly, and never over an await: changes of the catalogue wait for it. Stock does not.
    pub fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that grows whenever a product or a collection changed: what is derived from them can be kept by it.
    pub fn catalogue_version(&self) -> u64 {
        self.catalogue_version.load(Ordering::Acquire)
    }

    /// The terms.
    pub fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The places that hold stock, by number.
    pub fn locations(&self) -> Vec<Location> {
        self.locations.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What a cart costs at a time, and how it can be sent: the same as the loop says when it is paid for at that time.
    pub fn price(&self, shown: &CartShown, at: Timestamp) -> Result<CartPrice, Refusal> {
        let (terms, cart) = (self.terms(), &shown.cart);
        let products: Vec<_> = {
            let catalogue = self.catalogue();
            let of = |variant| catalogue.variant(variant).map(|(shown, _)| Arc::clone(&shown.product));
            cart.lines.iter().map(|line| of(line.variant)).collect()
        };
        let market = &pricing::market_for(cart, &terms)?.handle;
        let fixed: Vec<_> = cart.lines.iter().map(|line| terms.fixed_price(market, line.variant)).collect();
        let discounts: Vec<_> =
            cart.discount_codes.iter().map(|code| terms.discount(code).cloned()).collect();
        let (uses, terms) = (&shown.uses, &terms);
        let (products, fixed, discounts) = (&products, &fixed, &discounts);
        pricing::price(&Pricing { cart, products, fixed, discounts, uses, terms, at })
    }

    /// Payments with something to do, and those that wait for their buyers.
    pub fn due(&self) -> Vec<Arc<Payment>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The payment, if it has something to do or waits for its buyer.
    pub fn due_payment(&self, payment: Key) -> Option<Arc<Payment>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).get(&payment).map(Arc::clone)
    }

    /// Ends when [`View::due`] changed since the last time this ended.
    pub async fn due_changed(&self) {
        self.due_changed.notified().await;
    }

    /// The point of the log that the view reflects at least.
    pub fn as_of(&self) -> AsOf {
        AsOf {
            next_position: Position(self.next_position.load(Ordering::Acquire)),
            log_time: Timestamp(self.log_time.load(Ordering::Acquire)),
        }
    }

    pub(crate) fn publish(&self, changes: Vec<Change>, as_of: AsOf) {
        for change in changes {
            self.put(change);
        }
        self.log_time.store(as_of.log_time.0, Ordering::Release);
        self.next_position.store(as_of.next_position.0, Ordering::Release);
    }

    pub(crate) fn put(&self, change: Change) {
        match change {
            Change::Stock { variant, available, sold } => self.put_stock(variant, available, sold),
            Change::Due(payment) => {
                let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
                due.insert(payment.key, payment);
                self.due_changed.notify_one();
            }
            Change::NotDue(payment) => {
                self.due.lock().unwrap_or_else(PoisonError::into_inner).remove(&payment);
                self.due_changed.notify_one();
            }
            Change::Location(location) => {
                let mut locations = self.locations.write().unwrap_or_else(PoisonError::into_inner);
                locations.insert(location.number, location);
            }
            Change::Product { .. }
            | Change::ProductGone(_)
            | Change::Collection(_)
            | Change::CollectionGone(_) => self.put_catalogue(change),
            other => self.put_terms(other),
        }
    }

    fn put_stock(&self, variant: u64, available: i64, sold: u64) {
        let catalogue = self.catalogue();
        let Some((shown, index)) = catalogue.variant(variant) else { return };
        if let Some(place) = shown.available.get(index) {
            place.store(available, Ordering::Relaxed);
        }
        shown.sold.fetch_add(sold, Ordering::Relaxed);
    }

    fn put_catalogue(&self, change: Change) {
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Product { product, available, sold } => catalogue.put_product(product, available, sold),
            Change::ProductGone(number) => catalogue.remove_product(number),
            Change::Collection(collection) => catalogue.put_collection(collection),
            Change::CollectionGone(number) => catalogue.remove_collection(number),
            _ => {}
        }
        self.catalogue_version.fetch_add(1, Ordering::Release);
    }

    fn put_terms(&self, change: Change) {
        let mut current = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        let terms = Arc::make_mut(&mut current);
        match change {
            Change::Terms(part) => terms.put(part),
            Change::Discount(discount) => {
                let code = folded(&discount.code);
                Arc::make_mut(&mut terms.discounts).insert(code, discount);
            }
            Change::DiscountGone(code) => drop(Arc::make_mut(&mut terms.discounts).remove(&code)),
            Change::Fixed(FixedRow { market, price }) => {
                Arc::make_mut(terms.fixed_prices.entry(market).or_default()).insert(price.variant, price);
            }
            Change::FixedGone(market, variant) => {
                if let Some(prices) = terms.fixed_prices.get_mut(&market) {
                    Arc::make_mut(prices).remove(&variant);
                }
            }
            _ => {}
        }
    }
}
