//! The pages of the checkout, as HTML that needs no script.
//!
//! Every text goes through the macro, which escapes it; there is no raw text of a buyer or operator anywhere.

use super::format::{money, percent};
use super::texts::Texts;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use model::commerce::cart::{Address, Cart};
use model::commerce::market::Country;
use model::commerce::money::Currency;
use model::commerce::order::{Order, Totals};
use std::collections::BTreeMap;

/// What all pages of a checkout show.
pub(crate) struct Frame<'a> {
    pub(crate) texts: &'a Texts,
    /// How amounts are written.
    pub(crate) language: &'a str,
    pub(crate) shop: &'a str,
    /// The address of the shop, if it has one.
    pub(crate) home: &'a str,
    /// The page's own path: `/checkout/TOKEN`.
    pub(crate) path: &'a str,
}

/// A line as buyers see it.
pub(crate) struct Item {
    pub(crate) title: String,
    pub(crate) variant: String,
    pub(crate) image: Option<String>,
    pub(crate) quantity: u32,
    pub(crate) total_minor: i64,
}

/// A way of sending that can be chosen.
pub(crate) struct Way {
    pub(crate) handle: String,
    pub(crate) title: String,
    pub(crate) price_minor: i64,
}

/// A way of paying that can be chosen.
pub(crate) struct Means {
    /// Provider and method, as the form sends them back.
    pub(crate) value: String,
    pub(crate) title: String,
}

/// What is wrong with what was sent: by field, or with all of it under the empty name.
pub(crate) type Problems = BTreeMap<&'static str, &'static str>;

/// Of every page.
const STYLE: &str = "\
:root{color-scheme:light dark;--edge:#8886;--mark:#1a56db;--bad:#c81e1e}\
@media(prefers-color-scheme:dark){:root{--mark:#7ba6ff;--bad:#ff8a80}}\
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1rem}\
header{border-bottom:1px solid var(--edge);margin-bottom:1rem}h1{font-size:1.5rem}h2{font-size:1.2rem}\
.columns{display:flex;flex-wrap:wrap;gap:2rem}.columns>*{flex:1 1 20rem}\
label{display:block;margin:.6rem 0 .1rem}input,select{font:inherit;width:100%;padding:.5rem;border:1px solid var(--edge);border-radius:.3rem}\
input[type=radio]{width:auto}input:focus-visible,select:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid var(--mark);outline-offset:2px}\
button,.button{font:inherit;font-weight:600;display:inline-block;margin-top:1rem;padding:.7rem 1.4rem;border:0;border-radius:.3rem;background:var(--mark);color:Canvas;text-decoration:none;cursor:pointer}\
table{border-collapse:collapse;width:100%}td,th{padding:.3rem 0;text-align:left;vertical-align:top}td.amount,th.amount{text-align:right;white-space:nowrap}\
tr.total{border-top:1px solid var(--edge);font-weight:600}img{width:3.5rem;height:3.5rem;object-fit:cover;border-radius:.3rem}\
.problem{color:var(--bad)}.problems{border:2px solid var(--bad);border-radius:.3rem;padding:.5rem 1rem;margin-bottom:1rem}\
.steps{display:flex;gap:1.5rem;list-style:none;padding:0}.steps [aria-current]{font-weight:600;text-decoration:underline}\
fieldset{border:1px solid var(--edge);border-radius:.3rem;margin:.5rem 0}.choice{display:flex;gap:.6rem;padding:.4rem 0}.choice label{margin:0;flex:1}.quiet{opacity:.75}";

/// A page around something. `again_s` makes the browser ask again after so many seconds.
fn page(frame: &Frame<'_>, title: &str, again_s: Option<u32>, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang=(frame.texts.language) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                meta name="referrer" content="no-referrer";
                @if let Some(seconds) = again_s { meta http-equiv="refresh" content=(seconds); }
                title { (title) " · " (frame.shop) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p { @if frame.home.is_empty() { (frame.shop) } @else { a href=(frame.home) { (frame.shop) } } }
                }
                main { h1 { (title) } (body) }
            }
        }
    };
    page.into_string()
}

