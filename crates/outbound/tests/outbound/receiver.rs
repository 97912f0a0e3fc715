//! A real HTTP receiver on a loopback socket, whose manners can be changed while it runs.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
    /// Whether it was accepted.
    pub(crate) status: u16,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers with a status, and perhaps `Retry-After` in seconds.
    Answer(u16, Option<u32>),
    /// Never answers.
    Hang,
    /// Keeps the message and breaks the connection off.
    Break,
}

pub(crate) struct Receiver {
    pub(crate) port: u16,
    pub(crate) manner: Arc<Mutex<Manner>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            manner: Arc::new(Mutex::new(manner)),
            got: Arc::default(),
        };
        let (manner, got) = (Arc::clone(&receiver.manner), Arc::clone(&receiver.got));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manner, got) = (Arc::clone(&manner), Arc::clone(&got));
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| meet(request, Arc::clone(&manner), Arc::clone(&got)));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn meet(
    request: Request<Incoming>,
    manner: Arc<Mutex<Manner>>,
    got: Arc<Mutex<Vec<Got>>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    let manner = *manner.lock().unwrap();
    let status = match manner {
        Manner::Answer(status, _) => status,
        Manner::Hang | Manner::Break => 0,
    };
    got.lock().unwrap().push(Got { headers: head.headers, body: Bytes::from(bytes), status });
    match manner {
        Manner::Answer(status, retry_after) => {
            let mut response = Response::builder().status(status);
            if let Some(seconds) = retry_after {
                response = response.header("retry-after", seconds);
            }
            Ok(response.body(Empty::new()).unwrap())
        }
        Manner::Hang => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            Ok(Response::new(Empty::new()))
        }
        // The task dies, and the connection with it.
        Manner::Break => std::panic::resume_unwind(Box::new("the receiver breaks off")),
    }
}
