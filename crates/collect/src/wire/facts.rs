//! The fields inside `properties`, `traits` and `context` that rules look at, read in the same pass that finds where
//! those objects begin and end.

use crate::json::{JsonError, Reader, Value};
use crate::wire::problem::{Problem, WireError};
use model::event::{Consent, MAX_PRODUCTS};
use model::normalise::trimmed;
use std::borrow::Cow;

/// Text, borrowed from the body unless it held escapes.
pub(crate) type Text<'a> = Cow<'a, str>;

/// The most consent categories of one event, in either of the two forms.
const MAX_CONSENT_CATEGORIES: usize = 64;
/// The most entries of `context.externalIds` that are looked at.
const MAX_EXTERNAL_IDS: usize = 32;

/// How to reach somebody.
#[derive(Debug, Default)]
pub(crate) struct Contact<'a> {
    pub(crate) email: Option<Text<'a>>,
    pub(crate) phone: Option<Text<'a>>,
}

/// A product as it was sent.
#[derive(Debug, Default)]
pub(crate) struct WireProduct<'a> {
    pub(crate) product_id: Option<Text<'a>>,
    pub(crate) sku: Option<Text<'a>>,
    /// Where version 1 of the e-commerce specification put the product's id.
    pub(crate) id: Option<Text<'a>>,
    pub(crate) category: Option<Text<'a>>,
    pub(crate) quantity: Option<Text<'a>>,
    pub(crate) price: Option<Text<'a>>,
}

/// `properties`.
#[derive(Debug, Default)]
pub(crate) struct Properties<'a> {
    pub(crate) raw: &'a str,
    pub(crate) contact: Contact<'a>,
    pub(crate) name: Option<Text<'a>>,
    pub(crate) order_id: Option<Text<'a>>,
    pub(crate) refund_id: Option<Text<'a>>,
    pub(crate) revenue: Option<Text<'a>>,
    pub(crate) total: Option<Text<'a>>,
    pub(crate) value: Option<Text<'a>>,
    pub(crate) currency: Option<Text<'a>>,
    /// `products`, where it was an array.
    pub(crate) products: Option<Vec<WireProduct<'a>>>,
    /// The product that the properties themselves describe.
    pub(crate) own_product: WireProduct<'a>,
}

/// `traits`.
#[derive(Debug, Default)]
pub(crate) struct Traits<'a> {
    pub(crate) raw: &'a str,
    pub(crate) contact: Contact<'a>,
}

/// `context`.
#[derive(Debug, Default)]
pub(crate) struct Context<'a> {
    pub(crate) raw: &'a str,
    pub(crate) traits: Traits<'a>,
    pub(crate) device_id: Option<Text<'a>>,
    /// Type and id of each external id.
    pub(crate) external_ids: Vec<(Text<'a>, Text<'a>)>,
    /// Category and whether it was granted.
    consent: Vec<(Text<'a>, bool)>,
    /// The same, in RudderStack's form.
    managed_consent: Vec<(Text<'a>, bool)>,
    pub(crate) has_ip: bool,
    pub(crate) has_user_agent: bool,
    pub(crate) has_integrations: bool,
}

/// Reads an object; null, an empty array (PHP's empty object) and `{}` are no object. Anything else is refused.
pub(crate) fn object_or_nothing<'a>(
    reader: &mut Reader<'a>,
    field: &str,
    each: impl FnMut(&mut Reader<'a>, &str) -> Result<(), WireError>,
) -> Result<&'a str, WireError> {
    if reader.peek() == b'{' {
        let raw = reader.object(each)?;
        return Ok(if is_empty_container(raw) { "" } else { raw });
    }
    match reader.value()? {
        Value::Null => Ok(""),
        Value::Array(raw) if is_empty_container(raw) => Ok(""),
        _ => Err(Problem::WrongType { expected: "an object" }.of(field)),
    }
}

