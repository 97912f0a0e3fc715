//! Reads definitions out of TOML files. Everything that is wrong is found, not only the first.

use super::kinds::{Field, Form, KINDS, Kind, Otherwise, Type, Values, canonical};
use super::place::{Findings, Place, SourceFile};
use crate::config::nearest;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A longer file holds no definitions that anybody reads.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// All files together.
const FOLDER_BYTES_MAX: u64 = 64 << 20;
/// Files and folders of one directory, all levels together.
const ENTRIES_MAX: usize = 10_000;
/// Folders in each other.
const DEPTH_MAX: usize = 16;
/// The table that holds the tables of settings.
const SETTINGS: &str = "settings";

/// A definition, from a file or from a server.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) kind: &'static Kind,
    /// Empty for settings.
    pub(crate) name: String,
    /// In the form in which values are compared, with those that are meant where a key is not there.
    pub(crate) values: Values,
    /// Where it stands; nowhere if it comes from a server.
    pub(crate) origin: Option<Origin>,
}

/// Where a definition stands.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    file: Arc<SourceFile>,
    head: Range<usize>,
    /// The values of its keys.
    fields: BTreeMap<String, Range<usize>>,
}

impl Item {
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.values.get(field).and_then(Value::as_str)
    }

    pub(crate) fn number(&self, field: &str) -> i64 {
        self.values.get(field).and_then(Value::as_i64).unwrap_or(0)
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> Option<Place> {
        self.origin.as_ref().map(|origin| Place { file: Arc::clone(&origin.file), span: origin.head.clone() })
    }

    /// Where the value of a key stands, or the definition if the key is not there.
    pub(crate) fn place_of(&self, field: &str) -> Option<Place> {
        let origin = self.origin.as_ref()?;
        let span = origin.fields.get(field).unwrap_or(&origin.head).clone();
        Some(Place { file: Arc::clone(&origin.file), span })
    }

    /// For people: ``audience `frequent` ``.
    pub(crate) fn title(&self) -> String {
        match self.kind.form {
            Form::Named => format!("{} `{}`", self.kind.title(), self.name),
            Form::Settings => self.kind.title(),
        }
    }
}

/// Reads every file of a folder, and of the folders in it.
pub(crate) fn read_folder(folder: &Path) -> Result<Vec<Item>> {
    let paths = toml_files(folder)?;
    // Without this, a mistyped directory together with --prune would remove everything.
    ensure!(!paths.is_empty(), "{} holds no file that ends with .toml", folder.display());
    let (mut items, mut findings, mut bytes) = (Vec::new(), Findings::default(), 0);
    for path in paths {
        let shown = path.display().to_string();
        let unreadable = || format!("{shown} cannot be read");
        let length = fs::metadata(&path).with_context(unreadable)?.len();
        bytes += length;
        ensure!(length <= FILE_BYTES_MAX, "{shown} has {length} bytes, and {FILE_BYTES_MAX} are the limit");
        ensure!(bytes <= FOLDER_BYTES_MAX, "the files together have more than {FOLDER_BYTES_MAX} bytes");
        let text = fs::read_to_string(&path).with_context(unreadable)?;
        items.extend(read(&shown, &text, &mut findings));
    }
    Ok(findings.or(items)?)
}

