//! Columns of a Parquet file, read whole: integers, amounts, text and instants.

use anyhow::{Context as _, Result, bail, ensure};
use parquet::basic::{LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use std::fs::File;
use std::path::{Path, PathBuf};

/// More rows than this are not read: the demo's data have 1.5 million, and all are held in memory.
const ROWS_MAX: usize = 20_000_000;
/// Rows read at once.
const BLOCK_ROWS: usize = 64 * 1024;

/// An open Parquet file.
pub(super) struct Columns {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    rows: usize,
}

impl Columns {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
        let reader = SerializedFileReader::new(file)
            .with_context(|| format!("{} is no Parquet file that can be read here", path.display()))?;
        let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
        ensure!(rows <= ROWS_MAX, "{} has {rows} rows; at most {ROWS_MAX} are read", path.display());
        Ok(Self { path: path.to_owned(), reader, rows })
    }

    /// Whole numbers. A row without one is an error.
    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>> {
        let mut all = Vec::with_capacity(self.rows);
        self.read(name, |column, rows| match column {
            ColumnReader::Int64ColumnReader(reader) => each(reader, rows, |value| all.push(value)),
            ColumnReader::Int32ColumnReader(reader) => {
                each(reader, rows, |value| all.push(value.map(i64::from)))
            }
            _ => bail!("it holds no whole numbers"),
        })?;
        self.complete(name, all)
    }

    /// Amounts of money with two decimal places, in minor units, exactly.
    pub(super) fn minor_units(&self, name: &str) -> Result<Vec<i64>> {
        let mut all: Vec<Option<f64>> = Vec::with_capacity(self.rows);
        self.read(name, |column, rows| match column {
            ColumnReader::DoubleColumnReader(reader) => each(reader, rows, |value| all.push(value)),
            _ => bail!("it holds no amounts"),
        })?;
        let amounts = self.complete(name, all)?;
        let exact = |(row, amount): (usize, f64)| {
            minor(amount).with_context(|| {
                format!(
                    "{}: row {row} of {name} holds {amount}, which is no amount in cents",
                    self.path.display()
                )
            })
        };
        amounts.into_iter().enumerate().map(exact).collect()
    }

    /// Text; `None` where a row has none.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let mut all = Vec::with_capacity(self.rows);
        self.read(name, |column, rows| match column {
            ColumnReader::ByteArrayColumnReader(reader) => each(reader, rows, |value| {
                all.push(value.map(|bytes| String::from_utf8_lossy(bytes.data()).into_owned()));
            }),
            _ => bail!("it holds no text"),
        })?;
        Ok(all)
    }

    /// Instants, in microseconds since 1970. The data name no time zone; they are taken as UTC.
    pub(super) fn instants_us(&self, name: &str) -> Result<Vec<i64>> {
        let nanoseconds_each = self.nanoseconds_each(name)?;
        let mut all = Vec::with_capacity(self.rows);
        self.read(name, |column, rows| match column {
            ColumnReader::Int96ColumnReader(reader) => {
                each(reader, rows, |value| all.push(value.map(|instant| instant.to_micros())))
            }
            ColumnReader::Int64ColumnReader(reader) => each(reader, rows, |value| {
                all.push(
                    value.and_then(|count| Some(count.checked_mul(nanoseconds_each)?.div_euclid(1_000))),
                );
            }),
            _ => bail!("it holds no instants"),
        })?;
        self.complete(name, all)
    }

    fn nanoseconds_each(&self, name: &str) -> Result<i64> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let column = schema.columns().iter().find(|column| column.name() == name);
        let unit = match column.and_then(|column| column.logical_type_ref()) {
            Some(LogicalType::Timestamp(timestamp)) => timestamp.unit,
            _ => return Ok(1),
        };
        Ok(match unit {
            TimeUnit::MILLIS => 1_000_000,
            TimeUnit::MICROS => 1_000,
            TimeUnit::NANOS => 1,
        })
    }

    fn read(&self, name: &str, mut each: impl FnMut(ColumnReader, usize) -> Result<()>) -> Result<()> {
        let context = || format!("{}: column {name} cannot be read", self.path.display());
        let metadata = self.reader.metadata();
        let columns = metadata.file_metadata().schema_descr().columns();
        let Some(index) = columns.iter().position(|column| column.name() == name) else {
            let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
            bail!("{} has no column {name}; it has {}", self.path.display(), names.join(", "));
        };
        for group in 0..metadata.num_row_groups() {
            let group = self.reader.get_row_group(group).with_context(context)?;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(ROWS_MAX).min(ROWS_MAX);
            let column = group.get_column_reader(index).with_context(context)?;
            each(column, rows).with_context(context)?;
        }
        Ok(())
    }

    fn complete<T>(&self, name: &str, all: Vec<Option<T>>) -> Result<Vec<T>> {
        let missing = all.iter().position(Option::is_none);
        if let Some(row) = missing {
            bail!("{}: row {row} of {name} holds nothing", self.path.display());
        }
        Ok(all.into_iter().flatten().collect())
    }
}

/// Hands each row's value to `take`, in order.
fn each<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    mut take: impl FnMut(Option<T::T>),
) -> Result<()> {
    let mut left = rows;
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    while left > 0 {
        levels.clear();
        values.clear();
        let (records, value_count, _) =
            reader.read_records(left.min(BLOCK_ROWS), Some(&mut levels), None, &mut values)?;
        ensure!(records > 0, "it ends {left} rows early");
        left = left.saturating_sub(records);
        let mut present = values.drain(..);
        // A column that is never null has no levels; in the others, all of which are flat, level 1 is a value.
        if levels.is_empty() {
            ensure!(value_count == records, "it does not hold one value for each row");
            present.for_each(|value| take(Some(value)));
        } else {
            for level in &levels {
                take(if *level > 0 { present.next() } else { None });
            }
        }
    }
    Ok(())
}

/// Doubles that came from decimal text are within a hair of their cents; anything else is no amount.
fn minor(amount: f64) -> Option<i64> {
    const HAIR: f64 = 1e-6;
    const LARGEST: f64 = 1e12;
    let hundredths = amount * 100.0;
    let whole = hundredths.round();
    ((hundredths - whole).abs() < HAIR && whole.abs() < LARGEST).then_some(whole as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_cents_or_refused() {
        for cents in 0..1_000_000 {
            assert_eq!(minor(f64::from(cents) / 100.0), Some(i64::from(cents)));
        }
        for wrong in [0.001, f64::NAN, f64::INFINITY, 1e300, -0.555] {
            assert_eq!(minor(wrong), None, "{wrong}");
        }
    }
}
