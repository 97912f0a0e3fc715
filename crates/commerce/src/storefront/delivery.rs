//! Where a cart goes, and how: one address, and one way of sending.

use super::context::country;
use super::input::Arg;
use super::mutation::{Asked, Refused, no_cart};
use super::names::Name;
use super::supply::{Supply, UserError, cart_id, cart_key};
use super::{Storefront, cart};
use crate::query::Query;
use model::commerce::cart::{Address, Buyer};

impl Storefront {
    /// The address among several that is the selected one, else the only one.
    pub(super) async fn one_address(
        &self,
        given: Arg<'_>,
        buyer: &Buyer,
        at: &str,
    ) -> Refused<Option<Address>> {
        let mut chosen = None;
        let count = given.list().len();
        for (index, one) in given.list().enumerate() {
            let selected = one.field("selected").bool() == Some(true);
            if selected && chosen.is_some() {
                let message = "one address can be selected";
                return Err(UserError::new("ONLY_ONE_DELIVERY_ADDRESS_CAN_BE_SELECTED", at, message));
            }
            if selected || count == 1 {
                chosen = Some((index, one));
            }
        }
        match chosen {
            Some((index, one)) => {
                let at = format!("{at}.{index}.address");
                self.address_of(one.field("address"), buyer, &at).await.map(Some)
            }
            None if count == 0 => Ok(None),
            None => {
                let message = "a cart has one address here: select it";
                Err(UserError::new("TOO_MANY_DELIVERY_ADDRESSES", at, message))
            }
        }
    }

    async fn address_of(&self, given: Arg<'_>, buyer: &Buyer, at: &str) -> Refused<Address> {
        if let Some(id) = given.field("copyFromCustomerAddressId").text() {
            let number = id.strip_prefix("gid://shopify/MailingAddress/").and_then(|id| id.split_once('-'));
            let number = number.and_then(|(_, number)| number.split('?').next()?.parse::<u32>().ok());
            let customer = match buyer.customer {
                Some(customer) => self.shop.customer(Query::Customer(customer)).await.ok().flatten(),
                None => None,
            };
            let found =
                customer.and_then(|one| one.addresses.into_iter().find(|one| Some(one.number) == number));
            let at = format!("{at}.copyFromCustomerAddressId");
            let error =
                || UserError::new("INVALID_DELIVERY_ADDRESS_ID", &at, "the buyer has no such address");
            return found.map(|one| one.address).ok_or_else(error);
        }
        let given = given.field("deliveryAddress");
        let Some(country) = given.field("countryCode").text().and_then(country) else {
            let at = format!("{at}.deliveryAddress.countryCode");
            return Err(UserError::new("ADDRESS_FIELD_IS_REQUIRED", &at, "the country is missing"));
        };
        let text = |name: &str| given.field(name).text().unwrap_or_default().trim().to_owned();
        Ok(Address {
            first_name: text("firstName"),
            last_name: text("lastName"),
            company: text("company"),
            address1: text("address1"),
            address2: text("address2"),
            city: text("city"),
            province: text("provinceCode"),
            zip: text("zip"),
            country,
            phone: text("phone"),
        })
    }

    /// The address of a cart after adding, changing, replacing or removing.
    pub(super) async fn address_change(&self, asked: Asked<'_>, token: &str) -> Refused<Option<Address>> {
        let before = self.cart_now(cart_key(token)).await?.cart;
        let own = cart::address_id(token);
        let known = |id: Option<&str>| id == Some(own.as_str()) && before.address.is_some();
        let unknown = |at: &str| {
            UserError::new("INVALID_DELIVERY_ADDRESS_ID", at, "the cart has no address with this id")
        };
        let given = asked.arg("addresses");
        match asked.field.name {
            Name::CartDeliveryAddressesRemove => {
                let mut ids = asked.arg("addressIds").list();
                match ids.all(|id| known(id.text())) {
                    true if asked.arg("addressIds").list().len() > 0 => Ok(None),
                    true => Ok(before.address),
                    false => Err(unknown("addressIds")),
                }
            }
            Name::CartDeliveryAddressesUpdate => {
                let Some(change) = given.list().next() else { return Ok(before.address) };
                if given.list().len() > 1 || !known(change.field("id").text()) {
                    return Err(unknown("addresses.0.id"));
                }
                match change.field("address").is_given() {
                    true => {
                        let at = "addresses.0.address";
                        self.address_of(change.field("address"), &before.buyer, at).await.map(Some)
                    }
                    false => Ok(before.address),
                }
            }
            _ => {
                let new = self.one_address(given, &before.buyer, "addresses").await?;
                let adds = asked.field.name == Name::CartDeliveryAddressesAdd;
                let selected = given.list().any(|one| one.field("selected").bool() == Some(true));
                if adds && new.is_some() && before.address.is_some() && !selected {
                    let message = "a cart has one address here: select the new one, or change the one it has";
                    return Err(UserError::new("TOO_MANY_DELIVERY_ADDRESSES", "addresses", message));
                }
                Ok(if adds { new.or(before.address) } else { new })
            }
        }
    }

    pub(super) async fn chosen_option(&self, asked: Asked<'_>, token: &str) -> Refused<Option<String>> {
        let mut options = asked.arg("selectedDeliveryOptions").list();
        let Some(option) = options.next() else { return Ok(None) };
        if options.len() > 0 || option.field("deliveryGroupId").text() != Some(cart::group_id(token).as_str())
        {
            let at = "selectedDeliveryOptions.0.deliveryGroupId";
            return Err(UserError::new("INVALID_DELIVERY_GROUP", at, "the cart has no group with this id"));
        }
        let handle = option.field("deliveryOptionHandle").text().unwrap_or_default();
        let supply = self.read_cart(&cart_id(token), asked.context).await;
        let offered = match &supply {
            Supply::Cart(Some(cart)) => cart.offers.iter().any(|one| one.handle == handle),
            _ => return Err(no_cart()),
        };
        let at = "selectedDeliveryOptions.0.deliveryOptionHandle";
        let error = || UserError::new("INVALID_DELIVERY_OPTION", at, "this way of sending is not offered");
        offered.then(|| Some(handle.to_owned())).ok_or_else(error)
    }
}
