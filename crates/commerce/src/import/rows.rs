//! The rows of a product CSV, put together by handle. What is between them makes no difference, nor does their number.

use super::columns::{Column, Header, Meaning};
use super::fault::{Fault, ImportError, Refused};
use super::{Bounded, ImportTerms, Imported, MAX_IMPORT_ROWS, Report, check, sheet};
use csv::ByteRecord;
use model::commerce::handle::{handle, is_handle};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// A row: its cells that say something.
pub(super) struct Row {
    /// The line that it begins in.
    pub(super) line: u64,
    cells: Vec<(Column, String)>,
    /// Metafields: which column, and the value.
    pub(super) metafields: Vec<(usize, String)>,
    faults: Vec<Refused>,
}

impl Row {
    /// The text of a cell; empty if it says nothing.
    pub(super) fn get(&self, column: Column) -> &str {
        self.cells.iter().find(|(own, _)| *own == column).map_or("", |(_, text)| text)
    }
}

/// The rows of one product.
struct Group {
    handle: String,
    rows: Vec<Row>,
}

/// Reads a product CSV of the platform. Columns are found by their names.
pub fn read_csv(reader: impl Read, terms: &ImportTerms) -> Result<Imported, ImportError> {
    let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(Bounded::new(reader));
    let header = Header::of(csv.byte_headers().map_err(read_error)?.iter())?;
    let mut report = Report::default();
    let mut ignored = vec![0_u64; header.meanings.len()];
    let mut groups: Vec<Group> = Vec::new();
    let mut by_handle: BTreeMap<String, usize> = BTreeMap::new();
    let mut record = ByteRecord::new();
    while csv.read_byte_record(&mut record).map_err(read_error)? {
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        report.rows += 1;
        if report.rows > MAX_IMPORT_ROWS {
            return Err(ImportError::TooLarge);
        }
        let row = row_of(&record, &header, &mut ignored);
        let Some(handle) = handle_of(&row) else {
            let (line, column) = (row.line, Column::Handle.name().to_owned());
            report.rows_refused += 1;
            row.faults.into_iter().for_each(|fault| report.refuse(fault));
            report.refuse(Refused { line, column, fault: Fault::Missing });
            continue;
        };
        match by_handle.get(&handle).and_then(|index| groups.get_mut(*index)) {
            Some(group) => group.rows.push(row),
            None => {
                by_handle.insert(handle.clone(), groups.len());
                groups.push(Group { handle, rows: vec![row] });
            }
        }
    }
    let mut items = Vec::with_capacity(groups.len());
    for mut group in groups {
        match item_of(&mut group, &header, terms) {
            Ok(item) => items.push(item),
            Err(faults) => {
                report.rows_refused += group.rows.len() as u64;
                faults.into_iter().for_each(|fault| report.refuse(fault));
            }
        }
    }
    report.sort();
    report.ignored = header.meanings.into_iter().zip(ignored).filter_map(named_ignored).collect();
    Ok(Imported { items, report })
}

fn item_of(group: &mut Group, header: &Header, terms: &ImportTerms) -> Result<super::Item, Vec<Refused>> {
    let faults: Vec<Refused> =
        group.rows.iter_mut().flat_map(|row| std::mem::take(&mut row.faults)).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let item = sheet::item(&group.handle, &group.rows, header, terms)?;
    check::check(&item).map_err(|(column, fault)| {
        let line = group.rows.first().map_or(0, |row| row.line);
        vec![Refused { line, column, fault }]
    })?;
    Ok(item)
}

fn named_ignored((meaning, cells): (Meaning, u64)) -> Option<(String, u64)> {
    match meaning {
        Meaning::Ignored(name) => Some((name, cells)),
        Meaning::Known(_) | Meaning::Metafield { .. } => None,
    }
}

fn row_of(record: &ByteRecord, header: &Header, ignored: &mut [u64]) -> Row {
    let line = record.position().map_or(0, csv::Position::line);
    let mut row = Row { line, cells: Vec::new(), metafields: Vec::new(), faults: Vec::new() };
    let mut refuse = |column: String, fault: Fault| row.faults.push(Refused { line, column, fault });
    for (index, cell) in record.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        let (Some(meaning), Some(count)) = (header.meanings.get(index), ignored.get_mut(index)) else {
            refuse(String::new(), Fault::Cells);
            break;
        };
        let Ok(text) = std::str::from_utf8(cell) else {
            let column = match meaning {
                Meaning::Known(column) => column.name().to_owned(),
                Meaning::Metafield { key, .. } => key.clone(),
                Meaning::Ignored(name) => name.clone(),
            };
            refuse(column, Fault::Encoding);
            continue;
        };
        let text = text.trim();
        match meaning {
            _ if text.is_empty() => {}
            Meaning::Known(column) => row.cells.push((*column, text.to_owned())),
            Meaning::Metafield { .. } => row.metafields.push((index, text.to_owned())),
            Meaning::Ignored(_) => *count += 1,
        }
    }
    row
}

/// To which product a row belongs: by its handle, or by its title where it has none.
fn handle_of(row: &Row) -> Option<String> {
    let stated = row.get(Column::Handle);
    if is_handle(stated) {
        return Some(stated.to_owned());
    }
    let made = handle(if stated.is_empty() { row.get(Column::Title) } else { stated });
    (!made.is_empty()).then_some(made)
}

fn read_error(error: csv::Error) -> ImportError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => ImportError::Read(io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}"))),
    }
}
