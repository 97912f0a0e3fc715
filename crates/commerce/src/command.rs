//! What can be asked for, and what is answered. Commands are records: replayed like any other.

use crate::refusal::Refusal;
use crate::settings::{Location, ShopSettings};
use model::codec::{DecodeError, Stored};
use model::commerce::cart::{Address, Attribute, Buyer, Cart};
use model::commerce::discount::Discount;
use model::commerce::market::{FixedPrice, Market};
use model::commerce::payment::{Payment, PaymentAnswer, PaymentOperation, PaymentState};
use model::commerce::product::{Collection, Product};
use model::commerce::shipping::ShippingZone;
use model::commerce::stock::{LedgerReason, StockPolicy};
use model::commerce::tax::TaxRate;
use model::id::{Key, Timestamp};
use model::stored;

/// The version in front of a stored command.
const VERSION: u8 = 1;

stored! {
    /// A request to change something.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Command {
        /// Hash of the idempotency key, with whoever it belongs to; none where a repetition does no harm.
        pub idempotency: Option<Key>,
        /// Hash of what was asked for. The same idempotency key with another is a mistake of the caller.
        pub body_hash: Key,
        /// What to do.
        pub operation: Operation,
    }

    /// What a command does.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Operation {
        /// Replaces the settings of the shop.
        PutSettings(ShopSettings) = 1,
        /// Replaces all markets. The first is for countries that none names.
        PutMarkets(Vec<Market>) = 2,
        /// Replaces all rates of tax.
        PutTaxRates(Vec<TaxRate>) = 3,
        /// Replaces all zones.
        PutShippingZones(Vec<ShippingZone>) = 4,
        /// Adds a code, or replaces the one of that name. How often it was used stays known.
        PutDiscount(Discount) = 5,
        /// Removes a code.
        DeleteDiscount(String) = 6,
        /// Sets and removes prices of a market, which is named by its handle.
        PutFixedPrices { market: String, prices: Vec<FixedPrice>, removed: Vec<u64> } = 7,
        /// Adds a place (number 0: the next one) or renames one.
        PutLocation(Location) = 8,

        /// Adds a product or replaces the one with its number. Number 0, of the product or of a variant, is the next one.
        /// What is not named in `stock` keeps its stock.
        PutProduct { product: Product, stock: Vec<StockSetting> } = 10,
        /// Removes a product.
        DeleteProduct(u64) = 11,
        /// Adds a collection (number 0: the next one) or replaces the one with its number.
        PutCollection(Collection) = 12,
        /// Removes a collection.
        DeleteCollection(u64) = 13,

        /// Changes what is on hand.
        StockAdjust { variant: u64, location: u64, change: i64, reason: LedgerReason, note: String } = 20,
        /// Sets what is on hand.
        StockCount { variant: u64, location: u64, on_hand: i64, note: String } = 21,
        /// Moves what is on hand from one place to another.
        StockMove { variant: u64, from: u64, to: u64, quantity: u32, note: String } = 22,
        /// Sets whether units are counted, and what happens when there are none.
        StockPolicy { variant: u64, tracked: bool, policy: StockPolicy } = 23,
        /// Sets what is never sold in a place.
        StockKeepBack { variant: u64, location: u64, safety: i64 } = 24,

        /// Makes a cart.
        CartCreate { cart: Key, input: CartInput } = 30,
        /// Puts things into it. More of what is there with the same attributes is the same line.
        CartLinesAdd { cart: Key, lines: Vec<LineInput> } = 31,
        /// Changes lines.
        CartLinesUpdate { cart: Key, lines: Vec<LineChange> } = 32,
        /// Takes lines out, by number.
        CartLinesRemove { cart: Key, lines: Vec<u32> } = 33,
        /// Says who buys. A country of another market changes the prices. The customer is set by the door, which has
        /// checked the token.
        CartBuyer { cart: Key, buyer: Buyer } = 34,
        /// Replaces the note.
        CartNote { cart: Key, note: String } = 35,
        /// Replaces the attributes.
        CartAttributes { cart: Key, attributes: Vec<Attribute> } = 36,
        /// Replaces the codes.
        CartDiscountCodes { cart: Key, codes: Vec<String> } = 37,
        /// Says where it goes.
        CartAddress { cart: Key, address: Option<Address> } = 38,
        /// Chooses the way of sending.
        CartShipping { cart: Key, method: Option<String> } = 39,
        /// Takes everything out.
        CartEmpty { cart: Key } = 40,
        /// Says who the visitor is to the shop's own analytics.
        CartVisitor { cart: Key, anonymous_id: Option<String> } = 41,

        /// Reserves the units of a cart and asks for the payment.
        Pay(PayInput) = 50,
        /// What a provider said: by its answer, a webhook or a poll. `attempt` is [`Payment::attempt`] of the operation.
        PaymentAnswered { payment: Key, operation: PaymentOperation, attempt: u32, answer: PaymentAnswer } = 51,
        /// The buyer does not go on: units are given back, and whatever was set aside is let go.
        CheckoutGivenUp { payment: Key } = 52,
        /// Tries again to take money that could not be taken.
        CaptureAgain { payment: Key } = 53,

        /// Says what was sent.
        OrderFulfil(FulfilInput) = 60,
        /// Cancels what was not sent: its units are given back, and money that was taken goes back.
        OrderCancel { order: u64, reason: String } = 61,
        /// Gives money back.
        OrderRefund(RefundInput) = 62,

        /// Adds a customer. Their e-mail address is theirs alone.
        CustomerCreate(CustomerInput) = 70,
        /// Changes a customer.
        CustomerPut { customer: u64, input: CustomerInput } = 71,
        /// Removes a customer; their orders stay.
        CustomerDelete(u64) = 72,
        /// Adds an address (number 0) or replaces the one with that number.
        CustomerAddressPut { customer: u64, number: u32, address: Address, is_default: bool } = 73,
        /// Removes an address.
        CustomerAddressDelete { customer: u64, number: u32 } = 74,
        /// Lets the holder of a token be the customer. The door has checked the password with the hash of that
        /// `password_version`; if it was changed since, the token is refused.
        CustomerToken { customer: u64, token: Key, until: Timestamp, password_version: u32 } = 75,
        /// A token holds no more.
        CustomerTokenRevoke { token: Key } = 76,
    }

    /// What is set of a variant's stock together with its product.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StockSetting {
        /// Which of the product's variants: an index.
        pub variant: u32,
        /// Whether units are counted.
        pub tracked: bool,
        /// What happens when there are none.
        pub policy: StockPolicy,
        /// What is on hand, by place.
        pub on_hand: Vec<(u64, i64)>,
    }

    /// What a cart begins with.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct CartInput {
        /// What is in it.
        pub lines: Vec<LineInput>,
        /// Who buys.
        pub buyer: Buyer,
        /// What the buyer wrote.
        pub note: String,
        /// Whatever else the storefront keeps.
        pub attributes: Vec<Attribute>,
        /// Codes that were entered.
        pub discount_codes: Vec<String>,
        /// Where it goes.
        pub address: Option<Address>,
        /// Who the visitor is to the shop's own analytics, if known.
        pub anonymous_id: Option<String>,
    }

    /// What is put into a cart.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LineInput {
        /// What.
        pub variant: u64,
        /// How many.
        pub quantity: u32,
        /// Whatever else the storefront keeps.
        pub attributes: Vec<Attribute>,
    }

    /// A change of a line. What is `None` stays.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LineChange {
        /// Which.
        pub number: u32,
        /// How many; 0 takes it out.
        pub quantity: Option<u32>,
        /// What instead.
        pub variant: Option<u64>,
        /// Whatever else the storefront keeps.
        pub attributes: Option<Vec<Attribute>>,
    }

    /// A cart that is paid for.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PayInput {
        /// Which.
        pub cart: Key,
        /// How the buyer saw it: [`Cart::revision`].
        pub revision: u64,
        /// The key of the payment, random, made at the door.
        pub payment: Key,
        /// Hash of the secret token of the order's page, made at the door.
        pub order: Key,
        /// Who carries it out.
        pub provider: String,
        /// What the buyer's browser got from the provider.
        pub method: String,
        /// What the buyer was told that it costs, in minor units.
        pub expected_total_minor: i64,
    }

    /// What was sent.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FulfilInput {
        /// Of which order.
        pub order: u64,
        /// Which lines, and how many of each; all that was not sent yet if empty.
        pub lines: Vec<(u32, u32)>,
        /// Who carries it.
        pub carrier: String,
        /// By what it can be followed.
        pub tracking_number: String,
        /// Where.
        pub tracking_url: String,
    }

    /// What is given back.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RefundInput {
        /// Of which order.
        pub order: u64,
        /// Which lines, and how many of each. Units that were not sent yet are not sent any more.
        pub lines: Vec<(u32, u32)>,
        /// How much, in minor units; what was paid for the lines if `None`.
        pub amount_minor: Option<i64>,
        /// Whether the goods can be sold again.
        pub restock: bool,
        /// Why.
        pub reason: String,
    }

    /// A customer, as they or an operator state them.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct CustomerInput {
        /// The e-mail address.
        pub email: String,
        /// Given name.
        pub first_name: String,
        /// Family name.
        pub last_name: String,
        /// Phone number.
        pub phone: String,
        /// Whether they agreed to mails.
        pub accepts_marketing: bool,
        /// A slow, salted hash of the password, made at the door; `None` leaves it as it is.
        pub password: Option<String>,
    }

    /// What a command is answered.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Reply {
        /// Done.
        Done = 1,
        /// Done, and the number of what it was done to.
        Number(u64) = 2,
        /// The product, with the numbers of its variants in order.
        Product { product: u64, variants: Vec<u64> } = 3,
        /// The cart after it.
        Cart(Box<CartReply>) = 4,
        /// The payment after it.
        Payment(Box<PaymentShown>) = 5,
        /// A part of an order, by number: a fulfilment or a refund.
        OrderPart { order: u64, part: u32 } = 6,
        /// Nothing was changed, and why.
        Refused(Refusal) = 7,
    }

    /// A cart as it is, and what could not be done as asked.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CartReply {
        /// The cart.
        pub shown: CartShown,
        /// What could not be done as asked.
        pub warnings: Vec<CartWarning>,
    }

    /// A cart and what belongs to it: with this, [`crate::View::price`] knows what it costs.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CartShown {
        /// The cart.
        pub cart: Cart,
        /// The payment that was tried last.
        pub payment: Option<PaymentShown>,
        /// How often its codes were used.
        pub uses: Vec<CodeUses>,
    }

    /// How often a code was used.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CodeUses {
        /// What the code is looked up by: [`model::commerce::discount::folded`].
        pub code: String,
        /// By everybody.
        pub in_all: u64,
        /// By this buyer.
        pub by_buyer: u32,
    }

    /// Of a payment, what its buyer may know.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PaymentShown {
        /// Its key.
        pub payment: Key,
        /// Where it stands.
        pub state: PaymentState,
        /// Why, e.g. `card_declined` or `sold_out`.
        pub reason: Option<String>,
        /// Where the buyer has to go for it to go on.
        pub action_url: Option<String>,
        /// Until when units are kept for it; `None` once they are not.
        pub reserved_until: Option<Timestamp>,
        /// The order that came of it.
        pub order: Option<u64>,
        /// What is paid.
        pub amount_minor: i64,
    }

    /// Something that could not be done as asked.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CartWarning {
        /// The line; 0 where none came to be.
        pub line: u32,
        /// What it is about.
        pub variant: u64,
        /// What is the matter.
        pub code: CartWarningCode,
        /// How many there are now.
        pub quantity: u32,
    }

    /// What is the matter.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CartWarningCode {
        /// There are fewer than asked for: the line has what there is.
        NotEnoughStock = 1,
        /// There are none.
        OutOfStock = 2,
    }
}

