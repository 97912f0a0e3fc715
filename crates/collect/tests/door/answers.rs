//! What clients are told.

use crate::support::{Client, SERVER, Word, ask, door, gzip, post, request, wait};
use collect::sink::SinkError;
use std::time::Duration;

type Headers<'a> = &'a [(&'a str, &'a str)];
/// Path, headers, body; status, code, field.
type BadRequest<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16, &'a str, &'a str);

const PAGE: &str = r#"{"type":"page","userId":"u","messageId":"m"}"#;

fn batch_of(items: &[&str]) -> String {
    format!(r#"{{"batch":[{}]}}"#, items.join(","))
}

/// Hexadecimal digits without a pattern: they pack to about half of their size.
fn hard_to_pack(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let digits = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"0123456789abcdef"[(state >> 60) as usize]
    });
    digits.take(bytes).collect()
}

#[test]
fn success_is_exactly_this() {
    let door = door(|_, _| {});
    for path in ["/v1/page", "/v1/p", "/v1/page/"] {
        let answer = ask(&door, &post(path, PAGE));
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    for path in ["/v1/batch", "/v1/b"] {
        assert_eq!(ask(&door, &post(path, &batch_of(&[PAGE, PAGE]))).status, 200);
    }
    assert_eq!(door.memory.take_summaries(), ["page user=u"; 7]);
    assert_eq!(ask(&door, &post("/v1/m", r#"{"series":[]}"#)).status, 200);
    assert_eq!(ask(&door, &request("GET", "/health", &[], b"")).status, 200);
    assert!(door.memory.take_summaries().is_empty());
}

#[test]
fn every_call_has_two_names() {
    let door = door(|_, _| {});
    let body = r#"{"event":"E","groupId":"G","previousId":"P","name":"N","userId":"u"}"#;
    for (name, meant) in [
        ("identify", "identify user=u"),
        ("track", "track \"E\" user=u"),
        ("page", "page \"N\" user=u"),
        ("screen", "screen \"N\" user=u"),
        ("group", "group \"G\" user=u"),
        ("alias", "alias user=u user=P"),
    ] {
        for path in [name, &name[..1]] {
            assert_eq!(ask(&door, &post(&format!("/v1/{path}"), body)).status, 200);
            assert_eq!(door.memory.take_summaries(), [meant]);
        }
    }
}

#[test]
fn every_way_to_present_a_key() {
    let door = door(|_, _| {});
    let in_body = r#"{"userId":"u","writeKey":"WK"}"#;
    let table: &[(&str, Headers<'_>, &str)] = &[
        ("/v1/page", &[("Authorization", "Basic V0s6")], PAGE),
        ("/v1/page", &[], in_body),
        ("/v1/page", &[("Authorization", "Bearer token")], in_body),
        ("/v1/batch", &[], r#"{"batch":[{"type":"page","userId":"u","writeKey":"x"}],"writeKey":"WK"}"#),
        (
            "/v1/page",
            &[("Authorization", "Basic V0s6"), ("Content-Type", "application/x-www-form-urlencoded")],
            PAGE,
        ),
        (
            "/beacon/v1/batch?writeKey=WK",
            &[("Content-Type", "text/plain")],
            r#"{"batch":[{"type":"page","userId":"u"}]}"#,
        ),
    ];
    for (path, headers, body) in table {
        let answer = ask(&door, &request("POST", path, headers, body.as_bytes()));
        assert_eq!(answer.status, 200, "{path} {headers:?} {}", answer.body);
        assert_eq!(door.memory.take_summaries(), ["page user=u"]);
    }
}

#[test]
fn bad_requests_change_nothing() {
    let door = door(|_, _| {});
    let second_is_bad = batch_of(&[PAGE, r#"{"type":"track","userId":"u"}"#]);
    let large = format!(r#"{{"userId":"u","writeKey":"WK","x":"{}"}}"#, "x".repeat(33_000));
    let huge = format!(r#"{{"userId":"u","x":"{}"}}"#, "x".repeat(5_000_000));
    let off = ("Authorization", "Basic T0ZGOg==");
    let unknown = ("Authorization", "Basic WFhYOg==");
    let zipped = ("Content-Encoding", "gzip");
    let table: Vec<BadRequest<'_>> = vec![
        ("/v1/page", vec![], PAGE.into(), 401, "missing_write_key", ""),
        ("/v1/page?writeKey=WK", vec![], PAGE.into(), 401, "missing_write_key", ""),
        ("/v1/page", vec![unknown], PAGE.into(), 401, "unknown_write_key", ""),
        ("/v1/page", vec![("Authorization", "Basic !")], PAGE.into(), 401, "unknown_write_key", ""),
        ("/v1/page", vec![], br#"{"userId":"u","writeKey":"XXX"}"#.into(), 401, "unknown_write_key", ""),
        ("/v1/page", vec![off], PAGE.into(), 404, "source_disabled", ""),
        ("/v1/page", vec![SERVER], b"".into(), 400, "bad_json", ""),
        ("/v1/page", vec![SERVER], b"{".into(), 400, "bad_json", ""),
        ("/v1/page", vec![SERVER], b"\xff".into(), 400, "not_utf8", ""),
        ("/v1/page", vec![SERVER], b"{}".into(), 400, "missing_identity", ""),
        ("/v1/track", vec![SERVER], PAGE.into(), 400, "missing_field", "event"),
        ("/v1/batch", vec![SERVER], PAGE.into(), 400, "missing_field", "batch"),
        ("/v1/batch", vec![SERVER], second_is_bad.into(), 400, "missing_field", "batch[1].event"),
        ("/v1/page", vec![SERVER], large.into(), 400, "event_too_large", ""),
        ("/v1/page", vec![SERVER], huge.clone().into(), 413, "body_too_large", ""),
        ("/v1/page", vec![SERVER, zipped], gzip(huge.as_bytes()), 413, "gzip_ratio_too_high", ""),
        ("/v1/page", vec![SERVER, zipped], gzip(&hard_to_pack(6_000_000)), 413, "body_too_large", ""),
        ("/v1/page", vec![SERVER, zipped], PAGE.into(), 400, "bad_gzip", ""),
        ("/v1/page", vec![SERVER, zipped], gzip(PAGE.as_bytes())[..20].to_vec(), 400, "bad_gzip", ""),
        ("/v1/page", vec![SERVER, ("Content-Encoding", "br")], PAGE.into(), 415, "unknown_encoding", ""),
        ("/nowhere", vec![SERVER], PAGE.into(), 404, "not_found", ""),
        ("/v1/unknown", vec![SERVER], PAGE.into(), 404, "not_found", ""),
    ];
    for (path, headers, body, status, code, field) in table {
        let answer = ask(&door, &request("POST", path, &headers, &body));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{path} {headers:?}: {}",
            answer.body
        );
        assert_eq!(answer.field(), field, "{}", answer.body);
        assert!(door.memory.take_summaries().is_empty(), "{path} {headers:?}");
    }
    let answer = ask(&door, &request("GET", "/v1/page", &[SERVER], b""));
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(door.open.in_flight_bytes(), 0, "everything reserved was given back");
}

#[test]
fn browsers_may_ask_from_any_page_or_from_listed_ones() {
    let door = door(|_, _| {});
    let wanted = "AnonymousId, SentAt, Authorization";
    let headers = [("Origin", "http://shop.test"), ("Access-Control-Request-Headers", wanted)];
    let answer = ask(&door, &request("OPTIONS", "/v1/track", &headers, b""));
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "http://shop.test"),
        ("access-control-allow-headers", wanted),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, POST, HEAD"),
        ("access-control-max-age", "900"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    for (body, status) in [(PAGE, 200), ("{}", 400)] {
        let answer = ask(
            &door,
            &request("POST", "/v1/page", &[SERVER, ("Origin", "http://shop.test")], body.as_bytes()),
        );
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("http://shop.test"),
            "errors can be read too"
        );
    }
    assert_eq!(ask(&door, &post("/v1/page", PAGE)).header("access-control-allow-origin"), None);
    let mut settings = (*door.settings.load()).clone();
    settings.cors = collect::settings::Cors::Origins(["https://shop.test".to_owned()].into());
    door.settings.store(settings);
    let answer = ask(&door, &request("OPTIONS", "/v1/track", &headers, b""));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn the_sinks_word_is_passed_on() {
    let door = door(|options, _| options.answer_timeout = Duration::from_millis(100));
    let refused = SinkError::Refused { code: "quota".into(), message: "the quota is used up".into() };
    let table = [
        (Word::NotTaken(SinkError::Full { retry_after_s: 3 }), 429, "busy", Some("3")),
        (Word::Later(SinkError::Full { retry_after_s: 4 }), 429, "busy", Some("4")),
        (Word::NotTaken(SinkError::Unavailable { retry_after_s: 5 }), 503, "unavailable", Some("5")),
        (Word::Later(refused), 400, "quota", None),
        (Word::Never, 503, "outcome_unknown", Some("1")),
        (Word::Held, 503, "outcome_unknown", Some("1")),
    ];
    for (word, status, code, retry_after) in table {
        door.memory.say(word);
        let answer = ask(&door, &post("/v1/page", PAGE));
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.header("retry-after"), retry_after);
    }
}

#[test]
fn no_answer_before_the_events_are_durable() {
    let door = door(|_, _| {});
    door.memory.say(Word::Held);
    wait(async {
        let mut client = Client::to(&door).await;
        client.send(&post("/v1/page", PAGE)).await;
        let early = tokio::time::timeout(Duration::from_millis(200), client.answer()).await;
        assert!(early.is_err(), "answered before the sink did: {early:?}");
        assert!(door.open.in_flight_bytes() > 0);
        let done = door.memory.held.lock().unwrap().pop().unwrap();
        done(Ok(()));
        assert_eq!(client.answer().await.unwrap().status, 200);
        assert_eq!(door.open.in_flight_bytes(), 0);
    });
}

#[test]
fn connections_carry_many_requests_also_at_once() {
    let door = door(|_, _| {});
    wait(async {
        let mut client = Client::to(&door).await;
        let both = [post("/v1/page", PAGE), post("/v1/page", "{}"), post("/v1/page", PAGE)].concat();
        client.send(&both).await;
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(client.answer().await.unwrap().status);
        }
        assert_eq!(statuses, [200, 400, 200]);
        let chunked = format!(
            "POST /v1/page HTTP/1.1\r\nHost: x\r\nAuthorization: Basic V0s6\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            &PAGE[..5],
            PAGE.len() - 5,
            &PAGE[5..]
        );
        client.send(chunked.as_bytes()).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
    });
    assert_eq!(door.memory.take_summaries().len(), 3);
}

#[test]
fn a_browsers_address_is_the_proxys_word_only_if_trusted() {
    for (trusted, expected) in [(false, "127.0.0.1"), (true, "198.51.100.7")] {
        let door = door(|options, _| options.trust_forwarded_for = trusted);
        let public = ("Authorization", "Basic UFVCTElDOg==");
        let headers = [public, ("X-Forwarded-For", "6.6.6.6, ::ffff:198.51.100.7")];
        assert_eq!(ask(&door, &request("POST", "/v1/page", &headers, PAGE.as_bytes())).status, 200);
        let submissions = door.memory.submissions.lock().unwrap();
        let needle = format!(r#"{{"ip":"{expected}"}}"#);
        let (records, _) = submissions.first().unwrap();
        assert!(records.windows(needle.len()).any(|window| window == needle.as_bytes()));
    }
}
