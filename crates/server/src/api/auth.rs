//! Bearer tokens: who calls, and what they may do.

use super::problem::{Code, Problem};
use super::route::{Access, Caller};
use crate::feed::{FEED_ALL, KINDS};
use engage::{Settings, Token};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

/// Everything at `listen.admin`.
pub(crate) const ADMIN: &str = "admin";
/// Read profiles, with e-mail addresses and phone numbers masked.
pub(crate) const PROFILE_READ: &str = "profile:read";
/// See e-mail addresses and phone numbers in profiles.
pub(crate) const PROFILE_PII: &str = "profile:pii";
/// Ask whether to advertise.
pub(crate) const DECIDE: &str = "decide";

/// Every scope that a token can have, and what it allows.
pub(crate) fn scopes() -> Vec<(&'static str, &'static str)> {
    let mut all = SCOPES.to_vec();
    all.extend(KINDS.iter().map(|kind| (kind.scope, kind.about)));
    all
}

const SCOPES: &[(&str, &str)] = &[
    (ADMIN, "everything at listen.admin"),
    (PROFILE_READ, "profiles, with e-mail addresses and phone numbers masked"),
    (PROFILE_PII, "e-mail addresses and phone numbers in the profiles that profile:read shows"),
    (DECIDE, "POST /v1/decide"),
    (FEED_ALL, "every kind of the change feed"),
];

/// What is kept of a token. The secret has 256 random bits, so a plain hash cannot be reversed by guessing.
pub(crate) fn hash_of(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// The token that has this secret. Every token is compared, each in constant time.
pub(crate) fn token_of<'s>(secret: &str, settings: &'s Settings) -> Option<&'s Token> {
    let hash = hash_of(secret.trim());
    let mut found = None;
    for token in &settings.tokens {
        if bool::from(token.hash.ct_eq(&hash)) {
            found = Some(token);
        }
    }
    found
}

/// Finds the caller by token and checks the scope.
pub(crate) fn authorize(access: Access, headers: &HeaderMap, settings: &Settings) -> Result<Caller, Problem> {
    let (family, scope) = match access {
        Access::Scope(scope) => (None, scope),
        Access::Family(family, all) => (Some(family), all),
        Access::Probe | Access::Open => return Ok(Caller::default()),
    };
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, secret) = header.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") || secret.is_empty() {
        let message = "send a token as `Authorization: Bearer …`; POST /admin/v1/tokens makes one";
        return Err(Problem::new(Code::Unauthorized, message));
    }
    let Some(token) = token_of(secret, settings) else {
        return Err(Problem::new(
            Code::Unauthorized,
            "this token is not valid: it is mistyped or was revoked",
        ));
    };
    let caller =
        Caller { token_number: token.number, token_name: token.name.clone(), scopes: token.scopes.clone() };
    let of_family = |family: &str| caller.scopes.iter().any(|own| own.starts_with(family));
    if caller.has(scope) || family.is_some_and(of_family) {
        return Ok(caller);
    }
    let message =
        format!("this token lacks the scope {scope}; make one that has it with POST /admin/v1/tokens");
    Err(Problem::new(Code::Forbidden, message))
}