fn steps(frame: &Frame<'_>, current: usize) -> Markup {
    let addresses = ["", "/delivery", "/payment"];
    html! {
        nav aria-label=(frame.texts.checkout) {
            ol.steps {
                @for (index, (name, place)) in frame.texts.steps.iter().zip(addresses).enumerate() {
                    li {
                        @if index == current { span aria-current="step" { (name) } }
                        @else if index < current { a href={ (frame.path) (place) } { (name) } }
                        @else { span.quiet { (name) } }
                    }
                }
            }
        }
    }
}

fn told(frame: &Frame<'_>, problems: &Problems) -> Markup {
    html! {
        @if !problems.is_empty() {
            div.problems role="alert" {
                @if let Some(whole) = problems.get("") { p { (whole) } }
                @else { p { (frame.texts.problems) } }
                @let fields: Vec<_> = problems.iter().filter(|(field, _)| !field.is_empty()).collect();
                @if !fields.is_empty() {
                    ul { @for (field, problem) in fields { li { a href={ "#" (field) } { (label_of(frame.texts, field)) " " (problem) } } } }
                }
            }
        }
    }
}

fn label_of(texts: &Texts, field: &str) -> &'static str {
    match field {
        "email" => texts.email,
        "first_name" => texts.first_name,
        "last_name" => texts.last_name,
        "company" => texts.company,
        "address1" => texts.address1,
        "address2" => texts.address2,
        "zip" => texts.zip,
        "city" => texts.city,
        "province" => texts.province,
        "country" => texts.country,
        "phone" => texts.phone,
        _ => "",
    }
}

/// The sums of a cart or order, with its lines.
fn summary(frame: &Frame<'_>, items: &[Item], totals: &Totals) -> Markup {
    let amount = |minor: i64| money(minor, totals.currency, frame.language);
    let texts = frame.texts;
    let mut taxes: BTreeMap<(&str, u32), i64> = BTreeMap::new();
    let of_lines = totals.lines.iter().flat_map(|line| &line.taxes);
    for tax in of_lines.chain(totals.shipping.iter().flat_map(|shipping| &shipping.taxes)) {
        *taxes.entry((&tax.name, tax.rate_ppm)).or_default() += tax.amount_minor;
    }
    html! {
        section aria-labelledby="order" {
            h2 #order { (texts.your_order) }
            table {
                tbody {
                    @for item in items {
                        tr {
                            td { @if let Some(image) = &item.image { img src=(image) alt="" loading="lazy"; } }
                            td {
                                (item.title)
                                @if !item.variant.is_empty() { br; span.quiet { (item.variant) } }
                                br; span.quiet { (texts.quantity) ": " (item.quantity) }
                            }
                            td.amount { (amount(item.total_minor)) }
                        }
                    }
                    tr { th scope="row" colspan="2" { (texts.subtotal) } td.amount { (amount(totals.subtotal_minor)) } }
                    @if totals.discount_minor != 0 {
                        tr { th scope="row" colspan="2" { (texts.discount) } td.amount { (amount(-totals.discount_minor)) } }
                    }
                    @if let Some(shipping) = &totals.shipping {
                        tr {
                            th scope="row" colspan="2" { (texts.shipping) " · " (shipping.title) }
                            td.amount { (amount(totals.shipping_minor)) }
                        }
                    }
                    @if !totals.prices_include_tax { (tax_rows(frame, &taxes, totals.currency, texts.tax)) }
                    tr.total { th scope="row" colspan="2" { (texts.total) } td.amount { (amount(totals.total_minor)) } }
                    @if totals.prices_include_tax { (tax_rows(frame, &taxes, totals.currency, texts.tax_included)) }
                }
            }
        }
    }
}

fn tax_rows(frame: &Frame<'_>, taxes: &BTreeMap<(&str, u32), i64>, currency: Currency, what: &str) -> Markup {
    html! {
        @for ((name, rate_ppm), minor) in taxes {
            tr.quiet {
                th scope="row" colspan="2" { (what) " · " (name) " " (percent(*rate_ppm, frame.language)) }
                td.amount { (money(*minor, currency, frame.language)) }
            }
        }
    }
}