fn is_empty_container(raw: &str) -> bool {
    raw.bytes().skip(1).all(|byte| matches!(byte, b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
}

/// Reads text or a number, as text. Anything else, and blank text, is nothing: coerce, never refuse.
pub(crate) fn loose_text<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, JsonError> {
    Ok(match reader.value()? {
        Value::Text(raw) => Some(raw.decode()).filter(|text| !is_blank(text)),
        Value::Number(spelled) => Some(Cow::Borrowed(spelled)),
        _ => None,
    })
}

/// Reads an id as [`loose_text`] does; what makes it unclear is left in it, to be refused where it is used as one.
pub(crate) fn loose_id<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, JsonError> {
    Ok(match reader.value()? {
        Value::Text(raw) => Some(raw.decode_id()).filter(|text| !is_blank(text)),
        Value::Number(spelled) => Some(Cow::Borrowed(spelled)),
        _ => None,
    })
}

/// An id without white space around it. Refuses what could be mistaken for another id, and what is too long: to leave
/// either out would lose whom or what an event is about under a success.
pub(crate) fn clear_id<'a>(text: &'a str, bytes_max: usize, field: &str) -> Result<&'a str, WireError> {
    let id = trimmed(text);
    if id.len() > bytes_max {
        return Err(Problem::IdTooLong { max: bytes_max }.of(field));
    }
    if !is_printable_ascii(id) && id.chars().any(char::is_control) {
        return Err(Problem::UnclearId.of(field));
    }
    Ok(id)
}

/// Whether no byte is a control character or a part of one. Looks at all bytes without branches, many at once.
pub(crate) fn is_printable_ascii(text: &str) -> bool {
    text.bytes().fold(true, |printable, byte| printable & matches!(byte, b' '..=b'~'))
}

/// Whether there is nothing but white space. Nearly all texts begin with something visible.
pub(crate) fn is_blank(text: &str) -> bool {
    let visible = text.as_bytes().first().is_some_and(u8::is_ascii_graphic);
    !visible && text.trim().is_empty()
}

