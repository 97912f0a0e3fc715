//! Real sockets, real TLS. Only loopback addresses are used, allowed one by one where a test needs them.

use crate::server::{Answer, Identity, Server, redirect, reply};
use bytes::Bytes;
use delivery::egress::{
    AllowRule, Caller, CallerLimits, Egress, EgressError, EgressOptions, Network, Redirects, Request,
    Resolver,
};
use delivery::{Later, RateOptions};
use env::Env;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A resolver that gives one answer after the other, and the last one from then on.
struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(parse).collect()),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Resolver for Scripted {
    fn resolve<'a>(&'a self, _host: &'a str) -> Later<'a, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move {
            if answer.is_empty() {
                Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))
            } else {
                Ok(answer)
            }
        })
    }
}

fn allow(network: &str, ports: Option<Vec<u16>>, plain_http: bool) -> AllowRule {
    AllowRule { network: Network::parse(network).unwrap(), ports, plain_http }
}

fn client(options: EgressOptions, resolver: &Arc<Scripted>) -> Egress {
    Egress::new(options, Arc::clone(resolver) as Arc<dyn Resolver>, Env::real().clock).unwrap()
}

fn ok() -> Answer {
    Arc::new(|_| reply(200, "fine"))
}

fn plain(server: &Server) -> (Egress, Caller, String) {
    let options = EgressOptions { allow: vec![allow("127.0.0.1", None, true)], ..EgressOptions::default() };
    let egress = client(options, &Scripted::new(&[&["127.0.0.1"]]));
    let caller = egress.caller("test", CallerLimits::default());
    (egress, caller, format!("http://127.0.0.1:{}", server.address.port()))
}

