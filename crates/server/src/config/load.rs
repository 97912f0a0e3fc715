//! Puts the sources over each other: defaults, then the file, then the environment, then the command line.

use super::table::{KeyDoc, keys};
use super::{Config, KeyDoc as Doc};
use model::normalise::PhoneCountry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A longer file is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;
const VARIABLE_PREFIX: &str = "THROUGHLINE_";
/// Variables of the same prefix that are not keys: they belong to tests and scripts of this repository.
const OTHER_VARIABLES: &[&str] = &[
    "THROUGHLINE_BIN",
    "THROUGHLINE_BIN_FOLDER",
    "THROUGHLINE_PYTHON",
    "THROUGHLINE_SHARED_DATA",
    "THROUGHLINE_TOKEN",
];
/// The file that is read where none is named, if it is there.
const DEFAULT_FILE: &str = "throughline.toml";

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; where none is named, `throughline.toml` of the working directory is read if it is there.
    pub file: Option<PathBuf>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
    /// `section.key=value` from the command line, in order.
    pub assignments: Vec<String>,
}

impl Sources {
    /// A file, the environment of this process, and the command line.
    pub fn of_process(file: Option<PathBuf>, assignments: Vec<String>) -> Self {
        // A variable that is not text cannot be one of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named = file.is_some();
        let file = file.or_else(|| Some(PathBuf::from(DEFAULT_FILE))).filter(|path| named || path.exists());
        Self { file, environment, assignments }
    }
}

/// Why a configuration is refused. Nothing was started.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read ({what}): check the path and its permissions")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The file is no TOML.
    #[error("the configuration file {path} is not TOML: {what}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        what: String,
    },
    /// A key that does not exist.
    #[error(
        "{origin}: there is no key `{key}`; did you mean `{nearest}`? `throughline config docs` lists all keys"
    )]
    Unknown {
        /// Where it was written.
        origin: String,
        /// The key.
        key: String,
        /// The known key that looks most like it.
        nearest: String,
    },
    /// A value that cannot be meant.
    #[error("{origin}: `{key}` cannot be `{value}`: write {expects}")]
    Value {
        /// Where it was written.
        origin: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it should be.
        expects: String,
    },
    /// A `--set` without `=`.
    #[error("`--set {0}` is not an assignment: write --set section.key=value")]
    Assignment(String),
    /// An address that others can reach, without protection.
    #[error(
        "`{key}` is {address}, which other machines can reach, and this version does not speak TLS itself: put a \
         proxy that does before it and set `listen.behind_proxy = true`, or listen on 127.0.0.1"
    )]
    Exposed {
        /// The key.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
    },
}

/// Reads all sources and checks the whole.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let keys = keys();
    let mut config = Config::default();
    if let Some(path) = &sources.file {
        read_file(&keys, &mut config, path)?;
    }
    for (name, value) in &sources.environment {
        let ours = name.starts_with(VARIABLE_PREFIX) && !OTHER_VARIABLES.contains(&name.as_str());
        if ours {
            let known = keys.iter().find(|key| key.variable() == *name);
            let found = known.ok_or_else(|| ConfigError::Unknown {
                origin: "the environment".to_owned(),
                key: name.clone(),
                nearest: nearest(name, keys.iter().map(KeyDoc::variable)),
            })?;
            assign(found, &mut config, value, &format!("the variable {name}"))?;
        }
    }
    for assignment in &sources.assignments {
        let (path, value) =
            assignment.split_once('=').ok_or_else(|| ConfigError::Assignment(assignment.clone()))?;
        assign(find(&keys, path.trim(), "--set")?, &mut config, value.trim(), "--set")?;
    }
    check(&config)?;
    Ok(config)
}

