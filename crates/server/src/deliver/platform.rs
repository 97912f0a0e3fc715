//! Ad platforms as destinations: what operators say of them, and their credentials.
//!
//! A definition is a record, and records hold no secrets. So a platform's settings name its credentials, and each is a
//! file of the folder `delivery.credentials`: the form in which systemd and Kubernetes hand secrets to a service. It is
//! read when the lane opens.

use super::folder;
use crate::api::types::DestinationGiven;
use crate::api::{Code, Context, Problem};
use engage::{DestinationKind, PERSON_FIELDS};
use env::Env;
use outbound::platform::audience::Audiences;
use outbound::platform::{Counters, Keeping, Opened, PlatformConfig};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};

/// Where lists are kept of what platforms were told, in the folder of delivery.
const SHADOW_FOLDER: &str = "platforms";
/// The longest credential, in bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;
/// Stands for a credential while settings are only checked.
const PLACEHOLDER: &str = "credential";
/// What a file's name may not look like.
const NAME_ADVICE: &str = "is no name of a credential: it is a file's name, without folders";

/// What is known of a platform that was opened, beside its lane.
pub(super) struct Known {
    /// Where it keeps lists, as long as its lane is open.
    pub(super) audiences: Weak<Audiences>,
    /// What it counted since it was opened.
    pub(super) counters: Arc<Counters>,
    /// How long the platform itself takes, in seconds.
    pub(super) own_lag_s: Option<u64>,
}

impl Known {
    pub(super) fn of(opened: &Opened) -> Self {
        let audiences = opened.audiences.as_ref().map(Arc::downgrade).unwrap_or_default();
        Self { audiences, counters: Arc::clone(&opened.counters), own_lag_s: opened.own_lag_s }
    }
}

/// What was given, as a destination of the kind.
pub(super) fn checked(given: &DestinationGiven) -> Result<DestinationKind, Problem> {
    let wrong = |field: &str, message: String| Problem::at(Code::BadValue, field, message);
    let Some(Value::Object(settings)) = &given.settings else {
        let message = "a platform needs settings, e.g. {\"platform\": \"meta_audience\", \"lists\": {…}}";
        return Err(wrong("settings", message.to_owned()));
    };
    let credentials = given.credentials.clone().unwrap_or_default();
    let whole = with_placeholders(settings, &credentials)?;
    parsed(whole).map_err(|message| wrong("settings", message))?;
    no_secrets(settings, &SECRETS)?;
    let settings = Value::Object(settings.clone()).to_string();
    let person = person_of(given)?;
    let credentials = credentials.into_iter().collect();
    Ok(DestinationKind::Platform { settings, credentials, person })
}

