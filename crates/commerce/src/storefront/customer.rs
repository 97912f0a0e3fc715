//! Answers about customers and addresses.

use super::names::{Name, Type};
use super::page::List;
use super::places;
use super::plan::Field;
use super::run::{Run, Written};
use super::supply::{Account, Supply};
use crate::state::Customer;
use model::commerce::cart::Address;

/// The types of a page of addresses.
const ADDRESSES: (Type, Type) = (Type::MailingAddressConnection, Type::MailingAddressEdge);

impl<'a> Run<'a> {
    /// Writes the customer that a query asks for.
    pub(crate) fn customer_by_token(&mut self, field: &'a Field) -> Written {
        let token = self.arg(field, "customerAccessToken").text().unwrap_or_default();
        match self.facts.supplies.get(token) {
            Some(Supply::Customer(Some(customer))) => self.customer(field, customer),
            Some(Supply::Failed(fault)) => self.failed(fault),
            _ => self.null(),
        }
    }

    /// Writes a customer.
    pub(crate) fn customer(&mut self, field: &'a Field, customer: &'a Customer) -> Written {
        self.object(Type::Customer, &field.selected, |run, field| match field.name {
            Name::Id => run.id("Customer", customer.number),
            Name::Email => run.filled(&customer.email),
            Name::FirstName => run.filled(&customer.first_name),
            Name::LastName => run.filled(&customer.last_name),
            Name::DisplayName => {
                let name = full_name(&customer.first_name, &customer.last_name);
                run.text(if name.is_empty() { &customer.email } else { &name })
            }
            Name::Phone => run.filled(&customer.phone),
            Name::AcceptsMarketing => run.bool(customer.accepts_marketing),
            Name::Tags => run.none(),
            Name::NumberOfOrders => run.text(&customer.orders.len().to_string()),
            Name::CreatedAt => run.instant(customer.created_at),
            Name::UpdatedAt => run.instant(customer.updated_at),
            Name::DefaultAddress => {
                let default = customer.default_address;
                match customer.addresses.iter().find(|one| Some(one.number) == default) {
                    Some(one) => run.customer_address(field, customer, one.number),
                    None => run.null(),
                }
            }
            Name::Addresses => {
                let numbers: Vec<u64> = customer.addresses.iter().map(|one| u64::from(one.number)).collect();
                let reverse = run.arg(field, "reverse").bool().unwrap_or(false);
                let page = run.page(field, &List { numbers: &numbers, reverse }, |_| true)?;
                run.connection(field, ADDRESSES, &page, numbers.len(), |run, field, number| {
                    run.customer_address(field, customer, u32::try_from(number).unwrap_or(0))
                })
            }
            _ => run.unanswered(Type::Customer, field),
        })
    }

    fn customer_address(&mut self, field: &'a Field, customer: &'a Customer, number: u32) -> Written {
        match customer.addresses.iter().find(|one| one.number == number) {
            Some(one) => {
                let id = format!("{}-{number}", customer.number);
                self.address(field, Type::MailingAddress, &id, &one.address)
            }
            None => self.gone("the address"),
        }
    }

    /// Writes an address.
    pub(crate) fn address(&mut self, field: &'a Field, of: Type, id: &str, address: &'a Address) -> Written {
        let name = full_name(&address.first_name, &address.last_name);
        let country = std::str::from_utf8(&address.country).unwrap_or_default();
        self.object(of, &field.selected, |run, field| match field.name {
            Name::Id => run.text(&format!("gid://shopify/MailingAddress/{id}")),
            Name::FirstName => run.filled(&address.first_name),
            Name::LastName => run.filled(&address.last_name),
            Name::Name => run.filled(&name),
            Name::Company => run.filled(&address.company),
            Name::Address1 => run.filled(&address.address1),
            Name::Address2 => run.filled(&address.address2),
            Name::City => run.filled(&address.city),
            Name::Zip => run.filled(&address.zip),
            Name::Province | Name::ProvinceCode => run.filled(&address.province),
            Name::Country => run.filled(places::country(country)),
            Name::CountryCode | Name::CountryCodeV2 => run.filled(country),
            Name::Phone => run.filled(&address.phone),
            Name::FormattedArea => {
                let parts = [address.city.as_str(), address.province.as_str(), places::country(country)];
                let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                run.filled(&parts.join(", "))
            }
            Name::Formatted => {
                let with_name = run.arg(field, "withName").bool().unwrap_or(false);
                let with_company = run.arg(field, "withCompany").bool().unwrap_or(true);
                let place = format!("{} {} {}", address.zip, address.city, address.province);
                let lines = [
                    if with_name { name.as_str() } else { "" },
                    if with_company { address.company.as_str() } else { "" },
                    &address.address1,
                    &address.address2,
                    place.trim(),
                    places::country(country),
                ];
                let lines = lines.into_iter().filter(|line| !line.is_empty());
                run.list(field, lines, |run, line| run.text(line))
            }
            _ => run.unanswered(of, field),
        })
    }

    /// Writes what came of changing an account.
    pub(crate) fn account(&mut self, field: &'a Field, of: Type, account: &'a Account) -> Written {
        self.object(of, &field.selected, |run, field| match field.name {
            Name::Customer => match &account.customer {
                Some(customer) => run.customer(field, customer),
                None => run.null(),
            },
            Name::CustomerAccessToken => match &account.token {
                Some((token, until)) => {
                    run.object(Type::CustomerAccessToken, &field.selected, |run, field| match field.name {
                        Name::AccessToken => run.text(token),
                        Name::ExpiresAt => run.instant(*until),
                        _ => run.unanswered(Type::CustomerAccessToken, field),
                    })
                }
                None => run.null(),
            },
            Name::DeletedAccessToken => run.text_if(account.revoked.as_deref()),
            Name::DeletedCustomerAccessTokenId | Name::DeletedId => run.null(),
            Name::CustomerUserErrors => run.list(field, &account.errors, |run, error| {
                run.user_error(field, Type::CustomerUserError, error)
            }),
            Name::UserErrors => {
                let kind = match of {
                    Type::CartMetafieldsSetPayload => Type::MetafieldsSetUserError,
                    Type::CartMetafieldDeletePayload => Type::MetafieldDeleteUserError,
                    _ => Type::UserError,
                };
                run.list(field, &account.errors, |run, error| run.user_error(field, kind, error))
            }
            _ => run.unanswered(of, field),
        })
    }
}

fn full_name(first: &str, last: &str) -> String {
    format!("{first} {last}").trim().to_owned()
}
