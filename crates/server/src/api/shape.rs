//! Types of the wire that describe themselves: the struct that serde reads is the schema that OpenAPI shows.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Named schemas, collected while routes are described.
pub(crate) type Parts = BTreeMap<&'static str, Value>;

/// Gives the schema of a type; named types add themselves to the parts.
pub(crate) type ShapeOf = fn(&mut Parts) -> Value;

/// A type with a JSON schema.
pub(crate) trait Shape {
    /// Whether a field of this type may be left out.
    const OPTIONAL: bool = false;

    fn shape(parts: &mut Parts) -> Value;

    /// Whether a field with this value is left out.
    fn absent(&self) -> bool {
        false
    }
}

macro_rules! plain {
    ($($type:ty => $schema:tt),* $(,)?) => {
        $(impl Shape for $type {
            fn shape(_: &mut Parts) -> Value {
                json!($schema)
            }
        })*
    };
}

plain! {
    String => { "type": "string" },
    bool => { "type": "boolean" },
    u8 => { "type": "integer", "minimum": 0, "maximum": 255 },
    u16 => { "type": "integer", "minimum": 0, "maximum": 65535 },
    u32 => { "type": "integer", "minimum": 0 },
    u64 => { "type": "integer", "format": "int64", "minimum": 0 },
    i64 => { "type": "integer", "format": "int64" },
    f64 => { "type": "number" },
    Value => {},
}

impl<T: Shape> Shape for Option<T> {
    const OPTIONAL: bool = true;

    fn shape(parts: &mut Parts) -> Value {
        T::shape(parts)
    }

    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn shape(parts: &mut Parts) -> Value {
        json!({ "type": "array", "items": T::shape(parts) })
    }
}

impl<T: Shape> Shape for BTreeMap<String, T> {
    fn shape(parts: &mut Parts) -> Value {
        json!({ "type": "object", "additionalProperties": T::shape(parts) })
    }
}

/// One property: its schema with its sentence.
pub(crate) fn described(mut schema: Value, about: &str) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".to_owned(), Value::from(about.trim()));
    }
    schema
}

/// The schema of a named type.
pub(crate) fn object(about: &str, properties: Map<String, Value>, required: Vec<&'static str>) -> Value {
    json!({
        "type": "object",
        "description": about.trim(),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Declares a struct of the wire, read and written by serde, that describes itself from its own comments.
macro_rules! wire {
    ($($(#[doc = $about:literal])+ struct $name:ident {
        $($(#[doc = $field_about:literal])+ $field:ident: $type:ty,)*
    })+) => {
        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $name {
                $($(#[doc = $field_about])+
                #[serde(skip_serializing_if = "crate::api::shape::Shape::absent")]
                pub(crate) $field: $type,)*
            }

            impl crate::api::shape::Shape for $name {
                fn shape(parts: &mut crate::api::shape::Parts) -> serde_json::Value {
                    if !parts.contains_key(stringify!($name)) {
                        parts.insert(stringify!($name), serde_json::Value::Null);
                        let mut properties = serde_json::Map::new();
                        let mut required = Vec::new();
                        $({
                            let schema = <$type as crate::api::shape::Shape>::shape(parts);
                            let about = concat!($($field_about),+);
                            properties.insert(
                                stringify!($field).to_owned(),
                                crate::api::shape::described(schema, about),
                            );
                            if !<$type as crate::api::shape::Shape>::OPTIONAL {
                                required.push(stringify!($field));
                            }
                        })*
                        let schema =
                            crate::api::shape::object(concat!($($about),+), properties, required);
                        parts.insert(stringify!($name), schema);
                    }
                    serde_json::json!({ "$ref": concat!("#/components/schemas/", stringify!($name)) })
                }
            }
        )+
    };
}

pub(crate) use wire;