/// Every file below a folder whose name ends with `.toml`, sorted. What is hidden is left alone.
pub(crate) fn toml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut waiting, mut entries) = (Vec::new(), vec![(folder.to_owned(), 0)], 0);
    while let Some((folder, depth)) = waiting.pop() {
        let shown = folder.display();
        ensure!(depth < DEPTH_MAX, "{shown}: folders are nested deeper than {DEPTH_MAX}");
        for entry in fs::read_dir(&folder).with_context(|| format!("{shown} cannot be read"))? {
            let entry = entry.with_context(|| format!("{shown} cannot be read"))?;
            entries += 1;
            ensure!(entries <= ENTRIES_MAX, "there are more than {ENTRIES_MAX} files and folders below it");
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            // A link to a folder is not followed: it could lead in a circle.
            if entry.file_type().with_context(|| format!("{shown} cannot be read"))?.is_dir() {
                waiting.push((entry.path(), depth + 1));
            } else if name.ends_with(".toml") {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one file. What is right is returned, also where something else is wrong.
pub(crate) fn read(name: &str, text: &str, findings: &mut Findings) -> Vec<Item> {
    let file = Arc::new(SourceFile { name: name.to_owned(), text: text.replace("\r\n", "\n") });
    let table = match DeTable::parse(&file.text) {
        Ok(table) => table,
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            let place = Place { file: Arc::clone(&file), span };
            findings.add(Some(place), format!("this is not TOML: {}", error.message().replace('\n', ", ")));
            return Vec::new();
        }
    };
    let mut reader = Reader { file: Arc::clone(&file), findings };
    let mut items = Vec::new();
    for (word, value) in table.get_ref() {
        reader.word(word, value, &mut items);
    }
    // In the order of the text, which is that in which they are spoken of.
    items.sort_by_key(|item| item.origin.as_ref().map(|origin| origin.head.start));
    items
}

struct Reader<'f> {
    file: Arc<SourceFile>,
    findings: &'f mut Findings,
}

impl Reader<'_> {
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>) {
        let place = Place { file: Arc::clone(&self.file), span };
        self.findings.add(Some(place), message);
    }

    /// A key of the whole file.
    fn word(
        &mut self,
        word: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        items: &mut Vec<Item>,
    ) {
        let own: &str = word.get_ref();
        let kind = KINDS.iter().find(|kind| kind.form == Form::Named && kind.word == own);
        match (kind, value.get_ref()) {
            (Some(kind), DeValue::Array(tables)) => {
                for table in tables.iter() {
                    let DeValue::Table(keys) = table.get_ref() else {
                        self.wrong(table.span(), format!("write {} and its keys below it", kind.head()));
                        continue;
                    };
                    items.extend(self.item(kind, keys, table.span()));
                }
            }
            (Some(kind), _) => {
                self.wrong(word.span(), format!("there can be several of these: write {}", kind.head()));
            }
            (None, DeValue::Table(tables)) if own == SETTINGS => {
                for (word, value) in tables {
                    self.settings(word, value, items);
                }
            }
            (None, _) => {
                let named = KINDS.iter().filter(|kind| kind.form == Form::Named);
                let known = named.map(|kind| kind.word.to_owned()).chain([SETTINGS.to_owned()]).collect();
                self.unknown(word.span(), own, "files", known);
            }
        }
    }

    fn settings(
        &mut self,
        word: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        items: &mut Vec<Item>,
    ) {
        let own: &str = word.get_ref();
        let mut kinds = KINDS.iter().filter(|kind| kind.form == Form::Settings);
        match (kinds.clone().find(|kind| kind.word == own), value.get_ref()) {
            (Some(kind), DeValue::Table(keys)) => items.extend(self.item(kind, keys, word.span())),
            (Some(kind), _) => self.wrong(word.span(), format!("write {}", kind.head())),
            (None, _) => {
                let known = kinds.by_ref().map(|kind| kind.word.to_owned()).collect();
                self.unknown(word.span(), own, "[settings]", known);
            }
        }
    }

    fn unknown(&mut self, span: Range<usize>, own: &str, inside: &str, known: Vec<String>) {
        let nearest = nearest(own, known.iter().cloned());
        let known = known.join(", ");
        self.wrong(
            span,
            format!("there is no `{own}` in {inside}; did you mean `{nearest}`? There are {known}"),
        );
    }

    fn item(&mut self, kind: &'static Kind, keys: &DeTable<'_>, head: Range<usize>) -> Option<Item> {
        let mut fields = BTreeMap::new();
        for (key, value) in keys {
            fields.insert(key.get_ref().to_string(), value.span());
        }
        let origin = Origin { file: Arc::clone(&self.file), head: head.clone(), fields };
        let before = self.findings.0.len();
        let name = self.name(kind, keys, &head);
        let also = if kind.form == Form::Named { Some("name") } else { None };
        let values = self.table(kind.fields, keys, &head, &kind.head(), also);
        if self.findings.0.len() > before {
            return None;
        }
        let item = Item { kind, name: name?, values, origin: Some(origin) };
        if let Some((field, message)) = (kind.check)(&item) {
            self.findings.add(item.place_of(field), message);
            return None;
        }
        Some(item)
    }

    fn name(&mut self, kind: &Kind, keys: &DeTable<'_>, head: &Range<usize>) -> Option<String> {
        if kind.form == Form::Settings {
            return Some(String::new());
        }
        let Some(name) = keys.get("name") else {
            self.wrong(head.clone(), format!("{} needs a `name`", kind.head()));
            return None;
        };
        let DeValue::String(text) = name.get_ref() else {
            self.wrong(name.span(), "`name` is text: write it in quotes");
            return None;
        };
        Some(text.to_string())
    }

    /// The values of a table, with those that are meant where a key is not there.
    fn table(
        &mut self,
        fields: &'static [Field],
        keys: &DeTable<'_>,
        head: &Range<usize>,
        inside: &str,
        also: Option<&str>,
    ) -> Values {
        let mut values = Values::new();
        for (key, value) in keys {
            let own: &str = key.get_ref();
            match fields.iter().find(|field| field.name == own) {
                Some(field) => {
                    if let Some(value) = self.value(field.name, field.holds, value) {
                        values.insert(field.name, canonical(field.holds, value));
                    }
                }
                None if also == Some(own) => {}
                None => {
                    let known = also.into_iter().chain(fields.iter().map(|field| field.name));
                    self.unknown(key.span(), own, inside, known.map(str::to_owned).collect());
                }
            }
        }
        for field in fields.iter().filter(|field| keys.get(field.name).is_none()) {
            match field.otherwise {
                Otherwise::Refused => self.wrong(head.clone(), format!("{inside} needs `{}`", field.name)),
                otherwise => {
                    if let Some(value) = otherwise.value(&values) {
                        values.insert(field.name, canonical(field.holds, value));
                    }
                }
            }
        }
        values
    }

    fn value(&mut self, name: &str, holds: Type, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let span = value.span();
        match (holds, value.get_ref()) {
            (Type::Text | Type::Rule | Type::Decimal, DeValue::String(text)) => {
                Some(Value::from(text.to_string()))
            }
            (Type::Boolean, DeValue::Boolean(flag)) => Some(Value::from(*flag)),
            (Type::Integer { least, most }, DeValue::Integer(number)) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let found = number.filter(|number| (least..=most).contains(number));
                if found.is_none() {
                    self.wrong(span, format!("`{name}` is {least} to {most}"));
                }
                found.map(Value::from)
            }
            (Type::OneOf(words), DeValue::String(text)) => {
                let own: &str = text;
                if !words.contains(&own) {
                    let known = words.iter().map(|word| (*word).to_owned()).collect();
                    self.unknown(span, own, &format!("`{name}`"), known);
                    return None;
                }
                Some(Value::from(own))
            }
            (Type::Names(_), DeValue::Array(names)) => self.names(name, names),
            (Type::Table(fields), DeValue::Table(keys)) => {
                Some(serde_json::json!(self.table(fields, keys, &span, &format!("`{name}`"), None)))
            }
            (Type::Tables(fields, by), DeValue::Array(tables)) => self.tables(name, fields, by, tables),
            (Type::Free, DeValue::Table(keys)) => self.free(name, keys),
            (holds, other) => {
                let found = match other {
                    DeValue::Array(_) => "a list",
                    DeValue::Table(_) => "a table",
                    other => other.type_str(),
                };
                self.wrong(span, format!("`{name}` is {}, and this is {found}", expects(holds)));
                None
            }
        }
    }

    /// A table whose keys somebody else knows. The parser bounds how deep it is.
    fn free(&mut self, name: &str, keys: &DeTable<'_>) -> Option<Value> {
        let mut found = serde_json::Map::new();
        for (key, value) in keys.iter() {
            found.insert(key.get_ref().to_string(), self.free_value(name, value)?);
        }
        Some(Value::Object(found))
    }

    fn free_value(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        match value.get_ref() {
            DeValue::String(text) => Some(Value::from(text.to_string())),
            DeValue::Boolean(flag) => Some(Value::from(*flag)),
            DeValue::Integer(_) => self.value(name, Type::Integer { least: i64::MIN, most: i64::MAX }, value),
            DeValue::Array(values) => values
                .iter()
                .map(|value| self.free_value(name, value))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array),
            DeValue::Table(keys) => self.free(name, keys),
            DeValue::Float(_) | DeValue::Datetime(_) => {
                self.wrong(
                    value.span(),
                    format!("`{name}` holds text, whole numbers, true, false, lists and tables"),
                );
                None
            }
        }
    }

    fn names(&mut self, name: &str, names: &DeArray<'_>) -> Option<Value> {
        let mut found: Vec<Value> = Vec::new();
        for one in names.iter() {
            let DeValue::String(text) = one.get_ref() else {
                self.wrong(one.span(), format!("`{name}` lists names: write each in quotes"));
                return None;
            };
            let text = Value::from(text.to_string());
            if found.contains(&text) {
                self.wrong(one.span(), format!("`{name}` lists {text} twice"));
                return None;
            }
            found.push(text);
        }
        Some(Value::Array(found))
    }

    fn tables(
        &mut self,
        name: &str,
        fields: &'static [Field],
        by: &[&str],
        tables: &DeArray<'_>,
    ) -> Option<Value> {
        let (mut found, mut seen): (Vec<Values>, BTreeSet<Vec<String>>) = Default::default();
        for one in tables.iter() {
            let DeValue::Table(keys) = one.get_ref() else {
                self.wrong(one.span(), format!("`{name}` lists tables"));
                return None;
            };
            let values = self.table(fields, keys, &one.span(), &format!("`{name}`"), None);
            let identity: Vec<String> =
                by.iter().filter_map(|by| values.get(by)).map(Value::to_string).collect();
            if identity.len() == by.len() && !seen.insert(identity) {
                self.wrong(one.span(), format!("`{name}` has another one of this {}", by.join(" and ")));
            }
            found.push(values);
        }
        Some(serde_json::json!(found))
    }
}

fn expects(holds: Type) -> &'static str {
    match holds {
        Type::Text | Type::Rule => "text, in quotes",
        Type::Decimal => "a decimal number, in quotes",
        Type::Boolean => "true or false",
        Type::Integer { .. } => "a whole number",
        Type::OneOf(_) => "a word, in quotes",
        Type::Names(_) => "a list of names",
        Type::Table(_) | Type::Free => "a table",
        Type::Tables(..) => "a list of tables",
    }
}
