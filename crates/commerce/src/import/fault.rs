//! Why something is refused, in words for people and for programs.

use super::{MAX_COLUMNS, MAX_IMPORT_BYTES, MAX_IMPORT_ROWS, MAX_LINE_BYTES};
use model::commerce::{MAX_OPTION_VALUES, MAX_OPTIONS, MAX_TEXT_BYTES, MAX_VARIANTS};
use std::fmt;
use std::io;
use thiserror::Error;

/// A cell or field that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The line of the text that its row begins in, from 1.
    pub line: u64,
    /// The column or field; empty where it is the row as a whole.
    pub column: String,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}", self.line)?;
        if !self.column.is_empty() {
            write!(formatter, ", {}", self.column)?;
        }
        write!(formatter, ": {}", self.fault)
    }
}

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It is not UTF-8.
    #[error("this is not UTF-8: save the file as UTF-8")]
    Encoding,
    /// It is too long.
    #[error("a text may have {MAX_TEXT_BYTES} bytes, and a line of JSON {MAX_LINE_BYTES}")]
    TooLong,
    /// The row has more cells than the header has columns.
    #[error("the row has more cells than the header has columns: is a quotation mark missing?")]
    Cells,
    /// Something that has to be there is not.
    #[error("this has to be filled in")]
    Missing,
    /// It is no name for addresses.
    #[error("a handle has lower-case letters, digits and hyphens, and at most 255 bytes")]
    Handle,
    /// Two products have one handle, or one number.
    #[error("another product of this import has it, or another variant")]
    Repeated,
    /// It is no price.
    #[error(
        "a price is written with digits and a decimal point, with no more places than the currency has: 1234.50"
    )]
    Price,
    /// It is no whole number, or out of its range.
    #[error("a whole number is expected here, within the limits of the shop")]
    Number,
    /// It is no weight.
    #[error("a weight is a number above or equal to zero, in g, kg, lb or oz")]
    Weight,
    /// It is neither true nor false.
    #[error("true or false is expected here")]
    Truth,
    /// It is none of the words that it may be.
    #[error("one of these is expected here: {0}")]
    Word(&'static str),
    /// It is no instant.
    #[error("an instant is written as in RFC 3339: 2026-11-21T23:45:39Z")]
    Time,
    /// Options and values do not go together.
    #[error("every variant has one value of each option of its product, and each option one name")]
    Options,
    /// Two variants have the same values.
    #[error("another variant of the product has the same values")]
    SameVariant,
    /// There are too many of something.
    #[error(
        "a product has at most {MAX_OPTIONS} options of {MAX_OPTION_VALUES} values and 1 to {MAX_VARIANTS} variants"
    )]
    TooMany,
    /// A picture is named that the product does not have.
    #[error("the product has no such picture")]
    Image,
    /// Gift cards are not products here.
    #[error("gift cards cannot be sold as products: nothing would issue them")]
    GiftCard,
    /// It is no JSON of a form that is known.
    #[error("the line is no JSON that is known here: {0}")]
    Json(String),
    /// A line names a parent that is not there.
    #[error("the line belongs to {0}, which is not in the text or was refused")]
    Orphan(String),
}

impl Fault {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::TooLong => "too_long",
            Self::Cells => "cells",
            Self::Missing => "missing",
            Self::Handle => "handle",
            Self::Repeated => "repeated",
            Self::Price => "price",
            Self::Number => "number",
            Self::Weight => "weight",
            Self::Truth => "truth",
            Self::Word(_) => "word",
            Self::Time => "time",
            Self::Options => "options",
            Self::SameVariant => "same_variant",
            Self::TooMany => "too_many",
            Self::Image => "image",
            Self::GiftCard => "gift_card",
            Self::Json(_) => "json",
            Self::Orphan(_) => "orphan",
        }
    }
}

/// Why nothing can be read, or nothing more.
#[derive(Debug, Error)]
pub enum ImportError {
    /// Reading failed.
    #[error("reading failed: {0}")]
    Read(#[source] io::Error),
    /// It is too large.
    #[error("an import has at most {MAX_IMPORT_BYTES} bytes and {MAX_IMPORT_ROWS} rows: import it in parts")]
    TooLarge,
    /// The header has too many columns.
    #[error("a header has at most {MAX_COLUMNS} columns")]
    TooManyColumns,
    /// The header names a column twice.
    #[error("the header names the column {0:?} twice")]
    ColumnTwice(String),
    /// The header does not name what is needed.
    #[error("the header names no column {0:?}: the first line has to be the header of a product CSV")]
    NoColumn(&'static str),
    /// The header is not UTF-8.
    #[error("the header is not UTF-8: save the file as UTF-8")]
    Encoding,
}

impl ImportError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "import_read",
            Self::TooLarge => "import_too_large",
            Self::TooManyColumns => "import_too_many_columns",
            Self::ColumnTwice(_) => "import_column_twice",
            Self::NoColumn(_) => "import_no_column",
            Self::Encoding => "import_encoding",
        }
    }
}

impl From<io::Error> for ImportError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::FileTooLarge { Self::TooLarge } else { Self::Read(error) }
    }
}
