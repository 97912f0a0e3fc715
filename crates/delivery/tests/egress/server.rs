//! A real server on a loopback socket, with or without TLS under an authority made for the test.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) type Answer = Arc<dyn Fn(&Met) -> Response<Full<Bytes>> + Send + Sync>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) met: Arc<Mutex<Vec<Met>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

/// A certificate authority and a certificate for some names.
pub(crate) struct Identity {
    pub(crate) root: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

impl Identity {
    pub(crate) fn of(names: &[&str]) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .unwrap();
        Self { root: issuer.der().clone(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

impl Server {
    pub(crate) async fn start(ip: &str, identity: Option<&Identity>, answer: Answer) -> Self {
        let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).await.unwrap();
        Self::start_on(listener, identity, answer)
    }

    pub(crate) fn start_on(listener: TcpListener, identity: Option<&Identity>, answer: Answer) -> Self {
        let server = Self {
            address: listener.local_addr().unwrap(),
            met: Arc::default(),
            connections: Arc::default(),
        };
        let (met, connections) = (Arc::clone(&server.met), Arc::clone(&server.connections));
        let acceptor = identity.map(|identity| identity.acceptor.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (met, answer, acceptor) = (Arc::clone(&met), Arc::clone(&answer), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, met, answer).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, met, answer).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn met(&self) -> Vec<Met> {
        self.met.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve<S>(stream: S, met: Arc<Mutex<Vec<Met>>>, answer: Answer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (met, answer) = (Arc::clone(&met), Arc::clone(&answer));
        async move {
            let (head, mut body) = request.into_parts();
            let mut bytes = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
            let seen = Met {
                method: head.method.to_string(),
                path: head.uri.to_string(),
                headers: head.headers,
                body: Bytes::from(bytes),
            };
            met.lock().unwrap().push(seen.clone());
            if seen.path.starts_with("/slow") {
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
            Ok::<_, Infallible>(answer(&seen))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

pub(crate) fn reply(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

pub(crate) fn redirect(status: u16, location: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("location", location).body(Full::new(Bytes::new())).unwrap()
}
