//! Rows of a file, one after the other, each with its number and an id that it has whenever it is read.

use super::Format;
use super::parquet_rows::ParquetRows;
use crate::send::{Lines, too_long};
use anyhow::{Context as _, Result};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufReader, Seek as _};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// Bytes of a row, at most: what the door takes of one event.
const ROW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Columns of a row, at most.
const COLUMNS_MAX: usize = 4_096;

/// One row.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// The first is 1. Lines that are empty are counted, the line of names is not.
    pub(super) number: u64,
    /// The same whenever the row is read from a file of this name.
    pub(super) id: String,
    /// Its values by column, or what is wrong with it.
    pub(super) columns: Result<Map<String, Value>, String>,
}

/// A file that is read row by row.
pub(super) struct Rows {
    source: String,
    number: u64,
    bytes: Option<u64>,
    reader: Reader,
}

enum Reader {
    Ndjson(Lines<BufReader<File>>),
    Csv { reader: Box<csv::Reader<BufReader<File>>>, names: Vec<String>, record: csv::StringRecord },
    Parquet(Box<ParquetRows>),
}

impl Rows {
    pub(super) fn open(path: &Path, format: Format) -> Result<Self> {
        let context = || format!("{} cannot be opened", path.display());
        let mut file = File::open(path).with_context(context)?;
        let about = file.metadata().with_context(context)?;
        anyhow::ensure!(about.is_file(), "{} is no file", path.display());
        file.rewind().with_context(context)?;
        let reader = match format {
            Format::Ndjson => Reader::Ndjson(Lines::new(BufReader::with_capacity(1 << 20, file))),
            Format::Csv => {
                let file = BufReader::with_capacity(1 << 20, file);
                let mut reader = Box::new(csv::ReaderBuilder::new().flexible(true).from_reader(file));
                let names = reader
                    .headers()
                    .with_context(|| format!("the first line of {} cannot be read", path.display()))?;
                let names: Vec<String> =
                    names.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
                anyhow::ensure!(
                    names.len() <= COLUMNS_MAX,
                    "{} has more than {COLUMNS_MAX} columns",
                    path.display()
                );
                Reader::Csv { reader, names, record: csv::StringRecord::new() }
            }
            Format::Parquet => Reader::Parquet(Box::new(ParquetRows::open(path, file)?)),
        };
        let name = path.file_name().unwrap_or_default();
        Ok(Self { source: name.to_string_lossy().into_owned(), number: 0, bytes: Some(about.len()), reader })
    }

    /// The names of all columns, where the file says them at its beginning.
    pub(super) fn names(&self) -> Option<&[String]> {
        match &self.reader {
            Reader::Ndjson(_) => None,
            Reader::Csv { names, .. } => Some(names),
            Reader::Parquet(rows) => Some(rows.names()),
        }
    }

    /// How much of the file was read, from 0 to 1.
    pub(super) fn share(&self) -> Option<f64> {
        let of = |part: u64, whole: u64| (whole > 0).then(|| (part as f64 / whole as f64).min(1.0));
        match &self.reader {
            Reader::Ndjson(lines) => of(lines.bytes_read(), self.bytes?),
            Reader::Csv { reader, .. } => of(reader.position().byte(), self.bytes?),
            Reader::Parquet(rows) => of(self.number, rows.count()),
        }
    }

    /// The next row; `None` at the end. An error is one of the file, not of a row.
    pub(super) fn next_row(&mut self) -> io::Result<Option<Row>> {
        loop {
            self.number += 1;
            let (text, columns) = match &mut self.reader {
                Reader::Ndjson(lines) => {
                    let Some(line) = lines.next_line()? else { return Ok(None) };
                    self.number = line.number;
                    let Some(text) = line.text else {
                        return Ok(Some(self.row(b"", Err(too_long()))));
                    };
                    if text.trim_ascii().is_empty() {
                        continue;
                    }
                    let object = serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
                    (text.to_vec(), object.map_err(|error| format!("it is no JSON object: {error}")))
                }
                Reader::Csv { reader, names, record } => match reader.read_record(record) {
                    Ok(false) => return Ok(None),
                    Ok(true) => (joined(record), by_name(names, record)),
                    Err(error) => match error.into_kind() {
                        csv::ErrorKind::Io(error) => return Err(error),
                        csv::ErrorKind::Utf8 { err, .. } => {
                            (Vec::new(), Err(format!("it is not UTF-8: {err}")))
                        }
                        other => (Vec::new(), Err(format!("{other:?}"))),
                    },
                },
                Reader::Parquet(rows) => {
                    let Some(columns) = rows.next_columns()? else { return Ok(None) };
                    let text = serde_json::to_vec(&columns).unwrap_or_default();
                    let columns = if text.len() > ROW_BYTES_MAX { Err(too_long()) } else { Ok(columns) };
                    (text, columns)
                }
            };
            return Ok(Some(self.row(&text, columns)));
        }
    }

    fn row(&self, text: &[u8], columns: Result<Map<String, Value>, String>) -> Row {
        let mut hasher = Xxh3::new();
        hasher.update(self.source.as_bytes());
        hasher.update(&self.number.to_le_bytes());
        hasher.update(text);
        Row { number: self.number, id: format!("import-{:032x}", hasher.digest128()), columns }
    }
}

/// The fields with their lengths, so that different rows never look the same.
fn joined(record: &csv::StringRecord) -> Vec<u8> {
    let mut text = Vec::with_capacity(record.as_slice().len() + record.len() * 8);
    for field in record {
        text.extend_from_slice(&(field.len() as u64).to_le_bytes());
        text.extend_from_slice(field.as_bytes());
    }
    text
}

fn by_name(names: &[String], record: &csv::StringRecord) -> Result<Map<String, Value>, String> {
    if record.len() != names.len() {
        return Err(format!("it has {} fields and the first line names {}", record.len(), names.len()));
    }
    if record.as_slice().len() > ROW_BYTES_MAX {
        return Err(too_long());
    }
    let field = |(name, field): (&String, &str)| (name.clone(), Value::String(field.to_owned()));
    Ok(names.iter().zip(record).map(field).collect())
}
