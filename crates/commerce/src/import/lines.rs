//! JSON Lines, of our own form and of the platform's bulk exports; a text may hold both.

use super::bulk::Bulk;
use super::fault::{Fault, ImportError, Refused};
use super::{Bounded, ImportTerms, Imported, Item, MAX_IMPORT_ROWS, MAX_LINE_BYTES, Report, check, form};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};

/// What tells the forms apart.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "__parentId")]
    parent: Option<Cow<'a, str>>,
}

/// Reads JSON Lines. Lines of a bulk export come in any order, children before their parents too.
pub fn read_json_lines(reader: impl Read, terms: &ImportTerms) -> Result<Imported, ImportError> {
    let mut lines = Lines { reader: BufReader::new(Bounded::new(reader)), number: 0 };
    let mut report = Report::default();
    let mut bulk = Bulk::default();
    let mut items: Vec<(u64, u64, Item)> = Vec::new();
    while let Some(line) = lines.next_line()? {
        let number = lines.number;
        if line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty()) {
            continue;
        }
        report.rows += 1;
        if report.rows > MAX_IMPORT_ROWS {
            return Err(ImportError::TooLarge);
        }
        let read = line.and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(|_| Fault::Encoding)?;
            let text = text.trim_start_matches('\u{feff}');
            let probe: Probe<'_> = serde_json::from_str(text).map_err(json)?;
            if probe.parent.is_some() || probe.id.is_some_and(|id| id.starts_with("gid://")) {
                bulk.add(number, text).map_err(json)?;
                return Ok(None);
            }
            form::read(text, terms.at).map(Some).map_err(json)
        });
        match read {
            Ok(item) => items.extend(item.map(|item| (number, 1, item))),
            Err(fault) => {
                report.rows_refused += 1;
                report.refuse(Refused { line: number, column: String::new(), fault });
            }
        }
    }
    bulk.finish(terms, &mut items, &mut report);
    items.sort_by_key(|(line, ..)| *line);
    let items = checked(items, &mut report);
    report.sort();
    Ok(Imported { items, report })
}

/// Keeps what may be kept: with their lines and how many lines each is of.
fn checked(items: Vec<(u64, u64, Item)>, report: &mut Report) -> Vec<Item> {
    let (mut handles, mut products, mut variants) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut kept = Vec::with_capacity(items.len());
    for (line, lines, item) in items {
        let product = &item.product;
        let numbers = || product.variants.iter().map(|variant| variant.number).filter(|number| *number != 0);
        let own: BTreeSet<u64> = numbers().collect();
        let repeated = [
            (handles.contains(&product.handle), "handle"),
            (product.number != 0 && products.contains(&product.number), "number"),
            (
                own.len() < numbers().count() || own.iter().any(|one| variants.contains(one)),
                "variants.number",
            ),
        ];
        let repeated = repeated.into_iter().find(|(is_repeated, _)| *is_repeated);
        let fault = match repeated {
            Some((_, field)) => Some((field.to_owned(), Fault::Repeated)),
            None => check::check(&item).err(),
        };
        if let Some((column, fault)) = fault {
            report.rows_refused += lines;
            report.refuse(Refused { line, column, fault });
            continue;
        }
        handles.insert(product.handle.clone());
        products.insert(product.number);
        variants.extend(own);
        kept.push(item);
    }
    kept
}

/// Writes products as JSON Lines of our own form. Nothing is left out.
pub fn write_json_lines<'a>(items: impl Iterator<Item = &'a Item>, mut out: impl Write) -> io::Result<()> {
    for item in items {
        let mut line = form::write(item)?;
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}

fn json(error: serde_json::Error) -> Fault {
    Fault::Json(error.to_string())
}

/// Lines of bounded length. One that is longer is passed over, and the next is read as if nothing had been.
struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn next_line(&mut self) -> Result<Option<Result<Vec<u8>, Fault>>, ImportError> {
        let mut line = Vec::new();
        let (mut began, mut too_long) = (false, false);
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if buffer.is_empty() {
                break;
            }
            began = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = end.and_then(|end| buffer.get(..end)).unwrap_or(buffer);
            too_long |= line.len() + part.len() > MAX_LINE_BYTES;
            if !too_long {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += u64::from(began);
        let line = if too_long { Err(Fault::TooLong) } else { Ok(line) };
        Ok(began.then_some(line))
    }
}
