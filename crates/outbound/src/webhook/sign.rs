//! Secrets and signatures of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, in base64, behind `v1,`.

use crate::error::ConfigError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde::{Deserialize, Deserializer};
use std::fmt;
use zeroize::Zeroizing;

/// The shortest secret, in bytes before base64 (of the specification).
pub const SECRET_BYTES_MIN: usize = 24;
/// The longest secret, in bytes before base64 (of the specification).
pub const SECRET_BYTES_MAX: usize = 64;
/// How a secret begins.
const PREFIX: &str = "whsec_";

/// A text that is never shown, and is wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text. Never log it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(...)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Signs with every secret that is in force.
pub struct Signer {
    /// Raw keys. The keyed state is derived for each signature, since that of `ring` is not wiped.
    keys: Vec<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signer({} secrets)", self.keys.len())
    }
}

impl Signer {
    /// Reads secrets of the form `whsec_` and base64.
    pub fn new(secrets: &[Secret]) -> Result<Self, ConfigError> {
        let keys: Result<Vec<_>, ConfigError> = secrets.iter().map(read_secret).collect();
        let keys = keys?;
        for (place, key) in keys.iter().enumerate() {
            if keys.iter().take(place).any(|earlier| earlier == key) {
                return Err(ConfigError::new("secrets", "hold the same secret twice: leave one out"));
            }
        }
        Ok(Self { keys })
    }

    /// The value of `webhook-signature`: one signature for each secret, the first secret's first.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let timestamp = timestamp_s.to_string();
        let mut all = String::new();
        for key in &self.keys {
            let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
            for piece in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                context.update(piece);
            }
            if !all.is_empty() {
                all.push(' ');
            }
            all.push_str("v1,");
            BASE64_STANDARD.encode_string(context.sign(), &mut all);
        }
        all
    }
}

fn read_secret(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let encoded = secret.expose().strip_prefix(PREFIX);
    let encoded = encoded.ok_or_else(|| ConfigError::new("secrets", "must begin with whsec_"))?;
    let key = BASE64_STANDARD.decode(encoded).map(Zeroizing::new);
    let key =
        key.map_err(|_| ConfigError::new("secrets", "must be base64 (with + / and =) behind whsec_"))?;
    if key.len() < SECRET_BYTES_MIN || key.len() > SECRET_BYTES_MAX {
        return Err(ConfigError::new(
            "secrets",
            "must hold 24 to 64 bytes: make one with `openssl rand -base64 32`",
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_secrets_are_refused_without_repeating_them() {
        let table = [
            ("", "whsec_"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_"),
            ("whsec_", "24 to 64"),
            ("whsec_c2hvcnQ=", "24 to 64"),
            ("whsec_!!!!", "base64"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "base64"),
            ("whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64"),
        ];
        for (text, fragment) in table {
            let error = Signer::new(&[Secret::new(text)]).unwrap_err();
            assert!(error.to_string().contains(fragment), "{error}");
            assert!(text.len() < 8 || !error.to_string().contains(&text[6..]), "{error}");
        }
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
        assert!(Signer::new(&[Secret::new(long)]).is_err());
        let same = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert!(Signer::new(&[same.clone(), same]).is_err());
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signer = Signer::new(std::slice::from_ref(&secret)).unwrap();
        let config = super::super::WebhookConfig::new("https://example.com/t0ken", secret.clone());
        let shown = format!("{secret:?} {signer:?} {config:?}");
        assert!(!shown.contains("MfKQ") && !shown.contains("t0ken"), "{shown}");
    }
}
