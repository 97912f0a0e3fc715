//! Paths of channels from a CSV file, and what each channel is credited with, as a table or as JSON.

use crate::terminal::grouped;
use anyhow::{Context as _, Result, bail, ensure};
use model::attribution::{Paths, Shares};
use serde_json::json;
use std::io::{BufRead, Read as _};

/// The longest line, in bytes.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most rows.
const ROWS_MAX: u64 = 10_000_000;
/// What stands between two channels of a path.
const BETWEEN: char = '>';

/// What a file came to.
pub(crate) struct Read {
    /// How many rows there were.
    rows: u64,
    shares: Shares,
}

/// Where the columns are that count.
struct Columns {
    path: usize,
    conversions: usize,
    nulls: Option<usize>,
}

/// Reads rows of a path (channels with `>` between them), how many people converted after it and how many did not. The
/// first line names the columns; others than these three are left alone.
pub(crate) fn read(input: impl BufRead) -> Result<Read> {
    let mut lines = Lines { input, number: 0 };
    let head = lines.next()?.context("the file is empty: its first line names the columns")?;
    let columns = Columns::of(&cells(&head).with_context(|| lines.place())?)?;
    let (mut paths, mut rows) = (Paths::default(), 0);
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        rows += 1;
        ensure!(rows <= ROWS_MAX, "the file has more than {ROWS_MAX} rows: add up rows of the same path");
        take(&line, &columns, &mut paths).with_context(|| lines.place())?;
    }
    Ok(Read { rows, shares: paths.shares() })
}

fn take(line: &str, columns: &Columns, paths: &mut Paths) -> Result<()> {
    let cells = cells(line)?;
    let cell = |place: usize, name: &str| {
        cells.get(place).map(|cell| cell.trim()).with_context(|| format!("there is no {name}"))
    };
    let count = |place: usize, name: &str| -> Result<u64> {
        let text = cell(place, name)?;
        text.parse().with_context(|| format!("{name} is {text:?}, which is no whole number from 0 on"))
    };
    let path = cell(columns.path, "path")?;
    let conversions = count(columns.conversions, "number of conversions")?;
    let nulls = columns.nulls.map_or(Ok(0), |place| count(place, "number of those who did not convert"))?;
    // An empty path names no channel, which is what the rules say about it.
    let channels = path.split(BETWEEN).map(str::trim).filter(|_| !path.is_empty());
    paths.add(channels, conversions, nulls).map_err(|error| anyhow::anyhow!("{error} [{}]", error.code()))
}

impl Columns {
    fn of(head: &[String]) -> Result<Self> {
        let find = |names: &[&str]| {
            head.iter().position(|own| names.iter().any(|name| own.trim().eq_ignore_ascii_case(name)))
        };
        let needed = |names: &[&str]| {
            let advice =
                || format!("no column is called {}; there are {}", names.join(" or "), head.join(", "));
            find(names).with_context(advice)
        };
        Ok(Self {
            path: needed(&["path"])?,
            conversions: needed(&["conversions", "total_conversions"])?,
            nulls: find(&["nulls", "total_null"]),
        })
    }
}

/// Lines of bounded length.
struct Lines<I> {
    input: I,
    number: u64,
}

impl<I: BufRead> Lines<I> {
    #[expect(clippy::disallowed_methods, reason = "it reads from what ends at the limit of a line")]
    fn next(&mut self) -> Result<Option<String>> {
        self.number += 1;
        let mut line = Vec::new();
        let mut bounded = (&mut self.input).take(LINE_BYTES_MAX + 1);
        bounded.read_until(b'\n', &mut line).context("the file cannot be read")?;
        if line.is_empty() {
            return Ok(None);
        }
        ensure!(line.len() as u64 <= LINE_BYTES_MAX, "{} has more than {LINE_BYTES_MAX} bytes", self.place());
        let text = String::from_utf8(line).ok().with_context(|| format!("{} is no UTF-8", self.place()))?;
        let text = text.trim_end_matches(['\n', '\r']);
        // Some programs begin a file with a byte order mark.
        Ok(Some(text.strip_prefix('\u{feff}').filter(|_| self.number == 1).unwrap_or(text).to_owned()))
    }

    fn place(&self) -> String {
        format!("line {}", self.number)
    }
}