fn read_file(keys: &[Doc], config: &mut Config, path: &Path) -> Result<(), ConfigError> {
    let unreadable = |what: String| ConfigError::Unreadable { path: path.to_owned(), what };
    let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has {length} bytes, and {FILE_BYTES_MAX} are the limit")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        what: error.to_string(),
    })?;
    let origin = path.display().to_string();
    for (section, content) in &table {
        let toml::Value::Table(content) = content else {
            return Err(unknown(keys, section, &origin));
        };
        read_section(keys, config, section, content, &origin)?;
    }
    Ok(())
}

fn read_section(
    keys: &[Doc],
    config: &mut Config,
    section: &str,
    content: &toml::Table,
    origin: &str,
) -> Result<(), ConfigError> {
    for (name, value) in content {
        let path = format!("{section}.{name}");
        // A section inside the section. No known one is deeper than that, so this ends.
        if let toml::Value::Table(inner) = value
            && keys.iter().any(|key| key.section == path)
        {
            read_section(keys, config, &path, inner, origin)?;
            continue;
        }
        let key = find(keys, &path, origin)?;
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => {
                return Err(ConfigError::Value {
                    origin: origin.to_owned(),
                    key: key.path(),
                    value: other.type_str().to_owned(),
                    expects: key.expects.to_owned(),
                });
            }
        };
        assign(key, config, &text, origin)?;
    }
    Ok(())
}

fn find<'a>(keys: &'a [Doc], path: &str, origin: &str) -> Result<&'a Doc, ConfigError> {
    keys.iter().find(|key| key.path() == path).ok_or_else(|| unknown(keys, path, origin))
}

fn unknown(keys: &[Doc], path: &str, origin: &str) -> ConfigError {
    ConfigError::Unknown {
        origin: origin.to_owned(),
        key: path.to_owned(),
        nearest: nearest(path, keys.iter().map(KeyDoc::path)),
    }
}

fn assign(key: &Doc, config: &mut Config, value: &str, origin: &str) -> Result<(), ConfigError> {
    key.assign(config, value).map_err(|expects| ConfigError::Value {
        origin: origin.to_owned(),
        key: key.path(),
        value: value.to_owned(),
        expects,
    })
}

/// What no single key can say.
fn check(config: &Config) -> Result<(), ConfigError> {
    let listen = &config.listen;
    for (key, address) in [
        ("listen.ingest", listen.ingest),
        ("listen.admin", listen.admin),
        ("listen.profiles", listen.profiles),
        ("shop.listen", config.shop.listen),
    ] {
        if !address.ip().is_loopback() && !listen.behind_proxy {
            return Err(ConfigError::Exposed { key, address });
        }
    }
    let wrong = |key: &str, value: &str, expects: &str| ConfigError::Value {
        origin: "the configuration".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
        expects: expects.to_owned(),
    };
    let country = &config.ingest.default_country;
    if !country.is_empty() && PhoneCountry::find(country).is_none() {
        return Err(wrong(
            "ingest.default_country",
            country,
            "a country as two letters, such as DE, or nothing",
        ));
    }
    let currency = &config.ingest.default_currency;
    let three_letters = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
    if !currency.is_empty() && !three_letters {
        return Err(wrong(
            "ingest.default_currency",
            currency,
            "a currency as three letters, such as EUR, or nothing",
        ));
    }
    crate::telemetry::check(config).map_err(|error| {
        let expects = format!("a URL such as http://127.0.0.1:4318, or nothing ({error})");
        wrong("telemetry.traces.endpoint", &config.telemetry.traces.endpoint, &expects)
    })
}

/// The known name that needs the fewest changes.
pub(crate) fn nearest(wanted: &str, known: impl Iterator<Item = String>) -> String {
    known.min_by_key(|name| distance(wanted, name)).unwrap_or_default()
}

/// How many letters must be added, removed or changed (Levenshtein), one row at a time.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), line + 1);
        let mut left = line + 1;
        for (cell, candidate) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal + usize::from(letter != *candidate);
            diagonal = *cell;
            left = changed.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("same", "same", 0)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