#[tokio::test]
async fn tls_is_checked_and_connections_are_kept() {
    let identity = Identity::of(&["hooks.example"]);
    let server = Server::start("127.0.0.1", Some(&identity), ok()).await;
    let options = EgressOptions {
        allow: vec![allow("127.0.0.1", Some(vec![server.address.port()]), false)],
        extra_roots: vec![identity.root.clone()],
        ..EgressOptions::default()
    };
    let resolver = Scripted::new(&[&["127.0.0.1"]]);
    let egress = client(options.clone(), &resolver);
    let caller = egress.caller("test", CallerLimits::default());
    let url = format!("https://hooks.example:{}/in?x=1", server.address.port());
    for _ in 0..5 {
        let request = Request::post(&url, Bytes::from_static(b"{}")).header("x-own", "1").unwrap();
        let response = caller.send(request).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"fine"[..]));
    }
    assert_eq!(server.connections(), 1, "the connection is used again");
    assert_eq!(egress.counters().reused.load(Ordering::Relaxed), 4);
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 1, "the answer is remembered");
    let met = &server.met()[0];
    assert_eq!((met.method.as_str(), met.path.as_str(), &met.body[..]), ("POST", "/in?x=1", &b"{}"[..]));
    assert_eq!(met.headers["host"], format!("hooks.example:{}", server.address.port()));
    assert_eq!(met.headers["x-own"], "1");

    // The same server under a name that its certificate does not hold, and with nobody who vouches for it.
    let other = format!("https://other.example:{}/", server.address.port());
    let error = caller.send(Request::get(&other)).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_sent()), ("tls", false), "{error}");
    let strangers = client(EgressOptions { extra_roots: Vec::new(), ..options }, &resolver);
    let error = strangers.caller("test", CallerLimits::default()).send(Request::get(&url)).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_sent()), ("tls", false), "{error}");
    assert_eq!(server.met().len(), 5, "nothing was sent to it");
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_whatever_else_they_lead_to() {
    let server = Server::start("127.0.0.1", None, ok()).await;
    let port = server.address.port();
    let table: &[&[&str]] = &[
        &["127.0.0.1"],
        &["10.1.2.3"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["::1"],
        &["93.184.215.14", "127.0.0.1"],
        &["127.0.0.1", "93.184.215.14"],
        &["2606:4700::1111", "fe80::1"],
    ];
    for answer in table {
        let egress = client(EgressOptions::default(), &Scripted::new(&[answer]));
        let caller = egress.caller("test", CallerLimits::default());
        let error = caller.send(Request::get(format!("https://inside.example:{port}/"))).await.unwrap_err();
        assert_eq!((error.code(), error.maybe_sent()), ("forbidden_address", false), "{answer:?}");
        assert!(
            error.to_string().contains("inside.example") && error.to_string().contains("delivery.allow"),
            "{error}"
        );
        assert_eq!(egress.counters().refused.load(Ordering::Relaxed), 1);
    }
    for url in [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest",
    ] {
        let egress = client(EgressOptions::default(), &Scripted::new(&[&[]]));
        assert_eq!(egress.check(url).unwrap_err().code(), "forbidden_address");
        let caller = egress.caller("test", CallerLimits::default());
        assert_eq!(caller.send(Request::get(url)).await.unwrap_err().code(), "forbidden_address");
    }
    assert_eq!(server.connections(), 0, "somebody connected");
}

#[tokio::test]
async fn an_answer_that_changes_is_checked_again_and_never_used_unchecked() {
    // Two servers; only the first address is allowed. The name leads to the first, then to the second.
    let allowed = Server::start("127.0.0.1", None, ok()).await;
    let port = allowed.address.port();
    let inside = Server::start_on(TcpListener::bind(("127.0.0.2", port)).await.unwrap(), None, ok());
    let options = EgressOptions {
        allow: vec![allow("127.0.0.1", None, true)],
        resolve_ms: 0,
        ..EgressOptions::default()
    };
    let resolver =
        Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"], &["127.0.0.1", "127.0.0.2"]]);
    let egress = client(options, &resolver);
    let caller = egress.caller("test", CallerLimits::default());
    let url = format!("http://rebind.example:{port}/");
    assert_eq!(caller.send(Request::get(&url)).await.unwrap().status, 200);
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 1, "nobody asks again between check and connect");
    assert_eq!(caller.send(Request::get(&url)).await.unwrap_err().code(), "forbidden_address");
    assert_eq!(caller.send(Request::get(&url)).await.unwrap().status, 200);
    assert_eq!(caller.send(Request::get(&url)).await.unwrap_err().code(), "forbidden_address");
    assert_eq!((allowed.met().len(), inside.connections()), (2, 0));
    assert_eq!(allowed.connections(), 1, "the pinned connection served both");
}

#[tokio::test]
async fn a_pooled_connection_serves_only_the_address_and_host_it_was_made_for() {
    let first = Server::start("127.0.0.1", None, Arc::new(|_| reply(200, "first"))).await;
    let port = first.address.port();
    let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let second = Server::start_on(second, None, Arc::new(|_| reply(200, "second")));
    let options = EgressOptions {
        allow: vec![allow("127.0.0.0/8", None, true)],
        resolve_ms: 0,
        ..EgressOptions::default()
    };
    let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"]]);
    let egress = client(options, &resolver);
    let caller = egress.caller("test", CallerLimits::default());
    let url = |host: &str| format!("http://{host}:{port}/");
    for (host, body) in
        [("a.example", "first"), ("a.example", "second"), ("a.example", "first"), ("b.example", "first")]
    {
        assert_eq!(&caller.send(Request::get(url(host))).await.unwrap().body[..], body.as_bytes());
    }
    assert_eq!((first.connections(), second.connections()), (2, 1));
}

