//! Verify a webhook of Throughline in Rust, with the crates `ring` and `base64`.
//!
//! In your handler: pass the headers and the *raw* body, before any JSON is parsed. Answer 2xx only when the message is
//! stored. A message may come more than once: drop what has a `webhook-id` that you have seen.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

/// How far the timestamp may be away, in seconds.
const TOLERANCE_S: i64 = 5 * 60;

/// Whether one of the secrets signed the message, recently; and if not, why not.
pub fn verify<'h>(
    secrets: &[&str],
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now_s: i64,
) -> Result<(), &'static str> {
    let missing = "a webhook header is missing or unreadable";
    let id = header("webhook-id").ok_or(missing)?;
    let timestamp = header("webhook-timestamp").ok_or(missing)?;
    let signatures = header("webhook-signature").ok_or(missing)?;
    let signed_at_s: i64 = timestamp.parse().map_err(|_| missing)?;
    if now_s.abs_diff(signed_at_s) > TOLERANCE_S.unsigned_abs() {
        return Err("the timestamp is more than 5 minutes away: a replay, or a clock that is wrong");
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    for secret in secrets {
        let key = BASE64_STANDARD
            .decode(secret.trim_start_matches("whsec_"))
            .map_err(|_| "a secret is not base64")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        for encoded in signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")) {
            // `hmac::verify` compares in constant time.
            if BASE64_STANDARD.decode(encoded).is_ok_and(|given| hmac::verify(&key, &signed, &given).is_ok())
            {
                return Ok(());
            }
        }
    }
    Err("no signature fits: another secret, or the body was changed on the way")
}
