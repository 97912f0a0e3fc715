//! Malformed and hostile requests over real sockets: each is refused in words, or understood; nothing of a refused one is
//! stored, nothing panics, and the door goes on.

use crate::support::{Answer, Client, SERVER, TestDoor, ask, door, gzip, post, request, wait};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PAGE: &str = r#"{"type":"page","userId":"u","messageId":"m"}"#;
/// How much more memory the process may take while all requests of a table are sent: one body and its records, many times
/// over, and far less than what the bombs would unpack to.
const GROWTH_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// A request, and how it is answered: status and code. No code: HTTP itself was broken, and the answer has no body.
struct Row {
    name: String,
    bytes: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn row(name: impl Into<String>, bytes: Vec<u8>, status: u16, code: &'static str) -> Row {
    Row { name: name.into(), bytes, status, code }
}

/// A body to `/v1/track`, refused with 400.
fn track(body: &str, code: &'static str) -> Row {
    row(format!("track {}", body.chars().take(60).collect::<String>()), post("/v1/track", body), 400, code)
}

/// An item of a batch behind a good one, refused with 400.
fn second(item: &str, code: &'static str) -> Row {
    let body = format!(r#"{{"batch":[{PAGE},{item}]}}"#);
    row(format!("batch {item}"), post("/v1/batch", &body), 400, code)
}

fn broken_json() -> Vec<Row> {
    let bodies = [
        "",
        " ",
        "{",
        "}",
        "[",
        "nul",
        "tru",
        "{]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":--1}",
        "{\"a\":0x10}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":1e999}",
        "{\"a\":undefined}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":\"x\ny\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\",
        "{\"a\":\"",
        "{\"userId\":\"u\"} {}",
        "{\"userId\":\"u\"},",
        "{\"userId\":\"u\"}\0",
        "/* a */ {}",
        "{\"userId\":\"u\"// a\n}",
        "\u{feff}{\"userId\":\"u\"}",
        "writeKey=WK&userId=u",
        "<event/>",
        "--boundary\r\nContent-Disposition: form-data\r\n",
    ];
    let mut rows: Vec<Row> = bodies.iter().map(|body| track(body, "bad_json")).collect();
    for depth in [65, 1_000, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        rows.push(track(
            &format!(r#"{{"userId":"u","event":"E","properties":{{"a":{open}{close}}}}}"#),
            "bad_json",
        ));
        rows.push(track(&open, "bad_json"));
        rows.push(track(&r#"{"a":"#.repeat(depth), "bad_json"));
    }
    rows
}

fn wrong_shapes() -> Vec<Row> {
    let mut rows = vec![
        track("[]", "wrong_type"),
        track("1", "wrong_type"),
        track("\"text\"", "wrong_type"),
        track("null", "wrong_type"),
        track("{}", "missing_field"),
        track(r#"{"userId":"u"}"#, "missing_field"),
        track(r#"{"userId":"u","event":null}"#, "missing_field"),
        track(r#"{"userId":"u","event":"  "}"#, "missing_field"),
        track(r#"{"userId":"u","event":{}}"#, "wrong_type"),
        track(r#"{"userId":"u","event":[]}"#, "wrong_type"),
        track(r#"{"userId":"u","event":true}"#, "wrong_type"),
        track(r#"{"event":"E"}"#, "missing_identity"),
        track(r#"{"event":"E","userId":null,"anonymousId":""}"#, "missing_identity"),
        track(r#"{"event":"E","userId":{}}"#, "wrong_type"),
        track(r#"{"event":"E","userId":["u"]}"#, "wrong_type"),
        track(r#"{"event":"E","userId":true}"#, "wrong_type"),
        track(r#"{"event":"E","anonymousId":{"$ne":null}}"#, "wrong_type"),
        track(r#"{"event":"E","userId":"u","messageId":{}}"#, "wrong_type"),
        track(r#"{"event":"E","userId":"u","properties":[1]}"#, "wrong_type"),
        track(r#"{"event":"E","userId":"u","properties":"text"}"#, "wrong_type"),
        track(r#"{"event":"E","userId":"u","context":1}"#, "wrong_type"),
        track(r#"{"event":"E","userId":"u","context":{"traits":"x"}}"#, "wrong_type"),
        track(r#"{"event":"E","userId":"u","traits":false}"#, "wrong_type"),
        second("1", "wrong_type"),
        second("null", "wrong_type"),
        second("[]", "wrong_type"),
        second("{}", "missing_field"),
        second(r#"{"type":"page"}"#, "missing_identity"),
        second(r#"{"type":"delete","userId":"u"}"#, "unknown_type"),
        second(r#"{"type":{},"userId":"u"}"#, "wrong_type"),
        second(r#"{"type":"group","userId":"u"}"#, "missing_field"),
        second(r#"{"type":"alias","userId":"u"}"#, "missing_field"),
    ];
    for (body, code) in [
        (r#"{"batch":null}"#, "wrong_type"),
        (r#"{"batch":{}}"#, "wrong_type"),
        (r#"{"batch":"x"}"#, "wrong_type"),
        (r#"{"batch":[]}"#, "empty_batch"),
        (r#"{"events":[]}"#, "missing_field"),
        (r#"{"batch":[{}],"batch":[]}"#, "empty_batch"),
        (r#"{"batch":[{"type":"page","userId":"u"}],"context":3}"#, "wrong_type"),
    ] {
        rows.push(row(format!("batch {body}"), post("/v1/batch", body), 400, code));
    }
    rows
}

fn unclear_ids() -> Vec<Row> {
    let long = "x".repeat(2_000);
    let mut rows = vec![
        track(r#"{"event":"E","userId":"a\u0000b"}"#, "unclear_id"),
        track(r#"{"event":"E","userId":"a\nb"}"#, "unclear_id"),
        track(r#"{"event":"E","userId":"\ud800"}"#, "unclear_id"),
        track(r#"{"event":"E","anonymousId":"a\udfffb"}"#, "unclear_id"),
        track(r#"{"event":"E","userId":"u","messageId":"m\u0000"}"#, "unclear_id"),
        track(r#"{"event":"E","userId":"u","context":{"device":{"id":"\u0007"}}}"#, "unclear_id"),
        track(
            r#"{"event":"Order Completed","userId":"u","properties":{"order_id":"a\u0000"}}"#,
            "unclear_id",
        ),
    ];
    for field in ["userId", "anonymousId", "messageId"] {
        rows.push(track(&format!(r#"{{"event":"E","userId":"u","{field}":"{long}"}}"#), "too_long"));
    }
    rows.push(track(&format!(r#"{{"event":"{long}","userId":"u"}}"#), "too_long"));
    rows.push(row(
        "a long group",
        post("/v1/group", &format!(r#"{{"userId":"u","groupId":"{long}"}}"#)),
        400,
        "too_long",
    ));
    let consent: Vec<String> = (0..65).map(|number| format!(r#""c{number}":false"#)).collect();
    rows.push(track(
        &format!(
            r#"{{"event":"E","userId":"u","context":{{"consent":{{"categoryPreferences":{{{}}}}}}}}}"#,
            consent.join(",")
        ),
        "too_many",
    ));
    let products = vec!["{}"; 2_000].join(",");
    rows.push(track(
        &format!(r#"{{"event":"E","userId":"u","properties":{{"products":[{products}]}}}}"#),
        "too_many",
    ));
    rows
}

fn broken_text() -> Vec<Row> {
    let around = |bytes: &[u8]| {
        let body = [br#"{"event":"E","userId":"u"#, bytes, br#""}"#].concat();
        request("POST", "/v1/track", &[SERVER], &body)
    };
    let table: [(&str, &[u8]); 8] = [
        ("a byte that is never UTF-8", b"\xff"),
        ("half a letter", b"\xc3"),
        ("a lone continuation", b"\x80"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong NUL", b"\xc0\x80"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("beyond Unicode", b"\xf4\x90\x80\x80"),
        ("UTF-16", b"\xfe\xff\x00u"),
    ];
    let mut rows: Vec<Row> =
        table.iter().map(|(name, bytes)| row(*name, around(bytes), 400, "not_utf8")).collect();
    rows.push(row("a raw NUL", around(b"\0"), 400, "bad_json"));
    rows
}

fn zipped(body: &[u8]) -> Vec<u8> {
    request("POST", "/v1/track", &[SERVER, ("Content-Encoding", "gzip")], body)
}

fn broken_gzip() -> Vec<Row> {
    let whole = gzip(PAGE.as_bytes());
    let mut wrong_sum = whole.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let mut wrong_middle = whole.clone();
    wrong_middle[14] ^= 0xff;
    let blanks = |bytes: usize| gzip(&vec![b' '; bytes]);
    let event = format!(r#"{{"event":"E","userId":"u","x":"{}"}}"#, "x".repeat(2_000_000));
    // A bomb in a bomb is unpacked once, and what comes out is no text.
    let twice = gzip(&gzip(&vec![b' '; 1 << 20]));
    let many: Vec<u8> = (0..300).flat_map(|_| blanks(20_000)).collect();
    vec![
        row("not gzip", zipped(PAGE.as_bytes()), 400, "bad_gzip"),
        row("nothing", zipped(b""), 400, "bad_gzip"),
        row("only the magic", zipped(b"\x1f\x8b"), 400, "bad_gzip"),
        row("cut off", zipped(&whole[..whole.len() - 9]), 400, "bad_gzip"),
        row("without its sum", zipped(&whole[..whole.len() - 4]), 400, "bad_gzip"),
        row("a wrong sum", zipped(&wrong_sum), 400, "bad_gzip"),
        row("a wrong middle", zipped(&wrong_middle), 400, "bad_gzip"),
        row("rubbish behind it", zipped(&[whole.as_slice(), b"rubbish behind it"].concat()), 400, "bad_gzip"),
        row("zlib", zipped(b"\x78\x9c\x03\x00\x00\x00\x00\x01"), 400, "bad_gzip"),
        row("nothing inside", zipped(&gzip(b"")), 400, "bad_json"),
        row("a bomb of 3 MB", zipped(&blanks(3_000_000)), 413, "gzip_ratio_too_high"),
        row(
            "a bomb of 1 GB in parts, too large before it is too tight",
            zipped(&blanks(64 << 20).repeat(16)),
            413,
            "body_too_large",
        ),
        row("a bomb that is an event", zipped(&gzip(event.as_bytes())), 413, "gzip_ratio_too_high"),
        row("a bomb of many members", zipped(&many), 413, "gzip_ratio_too_high"),
        row("twice", zipped(&twice), 400, "not_utf8"),
        row("gzip without the header", request("POST", "/v1/track", &[SERVER], &whole), 400, "not_utf8"),
        row("deflate", with_encoding("deflate"), 415, "unknown_encoding"),
        row("br", with_encoding("br"), 415, "unknown_encoding"),
        row("gzip twice", with_encoding("gzip, gzip"), 415, "unknown_encoding"),
        row("an unknown encoding", with_encoding("../../etc/passwd"), 415, "unknown_encoding"),
    ]
}

fn with_encoding(encoding: &str) -> Vec<u8> {
    request("POST", "/v1/page", &[SERVER, ("Content-Encoding", encoding)], PAGE.as_bytes())
}

fn wrong_keys() -> Vec<Row> {
    let with = |authorization: &str| {
        request("POST", "/v1/page", &[("Authorization", authorization)], PAGE.as_bytes())
    };
    let in_body = |key: &str| {
        request("POST", "/v1/page", &[], format!(r#"{{"userId":"u","writeKey":{key}}}"#).as_bytes())
    };
    let long = format!("Basic {}", "A".repeat(4_000));
    vec![
        row("no key", request("POST", "/v1/page", &[], PAGE.as_bytes()), 401, "missing_write_key"),
        row("an empty key", with("Basic Og=="), 401, "missing_write_key"),
        row("a bearer alone", with("Bearer WK"), 401, "missing_write_key"),
        row("another scheme", with("Digest username=\"WK\""), 401, "missing_write_key"),
        row("no base64", with("Basic \u{7f}???"), 400, ""),
        row("base64 of nothing known", with("Basic !!!!"), 401, "unknown_write_key"),
        row("no text", with("Basic //8="), 401, "unknown_write_key"),
        row("a long one", with(&long), 401, "unknown_write_key"),
        row("another one", with("Basic WFhYOg=="), 401, "unknown_write_key"),
        row("a prefix of a known one", with("Basic Vzo="), 401, "unknown_write_key"),
        row("a disabled one", with("Basic T0ZGOg=="), 404, "source_disabled"),
        row("null in the body", in_body("null"), 401, "missing_write_key"),
        row("an object in the body", in_body("{}"), 401, "missing_write_key"),
        row("an unknown one in the body", in_body("\"XXX\""), 401, "unknown_write_key"),
        row("a disabled one in the body", in_body("\"OFF\""), 404, "source_disabled"),
        row("SQL", in_body("\"' OR 1=1 --\""), 401, "unknown_write_key"),
        row(
            "a key in the query of a call",
            request("POST", "/v1/page?writeKey=WK", &[], PAGE.as_bytes()),
            401,
            "missing_write_key",
        ),
        row(
            "the head's wrong key wins",
            request(
                "POST",
                "/v1/page",
                &[("Authorization", "Basic WFhYOg==")],
                br#"{"userId":"u","writeKey":"WK"}"#,
            ),
            401,
            "unknown_write_key",
        ),
        row(
            "a beacon without a key",
            request("POST", "/beacon/v1/batch", &[SERVER], PAGE.as_bytes()),
            400,
            "missing_field",
        ),
    ]
}

fn too_large() -> Vec<Row> {
    let event = |bytes: usize, key: &str| format!(r#"{{"userId":"u",{key}"x":"{}"}}"#, "x".repeat(bytes));
    let in_body = r#""writeKey":"WK","#;
    let of = |path: &str, body: &str| request("POST", path, &[SERVER], body.as_bytes());
    let many = |count: usize, key: &str| format!(r#"{{{key}"batch":[{}]}}"#, vec![PAGE; count].join(","));
    let context = format!(r#"{{"batch":[{PAGE}],"context":{{"x":"{}"}}}}"#, "x".repeat(20_000));
    vec![
        row("an event of 33 kB, Segment", of("/v1/page", &event(33_000, in_body)), 400, "event_too_large"),
        row("a batch of 600 kB, Segment", of("/v1/batch", &many(13_000, in_body)), 400, "too_many"),
        row("2,501 events, Segment", of("/v1/batch", &many(2_501, in_body)), 400, "too_many"),
        row("10,001 events", of("/v1/batch", &many(10_001, "")), 400, "too_many"),
        row("an event of 4.4 MB", of("/v1/page", &event(4_400_000, "")), 413, "body_too_large"),
        row("a context of 20 kB for all", of("/v1/batch", &context), 413, "event_too_large"),
        row("a lie about the length", format!("POST /v1/page HTTP/1.1\r\nHost: x\r\nAuthorization: Basic V0s6\r\nConnection: close\r\nContent-Length: 9000000000\r\n\r\n{PAGE}").into_bytes(), 413, "body_too_large"),
    ]
}

fn broken_http() -> Vec<Row> {
    let raw = |text: String| text.into_bytes();
    let head = |lines: &str| {
        raw(format!(
            "POST /v1/page HTTP/1.1\r\nHost: x\r\nAuthorization: Basic V0s6\r\n{lines}\r\n\r\n{PAGE}"
        ))
    };
    let headers: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    let length = PAGE.len();
    vec![
        row("no request", raw("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".into()), 400, ""),
        row("only a word", raw("HELLO\r\n\r\n".into()), 400, ""),
        row("HTTP/9.9", raw("POST /v1/page HTTP/9.9\r\n\r\n".into()), 400, ""),
        row("a path with blanks", raw("POST /v1/ page HTTP/1.1\r\nHost: x\r\n\r\n".into()), 400, ""),
        row("a header without a colon", head("Rubbish"), 400, ""),
        row("a header with a NUL", head("X-A: a\0b"), 400, ""),
        row("a name with blanks", head("X A: b"), 400, ""),
        row("200 headers", head(headers.trim_end()), 431, ""),
        row("a header of 200 kB", head(&format!("X-A: {}", "a".repeat(200_000))), 431, ""),
        row("a path of 200 kB", raw(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000))), 431, ""),
        row("a path of 100 kB", raw(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000))), 414, ""),
        row("two lengths", head(&format!("Content-Length: {length}\r\nContent-Length: 5")), 400, ""),
        row("a length below zero", head("Content-Length: -1"), 400, ""),
        row("a length that is none", head("Content-Length: many"), 400, ""),
        row("a length of twenty digits and more", head("Content-Length: 99999999999999999999999"), 400, ""),
        row("an unknown transfer encoding", head("Transfer-Encoding: gzip"), 400, ""),
        row("a chunk of no size", head("Transfer-Encoding: chunked\r\n\r\nzz"), 400, "body_broken_off"),
        row(
            "a chunk beyond all sizes",
            head("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff"),
            400,
            "body_broken_off",
        ),
        row("a folded header", head("X-A: b\r\n c: d"), 400, ""),
    ]
}

fn wrong_places() -> Vec<Row> {
    let mut rows: Vec<Row> = [
        "/",
        "/v1",
        "/v1/",
        "/v1/unknown",
        "/v1/track/x",
        "//v1/track",
        "/v1//track",
        "/v1/../admin",
        "/v1/%74rack",
        "/V1/track",
        "/admin/v1/tokens",
        "/v1/projects/",
        "/v1/projects/WK/settings/x",
        "/pixel/v1/identify",
        "/.env",
        "/v1/track;x",
    ]
    .iter()
    .map(|path| row(format!("POST {path}"), post(path, PAGE), 404, "not_found"))
    .collect();
    for method in ["GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "BREW"] {
        rows.push(row(
            format!("{method} /v1/page"),
            request(method, "/v1/page", &[SERVER], b""),
            405,
            "method_not_allowed",
        ));
    }
    for path in ["/health", "/version", "/sourceConfig", "/pixel/v1/track"] {
        rows.push(row(format!("POST {path}"), post(path, PAGE), 405, "method_not_allowed"));
    }
    for call in ["merge", "webhook", "audiencelist"] {
        rows.push(row(
            format!("POST /v1/{call}"),
            post(&format!("/v1/{call}"), PAGE),
            400,
            "call_not_offered",
        ));
    }
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    rows.push(row(
        "settings for a host that is none",
        get("/v1/projects/WK/settings", "\"><script>"),
        400,
        "bad_host",
    ));
    rows.push(row(
        "settings for no host",
        b"GET /v1/projects/WK/settings HTTP/1.1\r\n\r\n".to_vec(),
        400,
        "bad_host",
    ));
    rows.push(row(
        "settings for SQL",
        get("/v1/projects/%27%20OR%201=1/settings", "x"),
        401,
        "unknown_write_key",
    ));
    let deep = vec!["a"; 5_000].join(".");
    rows.push(row(
        "a pixel of depth 5,000",
        get(&format!("/pixel/v1/page?writeKey=WK&{deep}=1"), "x"),
        400,
        "bad_query",
    ));
    rows.push(row(
        "a pixel of 5,000 members",
        get(&format!("/pixel/v1/page?writeKey=WK&{}", "a=1&".repeat(5_000)), "x"),
        400,
        "bad_query",
    ));
    rows
}

fn refused_rows() -> Vec<Row> {
    [
        broken_json(),
        wrong_shapes(),
        unclear_ids(),
        broken_text(),
        broken_gzip(),
        wrong_keys(),
        too_large(),
        broken_http(),
        wrong_places(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The most bytes that the process took at once since the last call, and takes now.
#[expect(clippy::disallowed_methods, reason = "the kernel's figures of the real process")]
fn peak_and_present_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    };
    let figures = (of("VmHWM:"), of("VmRSS:"));
    // Lets the peak begin anew (proc(5)): what a test took to make its requests is not the door's.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    figures
}

/// Counts panics of all threads: those of a connection's task would end nothing but it.
fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, usual) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));
    panics
}

/// Sends all, and takes the answer to the first request, also where the door hangs up on the rest of it.
fn ask_rudely(door: &TestDoor, bytes: &[u8]) -> Option<Answer> {
    wait(async {
        let (mut client, mut rest) = (Client::to(door).await, bytes);
        while !rest.is_empty() {
            use tokio::io::AsyncWriteExt;
            match client.stream.write(rest).await {
                Ok(written) => rest = &rest[written..],
                Err(_) => break,
            }
        }
        client.answer().await
    })
}

#[test]
fn hostile_requests_are_refused_in_words_and_change_nothing() {
    let rows = refused_rows();
    assert!(rows.len() >= 120, "{} rows", rows.len());
    let panics = count_panics();
    let door = door(|options, _| options.body_timeout = Duration::from_secs(2));
    let (count, (_, before)) = (rows.len(), peak_and_present_bytes());
    let mut wrong = Vec::new();
    for Row { name, bytes, status, code } in rows {
        let Some(answer) = ask_rudely(&door, &bytes) else {
            wrong.push(format!("{name}: no answer"));
            continue;
        };
        let found = if answer.body.is_empty() { String::new() } else { answer.code() };
        if (answer.status, found.as_str()) != (status, code) {
            wrong.push(format!("{name}: {} {found}, expected {status} {code}", answer.status));
        }
        let stored = door.memory.take_summaries();
        if !stored.is_empty() {
            wrong.push(format!("{name}: stored {stored:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(panics.load(Ordering::Relaxed), 0);
    assert_eq!(door.open.in_flight_bytes(), 0);
    let grown = peak_and_present_bytes().0.saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the process grew by {grown} bytes");
    assert_eq!(ask(&door, &post("/v1/page", PAGE)).status, 200, "the door goes on");
    println!("{count} hostile requests, {} kB more memory at most", grown / 1_024);
}

/// What looks wrong and is not: refusing it would lose what a shop's SDK sends.
#[test]
fn odd_requests_are_understood() {
    let bodies = [
        r#"{"event":"E","userId":"u","timestamp":"yesterday"}"#,
        r#"{"event":"E","userId":"u","timestamp":"0000-00-00T00:00:00Z"}"#,
        r#"{"event":"E","userId":"u","timestamp":"9999-12-31T23:59:60Z"}"#,
        r#"{"event":"E","userId":"u","originalTimestamp":"+292277026596-12-04T15:30:07Z","sentAt":"-1"}"#,
        r#"{"event":"E","userId":"u","timestamp":99999999999999999999,"sentAt":-1e308}"#,
        r#"{"event":"E","userId":"u","timestamp":{},"sentAt":[]}"#,
        r#"{"event":"E","userId":"u","properties":{"revenue":1e308,"quantity":-5,"price":"1e999"}}"#,
        r#"{"event":"Order Completed","userId":"u","properties":{"order_id":"o","revenue":1e308,"currency":"ZZZZ"}}"#,
        r#"{"event":"Order Completed","userId":"u","properties":{"order_id":9007199254740993,"total":"NaN"}}"#,
        r#"{"event":"E","userId":"u","properties":{"products":[1,null,[],{"quantity":1e99,"price":{}}]}}"#,
        r#"{"event":"E","userId":12345678901234567890123456789012345678901234567890}"#,
        r#"{"event":"E","userId":"u","properties":{"a":"\u0000\ud800","__proto__":{"x":1},"constructor":1}}"#,
        r#"{"event":"E","userId":"u","userId":"v","event":"F"}"#,
        r#"{"event":"E","userId":"u","properties":null,"context":null,"integrations":null,"_metadata":{"a":[1]}}"#,
        r#"{"event":"E","userId":"u","properties":[],"context":[],"traits":[]}"#,
        r#"{"event":"{{constructor.constructor('x')()}}","userId":"../../etc/passwd"}"#,
        r#"{"event":"E","userId":"u","context":{"ip":"not an address","externalIds":[1,{"id":1},{"type":"email","id":"x"}]}}"#,
        r#"{"event":"E","userId":"u","context":{"consent":{"categoryPreferences":{"a":"yes","b":1,"c":null}}}}"#,
        r#"{"\u0065vent":"E","user\u0049d":"u"}"#,
    ];
    let panics = count_panics();
    let door = door(|_, _| {});
    for body in bodies {
        let answer = ask(&door, &post("/v1/track", body));
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(door.memory.take_summaries().len(), 1, "{body}");
    }
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}

/// Clients that send a byte now and then, and hang up in the middle.
#[test]
fn clients_that_trickle_or_break_off_cost_nothing() {
    let door = door(|options, _| {
        options.body_timeout = Duration::from_millis(500);
        options.head_timeout = Duration::from_millis(500);
    });
    wait(async {
        let mut trickling = Vec::new();
        for start in [
            "P",
            "POST /v1/page HTTP/1.1\r\nX-A:",
            "POST /v1/page HTTP/1.1\r\nAuthorization: Basic V0s6\r\nContent-Length: 900000\r\n\r\n{",
        ] {
            for _ in 0..20 {
                let mut client = Client::to(&door).await;
                client.send(start.as_bytes()).await;
                trickling.push(client);
            }
        }
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for client in &mut trickling {
                let _ = client.stream.try_write(b" ");
            }
        }
        for client in &mut trickling {
            assert!(
                client.answer().await.is_none_or(|answer| answer.status == 408),
                "cut off, in words or without"
            );
        }
        for cut in (1..post("/v1/page", PAGE).len()).step_by(7) {
            let mut client = Client::to(&door).await;
            client.send(&post("/v1/page", PAGE)[..cut]).await;
        }
    });
    let whole = post("/v1/page", PAGE);
    assert_eq!(ask(&door, &whole).status, 200);
    assert_eq!(door.memory.take_summaries().len(), 1, "of what broke off nothing is stored");
    // The door notices the end of a connection in its own time, which may be after the last answer.
    wait(async {
        while door.open.in_flight_bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// As many files as this process may open.
#[expect(clippy::disallowed_methods, reason = "the kernel's limits of the real process")]
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

#[test]
fn two_thousand_silent_connections_leave_room_for_others() {
    // Both ends are in this process.
    let silent = 2_000.min(files_max().saturating_sub(200) / 2);
    let door = door(|options, _| options.head_timeout = Duration::from_secs(60));
    let (_, before) = peak_and_present_bytes();
    wait(async {
        let mut held = Vec::new();
        for number in 0..silent {
            let mut client = Client::to(&door).await;
            if number % 2 == 0 {
                client.send(b"POST /v1/page HTTP/1.1\r\nHost: x\r\n").await;
            }
            held.push(client);
        }
        while door.open.counters().open_connections.load(Ordering::Relaxed) < silent {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..20 {
            let mut client = Client::to(&door).await;
            client.send(&post("/v1/page", PAGE)).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
        }
        let each = peak_and_present_bytes().0.saturating_sub(before) / silent as u64;
        println!("{silent} silent connections, {each} bytes each, both ends");
        assert!(each < 64 * 1_024, "{each} bytes for a silent connection");
    });
    assert_eq!(door.memory.take_summaries().len(), 20);
}
