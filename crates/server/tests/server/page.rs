//! The status page over HTTP: who gets in, and whether it shows what the API answers.

use super::support::{Reply, Shop, raw, request};
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// No page is longer.
const PAGE_BYTES_MAX: usize = 1 << 20;
const HOSTILE: &str = "</td><script>alert(\"1\")</script>&'";

/// Sends the form, as a browser on the page does where `more` does not say otherwise.
fn log_in(shop: &Shop, token: &str, more: &[(&str, &str)]) -> Reply {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend_from_slice(more);
    request(
        shop.running.addresses().admin,
        "POST",
        "/login",
        &headers,
        Some(&format!("who=admin&token={token}")),
    )
}

/// `name=value` of the cookie that an answer sets.
fn cookie_of(reply: &Reply) -> String {
    // The test's client writes heads in lower case, and a session has upper case too: it is taken from the raw answer.
    let line = reply.head.lines().find(|line| line.starts_with("set-cookie:")).unwrap();
    line["set-cookie:".len()..].split(';').next().unwrap().trim().to_owned()
}

/// A session, made from the same secret by another hand: `openssl` could do it with this description alone. Keyed BLAKE3
/// over a purpose, the token's number, the token's own hash, and the second in which it ends.
fn forged(shop: &Shop, number: u32, ends_s: i64) -> String {
    let master: [u8; 32] = std::fs::read(shop.scratch.0.join("master.secret")).unwrap().try_into().unwrap();
    let key = blake3::derive_key("throughline 2026-11 repeatable requests", &master);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(b"session of the status page");
    hasher.update(&number.to_le_bytes());
    hasher.update(blake3::hash(shop.credentials.admin_token.as_bytes()).as_bytes());
    hasher.update(&ends_s.to_le_bytes());
    let seal = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hasher.finalize().as_bytes());
    format!("throughline_session={number}.{ends_s}.{seal}")
}

/// A session of the only token, ten minutes long.
fn session(shop: &Shop) -> String {
    forged(shop, number(shop), in_seconds(600))
}

/// The number of the only token.
fn number(shop: &Shop) -> u32 {
    let tokens = shop.admin("GET", "/admin/v1/tokens", None).json();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 1, "{tokens}");
    tokens["tokens"][0]["number"].as_u64().unwrap().try_into().unwrap()
}

fn in_seconds(seconds: i64) -> i64 {
    server::calendar::now_us() / 1_000_000 + seconds
}

fn page(shop: &Shop, path: &str, cookie: &str) -> Reply {
    request(shop.running.addresses().admin, "GET", path, &[("cookie", cookie)], None)
}

fn is_form(reply: &Reply) -> bool {
    // Nothing of the page: no figure, no station, not even the script that renews it.
    reply.body.contains("action=\"/login\"")
        && ["data-figure", "Stations", "page.js", "logout", "id=\"live\""]
            .iter()
            .all(|part| !reply.body.contains(part))
        && reply.body.len() < 3_000
}

/// Every figure of a page by its name, exactly.
fn figures(html: &str) -> BTreeMap<String, String> {
    let resolved = |text: &str| {
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    };
    let pairs = html.split("<data data-figure=\"").skip(1).map(|rest| {
        let mut parts = rest.split('"');
        let (name, value) = (parts.next().unwrap(), parts.nth(1).unwrap());
        (resolved(name), resolved(value))
    });
    pairs.collect()
}

fn switch_on(shop: &Shop) {
    let form = page(shop, "/", &session(shop));
    // With the very command that the page shows.
    let shown = form.body.replace("&quot;", "\"").replace("&#39;", "'");
    let given = shown.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
    let reply = shop.admin("PUT", "/admin/v1/settings/line", Some(given));
    assert_eq!(reply.status, 200, "{given}: {reply:?}");
}

