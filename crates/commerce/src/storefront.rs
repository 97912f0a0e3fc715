//! The shop's first door: a subset of the Storefront API 2026-04, in GraphQL.
//!
//! The path of one request:
//!
//! 1. [`served`] reads and checks the document against `schema.graphql`, once; [`compile`] makes a [`plan`] of it, which
//!    is kept by the text ([`plans`]). Names are numbers there, fragments are opened, keys are bytes.
//! 2. [`input`] takes in the request's variables. What it would cost is counted, and bounded.
//! 3. Whatever the loop has to say is asked for first: carts and customers ([`supply`]), and for mutations one command a
//!    field, in order ([`mutation`], [`delivery`], [`account`]).
//! 4. [`run`] walks the plan and writes JSON. The catalogue's guard is held for this only, and never over an await.
//!    [`query`], [`catalogue`], [`variant`], [`listing`], [`shop`], [`cart`] and [`customer`] answer the fields.
//!
//! What is wrong with a cart is data (`userErrors`, with the published codes); what is wrong with a request is an error.

mod account;
mod cart;
mod catalogue;
mod compile;
mod context;
mod customer;
mod delivery;
mod fault;
mod input;
mod listing;
mod mutation;
mod names;
mod output;
mod page;
mod password;
mod places;
mod plan;
mod plans;
mod query;
mod run;
mod search;
mod served;
mod shop;
mod supply;
mod variant;
mod words;

pub use search::{Search, Sources, WordSearch};
pub use served::SchemaError;

use crate::shop::Shop;
use context::{Facts, Locale};
use fault::Fault;
use input::{Arg, Value};
use listing::Listings;
use model::id::{Key, Timestamp};
use mutation::Asked;
use names::{Name, Type};
use password::Passwords;
use plan::{Field, Operation, Plan};
use plans::Plans;
use run::{Run, Stop};
use served::Served;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use supply::Supply;

/// What one request may come to, in fields, with everything in a page counted as often as the page is long.
pub const MAX_COST: usize = 100_000;
/// The most fields at the top of a mutation.
const MAX_MUTATIONS: usize = 20;
/// The most carts and customers that a query asks for.
const MAX_READS: usize = 20;

/// Fills bytes with randomness.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// How the door is set up.
#[derive(Clone, Debug)]
pub struct StorefrontOptions {
    /// Where the checkout's pages are, without a slash at the end, e.g. `https://shop.example`.
    pub checkout_url: String,
    /// Whether the schema may be asked for.
    pub introspection: bool,
    /// How often the function for passwords is applied; `None` is what is recommended. Tests say less.
    pub password_rounds: Option<NonZeroU32>,
}

/// A request in GraphQL.
#[derive(Clone, Debug, Default)]
pub struct GraphqlRequest {
    /// The document.
    pub query: String,
    /// Which of its operations.
    pub operation_name: Option<String>,
    /// Values of its variables.
    pub variables: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What is known of a request besides its text.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Through which channel it comes: decides which products are shown.
    pub channel: String,
    /// When it came.
    pub now: Timestamp,
    /// Where the buyer is, if that is known.
    pub buyer_ip: Option<std::net::IpAddr>,
    /// Hash of the caller's idempotency key. It holds for one cart.
    pub idempotency: Option<Key>,
}

/// What a request would do, for deciding which to refuse first under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// It looks around.
    Browse,
    /// It changes a cart or an account.
    Change,
}

/// The door. Cheap to share.
pub struct Storefront {
    shop: Shop,
    options: StorefrontOptions,
    served: Served,
    plans: Plans,
    listings: Listings,
    search: Box<dyn Search>,
    random: Random,
    passwords: Passwords,
}

impl Storefront {
    /// A door of a shop.
    pub fn new(
        shop: Shop,
        options: StorefrontOptions,
        search: Box<dyn Search>,
        random: Random,
    ) -> Result<Self, SchemaError> {
        let mut seed = [0; 8];
        random(&mut seed);
        let passwords = options.password_rounds.map_or_else(Passwords::default, Passwords::with_rounds);
        Ok(Self {
            shop,
            options,
            served: Served::read()?,
            plans: Plans::new(u64::from_le_bytes(seed)),
            listings: Listings::default(),
            search,
            random,
            passwords,
        })
    }

