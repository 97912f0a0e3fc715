//! Customers who make an account, log in and log out.

use super::mutation::{Asked, as_error};
use super::names::Name;
use super::password::SALT_BYTES;
use super::supply::{Account, Supply, UserError, customer_key, unanswered};
use super::{Storefront, fault::Fault};
use crate::command::{CustomerInput, Operation, Reply};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::shop::ShopError;
use model::id::Timestamp;

/// How long a token stands for a customer.
const TOKEN_LIFE_US: i64 = 30 * 24 * 3_600 * 1_000_000;
/// The shortest password, as on the platform.
const PASSWORD_MIN_CHARACTERS: usize = 5;
/// The longest password, in bytes.
const PASSWORD_MAX_BYTES: usize = 256;

/// Why an account was not changed.
enum Trouble {
    /// By what was sent.
    Sender(UserError),
    /// By us.
    Ours(Fault),
}

impl From<ShopError> for Trouble {
    fn from(error: ShopError) -> Self {
        Self::Ours(unanswered(&error))
    }
}

impl From<super::password::TooMany> for Trouble {
    fn from(_: super::password::TooMany) -> Self {
        Self::Ours(Fault::request("THROTTLED", "too many people log in at once: try again in a moment"))
    }
}

impl Storefront {
    /// Carries out a mutation of an account.
    pub(crate) async fn change_account(&self, asked: Asked<'_>) -> Supply {
        let changed = match asked.field.name {
            Name::CustomerCreate => self.create_customer(asked).await,
            Name::CustomerAccessTokenCreate => self.log_in(asked).await,
            Name::CustomerAccessTokenRenew => self.renew(asked).await,
            _ => self.log_out(asked).await,
        };
        match changed {
            Ok(account) => Supply::Account(account),
            Err(Trouble::Sender(error)) => {
                Supply::Account(Account { errors: vec![error], ..Account::default() })
            }
            Err(Trouble::Ours(fault)) => Supply::Failed(fault),
        }
    }

    async fn create_customer(&self, asked: Asked<'_>) -> Result<Account, Trouble> {
        let input = asked.arg("input");
        let text = |name: &str| input.field(name).text().unwrap_or_default().trim().to_owned();
        let password = input.field("password").text().unwrap_or_default();
        let wrong = |code, field: &str, message: &str| {
            Err(Trouble::Sender(UserError::new(code, &format!("input.{field}"), message)))
        };
        if !text("email").contains('@') {
            return wrong("INVALID", "email", "Email is invalid");
        }
        if password.chars().count() < PASSWORD_MIN_CHARACTERS {
            return wrong("TOO_SHORT", "password", "Password is too short: it has at least 5 characters");
        }
        if password.len() > PASSWORD_MAX_BYTES {
            return wrong("TOO_LONG", "password", "Password is too long");
        }
        if password.trim() != password {
            let code = "PASSWORD_STARTS_OR_ENDS_WITH_WHITESPACE";
            return wrong(code, "password", "Password begins or ends with a blank");
        }
        let mut salt = [0; SALT_BYTES];
        (self.random)(&mut salt);
        let hash = self.passwords.hash(password.to_owned(), salt).await?;
        let customer = CustomerInput {
            email: text("email"),
            first_name: text("firstName"),
            last_name: text("lastName"),
            phone: text("phone"),
            accepts_marketing: input.field("acceptsMarketing").bool().unwrap_or(false),
            password: Some(hash),
        };
        match self.shop.operate(Operation::CustomerCreate(customer)).await? {
            Ok(Reply::Number(number)) => {
                let customer = self.shop.customer(Query::Customer(number)).await?;
                Ok(Account { customer, ..Account::default() })
            }
            Ok(_) => Ok(Account::default()),
            Err(refusal) => Err(Trouble::Sender(as_customer_error(&refusal))),
        }
    }

    async fn log_in(&self, asked: Asked<'_>) -> Result<Account, Trouble> {
        let input = asked.arg("input");
        let email = input.field("email").text().unwrap_or_default().trim().to_owned();
        let password = input.field("password").text().unwrap_or_default().to_owned();
        let unknown =
            || Trouble::Sender(UserError::new("UNIDENTIFIED_CUSTOMER", "input", "Unidentified customer"));
        if password.len() > PASSWORD_MAX_BYTES {
            return Err(unknown());
        }
        let customer = self.shop.customer(Query::CustomerByEmail(email)).await?;
        let stored = customer.as_ref().map_or(String::new(), |customer| customer.password.clone());
        let right = self.passwords.is(password, stored).await?;
        let Some(customer) = customer.filter(|_| right) else {
            return Err(unknown());
        };
        let token = self.random_token();
        let until = asked.context.now.plus_us(TOKEN_LIFE_US);
        self.let_in(customer.number, customer.password_version, token, until).await
    }

    async fn let_in(
        &self,
        customer: u64,
        password_version: u32,
        token: String,
        until: Timestamp,
    ) -> Result<Account, Trouble> {
        let key = customer_key(&token);
        let operation = Operation::CustomerToken { customer, token: key, until, password_version };
        match self.shop.operate(operation).await? {
            Ok(_) => Ok(Account { token: Some((token, until)), ..Account::default() }),
            Err(refusal) => Err(Trouble::Sender(as_customer_error(&refusal))),
        }
    }

    async fn renew(&self, asked: Asked<'_>) -> Result<Account, Trouble> {
        let token = asked.arg("customerAccessToken").text().unwrap_or_default().to_owned();
        let Some(customer) = self.shop.customer(Query::CustomerByToken(customer_key(&token))).await? else {
            return Err(no_token());
        };
        let until = asked.context.now.plus_us(TOKEN_LIFE_US);
        self.let_in(customer.number, customer.password_version, token, until).await
    }

    async fn log_out(&self, asked: Asked<'_>) -> Result<Account, Trouble> {
        let token = asked.arg("customerAccessToken").text().unwrap_or_default().to_owned();
        match self.shop.operate(Operation::CustomerTokenRevoke { token: customer_key(&token) }).await? {
            Ok(_) => Ok(Account { revoked: Some(token), ..Account::default() }),
            Err(_) => Err(no_token()),
        }
    }
}

fn no_token() -> Trouble {
    let message = "the token stands for nobody: log in again";
    Trouble::Sender(UserError::new("TOKEN_INVALID", "customerAccessToken", message))
}

fn as_customer_error(refusal: &Refusal) -> UserError {
    let error = as_error(refusal, "input");
    let code = match refusal {
        Refusal::Taken { .. } => "TAKEN",
        Refusal::Unknown { .. } => "NOT_FOUND",
        _ => "INVALID",
    };
    UserError { code, ..error }
}