/// Settings with something in place of each credential, to be checked as they will be used.
pub(super) fn with_placeholders(
    settings: &Map<String, Value>,
    credentials: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, Problem> {
    let mut whole = settings.clone();
    for (member, name) in credentials {
        if !is_file_name(name) {
            return Err(Problem::at(Code::BadValue, "credentials", format!("{name:?} {NAME_ADVICE}")));
        }
        if whole.insert(member.clone(), Value::from(PLACEHOLDER)).is_some() {
            let message = format!("{member} stands in settings and in credentials: leave it out of settings");
            return Err(Problem::at(Code::BadValue, "settings", message));
        }
    }
    Ok(whole)
}

/// A secret that was written into the settings would be read as well as one from a file.
pub(super) fn no_secrets(settings: &Map<String, Value>, secrets: &[&str]) -> Result<(), Problem> {
    let Some(member) = secrets.iter().find(|member| settings.contains_key(**member)) else { return Ok(()) };
    let message = format!(
        "{member} is a secret, and definitions are kept for ever: put it into a file of `delivery.credentials` and name \
         that file in credentials"
    );
    Err(Problem::at(Code::BadValue, "settings", message))
}

/// Settings with their credentials, from their files.
pub(super) fn with_credentials(
    context: &Context,
    settings: &str,
    credentials: &[(String, String)],
) -> Result<Map<String, Value>, String> {
    let Ok(Value::Object(mut settings)) = serde_json::from_str(settings) else {
        return Err("its settings are no JSON object: define it again".to_owned());
    };
    let from = &context.config.delivery.credentials;
    for (member, credential) in credentials {
        settings.insert(member.clone(), Value::from(read(from, credential)?));
    }
    Ok(settings)
}

/// What a destination is told of a person beside identifiers.
pub(super) fn person_of(given: &DestinationGiven) -> Result<Vec<String>, Problem> {
    let person = given.person.clone().unwrap_or_default();
    match person.iter().find(|field| !PERSON_FIELDS.contains(&field.as_str())) {
        None => Ok(person),
        Some(field) => {
            let message = format!("there is no {field:?}; there are {}", PERSON_FIELDS.join(", "));
            Err(Problem::at(Code::BadValue, "person", message))
        }
    }
}

/// The members of settings that are secrets, of any platform.
const SECRETS: [&str; 3] = ["access_token", "app_secret", "oauth"];

/// Opens a platform with its credentials. An error says what to do and holds no secret.
pub(super) fn open(
    context: &Context,
    env: &Env,
    name: &str,
    settings: &str,
    credentials: &[(String, String)],
) -> Result<Opened, String> {
    let config = parsed(with_credentials(context, settings, credentials)?)?;
    let keeping = Keeping { folder: &shadows(context), keys: context.journal_keys.clone() };
    config.open(name, env, &context.egress, &keeping).map_err(|error| error.to_string())
}

/// The folder of what platforms were told.
pub(super) fn shadows(context: &Context) -> PathBuf {
    folder(context).join(SHADOW_FOLDER)
}

fn parsed(settings: Map<String, Value>) -> Result<PlatformConfig, String> {
    // The reader's message names members and what they should be; credentials are texts, which it does not repeat.
    let config: PlatformConfig = serde_json::from_value(Value::Object(settings))
        .map_err(|error| format!("settings cannot be used: {error}"))?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !name.starts_with('.')
}

fn read(folder: &str, name: &str) -> Result<String, String> {
    if folder.is_empty() {
        return Err(format!(
            "it needs the credential {name:?}, and `delivery.credentials` names no folder to look for it in"
        ));
    }
    if !is_file_name(name) {
        return Err(format!("{name:?} {NAME_ADVICE}"));
    }
    let path = Path::new(folder).join(name);
    let failed = |error: String| {
        format!(
            "the credential {} cannot be read ({error}): it is a file that the server may read",
            path.display()
        )
    };
    let length = std::fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
    if length > CREDENTIAL_BYTES_MAX {
        return Err(failed(format!("{length} bytes, and {CREDENTIAL_BYTES_MAX} are the limit")));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    // Editors end a file with a line break, which no token has.
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(failed("it is empty".to_owned())) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_file_of_the_folder_and_of_no_other() {
        let folder = std::env::temp_dir().join(format!("throughline-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("meta-token"), "EAAB\n").unwrap();
        std::fs::write(folder.join("empty"), "\n").unwrap();
        std::fs::write(folder.join("long"), "x".repeat(70_000)).unwrap();
        let from = folder.to_str().unwrap();
        assert_eq!(read(from, "meta-token").as_deref(), Ok("EAAB"));
        for name in ["../meta-token", "a/b", "/etc/passwd", ".", "..", ".hidden", ""] {
            assert!(read(from, name).unwrap_err().contains(NAME_ADVICE), "{name:?}");
        }
        for (name, why) in [("empty", "empty"), ("long", "limit"), ("missing", "cannot be read")] {
            assert!(read(from, name).unwrap_err().contains(why), "{name:?}");
        }
        assert!(read("", "meta-token").unwrap_err().contains("delivery.credentials"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