impl<'a> Properties<'a> {
    /// Reads the value of `properties`, in place: it is large, and moving it costs as much as reading it.
    pub(crate) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        *self = Self::default();
        self.raw = object_or_nothing(reader, "properties", |reader, key| {
            match key {
                "email" => self.contact.email = loose_id(reader)?,
                "phone" => self.contact.phone = loose_id(reader)?,
                "name" => self.name = loose_text(reader)?,
                "order_id" | "orderId" => self.order_id = loose_id(reader)?,
                "refund_id" | "refundId" => self.refund_id = loose_id(reader)?,
                "revenue" => self.revenue = loose_text(reader)?,
                "total" => self.total = loose_text(reader)?,
                "value" => self.value = loose_text(reader)?,
                "currency" => self.currency = loose_text(reader)?,
                "products" if reader.peek() == b'[' => self.products = Some(read_products(reader)?),
                _ => self.own_product.take(reader, key)?,
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn read_products<'a>(reader: &mut Reader<'a>) -> Result<Vec<WireProduct<'a>>, WireError> {
    let mut products = Vec::new();
    reader.array(|reader| {
        if products.len() == MAX_PRODUCTS {
            return Err(Problem::TooMany { max: MAX_PRODUCTS }.of("properties.products"));
        }
        if reader.peek() != b'{' {
            reader.skip()?;
            return Ok(());
        }
        let mut product = WireProduct::default();
        reader.object(|reader, key| product.take(reader, key))?;
        products.push(product);
        Ok(())
    })?;
    Ok(products)
}

impl<'a> WireProduct<'a> {
    /// Consumes one value, keeping it if it belongs to a product.
    fn take(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), WireError> {
        match key {
            "product_id" | "productId" => self.product_id = loose_id(reader)?,
            "sku" => self.sku = loose_id(reader)?,
            "id" => self.id = loose_id(reader)?,
            "category" => self.category = loose_text(reader)?,
            "quantity" => self.quantity = loose_text(reader)?,
            "price" => self.price = loose_text(reader)?,
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    }
}

impl<'a> Traits<'a> {
    /// Reads the value of `traits` or `context.traits`.
    pub(crate) fn read(reader: &mut Reader<'a>, field: &str) -> Result<Self, WireError> {
        let mut found = Self::default();
        found.raw = object_or_nothing(reader, field, |reader, key| {
            match key {
                "email" => found.contact.email = loose_id(reader)?,
                "phone" => found.contact.phone = loose_id(reader)?,
                _ => {
                    reader.skip()?;
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}

impl<'a> Context<'a> {
    /// Reads the value of `context`, in place.
    pub(crate) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        *self = Self::default();
        self.raw = object_or_nothing(reader, "context", |reader, key| self.take(reader, key))?;
        Ok(())
    }

    fn take(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), WireError> {
        match key {
            "traits" => self.traits = Traits::read(reader, "context.traits")?,
            "device" if reader.peek() == b'{' => self.take_device(reader)?,
            // The second is RudderStack's spelling.
            "externalIds" | "externalId" if reader.peek() == b'[' => self.take_external_ids(reader)?,
            "consent" if reader.peek() == b'{' => self.take_consent(reader)?,
            "consentManagement" if reader.peek() == b'{' => self.take_managed_consent(reader)?,
            "ip" => self.has_ip = loose_text(reader)?.is_some(),
            "userAgent" => self.has_user_agent = loose_text(reader)?.is_some(),
            "integrations" => {
                reader.skip()?;
                self.has_integrations = true;
            }
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    }

    fn take_device(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        reader.object(|reader, key| {
            match key {
                "id" => self.device_id = loose_id(reader)?,
                _ => {
                    reader.skip()?;
                }
            }
            Ok::<(), WireError>(())
        })?;
        Ok(())
    }

    fn take_external_ids(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        self.external_ids.clear();
        reader.array(|reader| {
            if reader.peek() != b'{' || self.external_ids.len() == MAX_EXTERNAL_IDS {
                reader.skip()?;
                return Ok(());
            }
            let (mut kind, mut id) = (None, None);
            reader.object(|reader, key| {
                match key {
                    "type" => kind = loose_text(reader)?,
                    "id" => id = loose_id(reader)?,
                    _ => {
                        reader.skip()?;
                    }
                }
                Ok::<(), WireError>(())
            })?;
            self.external_ids.extend(kind.zip(id));
            Ok::<(), WireError>(())
        })?;
        Ok(())
    }

    fn take_consent(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        self.consent.clear();
        reader.object(|reader, key| {
            if key != "categoryPreferences" || reader.peek() != b'{' {
                reader.skip()?;
                return Ok(());
            }
            reader.object(|reader, category| self.take_category(reader, category))?;
            Ok::<(), WireError>(())
        })?;
        Ok(())
    }

    /// Only true and false are an answer.
    fn take_category(&mut self, reader: &mut Reader<'a>, category: &str) -> Result<(), WireError> {
        let Value::Bool(granted) = reader.value()? else {
            return Ok(());
        };
        add_consent(
            &mut self.consent,
            Cow::Owned(category.to_owned()),
            granted,
            "consent.categoryPreferences",
        )
    }

    /// RudderStack's form: a list of what was allowed and one of what was denied.
    fn take_managed_consent(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        self.managed_consent.clear();
        reader.object(|reader, key| {
            let granted = key == "allowedConsentIds";
            if (!granted && key != "deniedConsentIds") || reader.peek() != b'[' {
                reader.skip()?;
                return Ok(());
            }
            self.managed_consent.retain(|(_, before)| *before != granted);
            reader.array(|reader| match loose_text(reader)? {
                Some(category) => {
                    add_consent(&mut self.managed_consent, category, granted, "consentManagement")
                }
                None => Ok(()),
            })?;
            Ok::<(), WireError>(())
        })?;
        Ok(())
    }

    /// What was said about each category. Of two words about one in the same event, the denial counts.
    pub(crate) fn consents(&self) -> Vec<Consent<'_>> {
        let all = || self.consent.iter().chain(&self.managed_consent);
        let is_denied = |category: &str| all().any(|(other, granted)| !granted && other == category);
        all()
            .filter(|(category, granted)| !granted || !is_denied(category))
            .map(|(category, granted)| Consent { category, granted: *granted })
            .collect()
    }
}

/// A dropped "no" would be a wrong "yes", so too many are refused.
fn add_consent<'a>(
    said: &mut Vec<(Text<'a>, bool)>,
    category: Text<'a>,
    granted: bool,
    field: &str,
) -> Result<(), WireError> {
    if said.len() == MAX_CONSENT_CATEGORIES {
        let problem = Problem::TooMany { max: MAX_CONSENT_CATEGORIES };
        return Err(problem.of(&format!("context.{field}")));
    }
    said.push((category, granted));
    Ok(())
}