/// The cells of a line (RFC 4180, without line breaks inside of a cell).
fn cells(line: &str) -> Result<Vec<String>> {
    let (mut all, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    if quoted {
        bail!("a quote is not closed: a path stands on one line");
    }
    all.push(cell);
    Ok(all)
}

impl Read {
    /// For people: most conversions by Markov first.
    pub(crate) fn table(&self) -> String {
        let Shares { conversions, nulls, chance, .. } = self.shares;
        let mut channels: Vec<_> = self.shares.channels.iter().collect();
        // Names are in order already, and stay so where shares are the same.
        channels.sort_by(|one, other| other.markov.total_cmp(&one.markov));
        let width = channels.iter().map(|own| own.channel.chars().count()).max().unwrap_or(0).max(7);
        let mut text =
            format!("{:<width$}  {:>12}  {:>16}  {:>16}\n", "channel", "last click", "Markov", "Shapley");
        for own in channels {
            text.push_str(&format!(
                "{:<width$}  {:>12}  {:>16.6}  {:>16.6}\n",
                own.channel,
                grouped(own.last),
                own.markov,
                own.shapley
            ));
        }
        text.push_str(&format!(
            "\n{} paths; {} people converted and {} did not. Chance to convert in the chain: {chance:.8}.\n\
             This splits what was observed and proves no cause: what a channel causes only a control group tells.\n",
            grouped(self.rows),
            grouped(conversions),
            grouped(nulls)
        ));
        text
    }

    /// For programs: channels by name.
    pub(crate) fn json(&self) -> String {
        let channels: Vec<_> = self
            .shares
            .channels
            .iter()
            .map(|own| {
                json!({ "channel": own.channel, "last_click": own.last, "markov": own.markov, "shapley": own.shapley })
            })
            .collect();
        let answer = json!({
            "paths": self.rows, "conversions": self.shares.conversions, "nulls": self.shares.nulls,
            "chance": self.shares.chance, "channels": channels,
        });
        format!("{answer:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&read(text.as_bytes())?.json())?)
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        for text in [
            "path,conversions,nulls\na > b,1,0\na,0,1\nb,2,0\n",
            "\u{feff}id,Path,Total_Conversions,value,total_null\r\n1,\"a>b\",1,0.5,0\r\n\r\n2,a,0,0,1\r\n3,\"b\",2,\"1,5\",0",
        ] {
            let shown = shown(text).unwrap();
            let of = |name: &str| {
                shown["channels"].as_array().unwrap().iter().map(|own| own[name].clone()).collect::<Vec<_>>()
            };
            assert_eq!(
                (&shown["paths"], &shown["conversions"], &shown["nulls"]),
                (&3.into(), &3.into(), &1.into())
            );
            assert_eq!(
                (of("channel"), of("last_click")),
                (vec!["a".into(), "b".into()], vec![0.into(), 3.into()])
            );
            assert_eq!(of("shapley"), [0.5.into(), 2.5.into()] as [serde_json::Value; 2]);
            let markov: Vec<f64> = of("markov").iter().map(|own| own.as_f64().unwrap()).collect();
            assert!((markov[0] - 0.75).abs() < 1e-9 && (markov[1] - 2.25).abs() < 1e-9, "{markov:?}");
        }
        let without = shown("path,conversions\n\"say \"\"a, b\"\"\",4\n").unwrap();
        assert_eq!(without["channels"][0]["channel"], "say \"a, b\"");
        let table = read("path,conversions\nsearch > mail,4\n".as_bytes()).unwrap().table();
        assert!(table.contains("mail                4          2.000000          2.000000"), "{table}");
    }

    #[test]
    fn a_wrong_file_is_told_where_and_why() {
        for (text, expected) in [
            ("", "names the columns"),
            ("way,conversions\n", "no column is called path; there are way, conversions"),
            ("path,sold\n", "called conversions or total_conversions"),
            ("path,conversions\na,1\nb,x\n", "line 3: number of conversions is \"x\""),
            ("path,conversions\na,-1\n", "no whole number from 0 on"),
            ("path,conversions\na\n", "line 2: there is no number of conversions"),
            ("path,conversions\n,1\n", "[path_empty]"),
            ("path,conversions\na >> b,1\n", "[channel_name]"),
            ("path,conversions\n\"a,1\n", "line 2: a quote is not closed"),
            ("path,conversions\na,999999999999999\n", "[too_many_paths]"),
        ] {
            let error = format!("{:#}", read(text.as_bytes()).err().unwrap());
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let long = format!("path,conversions\n{},1\n", "a>".repeat(LINE_BYTES_MAX as usize / 2));
        assert!(format!("{:#}", read(long.as_bytes()).err().unwrap()).contains("more than 4194304 bytes"));
        assert!(read(&b"path,conversions\n\xff,1\n"[..]).is_err());
    }
}