#[tokio::test]
async fn plain_http_needs_permission_for_the_address() {
    let server = Server::start("127.0.0.1", None, ok()).await;
    let port = server.address.port();
    let try_with = async |rules: Vec<AllowRule>, url: String| {
        let egress = client(
            EgressOptions { allow: rules, ..EgressOptions::default() },
            &Scripted::new(&[&["93.184.215.14"]]),
        );
        egress
            .caller("test", CallerLimits::default())
            .send(Request::get(url))
            .await
            .map(|response| response.status)
    };
    let here = format!("http://127.0.0.1:{port}/");
    let code = |result: Result<u16, EgressError>| result.map_err(|error| error.code());
    assert_eq!(code(try_with(vec![], here.clone()).await), Err("forbidden_address"));
    assert_eq!(code(try_with(vec![], "http://public.example/".to_owned()).await), Err("plain_http"));
    assert_eq!(code(try_with(vec![allow("127.0.0.1", None, false)], here.clone()).await), Err("plain_http"));
    assert_eq!(
        code(try_with(vec![allow("127.0.0.1", Some(vec![port + 1]), true)], here.clone()).await),
        Err("forbidden_address")
    );
    assert_eq!(
        code(try_with(vec![allow("127.0.0.1", None, true)], "http://public.example/".to_owned()).await),
        Err("plain_http")
    );
    assert_eq!(code(try_with(vec![allow("127.0.0.1", Some(vec![port]), true)], here.clone()).await), Ok(200));
    let both = vec![allow("127.0.0.0/8", None, false), allow("127.0.0.1", Some(vec![port]), true)];
    assert_eq!(code(try_with(both, here).await), Ok(200));
    assert_eq!(server.met().len(), 2);
}

#[tokio::test]
async fn redirects_are_off_and_otherwise_checked_at_every_hop() {
    let inside = Server::start("127.0.0.2", None, ok()).await;
    let inside_url = format!("http://127.0.0.2:{}/secret", inside.address.port());
    let answer: Answer = {
        let inside_url = inside_url.clone();
        Arc::new(move |met| match met.path.as_str() {
            "/to-inside" => redirect(302, &inside_url),
            "/to-mapped" => redirect(302, "https://[::ffff:127.0.0.1]/"),
            "/to-metadata" => redirect(307, "https://169.254.169.254/latest/meta-data/"),
            "/to-name" => redirect(302, "http://name.example/"),
            "/to-file" => redirect(302, "file:///etc/passwd"),
            "/to-odd" => redirect(302, "http://0x7f000002/"),
            "/twice" => redirect(301, "/once"),
            "/once" => redirect(308, "/end"),
            "/loop" => redirect(302, "/loop"),
            _ => reply(200, "end"),
        })
    };
    let server = Server::start("127.0.0.1", None, answer).await;
    let (egress, caller, base) = plain(&server);
    let follow = |path: &str, hops_max| {
        Request::get(format!("{base}{path}")).redirects(Redirects::Follow { hops_max })
    };
    let off = caller.send(Request::get(format!("{base}/to-inside"))).await.unwrap();
    assert_eq!((off.status, off.header("location")), (302, Some(inside_url.as_str())));
    for (path, code) in [
        ("/to-inside", "forbidden_address"),
        ("/to-mapped", "forbidden_address"),
        ("/to-metadata", "forbidden_address"),
        ("/to-file", "bad_url"),
        ("/to-odd", "bad_url"),
        ("/loop", "redirect"),
    ] {
        let error = caller.send(follow(path, 3)).await.unwrap_err();
        assert_eq!(error.code(), code, "{path}: {error}");
        assert!(error.to_string().contains("redirects"), "{error}");
    }
    assert_eq!(inside.connections(), 0);
    let response = caller.send(follow("/twice", 2)).await.unwrap();
    assert_eq!(&response.body[..], b"end");
    assert_eq!(caller.send(follow("/twice", 1)).await.unwrap_err().code(), "redirect");

    // A post follows only what keeps it a post.
    let post = |path: &str| {
        let request = Request::post(format!("{base}{path}"), Bytes::from_static(b"x"));
        request.redirects(Redirects::Follow { hops_max: 3 })
    };
    assert_eq!(caller.send(post("/twice")).await.unwrap().status, 301);
    assert_eq!(caller.send(post("/once")).await.unwrap().status, 200);
    let last = server.met().pop().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str(), &last.body[..]), ("POST", "/end", &b"x"[..]));
    drop(egress);
}