    /// Answers a request: the body of an answer with status 200, whatever is in it.
    pub async fn execute(&self, request: &GraphqlRequest, context: &RequestContext) -> Vec<u8> {
        match self.answer(request, context).await {
            Ok(body) => body,
            Err(faults) => fault::refused(&faults),
        }
    }

    /// Why the shop does not work any more, if it does not.
    pub fn stopped(&self) -> Option<String> {
        self.shop.engine().status().stopped()
    }

    /// What a request would do; `None` if it is refused anyway.
    pub fn effort(&self, request: &GraphqlRequest) -> Option<Effort> {
        let plan = self.plan(&request.query).ok()?;
        let operation = plan.operation(request.operation_name.as_deref())?;
        Some(if operation.is_mutation { Effort::Change } else { Effort::Browse })
    }

    async fn answer(
        &self,
        request: &GraphqlRequest,
        context: &RequestContext,
    ) -> Result<Vec<u8>, Vec<Fault>> {
        let plan = self.plan(&request.query)?;
        let one = |fault| vec![fault];
        let operation = plan.operation(request.operation_name.as_deref()).ok_or_else(|| {
            let message = "the document has no such operation, or several: name one of them";
            one(Fault::request("OPERATION_NOT_FOUND", message))
        })?;
        let given = request.variables.as_ref();
        let variables = input::stated(&self.served.schema, &operation.variables, given).map_err(one)?;
        let cost = run::cost(&operation.root, &variables);
        if cost > MAX_COST {
            let message =
                format!("the request would cost {cost}, and {MAX_COST} is the most: ask for less at once");
            return Err(one(Fault::request("MAX_COST_EXCEEDED", message)));
        }
        let terms = self.shop.view().terms();
        let mut locale = Locale::of(operation, &variables, &terms);
        let supplies = self.supplies(request, operation, &variables, &locale, context).await.map_err(one)?;
        follow_cart(&mut locale, &supplies);
        Ok(self.write(operation, &variables, &locale, &supplies, context))
    }

    fn plan(&self, text: &str) -> Result<Arc<Plan>, Vec<Fault>> {
        if let Some(plan) = self.plans.find(text) {
            return Ok(plan);
        }
        let plan = Arc::new(self.served.plan(text)?);
        self.plans.keep(text, &plan);
        Ok(plan)
    }

    /// Asks the loop for all that it has to say.
    async fn supplies(
        &self,
        request: &GraphqlRequest,
        operation: &Operation,
        variables: &[Option<Value>],
        locale: &Locale,
        context: &RequestContext,
    ) -> Result<BTreeMap<String, Supply>, Fault> {
        let mut supplies = BTreeMap::new();
        let wanted: Vec<&Field> = operation.root.iter().filter(|field| field.holds(variables)).collect();
        if operation.is_mutation {
            if wanted.len() > MAX_MUTATIONS {
                let message = format!("a request changes {MAX_MUTATIONS} things at most");
                return Err(Fault::request("MAX_COST_EXCEEDED", message));
            }
            for field in wanted.into_iter().filter(|field| field.name != Name::Typename) {
                let supply = match missing(field, variables) {
                    Some(fault) => Supply::Failed(fault),
                    None => self.mutate(Asked { field, variables, locale, context }).await,
                };
                supplies.insert(field.key.clone(), supply);
            }
            return Ok(supplies);
        }
        for field in wanted {
            for (key, is_token) in reads(field, variables) {
                if supplies.contains_key(key) {
                    continue;
                }
                if supplies.len() >= MAX_READS {
                    let message = format!("a request asks for {MAX_READS} carts and customers at most");
                    return Err(Fault::request("MAX_COST_EXCEEDED", message));
                }
                let supply = match is_token {
                    true => self.read_customer(key).await,
                    false => self.read_cart(key, context).await,
                };
                supplies.insert(key.to_owned(), supply);
            }
        }
        if let Some(document) = &operation.introspection {
            self.introspected(request, operation, document, &mut supplies)?;
        }
        Ok(supplies)
    }

    fn introspected(
        &self,
        request: &GraphqlRequest,
        operation: &Operation,
        document: &apollo_compiler::validation::Valid<apollo_compiler::ExecutableDocument>,
        supplies: &mut BTreeMap<String, Supply>,
    ) -> Result<(), Fault> {
        if !operation.root.iter().any(|field| matches!(field.name, Name::Schema | Name::TypeOf)) {
            return Ok(());
        }
        if !self.options.introspection {
            return Err(Fault::request(
                "ACCESS_DENIED",
                "the schema is not shown here: see the documentation",
            ));
        }
        let name = operation.name.as_deref();
        let answers = self.served.introspect(document, name, request.variables.as_ref())?;
        supplies.extend(answers.into_iter().map(|(key, json)| (key, Supply::Written(json))));
        Ok(())
    }

