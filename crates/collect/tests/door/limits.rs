//! Slow, greedy and many clients.

use crate::support::{Client, SERVER, Word, ask, door, gzip, post, request, wait};
use std::time::Duration;

const PAGE: &str = r#"{"type":"page","userId":"u","messageId":"m"}"#;

#[test]
fn a_slow_head_is_cut_off() {
    let door = door(|options, _| options.head_timeout = Duration::from_millis(200));
    wait(async {
        let mut slow = Client::to(&door).await;
        slow.send(b"POST /v1/page HTTP/1.1\r\nHost: x\r\n").await;
        let answer = slow.answer().await;
        assert!(answer.is_none_or(|answer| answer.status == 408));
        let mut silent = Client::to(&door).await;
        assert!(silent.answer().await.is_none_or(|answer| answer.status == 408));
    });
    assert_eq!(ask(&door, &post("/v1/page", PAGE)).status, 200);
}

#[test]
fn a_slow_body_is_cut_off() {
    let door = door(|options, _| options.body_timeout = Duration::from_millis(200));
    wait(async {
        let mut slow = Client::to(&door).await;
        slow.send(
            b"POST /v1/page HTTP/1.1\r\nHost: x\r\nAuthorization: Basic V0s6\r\nContent-Length: 90\r\n\r\n{",
        )
        .await;
        let answer = slow.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_too_slow"));
        assert!(slow.answer().await.is_none(), "and the connection is closed");
    });
    assert_eq!(door.open.in_flight_bytes(), 0);
    assert!(door.memory.take_summaries().is_empty());
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let door = door(|options, _| options.connections_max = 2);
    wait(async {
        let mut first = Client::to(&door).await;
        let mut second = Client::to(&door).await;
        for client in [&mut first, &mut second] {
            client.send(&post("/v1/page", PAGE)).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
        }
        let answer = Client::to(&door).await.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.code().as_str(), answer.header("retry-after")),
            (503, "busy", Some("1"))
        );
        drop(first);
        loop {
            let mut next = Client::to(&door).await;
            let sent = next.stream.try_write(&post("/v1/page", PAGE)).is_ok();
            if sent && next.answer().await.is_some_and(|answer| answer.status == 200) {
                break;
            }
        }
    });
}

#[test]
fn memory_for_requests_is_bounded() {
    let body = format!(r#"{{"userId":"u","x":"{}"}}"#, "x".repeat(30_000));
    let door = door(|options, _| options.in_flight_bytes_max = 100_000);
    door.memory.say(Word::Held);
    wait(async {
        let mut waiting = Client::to(&door).await;
        waiting.send(&post("/v1/page", &body)).await;
        while door.memory.held.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let bomb = gzip(format!(r#"{{"userId":"u","x":"{}"}}"#, "x".repeat(900_000)).as_bytes());
        let mut greedy = Client::to(&door).await;
        greedy.send(&request("POST", "/v1/page", &[SERVER, ("Content-Encoding", "gzip")], &bomb)).await;
        let answer = greedy.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.code().as_str(), answer.header("retry-after")),
            (503, "busy", Some("1"))
        );
        let large = format!(r#"{{"userId":"u","x":"{}"}}"#, "x".repeat(90_000));
        let mut greedy = Client::to(&door).await;
        greedy.send(&post("/v1/page", &large)).await;
        assert_eq!(greedy.answer().await.unwrap().status, 503);
        door.memory.say(Word::Yes);
        door.memory.held.lock().unwrap().pop().unwrap()(Ok(()));
        assert_eq!(waiting.answer().await.unwrap().status, 200);
    });
    assert_eq!(door.open.in_flight_bytes(), 0);
    assert_eq!(ask(&door, &post("/v1/page", PAGE)).status, 200);
}

#[test]
fn closing_lets_open_requests_finish() {
    let door = door(|_, _| {});
    door.memory.say(Word::Held);
    wait(async {
        let mut client = Client::to(&door).await;
        client.send(&post("/v1/page", PAGE)).await;
        while door.memory.held.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        door.open.close();
        tokio::time::sleep(Duration::from_millis(100)).await;
        door.memory.held.lock().unwrap().pop().unwrap()(Ok(()));
        assert_eq!(client.answer().await.unwrap().status, 200);
        assert!(client.answer().await.is_none(), "then the connection ends");
        assert!(tokio::net::TcpStream::connect(door.open.address()).await.is_err(), "and nobody listens");
    });
}

/// Long before the time for the next head is over, and whether or not there was a request before.
#[test]
fn closing_ends_idle_connections_at_once() {
    let door = door(|options, _| options.head_timeout = Duration::from_secs(600));
    wait(async {
        let mut used = Client::to(&door).await;
        used.send(&post("/v1/page", PAGE)).await;
        assert_eq!(used.answer().await.unwrap().status, 200);
        let mut unused = Client::to(&door).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        door.open.close();
        assert!(used.answer().await.is_none(), "an idle connection ends");
        assert!(unused.answer().await.is_none(), "and one that was never used");
    });
}