#[tokio::test]
async fn a_redirect_elsewhere_leaves_secrets_behind() {
    let other = Server::start("127.0.0.1", None, ok()).await;
    let location = format!("http://127.0.0.1:{}/", other.address.port());
    let server = Server::start("127.0.0.1", None, Arc::new(move |_| redirect(307, &location))).await;
    let (_egress, caller, base) = plain(&server);
    let request = Request::get(&base).redirects(Redirects::Follow { hops_max: 1 });
    let request =
        request.header("authorization", "Bearer secret").unwrap().header("accept", "text/plain").unwrap();
    caller.send(request).await.unwrap();
    let met = &other.met()[0];
    assert_eq!(met.headers.get("authorization"), None);
    assert_eq!(met.headers["accept"], "text/plain");
    assert_eq!(server.met()[0].headers["authorization"], "Bearer secret");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let server = Server::start(
        "127.0.0.1",
        None,
        Arc::new(|met| match met.path.as_str() {
            "/head" => {
                let mut response = reply(200, "");
                for number in 0..100 {
                    let name = hyper::header::HeaderName::try_from(format!("x-{number}")).unwrap();
                    response.headers_mut().insert(name, "a".repeat(1_000).parse().unwrap());
                }
                response
            }
            _ => reply(200, "0123456789"),
        }),
    )
    .await;
    let (egress, _, base) = plain(&server);
    let limits = CallerLimits { response_bytes_max: 10, request_bytes_max: 10, ..CallerLimits::default() };
    let caller = egress.caller("small", limits);
    assert_eq!(caller.send(Request::get(&base)).await.unwrap().body.len(), 10);
    let nine = Request::get(&base).response_limit(9, false);
    let error = caller.send(nine.clone()).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_sent()), ("response_too_large", true));
    let cut = caller.send(nine.response_limit(9, true)).await.unwrap();
    assert!(cut.cut && cut.body.len() <= 9);
    let error = caller.send(Request::post(&base, Bytes::from_static(b"01234567890"))).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_sent()), ("bad_request", false));
    let error = caller.send(Request::get(format!("{base}/head"))).await.unwrap_err();
    assert_eq!(error.code(), "exchange", "a head of 100 kB was read");
    for (name, value) in [
        ("host", "x"),
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("bad name", "x"),
        ("x", "a\r\nb: c"),
    ] {
        assert_eq!(Request::get(&base).header(name, value).unwrap_err().code(), "bad_request", "{name}");
    }
}

#[tokio::test]
async fn callers_are_bounded_apart() {
    let server = Server::start("127.0.0.1", None, ok()).await;
    let (egress, other, base) = plain(&server);
    let rate = RateOptions { attempts_per_second: 1, burst: 2 };
    let limited = egress.caller("limited", CallerLimits { rate: Some(rate), ..CallerLimits::default() });
    for _ in 0..2 {
        limited.send(Request::get(&base)).await.unwrap();
    }
    let error = limited.send(Request::get(&base)).await.unwrap_err();
    assert!(matches!(error, EgressError::Limited { what: "rate", wait_ms: 1..=1_000, .. }), "{error:?}");
    let single = egress.caller("single", CallerLimits { requests_max: 1, ..CallerLimits::default() });
    let slow = format!("{base}/slow");
    let (first, second) = tokio::join!(single.send(Request::get(&slow)), single.send(Request::get(&slow)));
    assert_eq!(first.unwrap().status, 200);
    assert!(matches!(second.unwrap_err(), EgressError::Limited { what: "requests_max", .. }));
    other.send(Request::get(&base)).await.unwrap();
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_make_room() {
    let server = Server::start("127.0.0.1", None, ok()).await;
    let second = Server::start("127.0.0.1", None, ok()).await;
    let options = EgressOptions {
        allow: vec![allow("127.0.0.1", None, true)],
        connections_max: 2,
        ..EgressOptions::default()
    };
    let egress = client(options, &Scripted::new(&[&[]]));
    let caller = egress.caller("test", CallerLimits::default());
    let urls = [&server, &second].map(|server| format!("http://127.0.0.1:{}/slow", server.address.port()));
    for url in [&urls[0], &urls[1], &urls[0], &urls[1]] {
        let three = tokio::join!(
            caller.send(Request::get(url)),
            caller.send(Request::get(url)),
            caller.send(Request::get(url)),
        );
        for response in [three.0, three.1, three.2] {
            assert_eq!(response.unwrap().status, 200);
        }
        assert!(egress.idle_connections() <= 2);
    }
}

/// A server that answers with these bytes, or never, and counts what it read.
async fn raw(answer: Option<&'static [u8]>, drip: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                let count = stream.read(&mut buffer).await.unwrap_or(0);
                counter.fetch_add(count, Ordering::Relaxed);
                let Some(answer) = answer else {
                    std::future::pending::<()>().await;
                    return;
                };
                for byte in answer.chunks(if drip { 1 } else { answer.len().max(1) }) {
                    let _ = stream.write_all(byte).await;
                    if drip {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
            });
        }
    });
    (port, read)
}

