//! A platform that is not there: a real HTTP server on a loopback socket. It checks every payload strictly, keeps what it
//! is told like the real one, and can hang, break off, take a call twice, lose an answer, or be busy.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// How one request is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should be.
    Well,
    /// It is taken, and the answer never comes.
    TakeAndHang,
    /// It is not taken, and no answer comes.
    Hang,
    /// It is taken, and the connection breaks before the answer.
    TakeAndBreak,
    /// It is taken twice.
    TakeTwice,
    /// It is not taken: 503.
    Busy,
    /// It is not taken: 401.
    Unauthorized,
    /// It is taken, and a page of somebody in between comes back.
    TakeAndBabble,
}

/// One call as it came.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) body: &'a Value,
}

/// What a platform holds.
#[derive(Default)]
pub(crate) struct Held {
    /// Members of lists.
    pub(crate) lists: BTreeMap<String, BTreeSet<String>>,
    /// Events by name and id, with how often each came.
    pub(crate) events: BTreeMap<(String, String), (Value, u32)>,
    /// Parts of replacements, by list and session.
    pub(crate) parts: BTreeMap<(String, u64), BTreeSet<String>>,
    /// When a member was last added, for Google.
    pub(crate) added: BTreeMap<(String, String), String>,
    /// Requests whose outcome is asked for later, with how often it was.
    pub(crate) requests: BTreeMap<String, u32>,
    /// So many of the next requests are taken in and never done.
    pub(crate) fail_next: u32,
    /// Requests that were taken in and never done.
    pub(crate) failed: BTreeSet<String>,
    /// Whole calls, of the stand-in that only records.
    pub(crate) bodies: Vec<Value>,
    /// Calls taken, without questions about outcomes.
    pub(crate) calls: u64,
    /// Why payloads were refused, and what they were.
    pub(crate) complaints: Vec<String>,
}

/// Takes a call: status and answer. What is wrong with a payload goes to [`Held::complaints`].
pub(crate) type Take = fn(&mut Held, &Call<'_>) -> (u16, Value);

/// The header that carries the credential, and what it must say.
pub(crate) type Credential = (&'static str, &'static str);

pub(crate) struct StandIn {
    port: u16,
    pub(crate) held: Arc<Mutex<Held>>,
    manners: Arc<Mutex<VecDeque<Manner>>>,
}

impl StandIn {
    pub(crate) async fn start(take: Take, credential: Credential) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::<Mutex<Held>>::default();
        let manners = Arc::<Mutex<VecDeque<Manner>>>::default();
        let (own_held, own_manners) = (Arc::clone(&held), Arc::clone(&manners));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (held, manners) = (Arc::clone(&own_held), Arc::clone(&own_manners));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        meet(request, take, credential, Arc::clone(&held), Arc::clone(&manners))
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { port, held, manners }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How the next requests are met; after them all are met well.
    pub(crate) fn script(&self, manners: impl IntoIterator<Item = Manner>) {
        self.manners.lock().unwrap().extend(manners);
    }

    pub(crate) fn assert_no_complaints(&self) {
        let complaints = self.held.lock().unwrap().complaints.clone();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

fn take_once(held: &Mutex<Held>, take: Take, call: &Call<'_>) -> (u16, Value) {
    let mut held = held.lock().unwrap();
    held.calls += u64::from(call.method != "GET");
    take(&mut held, call)
}

async fn meet(
    request: Request<Incoming>,
    take: Take,
    credential: Credential,
    held: Arc<Mutex<Held>>,
    manners: Arc<Mutex<VecDeque<Manner>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    // Questions about outcomes come when they like; the script is for what is told.
    let told = head.method != hyper::Method::GET;
    let manner = told.then(|| manners.lock().unwrap().pop_front()).flatten().unwrap_or(Manner::Well);
    let said = head.headers.get(credential.0).and_then(|value| value.to_str().ok());
    if said != Some(credential.1) || head.uri.to_string().contains("token") {
        held.lock().unwrap().complaints.push("no credential where it belongs".to_owned());
    }
    // A form stays the text that it is.
    let as_text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| as_text())
    };
    let path = head.uri.to_string();
    let call = Call { method: head.method.as_str(), path: &path, body: &body };
    if !matches!(manner, Manner::Hang | Manner::Busy | Manner::Unauthorized) {
        let (status, answer) = take_once(&held, take, &call);
        let (status, answer) =
            if manner == Manner::TakeTwice { take_once(&held, take, &call) } else { (status, answer) };
        match manner {
            Manner::Well | Manner::TakeTwice => {
                let answer = Full::new(Bytes::from(answer.to_string()));
                return Ok(Response::builder().status(status).body(answer).unwrap());
            }
            Manner::TakeAndBabble => return Ok(Response::new(Full::new(Bytes::from_static(b"<html>")))),
            Manner::TakeAndBreak => std::panic::resume_unwind(Box::new("the platform breaks off")),
            _ => {}
        }
    }
    if let Manner::Busy | Manner::Unauthorized = manner {
        let status = if manner == Manner::Busy { 503 } else { 401 };
        return Ok(Response::builder().status(status).body(Full::new(Bytes::new())).unwrap());
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    Ok(Response::new(Full::new(Bytes::new())))
}
