//! Sessions of the status page: what a browser holds instead of a token.
//!
//! A session names the token that it was opened with and when it ends, under a keyed hash. So the server keeps nothing;
//! a session ends at once when its token is revoked, and opens nothing but this page.

use crate::api::ADMIN;
use crate::serve::Secrets;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engage::{Settings, Token};
use subtle::ConstantTimeEq;

/// The name of the cookie.
pub(super) const COOKIE: &str = "throughline_session";
/// How long a session lasts.
pub(super) const SESSION_S: i64 = 12 * 3_600;
/// Longer cookies are nobody's.
const COOKIE_BYTES_MAX: usize = 128;
const MICROSECONDS: i64 = 1_000_000;

/// The value of the cookie of a new session.
pub(super) fn open(secrets: &Secrets, token: &Token, now_us: i64) -> String {
    let ends_s = now_us.div_euclid(MICROSECONDS).saturating_add(SESSION_S);
    let seal = secrets.session(token.number, &token.hash, ends_s);
    format!("{}.{ends_s}.{}", token.number, URL_SAFE_NO_PAD.encode(seal))
}

/// The token of a session that is still one: sealed by us, not over, and of a token that is there and may see this page.
pub(super) fn token_of<'s>(
    secrets: &Secrets,
    settings: &'s Settings,
    cookies: &str,
    now_us: i64,
) -> Option<&'s Token> {
    let value = cookies
        .split(';')
        .find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .filter(|value| value.len() <= COOKIE_BYTES_MAX)?;
    let mut parts = value.split('.');
    let (number, ends_s) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let seal = URL_SAFE_NO_PAD.decode(parts.next()?).ok().filter(|_| parts.next().is_none())?;
    let token = settings.tokens.iter().find(|token| token.number == number)?;
    // The hash of the token is sealed too, so a number that were ever given out again would open nothing.
    let expected = secrets.session(number, &token.hash, ends_s);
    let is_sealed = bool::from(expected.as_slice().ct_eq(&seal));
    let remaining_s = ends_s.saturating_sub(now_us.div_euclid(MICROSECONDS));
    let holds = is_sealed && (1..=SESSION_S).contains(&remaining_s);
    (holds && may_see(token)).then_some(token)
}

/// Whether a token opens the page: it shows what `listen.admin` shows.
pub(super) fn may_see(token: &Token) -> bool {
    token.scopes.iter().any(|scope| scope == ADMIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_800_000_000 * MICROSECONDS;

    fn secrets(seed: u8) -> Secrets {
        Secrets::derive(&[seed; 32], env::Env::real().entropy)
    }

    fn token(number: u32, scope: &str) -> Token {
        let hash = [u8::try_from(number).unwrap(); 32];
        Token { number, hash, scopes: vec![scope.to_owned()], name: String::new() }
    }

    fn settings(tokens: &[Token]) -> Settings {
        Settings { tokens: tokens.to_vec(), ..Settings::default() }
    }

    fn sees(settings: &Settings, cookies: &str, now_us: i64) -> Option<u32> {
        token_of(&secrets(1), settings, cookies, now_us).map(|token| token.number)
    }

    #[test]
    fn a_session_holds_until_its_end_and_not_a_moment_longer() {
        let settings = settings(&[token(3, ADMIN), token(4, ADMIN)]);
        let cookie = format!("a=b; {COOKIE}={}; c=d", open(&secrets(1), &token(4, ADMIN), NOW_US));
        let end_us = NOW_US + SESSION_S * MICROSECONDS;
        for (now_us, expected) in [
            (NOW_US, Some(4)),
            (end_us - MICROSECONDS, Some(4)),
            (end_us - 1, Some(4)),
            (end_us, None),
            (end_us + MICROSECONDS, None),
            // A clock that went back must not make sessions longer than they are.
            (NOW_US - MICROSECONDS, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(sees(&settings, &cookie, now_us), expected, "{now_us}");
        }
    }

    #[test]
    fn only_what_we_sealed_for_a_token_that_is_there_and_may() {
        let cookie = |value: &str| format!("{COOKIE}={value}");
        let good = open(&secrets(1), &token(4, ADMIN), NOW_US);
        let held = settings(&[token(4, ADMIN)]);
        assert_eq!(sees(&held, &cookie(&good), NOW_US), Some(4));
        assert_eq!(sees(&settings(&[]), &cookie(&good), NOW_US), None, "revoked");
        assert_eq!(sees(&settings(&[token(4, "decide")]), &cookie(&good), NOW_US), None, "no scope");
        let other = Token { hash: [9; 32], ..token(4, ADMIN) };
        assert_eq!(sees(&settings(&[other]), &cookie(&good), NOW_US), None, "another token of this number");
        assert_eq!(sees(&held, &cookie(&open(&secrets(2), &token(4, ADMIN), NOW_US)), NOW_US), None);
        // Every single character counts.
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'5' { b'6' } else { b'5' };
            let bent = String::from_utf8(bytes).unwrap();
            assert_eq!(sees(&held, &cookie(&bent), NOW_US), None, "{bent}");
        }
        for odd in ["", ".", "..", "4", "4..", "4.1.", &format!("{good}."), &"4".repeat(5_000)] {
            assert_eq!(sees(&held, &cookie(odd), NOW_US), None, "{odd}");
        }
        assert_eq!(sees(&held, &format!("x{COOKIE}={good}"), NOW_US), None, "another cookie");
    }
}
