//! Catalogues in and out: the platform's product CSV, its bulk JSON Lines, and JSON Lines of our own.
//!
//! ```text
//! CSV ──▶ columns.rs ──▶ rows.rs: rows of one handle ──▶ sheet.rs ──▶ ┐
//! JSON Lines ──▶ lines.rs ──┬─▶ form.rs: our own form ──────────────▶ ├─ check.rs ──▶ Imported
//!                           └─▶ bulk.rs: nodes with gid and parent ─▶ ┘
//! items ──▶ sheet_out.rs ──▶ CSV        items ──▶ form.rs ──▶ JSON Lines
//! ```
//!
//! Reading turns a text into [`Item`]s, each what [`crate::Operation::PutProduct`] takes, and a [`Report`] of what was
//! refused and why. Nothing is guessed: a product with one cell that cannot be read is refused whole, since a product with
//! a variant less would be sold wrongly. What an export writes, the import of the same form reads as it was; the CSV has no
//! place for numbers, dates, languages, swatches, channels and sizes of pictures, JSON Lines of our own have one for all.
//!
//! Everything here is a function of what it reads: no disk, no network, no clock.

mod amount;
mod bulk;
mod check;
mod columns;
mod fault;
mod form;
mod lines;
mod rows;
mod sheet;
mod sheet_out;

pub use check::check;
pub use fault::{Fault, ImportError, Refused};
pub use lines::{read_json_lines, write_json_lines};
pub use rows::read_csv;
pub use sheet_out::write_csv;

use crate::StockSetting;
use model::commerce::money::Currency;
use model::commerce::product::Product;
use model::id::Timestamp;
use std::io::{self, Read};

/// The most bytes of one import; larger catalogues come in parts.
pub const MAX_IMPORT_BYTES: u64 = 1 << 30;
/// The most rows or lines of one import.
pub const MAX_IMPORT_ROWS: u64 = 2_000_000;
/// The longest line of JSON Lines: a product with as many variants as it may have is shorter by far.
pub const MAX_LINE_BYTES: usize = 8 << 20;
/// The most columns of a CSV.
pub const MAX_COLUMNS: usize = 1_000;
/// The most refusals that a report names; more are only counted.
pub const MAX_REFUSED_NAMED: usize = 1_000;
/// How many units may be sold beyond what is there where the platform says `continue`, which knows no limit.
pub const CONTINUE_UNITS: u32 = u32::MAX;

/// What a text does not say about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportTerms {
    /// The currency of its prices.
    pub currency: Currency,
    /// The number of the place that its units are in.
    pub location: u64,
    /// When products come to be and are shown, where the text does not say it.
    pub at: Timestamp,
}

/// A product and its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The product. Its number and those of its variants are 0 where the text has none.
    pub product: Product,
    /// What is known of the stock of its variants.
    pub stock: Vec<StockSetting>,
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What was read, in the order in which it came.
    pub items: Vec<Item>,
    /// What was not.
    pub report: Report,
}

/// What was read and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows or lines in all, without the header and empty ones.
    pub rows: u64,
    /// Rows or lines that are in no item, because they or others of their product were refused.
    pub rows_refused: u64,
    /// Why, by line; at most [`MAX_REFUSED_NAMED`].
    pub refused: Vec<Refused>,
    /// How many reasons there are in all.
    pub refused_count: u64,
    /// Columns, or kinds of lines, that nothing is done with, by name, and how many cells or lines of them say something.
    pub ignored: Vec<(String, u64)>,
}

impl Report {
    fn refuse(&mut self, refused: Refused) {
        self.refused_count += 1;
        if self.refused.len() < MAX_REFUSED_NAMED {
            self.refused.push(refused);
        }
    }

    /// Puts reasons into the order of their lines.
    fn sort(&mut self) {
        self.refused.sort_by_key(|refused| refused.line);
    }
}

/// A reader that ends an import which is too large, instead of reading a part of it as if it were all.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Bounded<R> {
    fn new(reader: R) -> Self {
        Self { reader, left: MAX_IMPORT_BYTES }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(read)
    }
}
