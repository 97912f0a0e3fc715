//! Carts: what is in them and who buys.

use crate::check;
use crate::command::{
    CartInput, CartReply, CartShown, CartWarning, CartWarningCode, LineChange, LineInput, Operation, Reply,
};
use crate::effect::{CART_CHANGED, CartEffect, CartHappening};
use crate::machine::Step;
use crate::refusal::Refusal;
use crate::state::{CartRow, Row};
use model::commerce::cart::{Attribute, Buyer, Cart, CartLine, Standing};
use model::commerce::{MAX_LINES, MAX_QUANTITY};
use model::id::Key;
use std::collections::BTreeMap;

/// A cart that nobody touched for this long goes.
pub(crate) const UNTOUCHED_US: i64 = 30 * 24 * 3_600 * 1_000_000;
/// The most codes of a cart.
const CODES_MAX: usize = 20;

/// What changes of a cart say of themselves.
type Edited = Result<Vec<CartWarning>, Refusal>;

impl Step<'_> {
    pub(crate) fn operate_cart(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::CartCreate { cart, input } => self.create_cart(cart, input),
            Operation::CartLinesAdd { cart, lines } => {
                self.edit_cart(cart, |step, cart| step.add_lines(cart, lines))
            }
            Operation::CartLinesUpdate { cart, lines } => {
                self.edit_cart(cart, |step, cart| step.change_lines(cart, lines))
            }
            Operation::CartLinesRemove { cart, lines } => {
                self.edit_cart(cart, |_, cart| remove_lines(cart, &lines))
            }
            Operation::CartEmpty { cart } => self.edit_cart(cart, |_, cart| {
                cart.lines.clear();
                Ok(Vec::new())
            }),
            Operation::CartBuyer { cart, buyer } => {
                self.edit_cart(cart, |step, cart| step.set_buyer(cart, buyer))
            }
            Operation::CartAddress { cart, address } => self.edit_cart(cart, |_, cart| {
                address.as_ref().map_or(Ok(()), check::address)?;
                cart.address = address;
                Ok(Vec::new())
            }),
            other => self.operate_cart_details(other),
        }
    }

    fn operate_cart_details(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::CartNote { cart, note } => self.edit_cart(cart, |_, cart| {
                check::text("note", &note, check::NOTE_BYTES_MAX)?;
                cart.note = note;
                Ok(Vec::new())
            }),
            Operation::CartAttributes { cart, attributes } => self.edit_cart(cart, |_, cart| {
                check::attributes("attributes", &attributes)?;
                cart.attributes = attributes;
                Ok(Vec::new())
            }),
            Operation::CartDiscountCodes { cart, codes } => self.edit_cart(cart, |_, cart| {
                check_codes(&codes)?;
                cart.discount_codes = codes;
                Ok(Vec::new())
            }),
            Operation::CartShipping { cart, method } => self.edit_cart(cart, |_, cart| {
                check::name("shipping_method", method.as_deref().unwrap_or_default())?;
                cart.shipping_method = method;
                Ok(Vec::new())
            }),
            Operation::CartVisitor { cart, anonymous_id } => self.edit_cart(cart, |_, cart| {
                check::name("anonymous_id", anonymous_id.as_deref().unwrap_or_default())?;
                cart.anonymous_id = anonymous_id;
                Ok(Vec::new())
            }),
            _ => Err(Refusal::Malformed),
        }
    }

    fn create_cart(&mut self, key: Key, input: CartInput) -> Result<Reply, Refusal> {
        if self.state.carts.get(key).is_some() {
            return Err(Refusal::CartExists);
        }
        let CartInput { lines, buyer, note, attributes, discount_codes, address, anonymous_id } = input;
        check::text("note", &note, check::NOTE_BYTES_MAX)?;
        check::attributes("attributes", &attributes)?;
        check_codes(&discount_codes)?;
        address.as_ref().map_or(Ok(()), check::address)?;
        check::name("anonymous_id", anonymous_id.as_deref().unwrap_or_default())?;
        let mut cart = Cart {
            key,
            lines: Vec::new(),
            next_line: 1,
            buyer: Buyer::default(),
            note,
            attributes,
            discount_codes,
            address,
            shipping_method: None,
            anonymous_id,
            standing: Standing::Open,
            created_at: self.now,
            updated_at: self.now,
            revision: 1,
        };
        self.set_buyer(&mut cart, buyer)?;
        let warnings = self.add_lines(&mut cart, lines)?;
        self.outcome.timer(key, Some(self.now.plus_us(UNTOUCHED_US)));
        self.tell_cart(&cart, CartHappening::Created, difference(&[], &cart.lines));
        let row = CartRow { cart, payment: None, attempts: 0 };
        self.state.carts.insert(key, Row(row.clone()));
        Ok(self.cart_reply(row, warnings))
    }

    /// Changes an open cart: whole, or not at all.
    fn edit_cart(
        &mut self,
        key: Key,
        edit: impl FnOnce(&mut Self, &mut Cart) -> Edited,
    ) -> Result<Reply, Refusal> {
        let mut row = self.open_cart(key)?;
        let before = row.cart.lines.clone();
        let warnings = edit(self, &mut row.cart)?;
        row.cart.revision += 1;
        row.cart.updated_at = self.now;
        let lines = difference(&before, &row.cart.lines);
        let what = if lines.is_empty() { CartHappening::Details } else { CartHappening::Lines };
        self.tell_cart(&row.cart, what, lines);
        self.state.carts.insert(key, Row(row.clone()));
        Ok(self.cart_reply(row, warnings))
    }

    pub(crate) fn open_cart(&mut self, key: Key) -> Result<CartRow, Refusal> {
        let row = self.state.carts.get(key).ok_or_else(|| Refusal::unknown("cart", "cart"))?;
        match row.0.cart.standing {
            Standing::Open => Ok(row.0.clone()),
            Standing::Paying(_) => Err(Refusal::CartPaying),
            Standing::Ordered(number) => Err(Refusal::CartOrdered(number)),
        }
    }

    pub(crate) fn tell_cart(&mut self, cart: &Cart, what: CartHappening, lines: Vec<(u64, i64)>) {
        let body = CartEffect {
            cart: cart.key,
            revision: cart.revision,
            anonymous_id: cart.anonymous_id.clone(),
            email: cart.buyer.email.clone(),
            what,
            lines,
        };
        self.tell(CART_CHANGED, cart.key, &body);
    }

    /// The answer to a repetition.
    pub(crate) fn cart_again(&mut self, key: Key) -> Option<Reply> {
        let row = self.state.carts.get(key)?.0.clone();
        Some(self.cart_reply(row, Vec::new()))
    }

    fn cart_reply(&mut self, row: CartRow, warnings: Vec<CartWarning>) -> Reply {
        let shown = self.state.cart_shown(row);
        Reply::Cart(Box::new(CartReply { shown, warnings }))
    }

    fn set_buyer(&mut self, cart: &mut Cart, buyer: Buyer) -> Result<Vec<CartWarning>, Refusal> {
        check::buyer(&buyer)?;
        if let Some(customer) = buyer.customer {
            self.customer(customer)?;
        }
        cart.buyer = buyer;
        Ok(Vec::new())
    }

    fn add_lines(&mut self, cart: &mut Cart, lines: Vec<LineInput>) -> Edited {
        let mut warnings = Vec::new();
        for LineInput { variant, quantity, attributes } in lines {
            check_line(quantity, &attributes)?;
            self.for_sale(variant)?;
            let at =
                cart.lines.iter().position(|line| line.variant == variant && line.attributes == attributes);
            let before = at.and_then(|at| cart.lines.get(at)).map_or(0, |line| line.quantity);
            let wanted = before.saturating_add(quantity).min(MAX_QUANTITY);
            let number = at.and_then(|at| cart.lines.get(at)).map_or(0, |line| line.number);
            let (fits, warning) = self.fitting(cart, number, variant, wanted, before);
            let mut line = number;
            match at.and_then(|at| cart.lines.get_mut(at)) {
                Some(line) => line.quantity = fits,
                None if fits > 0 => {
                    check::count("lines", cart.lines.len() + 1, MAX_LINES)?;
                    line = cart.next_line;
                    cart.lines.push(CartLine { number: line, variant, quantity: fits, attributes });
                    cart.next_line += 1;
                }
                None => {}
            }
            warnings.extend(warning.map(|code| CartWarning { line, variant, code, quantity: fits }));
        }
        Ok(warnings)
    }

    fn change_lines(&mut self, cart: &mut Cart, changes: Vec<LineChange>) -> Edited {
        let mut warnings = Vec::new();
        for LineChange { number, quantity, variant, attributes } in changes {
            let place = cart.lines.iter().position(|line| line.number == number);
            let at = place.ok_or_else(|| Refusal::unknown("line", "lines"))?;
            let former = cart.lines.get(at).cloned().ok_or_else(|| Refusal::unknown("line", "lines"))?;
            let wanted = quantity.unwrap_or(former.quantity);
            if wanted == 0 {
                cart.lines.remove(at);
                continue;
            }
            let attributes = attributes.unwrap_or(former.attributes);
            check_line(wanted, &attributes)?;
            let target = variant.unwrap_or(former.variant);
            let before = if target == former.variant {
                former.quantity
            } else {
                self.for_sale(target)?;
                0
            };
            let (fits, warning) = self.fitting(cart, number, target, wanted, before);
            warnings.extend(warning.map(|code| CartWarning {
                line: number,
                variant: target,
                code,
                quantity: fits,
            }));
            match cart.lines.get_mut(at) {
                Some(line) if fits > 0 => {
                    *line = CartLine { number, variant: target, quantity: fits, attributes };
                }
                // What it was to become is not there: it stays what it was.
                _ => {}
            }
        }
        Ok(warnings)
    }

    /// How many of a variant a line can have beside the cart's other lines of it: what was there before stays.
    fn fitting(
        &mut self,
        cart: &Cart,
        number: u32,
        variant: u64,
        wanted: u32,
        before: u32,
    ) -> (u32, Option<CartWarningCode>) {
        let others = cart.lines.iter().filter(|line| line.variant == variant && line.number != number);
        let others: i64 = others.map(|line| i64::from(line.quantity)).sum();
        let available = self.state.stock_row(variant).map_or(0, |row| row.item.available());
        let left = available.saturating_sub(others).clamp(0, i64::from(MAX_QUANTITY)) as u32;
        if wanted <= left {
            return (wanted, None);
        }
        let code = if left == 0 { CartWarningCode::OutOfStock } else { CartWarningCode::NotEnoughStock };
        (wanted.min(left.max(before)), Some(code))
    }

    /// Refuses a variant that is not there or not shown.
    fn for_sale(&mut self, variant: u64) -> Result<(), Refusal> {
        let now = self.now;
        let product = self.state.product_of(variant).ok_or_else(|| Refusal::unknown("variant", "lines"))?;
        if product.published_at.is_none_or(|since| since > now) || product.variant(variant).is_none() {
            return Err(Refusal::NotForSale(variant));
        }
        Ok(())
    }

    /// A cart's timer: it goes, if nobody touched it and no payment is under way.
    pub(crate) fn cart_untouched(&mut self, key: Key) {
        let Some(Row(row)) = self.state.carts.get(key) else { return };
        let due = row.cart.updated_at.plus_us(UNTOUCHED_US);
        let paying = matches!(row.cart.standing, Standing::Paying(_));
        if due <= self.now && !paying {
            self.state.carts.remove(key);
        } else {
            self.outcome.timer(key, Some(due.max(self.now.plus_us(UNTOUCHED_US / 30))));
        }
    }
}

