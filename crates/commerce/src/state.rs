//! The tables, and their rows.

use crate::settings::Location;
use crate::terms::{FixedRow, Part, Terms};
use engine::{AnyTable, Table, TableId, Tables, Value};
use model::codec::{DecodeError, Stored};
use model::commerce::Kind;
use model::commerce::cart::{Address, Cart};
use model::commerce::discount::Discount;
use model::commerce::order::{Order, OrderLine, Totals};
use model::commerce::payment::Payment;
use model::commerce::product::{Collection, Product};
use model::commerce::stock::{LedgerLine, StockItem, Taken};
use model::id::{Key, Timestamp};
use model::stored;
use std::sync::Arc;

pub(crate) const PRODUCTS: TableId = TableId(16);
pub(crate) const COLLECTIONS: TableId = TableId(17);
pub(crate) const STOCK: TableId = TableId(18);
pub(crate) const TERMS: TableId = TableId(20);
pub(crate) const DISCOUNTS: TableId = TableId(21);
pub(crate) const FIXED: TableId = TableId(22);
pub(crate) const LOCATIONS: TableId = TableId(23);
/// Payments with something to do, so that whoever carries them out finds them after a restart without looking at all.
pub(crate) const DUES: TableId = TableId(29);

/// The version in front of every row.
const ROW_VERSION: u8 = 1;

/// A row of a stored type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row<T>(pub(crate) T);

impl<T: Stored + Send + 'static> Value for Row<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.versioned(ROW_VERSION, out);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        T::of_version(ROW_VERSION, bytes).map(Self)
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap()
    }
}

stored! {
    /// All of a variant's stock.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct StockRow {
        /// The variant.
        pub variant: u64,
        /// Its product; 0 where it is no longer sold.
        pub product: u64,
        /// How many, and where.
        pub item: StockItem,
        /// Of what is reserved, what checkouts hold and may give back.
        pub in_checkouts: i64,
        /// Lines of its ledger.
        pub ledger_lines: u64,
        /// How many were sold, ever.
        pub sold: u64,
    }

    /// A line of a variant's ledger.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LedgerRow {
        /// Its number, by variant, from 0.
        pub sequence: u64,
        /// When.
        pub at: Timestamp,
        /// What changed.
        pub line: LedgerLine,
        /// On whose account.
        pub about: About,
    }

    /// On whose account stock changed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum About {
        /// An operator's, who noted this.
        Operator(String) = 1,
        /// A checkout's: its payment.
        Checkout(Key) = 2,
        /// An order's.
        Order(u64) = 3,
    }

    /// A cart, and what only the machine knows of it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CartRow {
        /// The cart.
        pub cart: Cart,
        /// The payment that was tried last.
        pub payment: Option<Key>,
        /// Payments tried.
        pub attempts: u32,
    }

    /// What a payment is for, frozen when it was asked for. It goes when the payment is known.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CheckoutRow {
        /// The cart.
        pub cart: Key,
        /// Hash of the token of the order's page.
        pub order_key: Key,
        /// What is bought.
        pub lines: Vec<OrderLine>,
        /// What it costs.
        pub totals: Totals,
        /// The units that are reserved for it; none once its time is over.
        pub taken: Vec<Taken>,
        /// Until when; `None` once its time is over.
        pub reserved_until: Option<Timestamp>,
    }

    /// A customer.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Customer {
        /// Their public number.
        pub number: u64,
        /// Their e-mail address, as they wrote it.
        pub email: String,
        /// Given name.
        pub first_name: String,
        /// Family name.
        pub last_name: String,
        /// Phone number.
        pub phone: String,
        /// Whether they agreed to mails.
        pub accepts_marketing: bool,
        /// A slow, salted hash of the password; empty where there is none.
        pub password: String,
        /// How often the password was set: a token asked for with an older one is refused.
        pub password_version: u32,
        /// Their addresses.
        pub addresses: Vec<CustomerAddress>,
        /// The number of the address that is proposed.
        pub default_address: Option<u32>,
        /// The number that the next address gets.
        pub next_address: u32,
        /// Their tokens.
        pub tokens: Vec<Key>,
        /// Their orders, the oldest first.
        pub orders: Vec<u64>,
        /// When they came.
        pub created_at: Timestamp,
        /// When they were last changed.
        pub updated_at: Timestamp,
    }

    /// An address of a customer.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CustomerAddress {
        /// Its number.
        pub number: u32,
        /// The address.
        pub address: Address,
    }

    /// Whose a token is, and until when.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TokenRow {
        /// Whose.
        pub customer: u64,
        /// Until when.
        pub until: Timestamp,
    }

    /// The numbers that come next.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Counters {
        /// The last product's number.
        pub product: u64,
        /// The last variant's.
        pub variant: u64,
        /// The last collection's.
        pub collection: u64,
        /// The last order's.
        pub order: u64,
        /// The first order's; 0 while there is none.
        pub first_order: u64,
        /// The last customer's.
        pub customer: u64,
        /// The last place's.
        pub location: u64,
        /// Places that there are.
        pub locations: u64,
        /// Customers that there are.
        pub customers: u64,
    }

    /// What a command was answered.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Answered {
        /// The hash of what was asked for.
        pub body_hash: Key,
        /// The reply; a cart is not kept but read again.
        pub reply: Vec<u8>,
        /// The cart that was answered.
        pub cart: Option<Key>,
    }

    /// Idempotency keys that are forgotten together.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Forgotten {
        /// The keys.
        pub keys: Vec<Key>,
    }
}