/// A field of the address. Browsers fill it by its `autocomplete`.
struct Field<'a> {
    name: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
    value: &'a str,
    needed: bool,
}

fn field(frame: &Frame<'_>, field: &Field<'_>, problems: &Problems) -> Markup {
    let Field { name, kind, autocomplete, value, needed } = *field;
    let problem = problems.get(name);
    html! {
        label for=(name) {
            (label_of(frame.texts, name))
            @if !needed { span.quiet { " (" (frame.texts.optional) ")" } }
        }
        input id=(name) name=(name) type=(kind) autocomplete=(autocomplete) value=(value) maxlength="255"
            required[needed] aria-invalid[problem.is_some()]
            aria-describedby=[problem.map(|_| format!("{name}-problem"))];
        @if let Some(problem) = problem { span.problem id={ (name) "-problem" } { (problem) } }
    }
}

/// The first step: who buys, and where it goes.
pub(crate) fn address_page(
    frame: &Frame<'_>,
    cart: &Cart,
    given: &Address,
    email: &str,
    countries: &[Country],
    order: (&[Item], &Totals),
    problems: &Problems,
) -> String {
    let text = |name, autocomplete, value, needed| Field { name, kind: "text", autocomplete, value, needed };
    let body = html! {
        (steps(frame, 0))
        div.columns {
            form method="post" action=(frame.path) {
                (told(frame, problems))
                input type="hidden" name="revision" value=(cart.revision);
                (field(frame, &Field { kind: "email", ..text("email", "email", email, true) }, problems))
                (field(frame, &text("first_name", "given-name", &given.first_name, false), problems))
                (field(frame, &text("last_name", "family-name", &given.last_name, true), problems))
                (field(frame, &text("company", "organization", &given.company, false), problems))
                (field(frame, &text("address1", "address-line1", &given.address1, true), problems))
                (field(frame, &text("address2", "address-line2", &given.address2, false), problems))
                (field(frame, &text("zip", "postal-code", &given.zip, false), problems))
                (field(frame, &text("city", "address-level2", &given.city, true), problems))
                (field(frame, &text("province", "address-level1", &given.province, false), problems))
                label for="country" { (frame.texts.country) }
                select #country name="country" autocomplete="country" required {
                    @for country in countries {
                        @let code = std::str::from_utf8(country).unwrap_or_default();
                        option value=(code) selected[*country == given.country] { (code) }
                    }
                }
                @if let Some(problem) = problems.get("country") { span.problem #country-problem { (problem) } }
                (field(frame, &Field { kind: "tel", ..text("phone", "tel", &given.phone, false) }, problems))
                button type="submit" { (frame.texts.go_on) }
            }
            (summary(frame, order.0, order.1))
        }
    };
    page(frame, frame.texts.checkout, None, &body)
}

/// The second step: how it is sent.
pub(crate) fn delivery_page(
    frame: &Frame<'_>,
    cart: &Cart,
    ways: &[Way],
    order: (&[Item], &Totals),
    problems: &Problems,
) -> String {
    let amount = |minor| money(minor, order.1.currency, frame.language);
    let chosen = cart.shipping_method.as_deref().or_else(|| ways.first().map(|way| way.handle.as_str()));
    let body = html! {
        (steps(frame, 1))
        div.columns {
            form method="post" action={ (frame.path) "/delivery" } {
                (told(frame, problems))
                input type="hidden" name="revision" value=(cart.revision);
                @if ways.is_empty() {
                    p role="alert" { (frame.texts.no_delivery) }
                    a.button href=(frame.path) { (frame.texts.change) }
                } @else {
                    fieldset {
                        legend { (frame.texts.delivery) }
                        @for (index, way) in ways.iter().enumerate() {
                            div.choice {
                                input type="radio" id={ "way-" (index) } name="method" value=(way.handle) required
                                    checked[chosen == Some(way.handle.as_str())];
                                label for={ "way-" (index) } { (way.title) }
                                span { (amount(way.price_minor)) }
                            }
                        }
                    }
                    button type="submit" { (frame.texts.go_on) }
                }
            }
            (summary(frame, order.0, order.1))
        }
    };
    page(frame, frame.texts.checkout, None, &body)
}