#[tokio::test]
async fn time_is_bounded_and_the_error_says_whether_anything_was_sent() {
    type Row = (&'static str, Option<&'static [u8]>, bool, &'static str, bool);
    let table: &[Row] = &[
        ("no answer", None, false, "timeout", true),
        ("a byte at a time", Some(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), true, "timeout", true),
        ("closed at once", Some(b""), false, "exchange", true),
        ("half a head", Some(b"HTTP/1.1 200 OK\r\ncontent-le"), false, "exchange", true),
        ("half a body", Some(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nshort"), false, "exchange", true),
        ("not HTTP", Some(b"220 mail.example ESMTP\r\n"), false, "exchange", true),
    ];
    for (name, answer, drip, code, sent) in table {
        let (port, read) = raw(*answer, *drip).await;
        let options =
            EgressOptions { allow: vec![allow("127.0.0.1", None, true)], ..EgressOptions::default() };
        let egress = client(options, &Scripted::new(&[&[]]));
        let caller = egress.caller("test", CallerLimits { timeout_ms: 200, ..CallerLimits::default() });
        let error = caller.send(Request::get(format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
        assert_eq!((error.code(), error.maybe_sent()), (*code, *sent), "{name}: {error}");
        assert!(read.load(Ordering::Relaxed) > 0, "{name}");
    }
    // Nobody listens; nobody knows the name; TLS never begins.
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let (silent, _) = raw(None, false).await;
    let options = EgressOptions {
        allow: vec![allow("127.0.0.1", None, true)],
        connect_timeout_ms: 100,
        ..EgressOptions::default()
    };
    let egress = client(options, &Scripted::new(&[&[]]));
    let caller = egress.caller("test", CallerLimits { timeout_ms: 400, ..CallerLimits::default() });
    for (url, code) in [
        (format!("http://127.0.0.1:{closed}/"), "connect"),
        ("https://nowhere.example/".to_owned(), "resolve"),
        (format!("https://127.0.0.1:{silent}/"), "connect"),
    ] {
        let error = caller.send(Request::get(&url)).await.unwrap_err();
        assert_eq!(
            (error.code(), error.maybe_sent(), error.is_transient()),
            (code, false, true),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let (port, _) = raw(Some(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), false).await;
    let options = EgressOptions { allow: vec![allow("127.0.0.1", None, true)], ..EgressOptions::default() };
    let egress = client(options, &Scripted::new(&[&[]]));
    let caller = egress.caller("test", CallerLimits::default());
    for _ in 0..10 {
        // The server promises to keep the connection and closes it after each answer.
        let response = caller.send(Request::get(format!("http://127.0.0.1:{port}/"))).await.unwrap();
        assert_eq!(response.status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
