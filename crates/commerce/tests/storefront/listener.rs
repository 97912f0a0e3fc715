//! The listener: paths, tokens, bounds, what is refused first, and the checkout's pages behind the same port.

use crate::fixture::{Fixture, NOW};
use commerce::http::{
    CheckoutPages, OpenShopDoor, PageAnswer, PageAsked, Pressure, Refusing, ShopDoor, ShopDoorOptions,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

const PATH: &str = "/api/2026-04/graphql.json";

struct Pages;

impl CheckoutPages for Pages {
    fn answer<'a>(&'a self, asked: PageAsked<'a>) -> Pin<Box<dyn Future<Output = PageAnswer> + Send + 'a>> {
        let html = format!("{} {} {}", asked.is_post, asked.path, String::from_utf8_lossy(asked.body));
        Box::pin(async move { PageAnswer { status: 200, location: None, html } })
    }
}

struct Listening {
    fixture: Fixture,
    open: OpenShopDoor,
    pressure: Arc<Pressure>,
}

impl Listening {
    fn new(name: &str, change: impl FnOnce(&mut ShopDoorOptions)) -> Self {
        let fixture = Fixture::new(name);
        let pressure = Arc::new(Pressure::default());
        let door = ShopDoor {
            storefront: Arc::clone(&fixture.door),
            pages: Some(Arc::new(Pages)),
            now: Arc::new(|| NOW),
            pressure: Arc::clone(&pressure),
        };
        let mut options = ShopDoorOptions::at(SocketAddr::from(([127, 0, 0, 1], 0)));
        change(&mut options);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
        };
        let open = door.open(options, &spawn).unwrap();
        Self { fixture, open, pressure }
    }

    /// Status, head and body of the answer to raw bytes.
    fn raw(&self, bytes: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.open.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut all = Vec::new();
        let mut part = [0; 65_536];
        loop {
            let read = stream.read(&mut part).unwrap();
            all.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&all).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                assert!(read > 0, "no answer: {text}");
                continue;
            };
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if body.len() >= length || read == 0 {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, head.clone(), body.to_owned());
            }
        }
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: shop\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        self.raw(request.as_bytes())
    }

    fn ask(&self, headers: &str, query: &str) -> (u16, Value) {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        let (status, _, body) = self.send("POST", PATH, &headers, &json!({ "query": query }).to_string());
        (status, serde_json::from_str(&body).unwrap())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.open.close();
        self.fixture.run(async {});
    }
}

