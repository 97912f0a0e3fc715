//! Answers about carts.

use super::fault::Fault;
use super::names::{Name, Type};
use super::page::List;
use super::plan::Field;
use super::run::{Run, Written};
use super::supply::{CartSupply, Changed, Supply, UserError, Warning, cart_id};
use crate::pricing::ShippingOffer;
use model::commerce::cart::{Attribute, CartLine};
use model::commerce::discount::DiscountValue;
use model::commerce::order::LineTotal;

/// The types of a page of lines.
const LINES: (Type, Type) = (Type::BaseCartLineConnection, Type::BaseCartLineEdge);
/// The types of a page of groups.
const GROUPS: (Type, Type) = (Type::CartDeliveryGroupConnection, Type::CartDeliveryGroupEdge);
/// Millionths of a whole in one percent.
const PPM_PER_PERCENT: u32 = 10_000;

impl<'a> Run<'a> {
    /// Writes the cart that a query asks for.
    pub(crate) fn cart_by_id(&mut self, field: &'a Field) -> Written {
        let id = self.arg(field, "id").text().unwrap_or_default();
        match self.facts.supplies.get(id) {
            Some(Supply::Cart(Some(cart))) => self.cart(field, cart),
            Some(Supply::Failed(fault)) => self.failed(fault),
            _ => self.null(),
        }
    }

    /// Notes what the loop could not say.
    pub(crate) fn failed(&mut self, fault: &Fault) -> Written {
        self.fail(fault.code, fault.message.clone())
    }

    /// Writes what came of changing a cart.
    pub(crate) fn changed(&mut self, field: &'a Field, of: Type, changed: &'a Changed) -> Written {
        self.object(of, &field.selected, |run, field| match field.name {
            Name::Cart => match &changed.cart {
                Some(cart) => run.cart(field, cart),
                None => run.null(),
            },
            Name::UserErrors => run
                .list(field, &changed.errors, |run, error| run.user_error(field, Type::CartUserError, error)),
            Name::Warnings => run.list(field, &changed.warnings, |run, warning| run.warning(field, warning)),
            _ => run.unanswered(of, field),
        })
    }

    /// Writes what is wrong with what was asked.
    pub(crate) fn user_error(&mut self, field: &'a Field, of: Type, error: &UserError) -> Written {
        self.object(of, &field.selected, |run, field| match field.name {
            Name::Code => run.text(error.code),
            Name::Message => run.text(&error.message),
            Name::Field if error.field.is_empty() => run.null(),
            Name::Field => run.list(field, &error.field, |run, part| run.text(part)),
            Name::ElementIndex => run.null(),
            _ => run.unanswered(of, field),
        })
    }

    fn warning(&mut self, field: &'a Field, warning: &Warning) -> Written {
        self.object(Type::CartWarning, &field.selected, |run, field| match field.name {
            Name::Code => run.text(warning.code),
            Name::Message => run.text(&warning.message),
            Name::Target => run.text(&warning.target),
            _ => run.unanswered(Type::CartWarning, field),
        })
    }