/// The one row of the counters.
const THE_COUNTERS: Key = Key(0);

/// The state of a shop.
pub struct State {
    pub(crate) products: Table<Row<Arc<Product>>>,
    pub(crate) collections: Table<Row<Arc<Collection>>>,
    pub(crate) stock: Table<Row<StockRow>>,
    pub(crate) ledger: Table<Row<LedgerRow>>,
    pub(crate) terms: Table<Row<Part>>,
    pub(crate) discounts: Table<Row<Discount>>,
    pub(crate) fixed: Table<Row<FixedRow>>,
    pub(crate) locations: Table<Row<Location>>,
    pub(crate) counters: Table<Row<Counters>>,
    /// Numbers by a name that only one may have: handles, e-mail addresses, keys of orders.
    pub(crate) names: Table<Row<u64>>,
    pub(crate) carts: Table<Row<CartRow>>,
    pub(crate) checkouts: Table<Row<CheckoutRow>>,
    pub(crate) payments: Table<Row<Payment>>,
    pub(crate) dues: Table<Row<Payment>>,
    pub(crate) orders: Table<Row<Order>>,
    pub(crate) customers: Table<Row<Customer>>,
    pub(crate) tokens: Table<Row<TokenRow>>,
    pub(crate) answers: Table<Row<Answered>>,
    pub(crate) forgotten: Table<Row<Forgotten>>,
    /// How often codes were used, in all and by buyer.
    pub(crate) uses: Table<Row<u64>>,
    current: Option<Arc<Terms>>,
}

impl State {
    /// Empty tables.
    pub fn empty() -> Self {
        Self {
            products: Table::new(PRODUCTS, "products"),
            collections: Table::new(COLLECTIONS, "collections"),
            stock: Table::new(STOCK, "stock"),
            ledger: Table::new(TableId(19), "stock_ledger"),
            terms: Table::new(TERMS, "terms"),
            discounts: Table::new(DISCOUNTS, "discounts"),
            fixed: Table::new(FIXED, "fixed_prices"),
            locations: Table::new(LOCATIONS, "locations"),
            counters: Table::new(TableId(24), "counters"),
            names: Table::new(TableId(25), "names"),
            carts: Table::new(TableId(26), "carts"),
            checkouts: Table::new(TableId(27), "checkouts"),
            payments: Table::new(TableId(28), "payments"),
            dues: Table::new(DUES, "payments_due"),
            orders: Table::new(TableId(30), "orders"),
            customers: Table::new(TableId(31), "customers"),
            tokens: Table::new(TableId(32), "customer_tokens"),
            answers: Table::new(TableId(33), "answers"),
            forgotten: Table::new(TableId(34), "answers_to_forget"),
            uses: Table::new(TableId(35), "code_uses"),
            current: None,
        }
    }

