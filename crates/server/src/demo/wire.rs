//! Events in the Segment e-commerce specification's words (version 2), written straight into bytes.

use super::retail::{Line, Product};
use crate::calendar::iso;
use std::io::Write as _;

/// The data are a grocer's in the United States.
const CURRENCY: &str = "USD";
const LIBRARY: &str = r#""library":{"name":"throughline demo","version":"1"}"#;

/// Who speaks, as an event says it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speaker<'a> {
    pub(super) user_id: Option<u32>,
    pub(super) anonymous_id: Option<&'a str>,
    /// An app says which device it runs on.
    pub(super) device_id: Option<&'a str>,
    /// Said when somebody logs in: whether they agreed to advertising.
    pub(super) advertising: Option<bool>,
}

/// A product with what was sold of it, ready to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sold<'a> {
    pub(super) line: Line,
    pub(super) product: Option<&'a Product>,
}

/// One JSON object that is being written. Writing to a `Vec` cannot fail, so results are let go.
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Begins a `track` or another call.
    pub(super) fn new(call: &str, message_id: &str, at_us: i64, speaker: Speaker<'_>) -> Self {
        let mut message = Self(Vec::with_capacity(512));
        message.raw(format_args!(
            r#"{{"type":"{call}","messageId":"{message_id}","timestamp":"{}""#,
            iso(at_us)
        ));
        if let Some(user_id) = speaker.user_id {
            message.raw(format_args!(r#","userId":"{user_id}""#));
        }
        if let Some(anonymous_id) = speaker.anonymous_id {
            message.raw(format_args!(r#","anonymousId":"{anonymous_id}""#));
        }
        message.context(speaker);
        message
    }

    /// Adds who it is.
    pub(super) fn traits(mut self, email: &str) -> Self {
        self.raw(format_args!(r#","traits":{{"email":"{email}"}}"#));
        self
    }

    /// Names the event and opens its properties.
    pub(super) fn event(mut self, name: &str) -> Self {
        self.raw(format_args!(r#","event":"{name}","properties":{{"currency":"{CURRENCY}""#));
        self
    }

    /// Adds a property whose value is plain text or needs escapes.
    pub(super) fn property(mut self, name: &str, value: &str) -> Self {
        self.raw(format_args!(r#","{name}":"#));
        self.text(value);
        self
    }

    /// Adds an amount.
    pub(super) fn amount(mut self, name: &str, minor: i64) -> Self {
        self.raw(format_args!(r#","{name}":"#));
        self.money(minor);
        self
    }

    /// Adds a number of millionths.
    pub(super) fn micro(mut self, name: &str, micro: i64) -> Self {
        self.raw(format_args!(r#","{name}":{}.{:06}"#, micro / 1_000_000, micro % 1_000_000));
        self
    }

    /// Adds true or false.
    pub(super) fn flag(mut self, name: &str, value: bool) -> Self {
        self.raw(format_args!(r#","{name}":{value}"#));
        self
    }

    /// Adds the members of one product to the properties themselves.
    pub(super) fn product(mut self, sold: Sold<'_>) -> Self {
        self.raw(format_args!(","));
        self.members(sold);
        self
    }

    /// Adds `products`.
    pub(super) fn products<'a>(mut self, all: impl Iterator<Item = Sold<'a>>) -> Self {
        self.raw(format_args!(r#","products":["#));
        for (index, sold) in all.enumerate() {
            self.raw(format_args!("{}", if index == 0 { "{" } else { ",{" }));
            self.members(sold);
            self.raw(format_args!("}}"));
        }
        self.raw(format_args!("]"));
        self
    }

    /// Closes properties and message.
    pub(super) fn finish_event(mut self) -> Vec<u8> {
        self.raw(format_args!("}}}}"));
        self.0
    }

    /// Closes a message without properties.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.raw(format_args!("}}"));
        self.0
    }

    fn context(&mut self, speaker: Speaker<'_>) {
        self.raw(format_args!(r#","context":{{{LIBRARY}"#));
        match speaker.device_id {
            Some(id) => self.raw(format_args!(r#","device":{{"id":"{id}","type":"android"}}"#)),
            None if speaker.anonymous_id.is_some() => {
                self.raw(format_args!(r#","userAgent":"Mozilla/5.0 (synthetic)""#));
            }
            None => {}
        }
        if let Some(granted) = speaker.advertising {
            self.raw(format_args!(r#","consent":{{"categoryPreferences":{{"Advertising":{granted}}}}}"#));
        }
        self.raw(format_args!("}}"));
    }

    fn members(&mut self, sold: Sold<'_>) {
        let priced = priced(sold.line);
        self.raw(format_args!(r#""product_id":"{}""#, sold.line.product_id));
        if let Some(product) = sold.product {
            for (name, value) in
                [("category", &product.category), ("name", &product.name), ("brand", &product.brand)]
            {
                if !value.is_empty() {
                    self.raw(format_args!(r#","{name}":"#));
                    self.text(value);
                }
            }
        }
        self.raw(format_args!(r#","quantity":{},"price":"#, priced.quantity));
        self.money(priced.price_minor);
        if let Some(units) = priced.units {
            self.raw(format_args!(r#","units":{units}"#));
        }
    }

    fn money(&mut self, minor: i64) {
        let sign = if minor < 0 { "-" } else { "" };
        let minor = minor.unsigned_abs();
        self.raw(format_args!("{sign}{}.{:02}", minor / 100, minor % 100));
    }

    fn text(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut self.0, text);
    }

    fn raw(&mut self, arguments: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(arguments);
    }
}

/// A line as quantity times unit price, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priced {
    pub(super) quantity: u32,
    pub(super) price_minor: i64,
    /// The data's quantity, where it is not `quantity`.
    pub(super) units: Option<u32>,
}

/// The data give what was received for a line. Where that is no whole number of cents a piece (fuel by the
/// thousandth, three for a dollar), the line is one piece at the line's price, so that the products of an order
/// always add up to it.
pub(super) fn priced(line: Line) -> Priced {
    let quantity = i64::from(line.quantity);
    if quantity > 0 && line.sales_minor % quantity == 0 {
        return Priced { quantity: line.quantity, price_minor: line.sales_minor / quantity, units: None };
    }
    Priced { quantity: 1, price_minor: line.sales_minor, units: Some(line.quantity) }
}