impl CartShown {
    /// How many things are in the cart.
    pub fn quantity(&self) -> u64 {
        self.cart.lines.iter().map(|line| u64::from(line.quantity)).sum()
    }
}

fn remove_lines(cart: &mut Cart, numbers: &[u32]) -> Edited {
    let known = |number: &u32| cart.lines.iter().any(|line| line.number == *number);
    if !numbers.iter().all(known) {
        return Err(Refusal::unknown("line", "lines"));
    }
    cart.lines.retain(|line| !numbers.contains(&line.number));
    Ok(Vec::new())
}

fn check_line(quantity: u32, attributes: &[Attribute]) -> Result<(), Refusal> {
    if quantity == 0 || quantity > MAX_QUANTITY {
        return Err(Refusal::invalid("lines.quantity", format!("must be from 1 to {MAX_QUANTITY}")));
    }
    check::attributes("lines.attributes", attributes)
}

fn check_codes(codes: &[String]) -> Result<(), Refusal> {
    check::count("discount codes", codes.len(), CODES_MAX)?;
    codes.iter().try_for_each(|code| check::filled("discount_codes", code))
}

/// How many more of each variant, or fewer.
fn difference(before: &[CartLine], after: &[CartLine]) -> Vec<(u64, i64)> {
    let mut changes: BTreeMap<u64, i64> = BTreeMap::new();
    after.iter().for_each(|line| *changes.entry(line.variant).or_default() += i64::from(line.quantity));
    before.iter().for_each(|line| *changes.entry(line.variant).or_default() -= i64::from(line.quantity));
    changes.into_iter().filter(|(_, change)| *change != 0).collect()
}