    /// The terms, without discounts and fixed prices.
    pub(crate) fn terms(&mut self) -> Arc<Terms> {
        if let Some(current) = &self.current {
            return Arc::clone(current);
        }
        let mut terms = Terms::default();
        for key in Part::KEYS {
            if let Some(Row(part)) = self.terms.get(key) {
                terms.put(part.clone());
            }
        }
        let current = Arc::new(terms);
        self.current = Some(Arc::clone(&current));
        current
    }

    pub(crate) fn put_terms(&mut self, part: Part) {
        self.terms.insert(part.key(), Row(part));
        self.current = None;
    }

    pub(crate) fn counters(&mut self) -> Counters {
        self.counters.get(THE_COUNTERS).map(|row| row.0).unwrap_or_default()
    }

    pub(crate) fn set_counters(&mut self, counters: Counters) {
        self.counters.insert(THE_COUNTERS, Row(counters));
    }

    pub(crate) fn product(&mut self, number: u64) -> Option<Arc<Product>> {
        self.products.get(Kind::Product.key(number)).map(|row| Arc::clone(&row.0))
    }

    /// The product of a variant that is sold.
    pub(crate) fn product_of(&mut self, variant: u64) -> Option<Arc<Product>> {
        let product = self.stock_row(variant)?.product;
        self.product(product)
    }

    pub(crate) fn stock_row(&mut self, variant: u64) -> Option<&StockRow> {
        self.stock.get(Kind::Variant.key(variant)).map(|row| &row.0)
    }

    /// All rows, encoded, sorted: for tests that compare states.
    pub fn dump(&mut self) -> Vec<(u8, Key, Vec<u8>)> {
        fn rows<V: Value>(table: &Table<V>, out: &mut Vec<(u8, Key, Vec<u8>)>) {
            for (key, row) in table.resident() {
                let mut bytes = Vec::new();
                row.encode(&mut bytes);
                out.push((table.id().0, key, bytes));
            }
        }
        let mut out = Vec::new();
        rows(&self.products, &mut out);
        rows(&self.collections, &mut out);
        rows(&self.stock, &mut out);
        rows(&self.ledger, &mut out);
        rows(&self.terms, &mut out);
        rows(&self.discounts, &mut out);
        rows(&self.fixed, &mut out);
        rows(&self.locations, &mut out);
        rows(&self.counters, &mut out);
        rows(&self.names, &mut out);
        rows(&self.carts, &mut out);
        rows(&self.checkouts, &mut out);
        rows(&self.payments, &mut out);
        rows(&self.dues, &mut out);
        rows(&self.orders, &mut out);
        rows(&self.customers, &mut out);
        rows(&self.tokens, &mut out);
        rows(&self.answers, &mut out);
        rows(&self.forgotten, &mut out);
        rows(&self.uses, &mut out);
        out.sort();
        out
    }
}

impl Tables for State {
    fn visit(&mut self, visitor: &mut dyn FnMut(&mut dyn AnyTable)) {
        visitor(&mut self.products);
        visitor(&mut self.collections);
        visitor(&mut self.stock);
        visitor(&mut self.ledger);
        visitor(&mut self.terms);
        visitor(&mut self.discounts);
        visitor(&mut self.fixed);
        visitor(&mut self.locations);
        visitor(&mut self.counters);
        visitor(&mut self.names);
        visitor(&mut self.carts);
        visitor(&mut self.checkouts);
        visitor(&mut self.payments);
        visitor(&mut self.dues);
        visitor(&mut self.orders);
        visitor(&mut self.customers);
        visitor(&mut self.tokens);
        visitor(&mut self.answers);
        visitor(&mut self.forgotten);
        visitor(&mut self.uses);
    }
}