/// The third step: how it is paid.
pub(crate) fn payment_page(
    frame: &Frame<'_>,
    cart: &Cart,
    means: &[Means],
    order: (&[Item], &Totals),
    problems: &Problems,
) -> String {
    let total = money(order.1.total_minor, order.1.currency, frame.language);
    let body = html! {
        (steps(frame, 2))
        div.columns {
            form method="post" action={ (frame.path) "/payment" } {
                (told(frame, problems))
                input type="hidden" name="revision" value=(cart.revision);
                input type="hidden" name="total_minor" value=(order.1.total_minor);
                fieldset {
                    legend { (frame.texts.payment) }
                    @for (index, means) in means.iter().enumerate() {
                        div.choice {
                            input type="radio" id={ "means-" (index) } name="means" value=(means.value) required
                                checked[index == 0];
                            label for={ "means-" (index) } { (means.title) }
                        }
                    }
                }
                button type="submit" { (frame.texts.pay) " " (total) }
            }
            (summary(frame, order.0, order.1))
        }
    };
    page(frame, frame.texts.checkout, None, &body)
}

/// The payment is under way. Where the buyer has to go somewhere for it, it says so.
pub(crate) fn processing_page(
    frame: &Frame<'_>,
    action_url: Option<&str>,
    order: (&[Item], &Totals),
) -> String {
    const AGAIN_S: u32 = 2;
    let texts = frame.texts;
    let title = if action_url.is_some() { texts.action } else { texts.processing };
    let body = html! {
        div.columns {
            div role="status" {
                @if let Some(url) = action_url {
                    p { (texts.action_more) }
                    a.button href=(url) rel="noreferrer" { (texts.to_provider) }
                } @else { p { (texts.processing_more) } }
            }
            (summary(frame, order.0, order.1))
        }
    };
    page(frame, title, Some(AGAIN_S), &body)
}

/// It is an order.
pub(crate) fn thank_you_page(frame: &Frame<'_>, order: &Order, items: &[Item]) -> String {
    let texts = frame.texts;
    let body = html! {
        div.columns {
            div {
                p { (texts.order_number) " " strong #order-number { (order.number) } }
                @if let Some(email) = &order.buyer.email { p { (texts.confirmation) " " (email) "." } }
                @if let Some(address) = &order.address { (postal(address)) }
                @if !frame.home.is_empty() { a.button href=(frame.home) { (texts.back_to_shop) } }
            }
            (summary(frame, items, &order.totals))
        }
    };
    page(frame, texts.thank_you, None, &body)
}

fn postal(address: &Address) -> Markup {
    let name = format!("{} {}", address.first_name, address.last_name);
    let town = format!("{} {}", address.zip, address.city);
    let country = std::str::from_utf8(&address.country).unwrap_or_default();
    let lines = [
        address.company.as_str(),
        name.trim(),
        &address.address1,
        &address.address2,
        town.trim(),
        &address.province,
        country,
    ];
    html! { address { @for line in lines.iter().filter(|line| !line.is_empty()) { (line) br; } } }
}

/// There is nothing to check out.
pub(crate) fn nothing_page(frame: &Frame<'_>, gone: bool) -> String {
    let texts = frame.texts;
    let (title, more) = if gone { (texts.gone, texts.gone_more) } else { (texts.checkout, texts.empty) };
    let body = html! {
        p { (more) }
        @if !frame.home.is_empty() { a.button href=(frame.home) { (texts.back_to_shop) } }
    };
    page(frame, title, None, &body)
}

/// Nothing can be said of the shop now.
pub(crate) fn trouble_page(texts: &Texts) -> String {
    let frame = Frame { texts, language: texts.language, shop: "", home: "", path: "" };
    page(&frame, texts.checkout, None, &html! { p role="alert" { (texts.busy) } })
}