#[test]
fn requests_are_answered_by_path_method_and_kind() {
    let listening = Listening::new("listener", |_| {});
    let shop = "{ shop { name } }";
    let in_json =
        json!({ "query": shop, "variables": {}, "operationName": null, "extensions": {} }).to_string();
    let kind = "Content-Type: application/json\r\n";
    let raw_kind = "Content-Type: application/graphql\r\n";
    let answered = "{\"data\":{\"shop\":{\"name\":\"Corner Shop\"}}}";
    for (method, path, headers, body, status, part) in [
        ("POST", PATH, kind, in_json.as_str(), 200, answered),
        ("POST", "/api/2031-01/graphql.json", kind, &in_json, 200, answered),
        ("POST", "/api/unstable/graphql.json", raw_kind, shop, 200, answered),
        ("POST", PATH, "Content-Type: application/json; charset=utf-8\r\n", &in_json, 200, answered),
        ("POST", PATH, "", &in_json, 200, answered),
        ("POST", PATH, kind, "{\"query\":\"{ nothing }\"}", 200, "INVALID_DOCUMENT"),
        ("POST", PATH, kind, "{\"query\":", 400, "BAD_REQUEST"),
        ("POST", PATH, kind, "[]", 400, "BAD_REQUEST"),
        ("POST", PATH, kind, "{}", 400, "query is missing"),
        ("POST", PATH, kind, "{\"query\":\"{a}\",\"variables\":[]}", 400, "variables has to be an object"),
        ("POST", PATH, kind, "{\"query\":7}", 400, "BAD_REQUEST"),
        ("POST", PATH, "Content-Type: text/xml\r\n", "<a/>", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("GET", PATH, "", "", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/2026-4/graphql.json", kind, &in_json, 404, "NOT_FOUND"),
        ("GET", "/", "", "", 404, "NOT_FOUND"),
        ("GET", "/healthz", "", "", 200, "ok"),
        ("GET", "/checkout/abc?step=pay", "", "", 200, "false /checkout/abc?step=pay "),
        ("POST", "/checkout/abc", "", "a=b", 200, "true /checkout/abc a=b"),
        ("PUT", "/checkout/abc", "", "", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let (got, head, text) = listening.send(method, path, headers, body);
        assert_eq!(got, status, "{method} {path} {body}: {text}");
        assert!(text.contains(part), "{method} {path} {body}: {text}");
        assert_eq!(
            path.starts_with("/checkout"),
            head.contains("no-store") || got == 405 && path.starts_with("/checkout"),
            "{head}"
        );
    }
    let (status, _, body) = listening.send("POST", PATH, kind, &"x".repeat((1 << 20) + 1));
    assert_eq!((status, body.contains("BODY_TOO_LARGE")), (413, true));
    let (status, _, _) = listening.raw(b"nonsense\r\n\r\n");
    assert_eq!(status, 400);
}

#[test]
fn pages_of_other_origins_may_ask() {
    let listening = Listening::new("origins", |_| {});
    let asked = "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: content-type, x-sdk-variant\r\n";
    let (status, head, _) = listening.send("OPTIONS", PATH, asked, "");
    assert_eq!(status, 204);
    assert!(head.contains("access-control-allow-origin: *"));
    assert!(head.contains("access-control-allow-headers: content-type, x-sdk-variant"));
    let (_, head, _) =
        listening.send("POST", PATH, "Origin: https://a.example\r\n", "{\"query\":\"{ shop { id } }\"}");
    assert!(
        head.contains("access-control-allow-origin: *") && head.contains("x-shopify-api-version: 2026-04")
    );
    assert!(!head.contains("credentials"), "{head}");
}

#[test]
fn tokens_open_where_there_are_any() {
    let listening = Listening::new("tokens", |options| {
        options.public_tokens = vec!["public-1".to_owned(), "public-2".to_owned()];
        options.private_tokens = vec!["private".to_owned()];
    });
    for (headers, status) in [
        ("", 401),
        ("X-Shopify-Storefront-Access-Token: wrong\r\n", 401),
        ("X-Shopify-Storefront-Access-Token: \r\n", 401),
        ("X-Shopify-Storefront-Access-Token: private\r\n", 401),
        ("Shopify-Storefront-Private-Token: public-1\r\n", 401),
        ("X-Shopify-Storefront-Access-Token: public-2\r\n", 200),
        ("Shopify-Storefront-Private-Token: private\r\nShopify-Storefront-Buyer-IP: 192.0.2.7\r\n", 200),
    ] {
        assert_eq!(listening.ask(headers, "{ shop { id } }").0, status, "{headers}");
    }
}

#[test]
fn who_looks_around_is_refused_first_and_who_pays_last() {
    let listening = Listening::new("pressure", |_| {});
    let change = "mutation { cartCreate { cart { id } } }";
    let page = |listening: &Listening| listening.send("GET", "/checkout/abc", "", "").0;
    for (refusing, browse, cart, pay) in [
        (Refusing::Nobody, 200, 200, 200),
        (Refusing::Browsing, 503, 200, 200),
        (Refusing::Carts, 503, 503, 200),
        (Refusing::Checkouts, 503, 503, 503),
    ] {
        listening.pressure.set(refusing);
        assert_eq!(listening.ask("", "{ shop { id } }").0, browse, "{refusing:?}");
        assert_eq!(listening.ask("", change).0, cart, "{refusing:?}");
        assert_eq!(page(&listening), pay, "{refusing:?}");
        assert_eq!(listening.send("GET", "/healthz", "", "").0, 200);
    }
    let body = json!({ "query": change }).to_string();
    let (_, head, _) = listening.send("POST", PATH, "Content-Type: application/json\r\n", &body);
    assert!(head.contains("retry-after: 1"), "{head}");
}

#[test]
fn the_same_key_is_one_change() {
    let listening = Listening::new("once", |_| {});
    let id = listening.fixture.cart(json!([]));
    let add = |key: &str, quantity: u32| {
        let query = format!(
            "mutation {{ cartLinesAdd(cartId: \"{id}\", lines: [{{ quantity: {quantity},
               merchandiseId: \"gid://shopify/ProductVariant/200\" }}]) {{ cart {{ totalQuantity }} userErrors {{ message }} }} }}"
        );
        listening.ask(&format!("Idempotency-Key: {key}\r\n"), &query).1["data"]["cartLinesAdd"].take()
    };
    assert_eq!(add("a", 2)["cart"]["totalQuantity"], 2);
    assert_eq!(add("a", 2)["cart"]["totalQuantity"], 2, "the same once more");
    let other = add("a", 3);
    assert!(other["userErrors"][0]["message"].as_str().unwrap().contains("idempotency"), "{other}");
    assert_eq!(add("b", 2)["cart"]["totalQuantity"], 4);
}
