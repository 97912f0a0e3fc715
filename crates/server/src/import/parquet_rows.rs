//! Rows of a Parquet file as JSON: instants and dates as ISO 8601, decimals as exact text.

use crate::calendar::{DAY_US, date, iso};
use anyhow::{Context as _, Result, bail};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::data_type::Decimal;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};
use std::fs::File;
use std::io;
use std::path::Path;

/// Columns with all that they hold, at most.
const LEAVES_MAX: usize = 4_096;
/// Bytes of a decimal, at most: what fits an `i128`.
const DECIMAL_BYTES_MAX: usize = 16;

/// A Parquet file that is read row by row.
pub(super) struct ParquetRows {
    names: Vec<String>,
    /// Columns of whole numbers that are nanoseconds since 1970.
    nanoseconds: Vec<bool>,
    count: u64,
    rows: RowIter<'static>,
}

impl ParquetRows {
    pub(super) fn open(path: &Path, file: File) -> Result<Self> {
        let shown = path.display();
        let reader = SerializedFileReader::new(file)
            .with_context(|| format!("{shown} is no Parquet file that can be read here"))?;
        let metadata = reader.metadata().file_metadata();
        let count = u64::try_from(metadata.num_rows()).unwrap_or_default();
        let schema = metadata.schema_descr_ptr();
        anyhow::ensure!(schema.num_columns() <= LEAVES_MAX, "{shown} has more than {LEAVES_MAX} columns");
        for column in schema.columns() {
            // The only kind that the reader has no value for.
            if column.converted_type() == ConvertedType::INTERVAL {
                bail!("column {} of {shown} holds intervals, which no message can", column.name());
            }
        }
        let fields = schema.root_schema().get_fields();
        let names = fields.iter().map(|field| field.name().to_owned()).collect();
        let nanoseconds =
            fields.iter().map(|field| is_nanoseconds(field.get_basic_info().logical_type_ref()));
        let nanoseconds = nanoseconds.collect();
        Ok(Self { names, nanoseconds, count, rows: RowIter::from_file_into(Box::new(reader)) })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn next_columns(&mut self) -> io::Result<Option<Map<String, Value>>> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        let row = row.map_err(io::Error::other)?;
        let columns = row.get_column_iter().zip(&self.nanoseconds);
        Ok(Some(
            columns
                .map(|((name, field), nanoseconds)| match field {
                    Field::Long(at) if *nanoseconds => (name.clone(), instant(at.div_euclid(1_000))),
                    field => (name.clone(), value(field)),
                })
                .collect(),
        ))
    }
}

fn is_nanoseconds(kind: Option<&LogicalType>) -> bool {
    matches!(kind, Some(LogicalType::Timestamp(timestamp)) if timestamp.unit == TimeUnit::NANOS)
}

fn instant(at_us: i64) -> Value {
    Value::String(iso(at_us))
}

fn object(row: &Row) -> Value {
    Value::Object(row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect())
}

fn value(field: &Field) -> Value {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => Value::Bool(*flag),
        Field::Byte(number) => Value::from(*number),
        Field::Short(number) => Value::from(*number),
        Field::Int(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::UByte(number) => Value::from(*number),
        Field::UShort(number) => Value::from(*number),
        Field::UInt(number) => Value::from(*number),
        Field::ULong(number) => Value::from(*number),
        Field::Float16(number) => float(f64::from(*number)),
        // As it is written, not with the digits that its bits have as a double.
        Field::Float(number) => number.to_string().parse().map_or(Value::Null, float),
        Field::Double(number) => float(*number),
        Field::Decimal(number) => decimal(number).map_or(Value::Null, Value::String),
        Field::Str(text) => Value::String(text.clone()),
        Field::Bytes(bytes) => Value::String(String::from_utf8_lossy(bytes.data()).into_owned()),
        Field::Date(days) => Value::String(date(i64::from(*days).saturating_mul(DAY_US))),
        Field::TimeMillis(at) => Value::from(*at),
        Field::TimeMicros(at) => Value::from(*at),
        Field::TimestampMillis(at) => instant(at.saturating_mul(1_000)),
        Field::TimestampMicros(at) => instant(*at),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect()),
        Field::MapInternal(map) => {
            let entry = |(key, own): &(Field, Field)| match value(key) {
                Value::String(text) => (text, value(own)),
                other => (other.to_string(), value(own)),
            };
            Value::Object(map.entries().iter().map(entry).collect())
        }
    }
}

/// Exactly: the unscaled number with a point in it. `None` where it is larger than any amount.
fn decimal(number: &Decimal) -> Option<String> {
    let bytes = number.data();
    if bytes.is_empty() || bytes.len() > DECIMAL_BYTES_MAX {
        return None;
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut all = [if negative { 0xFF } else { 0 }; DECIMAL_BYTES_MAX];
    all.get_mut(DECIMAL_BYTES_MAX - bytes.len()..)?.copy_from_slice(bytes);
    let unscaled = i128::from_be_bytes(all);
    let scale = usize::try_from(number.scale()).ok()?;
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at_checked(digits.len() - scale)?;
    let sign = if unscaled < 0 { "-" } else { "" };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") })
}