impl Command {
    /// A command without an idempotency key.
    pub fn of(operation: Operation) -> Self {
        Self { idempotency: None, body_hash: Key(0), operation }
    }

    /// A command that is done once, however often it is sent. `body_hash` is made from the operation.
    pub fn once(idempotency: Key, operation: Operation) -> Self {
        let mut body = Vec::new();
        operation.versioned(VERSION, &mut body);
        Self { idempotency: Some(idempotency), body_hash: hash_of(&body), operation }
    }

    /// The body of a record of kind [`model::record::RecordKind::COMMAND`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.versioned(VERSION, &mut out);
        out
    }

    /// Reads the body of a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::of_version(VERSION, bytes)
    }
}

impl Reply {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.versioned(VERSION, &mut out);
        out
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::of_version(VERSION, bytes)
    }
}

impl PaymentShown {
    /// Of a payment. `reserved_until` and `order` are known elsewhere.
    pub(crate) fn of(payment: &Payment, reserved_until: Option<Timestamp>, order: Option<u64>) -> Self {
        Self {
            payment: payment.key,
            state: payment.state,
            reason: payment.reason.clone(),
            action_url: payment.action_url.clone(),
            reserved_until,
            order,
            amount_minor: payment.amount_minor,
        }
    }
}

/// A hash of bytes that tells bodies apart. It is not secret and guards nothing.
fn hash_of(bytes: &[u8]) -> Key {
    bytes.chunks(16).fold(Key(bytes.len() as u128), |before, part| {
        let mut word = [0; 16];
        word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        before.with(Key(u128::from_le_bytes(word)))
    })
}
