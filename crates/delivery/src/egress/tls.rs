//! TLS as a client: rustls with ring, and roots that come with the program.

use crate::error::OptionsError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// A certificate authority, in DER.
pub type Root = CertificateDer<'static>;

/// Reads certificate authorities from PEM.
pub fn read_roots(pem: &[u8]) -> Result<Vec<Root>, OptionsError> {
    let roots: Result<Vec<Root>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let bad = |what: String| OptionsError { lane: "egress".to_owned(), option: "extra_roots", what };
    match roots {
        Ok(roots) if roots.is_empty() => {
            Err(bad("hold no certificate: give PEM with BEGIN CERTIFICATE".to_owned()))
        }
        Ok(roots) => Ok(roots),
        Err(error) => Err(bad(format!("cannot be read ({error}): give PEM with BEGIN CERTIFICATE"))),
    }
}

pub(super) fn client_config(extra_roots: &[Root]) -> Result<Arc<ClientConfig>, OptionsError> {
    let bad = |what: String| OptionsError { lane: "egress".to_owned(), option: "extra_roots", what };
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra_roots {
        roots.add(root.clone()).map_err(|error| bad(format!("hold one that cannot be used ({error})")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(format!("need a TLS that this build lacks ({error})")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
