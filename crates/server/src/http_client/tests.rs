use super::stub::{self, reply};
use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

fn client(address: std::net::SocketAddr) -> Client {
    Client::new(Endpoint::parse(&format!("http://{address}/in")).unwrap(), &Credential::WriteKey("WK".into()))
}

fn post<'a>(body: &'a [u8]) -> Request<'a> {
    Request { method: "POST", path: "/v1/batch", headers: &[], body }
}

#[test]
fn addresses_say_where_to_send_or_what_is_wrong() {
    let good = [
        ("http://127.0.0.1:7300", "127.0.0.1:7300", ""),
        ("http://example", "example:80", ""),
        ("http://[::1]:7300/", "[::1]:7300", ""),
        ("http://[::1]", "[::1]:80", ""),
        ("http://h:1/in/", "h:1", "/in"),
    ];
    for (url, authority, prefix) in good {
        let endpoint = Endpoint::parse(url).unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.prefix.as_str()), (authority, prefix), "{url}");
    }
    for url in
        ["", "h:1", "https://h", "ftp://h", "http://", "http:///x", "http://a b", "http://u@h", "http://h/?q"]
    {
        assert!(matches!(Endpoint::parse(url), Err(HttpError::Url { .. })), "{url}");
    }
}

#[test]
fn every_framing_of_an_answer_is_read_and_the_connection_kept_where_it_can_be() {
    let answers: [(&str, u16, &str); 7] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", 200, "ok"),
        (
            "HTTP/1.1 400 B\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nno\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n",
            400,
            "no!",
        ),
        ("HTTP/1.1 204 \r\n\r\n", 204, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 200, ""),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz", 200, "z"),
    ];
    let earlier = Arc::new(Mutex::new(Vec::new()));
    let (asked, seen) = (AtomicUsize::new(0), Arc::clone(&earlier));
    let address = stub::start(move |request| {
        seen.lock().unwrap().push(request.earlier);
        assert_eq!(request.path, "/in/v1/batch");
        assert_eq!(request.header("authorization"), "Basic V0s6");
        assert_eq!(request.body, b"{}");
        let answer = answers[asked.fetch_add(1, SeqCst)].0;
        Some(answer.as_bytes().to_vec())
    });
    let mut client = client(address);
    for (bytes, status, body) in answers {
        let response = client.send(post(b"{}")).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (status, body.as_bytes()), "{bytes}");
    }
    assert_eq!(*earlier.lock().unwrap(), [0, 1, 2, 3, 4, 0, 0]);
}

#[test]
fn a_connection_closed_between_requests_is_opened_again_but_no_request_is_sent_thrice() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let address = stub::start(move |request| {
        seen.fetch_add(1, SeqCst);
        if request.earlier == 0 { reply(200, "", "{}") } else { None }
    });
    let mut client = client(address);
    for _ in 0..3 {
        assert_eq!(client.send(post(b"{}")).unwrap().status, 200);
    }
    assert_eq!(count.load(SeqCst), 5);
    let dead = stub::start(|_| None);
    let mut client = self::client(dead);
    assert!(matches!(client.send(post(b"{}")), Err(HttpError::Io { .. })));
}

#[test]
fn answers_that_are_not_http_or_too_long_are_refused() {
    for answer in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        let address = stub::start(move |_| Some(answer.as_bytes().to_vec()));
        assert!(matches!(client(address).send(post(b"")), Err(HttpError::Answer { .. })), "{answer}");
    }
    let endless = stub::start(|_| Some(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(40_000)).into_bytes()));
    assert!(matches!(client(endless).send(post(b"")), Err(HttpError::Answer { .. })));
}

#[test]
fn a_busy_server_is_asked_again_as_it_says_and_not_for_ever() {
    let policy = RetryPolicy {
        attempts_max: 4,
        first_wait: Duration::from_millis(1),
        wait_max: Duration::from_millis(30),
    };
    type Answers = &'static [(u16, &'static str)];
    let script: [(Answers, u16, &[u64]); 5] = [
        (&[(429, "Retry-After: 7\r\n"), (503, ""), (200, "")], 200, &[30, 2]),
        (&[(503, "Retry-After: 0\r\n"), (200, "")], 200, &[0]),
        (&[(503, ""), (503, ""), (503, ""), (503, ""), (200, "")], 503, &[1, 2, 4]),
        (&[(400, ""), (200, "")], 400, &[]),
        (&[(429, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n"), (200, "")], 200, &[1]),
    ];
    for (answers, last, expected_waits_ms) in script {
        let next = AtomicUsize::new(0);
        let address = stub::start(move |_| {
            let (status, headers) = answers[next.fetch_add(1, SeqCst)];
            reply(status, headers, "")
        });
        let mut waits_ms = Vec::new();
        let outcome = policy.send(&mut client(address), post(b"{}"), &mut |_, wait| {
            waits_ms.push(wait.as_millis() as u64);
        });
        assert_eq!(outcome.unwrap().status, last);
        assert_eq!(waits_ms, expected_waits_ms);
    }
}

proptest! {
    #[test]
    fn whatever_the_head_holds_it_is_read_or_refused(bytes: Vec<u8>, text in "HTTP/1\\.1 [0-9]{0,4}[ a-z]{0,4}(\r\n[A-Za-z-]{0,18}:? ?[0-9a-z]{0,8}){0,5}") {
        let _ = response::Head::parse(&bytes);
        let _ = response::Head::parse(text.as_bytes());
    }
}
