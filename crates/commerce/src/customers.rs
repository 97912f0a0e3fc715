//! Customers: who they are, their addresses, and the tokens by which they are known.

use crate::catalogue::{name_key, take_number};
use crate::check;
use crate::command::{CustomerInput, Operation, Reply};
use crate::machine::Step;
use crate::refusal::Refusal;
use crate::state::{Customer, CustomerAddress, Row, TokenRow};
use model::commerce::Kind;
use model::commerce::cart::Address;
use model::id::{Key, Timestamp};

/// The most addresses of a customer.
const ADDRESSES_MAX: usize = 100;
/// The most tokens of a customer; the oldest one goes when another is made.
const TOKENS_MAX: usize = 32;
/// The most orders that a customer is shown.
const ORDERS_MAX: usize = 100_000;
/// The longest time that a token may hold.
const TOKEN_US_MAX: i64 = 366 * 24 * 3_600 * 1_000_000;

/// The name of a customer by e-mail address: upper and lower case are the same.
pub(crate) fn email_key(email: &str) -> Key {
    name_key("customer", &email.to_lowercase())
}

impl Step<'_> {
    pub(crate) fn operate_customers(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::CustomerCreate(input) => self.create_customer(input),
            Operation::CustomerPut { customer, input } => self.change_customer(customer, input),
            Operation::CustomerDelete(number) => self.delete_customer(number),
            Operation::CustomerAddressPut { customer, number, address, is_default } => {
                self.put_address(customer, number, address, is_default)
            }
            Operation::CustomerAddressDelete { customer, number } => self.delete_address(customer, number),
            Operation::CustomerToken { customer, token, until, password_version } => {
                self.add_token(customer, token, until, password_version)
            }
            Operation::CustomerTokenRevoke { token } => {
                self.state.tokens.get(token).ok_or_else(|| Refusal::unknown("token", "token"))?;
                self.token_over(token);
                self.outcome.timer(token, None);
                Ok(Reply::Done)
            }
            _ => Err(Refusal::Malformed),
        }
    }

    pub(crate) fn customer(&mut self, number: u64) -> Result<Customer, Refusal> {
        let row = self.state.customers.get(Kind::Customer.key(number));
        Ok(row.ok_or_else(|| Refusal::unknown("customer", "customer"))?.0.clone())
    }

    fn put_customer(&mut self, mut customer: Customer) {
        customer.updated_at = self.now;
        self.state.customers.insert(Kind::Customer.key(customer.number), Row(customer));
    }

    fn create_customer(&mut self, input: CustomerInput) -> Result<Reply, Refusal> {
        check_input(&input)?;
        self.free_email(&input.email, 0)?;
        let (mut counters, mut number) = (self.state.counters(), 0);
        take_number(&mut counters.customer, &mut number);
        counters.customers += 1;
        self.state.set_counters(counters);
        let mut customer = Customer {
            number,
            email: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            phone: String::new(),
            accepts_marketing: false,
            password: String::new(),
            password_version: 0,
            addresses: Vec::new(),
            default_address: None,
            next_address: 1,
            tokens: Vec::new(),
            orders: Vec::new(),
            created_at: self.now,
            updated_at: self.now,
        };
        state(&mut customer, input);
        self.state.names.insert(email_key(&customer.email), Row(number));
        self.put_customer(customer);
        Ok(Reply::Number(number))
    }

    fn change_customer(&mut self, number: u64, input: CustomerInput) -> Result<Reply, Refusal> {
        let mut customer = self.customer(number)?;
        check_input(&input)?;
        self.free_email(&input.email, number)?;
        self.state.names.remove(email_key(&customer.email));
        // Who knows the former password only is out.
        if input.password.is_some() {
            for token in std::mem::take(&mut customer.tokens) {
                self.state.tokens.remove(token);
                self.outcome.timer(token, None);
            }
        }
        state(&mut customer, input);
        self.state.names.insert(email_key(&customer.email), Row(number));
        self.put_customer(customer);
        Ok(Reply::Number(number))
    }

    fn free_email(&mut self, email: &str, number: u64) -> Result<(), Refusal> {
        let owner = self.state.names.get(email_key(email)).map(|row| row.0);
        if owner.is_some_and(|owner| owner != number) {
            return Err(Refusal::Taken { what: "customer".to_owned(), field: "email".to_owned() });
        }
        Ok(())
    }

    fn delete_customer(&mut self, number: u64) -> Result<Reply, Refusal> {
        let customer = self.customer(number)?;
        self.state.names.remove(email_key(&customer.email));
        for token in customer.tokens {
            self.state.tokens.remove(token);
            self.outcome.timer(token, None);
        }
        let mut counters = self.state.counters();
        counters.customers = counters.customers.saturating_sub(1);
        self.state.set_counters(counters);
        self.state.customers.remove(Kind::Customer.key(number));
        Ok(Reply::Done)
    }

    fn put_address(
        &mut self,
        customer: u64,
        mut number: u32,
        address: Address,
        is_default: bool,
    ) -> Result<Reply, Refusal> {
        let mut customer = self.customer(customer)?;
        check::address(&address)?;
        if number == 0 {
            check::count("addresses", customer.addresses.len() + 1, ADDRESSES_MAX)?;
            number = customer.next_address;
            customer.next_address += 1;
            customer.addresses.push(CustomerAddress { number, address });
        } else {
            let known = customer.addresses.iter_mut().find(|one| one.number == number);
            known.ok_or_else(|| Refusal::unknown("address", "number"))?.address = address;
        }
        if is_default || customer.default_address.is_none() {
            customer.default_address = Some(number);
        }
        self.put_customer(customer);
        Ok(Reply::Number(u64::from(number)))
    }

    fn delete_address(&mut self, customer: u64, number: u32) -> Result<Reply, Refusal> {
        let mut customer = self.customer(customer)?;
        let before = customer.addresses.len();
        customer.addresses.retain(|one| one.number != number);
        if customer.addresses.len() == before {
            return Err(Refusal::unknown("address", "number"));
        }
        if customer.default_address == Some(number) {
            customer.default_address = customer.addresses.first().map(|one| one.number);
        }
        self.put_customer(customer);
        Ok(Reply::Done)
    }

    fn add_token(
        &mut self,
        number: u64,
        token: Key,
        until: Timestamp,
        password_version: u32,
    ) -> Result<Reply, Refusal> {
        let mut customer = self.customer(number)?;
        if customer.password_version != password_version {
            return Err(Refusal::PasswordChanged);
        }
        if until <= self.now || until.since_us(self.now) > TOKEN_US_MAX {
            return Err(Refusal::invalid("until", "must be in the future, within a year"));
        }
        if self.state.tokens.get(token).is_some() {
            return Err(Refusal::Taken { what: "token".to_owned(), field: "token".to_owned() });
        }
        if customer.tokens.len() >= TOKENS_MAX {
            let oldest = customer.tokens.remove(0);
            self.state.tokens.remove(oldest);
            self.outcome.timer(oldest, None);
        }
        customer.tokens.push(token);
        self.state.tokens.insert(token, Row(TokenRow { customer: number, until }));
        self.outcome.timer(token, Some(until));
        self.put_customer(customer);
        Ok(Reply::Done)
    }

    /// A token holds no more.
    pub(crate) fn token_over(&mut self, token: Key) {
        let Some(customer) = self.state.tokens.get(token).map(|row| row.0.customer) else { return };
        self.state.tokens.remove(token);
        if let Some(Row(customer)) = self.state.customers.get_mut(Kind::Customer.key(customer)) {
            customer.tokens.retain(|one| *one != token);
        }
    }

    pub(crate) fn customer_ordered(&mut self, number: u64, order: u64) {
        if let Some(Row(customer)) = self.state.customers.get_mut(Kind::Customer.key(number)) {
            if customer.orders.len() >= ORDERS_MAX {
                customer.orders.remove(0);
            }
            customer.orders.push(order);
        }
    }
}

fn check_input(input: &CustomerInput) -> Result<(), Refusal> {
    check::email("email", &input.email)?;
    check::name("first_name", &input.first_name)?;
    check::name("last_name", &input.last_name)?;
    check::name("phone", &input.phone)?;
    check::name("password", input.password.as_deref().unwrap_or_default())
}

/// Takes in what was stated.
fn state(customer: &mut Customer, input: CustomerInput) {
    let CustomerInput { email, first_name, last_name, phone, accepts_marketing, password } = input;
    customer.email = email;
    customer.first_name = first_name;
    customer.last_name = last_name;
    customer.phone = phone;
    customer.accepts_marketing = accepts_marketing;
    if let Some(password) = password {
        customer.password = password;
        customer.password_version += 1;
    }
}
