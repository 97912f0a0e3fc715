//! Types that have exactly one stored form, written from their definition.
//!
//! A row or command of many fields would otherwise be spelled three times: as a type, as writing and as reading.
//! [`stored!`](crate::stored) spells it once. The form is the fields in their order, each by [`Stored`]; an enum is one
//! byte for the variant, whose number is given and never used again for another. What holds such a value as a row puts a
//! version in front.

use super::{DecodeError, Decoder, Encoder};
use crate::id::{Key, Position, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What has one stored form. Equal values give equal bytes.
pub trait Stored: Sized {
    /// Appends the stored form.
    fn put(&self, encoder: &mut Encoder<'_>);
    /// Reads it from the front.
    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError>;
    /// Bytes on the heap that belong to the value, beyond its own size; an estimate.
    fn heap(&self) -> usize {
        0
    }

    /// The stored form behind a version.
    fn versioned(&self, version: u8, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.u8(version);
        self.put(&mut encoder);
    }

    /// Reads what [`Stored::versioned`] wrote, whole.
    fn of_version(version: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let found = decoder.u8()?;
        if found != version {
            return Err(DecodeError::Unknown(u64::from(found)));
        }
        let value = Self::take(&mut decoder)?;
        decoder.finish()?;
        Ok(value)
    }
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Stored for $type {
            fn put(&self, encoder: &mut Encoder<'_>) {
                encoder.varint(u64::from(*self));
            }

            fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                Self::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64);

impl Stored for i64 {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.signed(*self);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.signed()
    }
}

impl Stored for bool {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.bool(*self);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.bool()
    }
}

impl Stored for Key {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.u128(self.0);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.u128().map(Key)
    }
}

impl Stored for Timestamp {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.i64(self.0);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.i64().map(Timestamp)
    }
}

impl Stored for Position {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.0);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.varint().map(Position)
    }
}

impl<const N: usize> Stored for [u8; N] {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.0.extend_from_slice(self);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }
}

impl Stored for String {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.text(self);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.text().map(str::to_owned)
    }

    fn heap(&self) -> usize {
        self.capacity()
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.len() as u64);
        self.iter().for_each(|item| item.put(encoder));
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = decoder.count()?;
        (0..count).map(|_| T::take(decoder)).collect()
    }

    fn heap(&self) -> usize {
        self.capacity() * size_of::<T>() + self.iter().map(T::heap).sum::<usize>()
    }
}

impl<T: Stored> Stored for Option<T> {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.bool(self.is_some());
        if let Some(value) = self {
            value.put(encoder);
        }
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.bool()?.then(|| T::take(decoder)).transpose()
    }

    fn heap(&self) -> usize {
        self.as_ref().map_or(0, T::heap)
    }
}

impl<T: Stored> Stored for Box<T> {
    fn put(&self, encoder: &mut Encoder<'_>) {
        (**self).put(encoder);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::take(decoder).map(Box::new)
    }

    fn heap(&self) -> usize {
        size_of::<T>() + (**self).heap()
    }
}

impl<T: Stored> Stored for Arc<T> {
    fn put(&self, encoder: &mut Encoder<'_>) {
        (**self).put(encoder);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::take(decoder).map(Arc::new)
    }

    fn heap(&self) -> usize {
        size_of::<T>() + (**self).heap()
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn put(&self, encoder: &mut Encoder<'_>) {
        self.0.put(encoder);
        self.1.put(encoder);
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok((A::take(decoder)?, B::take(decoder)?))
    }

    fn heap(&self) -> usize {
        self.0.heap() + self.1.heap()
    }
}

impl<K: Stored + Ord, V: Stored> Stored for BTreeMap<K, V> {
    fn put(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.len() as u64);
        for (key, value) in self {
            key.put(encoder);
            value.put(encoder);
        }
    }

    fn take(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = decoder.count()?;
        (0..count).map(|_| Ok((K::take(decoder)?, V::take(decoder)?))).collect()
    }

    fn heap(&self) -> usize {
        self.iter().map(|(key, value)| size_of::<(K, V)>() + key.heap() + value.heap()).sum()
    }
}

/// Defines structs and enums together with their stored form.
///
/// ```
/// model::stored! {
///     /// Where something is.
///     #[derive(Debug, PartialEq, Eq)]
///     pub struct Place {
///         /// Its name.
///         pub name: String,
///         /// How full it is.
///         pub fill: Fill,
///     }
///
///     /// How full something is.
///     #[derive(Debug, PartialEq, Eq)]
///     pub enum Fill {
///         /// There is nothing.
///         Empty = 1,
///         /// So many.
///         Count(u32) = 2,
///         /// So many of so many.
///         Part { of: u32, count: u32 } = 3,
///     }
/// }
/// use model::codec::Stored as _;
///
/// let place = Place { name: "here".to_owned(), fill: Fill::Part { of: 3, count: 2 } };
/// let mut bytes = Vec::new();
/// place.versioned(1, &mut bytes);
/// assert_eq!(bytes, [1, 4, b'h', b'e', b'r', b'e', 3, 3, 2]);
/// assert_eq!(Place::of_version(1, &bytes), Ok(place));
/// ```
#[macro_export]
macro_rules! stored {
    () => {};
    // A pattern that binds what a variant holds: the repetition over the type needs the type in its text.
    (@bind $type:ty, $name:ident) => { $name };
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl $crate::codec::Stored for $name {
            fn put(&self, encoder: &mut $crate::codec::Encoder<'_>) {
                $($crate::codec::Stored::put(&self.$field, encoder);)*
            }

            fn take(
                decoder: &mut $crate::codec::Decoder<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self { $($field: $crate::codec::Stored::take(decoder)?,)* })
            }

            fn heap(&self) -> usize {
                0 $(+ $crate::codec::Stored::heap(&self.$field))*
            }
        }

        $crate::stored! { $($rest)* }
    };
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(
                $(#[$variant_meta:meta])*
                $variant:ident $(($only:ty))? $({ $($field:ident: $type:ty),+ $(,)? })? = $tag:literal,
            )*
        }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        pub enum $name {
            $(
                $(#[$variant_meta])*
                $variant $(($only))? $({
                    $(#[allow(missing_docs, reason = "the variant says what they are")] $field: $type,)+
                })?,
            )*
        }

        impl $crate::codec::Stored for $name {
            fn put(&self, encoder: &mut $crate::codec::Encoder<'_>) {
                match self {
                    $(
                        Self::$variant { $(0: $crate::stored!(@bind $only, only),)? $($($field,)+)? .. } => {
                            encoder.u8($tag);
                            $(<$only as $crate::codec::Stored>::put(only, encoder);)?
                            $($($crate::codec::Stored::put($field, encoder);)+)?
                        }
                    )*
                }
            }

            fn take(
                decoder: &mut $crate::codec::Decoder<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                match decoder.u8()? {
                    $(
                        $tag => Ok(Self::$variant
                            $((<$only as $crate::codec::Stored>::take(decoder)?))?
                            $({ $($field: $crate::codec::Stored::take(decoder)?,)+ })?),
                    )*
                    other => Err($crate::codec::DecodeError::Unknown(u64::from(other))),
                }
            }

            fn heap(&self) -> usize {
                match self {
                    $(
                        Self::$variant { $(0: $crate::stored!(@bind $only, only),)? $($($field,)+)? .. } => {
                            0 $(+ <$only as $crate::codec::Stored>::heap(only))?
                              $($(+ $crate::codec::Stored::heap($field))+)?
                        }
                    )*
                }
            }
        }

        $crate::stored! { $($rest)* }
    };
}