    /// Writes a cart.
    pub(crate) fn cart(&mut self, field: &'a Field, supply: &'a CartSupply) -> Written {
        let cart = &supply.shown.cart;
        self.object(Type::Cart, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&cart_id(&supply.token)),
            Name::CheckoutUrl => {
                let url = format!("{}/checkout/{}", run.facts.options.checkout_url, supply.token);
                run.text(&url)
            }
            Name::CreatedAt => run.instant(cart.created_at),
            Name::UpdatedAt => run.instant(cart.updated_at),
            Name::TotalQuantity => {
                let units: i64 = cart.lines.iter().map(|line| i64::from(line.quantity)).sum();
                run.int(units.min(i64::from(i32::MAX)))
            }
            Name::Note => run.filled(&cart.note),
            Name::Attributes => run.attributes(field, &cart.attributes),
            Name::Attribute => run.attribute(field, &cart.attributes),
            Name::AppliedGiftCards | Name::DiscountAllocations => run.none(),
            Name::DiscountCodes => run.list(field, &supply.totals.codes, |run, code| {
                run.object(Type::CartDiscountCode, &field.selected, |run, field| match field.name {
                    Name::Code => run.text(&code.code),
                    Name::Applicable => run.bool(code.applicable),
                    _ => run.unanswered(Type::CartDiscountCode, field),
                })
            }),
            Name::BuyerIdentity => run.buyer(field, supply),
            Name::Cost => run.cart_cost(field, supply),
            Name::Lines => run.cart_lines(field, supply),
            Name::Delivery => run.delivery(field, supply),
            Name::DeliveryGroups => run.delivery_groups(field, supply),
            _ => run.unanswered(Type::Cart, field),
        })
    }

    fn attributes(&mut self, field: &'a Field, attributes: &'a [Attribute]) -> Written {
        self.list(field, attributes, |run, attribute| run.one_attribute(field, attribute))
    }

    fn attribute(&mut self, field: &'a Field, attributes: &'a [Attribute]) -> Written {
        let key = self.arg(field, "key").text();
        match attributes.iter().find(|one| Some(one.key.as_str()) == key) {
            Some(attribute) => self.one_attribute(field, attribute),
            None => self.null(),
        }
    }

    fn one_attribute(&mut self, field: &'a Field, attribute: &'a Attribute) -> Written {
        self.object(Type::Attribute, &field.selected, |run, field| match field.name {
            Name::Key => run.text(&attribute.key),
            Name::Value => run.text(&attribute.value),
            _ => run.unanswered(Type::Attribute, field),
        })
    }

    fn buyer(&mut self, field: &'a Field, supply: &'a CartSupply) -> Written {
        let buyer = &supply.shown.cart.buyer;
        self.object(Type::CartBuyerIdentity, &field.selected, |run, field| match field.name {
            Name::CountryCode => match buyer.country {
                Some(country) => run.code(country),
                None => run.null(),
            },
            Name::Email => run.text_if(buyer.email.as_deref()),
            Name::Phone => run.text_if(buyer.phone.as_deref()),
            Name::Customer => match &supply.customer {
                Some(customer) => run.customer(field, customer),
                None => run.null(),
            },
            _ => run.unanswered(Type::CartBuyerIdentity, field),
        })
    }

    fn cart_cost(&mut self, field: &'a Field, supply: &'a CartSupply) -> Written {
        let totals = &supply.totals;
        let estimated = supply.shown.cart.address.is_none();
        self.object(Type::CartCost, &field.selected, |run, field| match field.name {
            Name::SubtotalAmount => {
                // Before what is taken off the cart as a whole; what is taken off single lines counts.
                let off = totals.lines.iter().map(|line| run.off_line(line)).sum::<i64>();
                run.money(field, totals.subtotal_minor - off, totals.currency)
            }
            Name::TotalAmount | Name::CheckoutChargeAmount => {
                run.money(field, totals.total_minor, totals.currency)
            }
            Name::TotalTaxAmount => run.money(field, totals.tax_minor, totals.currency),
            Name::TotalDutyAmount => run.null(),
            Name::SubtotalAmountEstimated | Name::TotalDutyAmountEstimated => run.bool(false),
            Name::TotalAmountEstimated | Name::TotalTaxAmountEstimated => run.bool(estimated),
            _ => run.unanswered(Type::CartCost, field),
        })
    }

    /// What codes for single products take off a line.
    fn off_line(&self, line: &LineTotal) -> i64 {
        let of_line =
            |code: &str| self.facts.terms.discount(code).is_some_and(|one| !one.products.is_empty());
        line.discounts.iter().filter(|(code, _)| of_line(code)).map(|(_, minor)| *minor).sum()
    }

    fn cart_lines(&mut self, field: &'a Field, supply: &'a CartSupply) -> Written {
        let lines = &supply.shown.cart.lines;
        let numbers: Vec<u64> = lines.iter().map(|line| u64::from(line.number)).collect();
        let reverse = self.arg(field, "reverse").bool().unwrap_or(false);
        let page = self.page(field, &List { numbers: &numbers, reverse }, |_| true)?;
        self.connection(field, LINES, &page, numbers.len(), |run, field, number| {
            match lines.iter().find(|line| u64::from(line.number) == number) {
                Some(line) => run.cart_line(field, supply, line),
                None => run.gone("the line"),
            }
        })
    }

    fn cart_line(&mut self, field: &'a Field, supply: &'a CartSupply, line: &'a CartLine) -> Written {
        self.object(Type::CartLine, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&line_id(&supply.token, line.number)),
            Name::Quantity => run.int(i64::from(line.quantity)),
            Name::Attributes => run.attributes(field, &line.attributes),
            Name::Attribute => run.attribute(field, &line.attributes),
            Name::Merchandise => match run.facts.catalogue.variant(line.variant) {
                Some((shown, index)) => run.variant(field, shown, index),
                None => run.gone("what the line is of"),
            },
            Name::Cost => run.line_cost(field, supply, line),
            Name::DiscountAllocations => match line_total(supply, line) {
                Some(total) => run.list(field, &total.discounts, |run, (code, minor)| {
                    run.allocation(field, supply, code, *minor)
                }),
                None => run.none(),
            },
            Name::Instructions => {
                run.object(Type::CartLineInstructions, &field.selected, |run, field| match field.name {
                    Name::CanRemove | Name::CanUpdateQuantity => run.bool(true),
                    _ => run.unanswered(Type::CartLineInstructions, field),
                })
            }
            Name::ParentRelationship => run.null(),
            _ => run.unanswered(Type::CartLine, field),
        })
    }

    fn line_cost(&mut self, field: &'a Field, supply: &'a CartSupply, line: &'a CartLine) -> Written {
        let currency = supply.totals.currency;
        let Some(total) = line_total(supply, line) else {
            return self.gone("the price of the line");
        };
        self.object(Type::CartLineCost, &field.selected, |run, field| match field.name {
            Name::AmountPerQuantity => run.money(field, total.unit_price_minor, currency),
            Name::CompareAtAmountPerQuantity => match total.compare_at_minor {
                Some(minor) => run.money(field, minor, currency),
                None => run.null(),
            },
            Name::SubtotalAmount => run.money(field, total.subtotal_minor, currency),
            Name::TotalAmount => {
                let off: i64 = total.discounts.iter().map(|(_, minor)| *minor).sum();
                run.money(field, total.subtotal_minor - off, currency)
            }
            _ => run.unanswered(Type::CartLineCost, field),
        })
    }

    fn allocation(&mut self, field: &'a Field, supply: &'a CartSupply, code: &str, minor: i64) -> Written {
        let of = Type::CartCodeDiscountAllocation;
        self.object(of, &field.selected, |run, field| match field.name {
            Name::Code => run.text(code),
            Name::DiscountedAmount => run.money(field, minor, supply.totals.currency),
            Name::TargetType => run.text("LINE_ITEM"),
            Name::DiscountApplication => run.application(field, supply, code, minor),
            _ => run.unanswered(of, field),
        })
    }

    fn application(&mut self, field: &'a Field, supply: &'a CartSupply, code: &str, minor: i64) -> Written {
        let discount = self.facts.terms.discount(code);
        let of = Type::CartDiscountApplication;
        self.object(of, &field.selected, |run, field| match field.name {
            Name::AllocationMethod => run.text("ACROSS"),
            Name::TargetSelection => run.text(if discount.is_some_and(|one| !one.products.is_empty()) {
                "ENTITLED"
            } else {
                "ALL"
            }),
            Name::TargetType => run.text("LINE_ITEM"),
            Name::Value => match discount.map(|one| one.value) {
                Some(DiscountValue::Percentage(ppm)) => run.percentage(field, ppm),
                Some(DiscountValue::Amount(minor)) => run.money(field, minor, supply.totals.currency),
                Some(DiscountValue::FreeShipping) => run.percentage(field, 100 * PPM_PER_PERCENT),
                None => run.money(field, minor, supply.totals.currency),
            },
            _ => run.unanswered(of, field),
        })
    }

    fn percentage(&mut self, field: &'a Field, ppm: u32) -> Written {
        self.object(Type::PricingPercentageValue, &field.selected, |run, field| match field.name {
            Name::Percentage => {
                let (whole, part) = (ppm / PPM_PER_PERCENT, ppm % PPM_PER_PERCENT);
                run.out.extend_from_slice(format!("{whole}.{part:04}").as_bytes());
                Ok(())
            }
            _ => run.unanswered(Type::PricingPercentageValue, field),
        })
    }

    fn delivery(&mut self, field: &'a Field, supply: &'a CartSupply) -> Written {
        self.object(Type::CartDelivery, &field.selected, |run, field| match field.name {
            Name::Addresses => run.list(field, &supply.shown.cart.address, |run, address| {
                run.object(Type::CartSelectableAddress, &field.selected, |run, field| match field.name {
                    Name::Id => run.text(&address_id(&supply.token)),
                    Name::Selected => run.bool(true),
                    Name::OneTimeUse => run.bool(false),
                    Name::Address => run.address(field, Type::CartDeliveryAddress, &supply.token, address),
                    _ => run.unanswered(Type::CartSelectableAddress, field),
                })
            }),
            _ => run.unanswered(Type::CartDelivery, field),
        })
    }

    /// All that has to be sent goes together: there is one group, once there is an address.
    fn delivery_groups(&mut self, field: &'a Field, supply: &'a CartSupply) -> Written {
        let numbers: &[u64] = if supply.offers.is_empty() { &[] } else { &[1] };
        let page = self.page(field, &List { numbers, reverse: false }, |_| true)?;
        self.connection(field, GROUPS, &page, numbers.len(), |run, field, _| {
            run.object(Type::CartDeliveryGroup, &field.selected, |run, field| match field.name {
                Name::Id => run.text(&group_id(&supply.token)),
                Name::GroupType => run.text("ONE_TIME_PURCHASE"),
                Name::CartLines => run.cart_lines(field, supply),
                Name::DeliveryAddress => match &supply.shown.cart.address {
                    Some(address) => run.address(field, Type::MailingAddress, &supply.token, address),
                    None => run.gone("the address"),
                },
                Name::DeliveryOptions => {
                    run.list(field, &supply.offers, |run, offer| run.delivery_option(field, supply, offer))
                }
                Name::SelectedDeliveryOption => {
                    let chosen = supply.shown.cart.shipping_method.as_deref();
                    match supply.offers.iter().find(|offer| Some(offer.handle.as_str()) == chosen) {
                        Some(offer) => run.delivery_option(field, supply, offer),
                        None => run.null(),
                    }
                }
                _ => run.unanswered(Type::CartDeliveryGroup, field),
            })
        })
    }

    fn delivery_option(
        &mut self,
        field: &'a Field,
        supply: &'a CartSupply,
        offer: &'a ShippingOffer,
    ) -> Written {
        self.object(Type::CartDeliveryOption, &field.selected, |run, field| match field.name {
            Name::Handle | Name::Code => run.text(&offer.handle),
            Name::Title => run.text(&offer.title),
            Name::Description => run.null(),
            Name::DeliveryMethodType => run.text("SHIPPING"),
            Name::EstimatedCost => run.money(field, offer.price_minor, supply.totals.currency),
            _ => run.unanswered(Type::CartDeliveryOption, field),
        })
    }
}

fn line_total<'s>(supply: &'s CartSupply, line: &CartLine) -> Option<&'s LineTotal> {
    supply.totals.lines.iter().find(|total| total.number == line.number)
}

/// The public id of a line.
pub(crate) fn line_id(token: &str, number: u32) -> String {
    format!("gid://shopify/CartLine/{number}?cart={token}")
}

/// The public id of a cart's address.
pub(crate) fn address_id(token: &str) -> String {
    format!("gid://shopify/CartSelectableAddress/1?cart={token}")
}

/// The public id of what of a cart is sent together.
pub(crate) fn group_id(token: &str) -> String {
    format!("gid://shopify/CartDeliveryGroup/1?cart={token}")
}