    /// Writes the answer. Nothing here waits.
    fn write(
        &self,
        operation: &Operation,
        variables: &[Option<Value>],
        locale: &Locale,
        supplies: &BTreeMap<String, Supply>,
        context: &RequestContext,
    ) -> Vec<u8> {
        let view = self.shop.view();
        let terms = view.terms();
        let catalogue = view.catalogue();
        let market = terms.market_of(locale.country);
        let facts = Facts {
            catalogue: &catalogue,
            version: view.catalogue_version(),
            terms: &terms,
            market,
            fixed: market.and_then(|market| terms.fixed_prices.get(&market.handle)),
            currency: market.map_or(terms.settings.currency, |market| market.currency),
            locale,
            channel: &context.channel,
            now: context.now,
            listings: &self.listings,
            search: self.search.as_ref(),
            options: &self.options,
            supplies,
        };
        let mut run = Run::new(&facts, variables);
        run.out.extend_from_slice(b"{\"data\":");
        let start = run.out.len();
        let written = match operation.is_mutation {
            true => run.fields(Type::Mutation, &operation.root, Run::mutated),
            false => run.fields(Type::QueryRoot, &operation.root, Run::query),
        };
        if written.is_err() {
            run.out.truncate(start);
            run.out.extend_from_slice(b"null");
        }
        if !run.faults.is_empty() {
            run.out.push(b',');
            fault::write(&mut run.out, &run.faults);
        }
        run.out.push(b'}');
        run.out
    }

    /// A secret token: 128 random bits.
    fn random_token(&self) -> String {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        format!("{:032x}", u128::from_le_bytes(bytes))
    }
}

impl<'a> Run<'a> {
    /// Writes what came of a field at the top of a mutation.
    fn mutated(&mut self, field: &'a Field) -> run::Written {
        let facts: &'a Facts<'a> = self.facts;
        let Some((of, _)) = field.selected.iter().next() else { return Err(Stop::Null) };
        match facts.supplies.get(&field.key) {
            Some(Supply::Changed(changed)) => self.changed(field, *of, changed),
            Some(Supply::Account(account)) => self.account(field, *of, account),
            Some(Supply::Failed(fault)) => self.failed(fault),
            _ => self.unanswered(Type::Mutation, field),
        }
    }
}

/// Prices beside a cart are those of the cart's country, unless the request names another.
fn follow_cart(locale: &mut Locale, supplies: &BTreeMap<String, Supply>) {
    if locale.asked_country.is_some() {
        return;
    }
    let country = supplies.values().find_map(|supply| match supply {
        Supply::Cart(Some(cart)) => cart.shown.cart.buyer.country,
        Supply::Changed(changed) => changed.cart.as_ref()?.shown.cart.buyer.country,
        _ => None,
    });
    locale.country = country.unwrap_or(locale.country);
}

/// What of the loop a field of a query asks for: ids of carts and tokens of customers, and which it is.
fn reads<'a>(field: &'a Field, variables: &'a [Option<Value>]) -> Vec<(&'a str, bool)> {
    let arg = |name: &str| {
        let value = field.arguments.iter().find(|(one, _)| one == name).map(|(_, value)| value);
        Arg::new(value, variables)
    };
    let is_cart = |id: &&str| supply::cart_token(id).is_some();
    match field.name {
        Name::Cart | Name::Node => {
            arg("id").text().filter(is_cart).map(|id| (id, false)).into_iter().collect()
        }
        Name::Nodes => {
            let ids = arg("ids").list().filter_map(Arg::text).filter(is_cart);
            ids.map(|id| (id, false)).collect()
        }
        Name::Customer => arg("customerAccessToken").text().map(|token| (token, true)).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether an argument that has to be there is null: then nothing is asked of the loop.
fn missing(field: &Field, variables: &[Option<Value>]) -> Option<Fault> {
    let null = field.required.iter().filter_map(|index| field.arguments.get(*index));
    let (name, _) = null.into_iter().find(|(_, value)| !Arg::new(Some(value), variables).is_given())?;
    Some(Fault::request("INVALID_ARGUMENT", format!("the argument {name} must not be null")))
}