fn track(shop: &Shop, user: &str, event: &str, properties: &Value) {
    let body = json!({ "userId": user, "event": event, "properties": properties }).to_string();
    let reply = shop.send("track", &body);
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// A small day: people are shown ads of three campaigns, most buy, some are shown on what they have bought.
fn a_day(shop: &Shop) {
    for number in 0..40 {
        let (user, order) = (format!("u{number}"), format!("o{number}"));
        let campaign = ["spring", "", HOSTILE][number % 3];
        let product = format!("p{}", number % 7);
        let ad = json!({ "campaign_id": campaign, "cost": "0.37", "currency": "EUR", "product_id": product });
        track(shop, &user, "Ad Impression", &ad);
        if number % 2 == 0 {
            track(shop, &user, "Ad Click", &ad);
            track(shop, &user, "Product Added", &json!({ "product_id": product }));
        }
        if number % 4 == 0 {
            let products = json!([{ "product_id": product, "price": 17.5 }]);
            let bought =
                json!({ "order_id": order, "total": "17.50", "currency": "EUR", "products": products });
            track(shop, &user, "Order Completed", &bought);
            track(shop, &user, "Order Confirmation Queued", &json!({ "order_id": order }));
            track(shop, &user, "Order Confirmation Accepted", &json!({ "order_id": order }));
            track(shop, &user, "Ad Impression", &ad);
        }
    }
}

#[test]
fn only_who_has_an_admin_token_sees_the_page() {
    let shop = Shop::open();
    let token = shop.credentials.admin_token.clone();
    let bare = request(shop.running.addresses().admin, "GET", "/", &[], None);
    assert!(bare.status == 200 && is_form(&bare), "{bare:?}");
    // A bearer's token is for programs; the page goes by its own session.
    assert!(is_form(&shop.admin("GET", "/", None)));
    let lesser = shop.token(&["profile:read", "decide"]);
    for (token, more, status) in [
        ("tlt_wrong", &[][..], 401),
        ("", &[], 401),
        (&lesser, &[], 401),
        (&token, &[("origin", "http://evil.example")], 403),
        (&token, &[("origin", "null")], 403),
        (&token, &[("sec-fetch-site", "cross-site")], 403),
        (&token, &[("sec-fetch-site", "same-site")], 403),
    ] {
        let reply = log_in(&shop, token, more);
        assert_eq!(reply.status, status, "{token} {more:?}");
        assert!(is_form(&reply) && reply.body.contains("role=\"alert\""), "{reply:?}");
        assert!(
            !reply.head.contains("set-cookie") && (token.is_empty() || !reply.body.contains(token)),
            "{reply:?}"
        );
    }
    let bad_host = request(shop.running.addresses().admin, "GET", "/", &[("host", "evil.example")], None);
    assert_eq!((bad_host.status, bad_host.code().as_str()), (403, "bad_host"));
    let large = log_in(&shop, &"x".repeat(2 << 20), &[]);
    assert_eq!((large.status, large.code().as_str()), (413, "body_too_large"));
    let own = format!("http://{}", shop.running.addresses().admin);
    let reply = log_in(&shop, &token, &[("origin", &own), ("sec-fetch-site", "same-origin")]);
    assert_eq!(reply.status, 303, "{reply:?}");
    assert!(reply.head.contains("location: /\r\n"));
    let set = reply.head.lines().find(|line| line.starts_with("set-cookie:")).unwrap();
    for part in ["; path=/", "; httponly", "; samesite=strict", "; max-age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("domain") && !set.contains(&token.to_ascii_lowercase()), "{set}");
    let out = request(shop.running.addresses().admin, "POST", "/logout", &[], Some(""));
    assert!(out.status == 303 && cookie_of(&out) == "throughline_session=" && out.head.contains("max-age=0"));
    shop.running.stop().unwrap();
}

#[test]
fn a_session_is_what_logging_in_gives_and_ends_in_time_or_with_its_token() {
    let shop = Shop::open();
    let number = number(&shop);
    let head = format!(
        "POST /login HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\ntoken={}",
        "token=".len() + shop.credentials.admin_token.len(),
        shop.credentials.admin_token
    );
    let given = raw(shop.running.addresses().admin, head.as_bytes());
    let ends_s: i64 = cookie_of(&given).split('.').nth(1).unwrap().parse().unwrap();
    assert!((in_seconds(12 * 3_600 - 60)..=in_seconds(12 * 3_600)).contains(&ends_s), "{ends_s}");
    // What we make from the description is what the server gives (its head was put into lower case).
    assert_eq!(forged(&shop, number, ends_s).to_ascii_lowercase(), cookie_of(&given));
    let seen = page(&shop, "/", &forged(&shop, number, ends_s));
    assert!(seen.status == 200 && seen.body.contains("Stations"), "{seen:?}");
    for cookie in [
        forged(&shop, number, in_seconds(0)),
        forged(&shop, number, in_seconds(-3_600)),
        // Longer than any session: the server never gave it.
        forged(&shop, number, in_seconds(12 * 3_600 + 60)),
        forged(&shop, number, ends_s).replace(&ends_s.to_string(), &(ends_s - 1).to_string()),
        "throughline_session=".to_owned(),
        format!("throughline_session={}", shop.credentials.admin_token),
    ] {
        assert!(is_form(&page(&shop, "/", &cookie)), "{cookie}");
    }
    // It opens the page and nothing else.
    let api = page(&shop, "/admin/v1/status", &forged(&shop, number, ends_s));
    assert_eq!(api.status, 401);
    // Another server has another secret.
    let other = Shop::open();
    assert!(is_form(&page(&other, "/", &forged(&shop, number, ends_s))));
    other.running.stop().unwrap();
    let shop = shop.restart();
    assert!(!is_form(&page(&shop, "/", &forged(&shop, number, ends_s))), "a restart ends no session");
    shop.token(&["admin"]);
    let revoked = shop.admin("DELETE", &format!("/admin/v1/tokens/{number}"), None);
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert!(is_form(&page(&shop, "/", &forged(&shop, number, ends_s))), "its token is gone");
    shop.running.stop().unwrap();
}

#[test]
fn the_page_shows_what_the_api_answers_and_hostile_names_stay_text() {
    let shop = Shop::open();
    let cookie = session(&shop);
    switch_on(&shop);
    let rule = json!({ "rule": "count(\"Product Added\", \"7d\") > 0" }).to_string();
    assert_eq!(shop.admin("PUT", "/admin/v1/audiences/%3Cb%3E%22carts%22", Some(&rule)).status, 200);
    a_day(&shop);
    // The page is made again at most once a second.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let shown = page(&shop, "/?over=24h", &cookie);
    assert_eq!(shown.status, 200);
    assert!(shown.body.len() < PAGE_BYTES_MAX, "{}", shown.body.len());
    let line = shop.admin("GET", "/admin/v1/metrics/line?by=campaign", None).json();
    let (total, figures) = (&line["total"], figures(&shown.body));
    let orders = total["throughput"]["orders"].as_i64().unwrap();
    assert_eq!((orders, total["scrap"]["spend_minor"].as_i64().unwrap()), (10, 70 * 37), "{total}");
    assert!(total["scrap"]["scrapped_minor"].as_i64().unwrap() >= 10 * 37, "{total}");
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut expect = |name: &str, value: &Value| {
        assert!(!value.is_null(), "{name} is not in the answer");
        expected.insert(name.to_owned(), value.to_string());
    };
    let throughput = &total["throughput"];
    expect("throughput", &throughput["cash_with_attention_minor_per_hour"]);
    expect("cash_with_attention", &throughput["cash_with_attention_minor"]);
    expect("orders", &throughput["orders"]);
    expect("orders_with_attention", &throughput["orders_with_attention"]);
    expect("scrap_rate", &total["scrap"]["rate_percent"]);
    expect("spend", &total["scrap"]["spend_minor"]);
    expect("scrapped", &total["scrap"]["scrapped_minor"]);
    for (reason, figures) in total["scrap"]["reasons"].as_object().unwrap() {
        expect(&format!("scrap.{reason}.impressions"), &figures["impressions"]);
        expect(&format!("scrap.{reason}.cost"), &figures["cost_minor"]);
    }
    for (span, figures) in total["cycle_time"]["spans"].as_object().unwrap() {
        let prefix = if span == "after_purchase" { "after_purchase_" } else { &format!("span.{span}.") };
        for quantile in ["p50", "p90"] {
            expect(&format!("{prefix}{quantile}"), &figures[format!("{quantile}_ms")]);
        }
    }
    expect("cycle_p50", &total["cycle_time"]["spans"]["cycle"]["p50_ms"]);
    let campaigns = line["by"].as_array().unwrap();
    assert_eq!(campaigns.len(), 3, "{campaigns:?}");
    for campaign in campaigns {
        let name = campaign["campaign"].as_str().unwrap();
        expect(&format!("campaign.{name}.spend"), &campaign["figures"]["scrap"]["spend_minor"]);
        expect(&format!("campaign.{name}.orders"), &campaign["figures"]["throughput"]["orders"]);
    }
    let audience = shop.admin("GET", "/admin/v1/audiences", None).json()["audiences"][0].clone();
    assert_eq!(audience["members"], 20, "{audience}");
    for what in ["members", "entries", "exits"] {
        expect(&format!("audience.<b>\"carts\".{what}"), &audience[what]);
    }
    expect("station.door.total", &shop.status()["accepted_events"]);
    assert!(expected.len() > 40, "{expected:?}");
    for (name, value) in &expected {
        // Shares and rates are the same numbers, however they are spelled.
        let same = |shown: &String| shown == value || shown.parse::<f64>().ok() == value.parse().ok();
        assert!(figures.get(name).is_some_and(same), "{name}: {value}, but {:?}", figures.get(name));
    }
    assert!(
        !shown.body.contains("<script>")
            && !shown.body.contains("<b>\"")
            && shown.body.contains("&lt;/td&gt;")
    );
    // Once a second is enough for everybody who looks.
    let (one, two) = (page(&shop, "/?over=7d", &cookie), page(&shop, "/?over=7d", &cookie));
    assert_eq!(one.body, two.body);
    shop.running.stop().unwrap();
}

#[test]
fn everything_comes_from_here_and_nothing_is_inline() {
    let shop = Shop::open();
    let cookie = session(&shop);
    let paths = ["/", "/?over=30d", "/?over=nonsense", "/page.css", "/page.js", "/icon.svg"];
    for (path, cookie) in paths.iter().flat_map(|path| [(path, ""), (path, cookie.as_str())]) {
        let reply = page(&shop, path, cookie);
        assert_eq!(reply.status, 200, "{path}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'\r\n",
            "x-frame-options: deny\r\n",
            "x-content-type-options: nosniff\r\n",
            "cache-control: no-store\r\n",
            "referrer-policy: same-origin\r\n",
        ] {
            assert!(
                format!("{}\r\n", reply.head).contains(header),
                "{path}: {header} is not in {}",
                reply.head
            );
        }
        if reply.head.contains("content-type: text/html") {
            for (index, _) in reply.body.match_indices("<script") {
                assert!(reply.body[index..].starts_with("<script src=\"/page.js\" defer></script>"));
            }
            assert!(!reply.body.contains("style=") && !reply.body.contains("http-equiv=\"content"));
            assert!(!reply.body.contains("src=\"http") && !reply.body.contains("href=\"http"));
        }
    }
    shop.running.stop().unwrap();
}
