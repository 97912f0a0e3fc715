//! Filters of texts.

use super::super::write;
use super::{Budget, Fault, count, read, text};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// The text of an argument, paid for.
fn word<'v>(
    arguments: &[&'v Value],
    at: usize,
    budget: &mut Budget,
) -> Result<std::borrow::Cow<'v, str>, Fault> {
    match arguments.get(at) {
        Some(value) => read(value, budget),
        None => Ok("".into()),
    }
}

pub(super) fn append(value: &Value, more: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let (first, second) = (read(value, budget)?, word(more, 0, budget)?);
    Ok(Value::from(format!("{first}{second}")))
}

pub(super) fn prepend(value: &Value, more: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let (second, first) = (read(value, budget)?, word(more, 0, budget)?);
    Ok(Value::from(format!("{first}{second}")))
}

pub(super) fn upcase(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| text.to_uppercase())
}

pub(super) fn downcase(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| text.to_lowercase())
}

pub(super) fn capitalize(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| {
        let mut characters = text.chars();
        let first =
            characters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
        format!("{first}{}", characters.as_str().to_lowercase())
    })
}

pub(super) fn strip(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| text.trim().to_owned())
}

pub(super) fn lstrip(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| text.trim_start().to_owned())
}

pub(super) fn rstrip(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| text.trim_end().to_owned())
}

pub(super) fn strip_newlines(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| text.replace(['\r', '\n'], ""))
}

pub(super) fn escape(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| write::escaped(text, write::markup))
}

pub(super) fn url_encode(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| write::escaped(text, write::form))
}

pub(super) fn base64_encode(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| BASE64_STANDARD.encode(text))
}

/// SHA-256 in hexadecimal: what many interfaces want addresses as.
pub(super) fn sha256(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    changed(value, budget, |text| {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            for half in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
            hex
        })
    })
}

/// A change that makes at most six bytes of one, as `&#x27;` of a quote.
fn changed(value: &Value, budget: &mut Budget, change: impl Fn(&str) -> String) -> Result<Value, Fault> {
    let text = read(value, budget)?;
    budget.charge(text.len().saturating_mul(6))?;
    Ok(Value::from(change(&text)))
}

pub(super) fn remove(value: &Value, what: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let (text, what) = (read(value, budget)?, word(what, 0, budget)?);
    budget.charge(text.len())?;
    Ok(Value::from(if what.is_empty() { text.into_owned() } else { text.replace(&*what, "") }))
}

pub(super) fn replace(value: &Value, both: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let (text, from, to) = (read(value, budget)?, word(both, 0, budget)?, word(both, 1, budget)?);
    let matches = text.matches(&*from).count();
    budget.charge(text.len().saturating_add(matches.saturating_mul(to.len())))?;
    Ok(Value::from(text.replace(&*from, &to)))
}

pub(super) fn replace_first(value: &Value, both: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let (text, from, to) = (read(value, budget)?, word(both, 0, budget)?, word(both, 1, budget)?);
    Ok(Value::from(text.replacen(&*from, &to, 1)))
}

/// At most so many characters, of which the end are the points that say that something is missing.
pub(super) fn truncate(value: &Value, how: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let text = read(value, budget)?;
    let most = count(how, 0)?.unwrap_or(50);
    let end = if how.len() > 1 { word(how, 1, budget)? } else { "...".into() };
    let most = usize::try_from(most).unwrap_or(0);
    if text.chars().count() <= most {
        return Ok(Value::from(text.into_owned()));
    }
    let kept = most.saturating_sub(end.chars().count());
    let begin: String = text.chars().take(kept).collect();
    Ok(Value::from(format!("{begin}{end}")))
}

/// From a character or element, counted from 0 or from the end, one or so many.
pub(super) fn slice(value: &Value, how: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let (from, length) = (count(how, 0)?.unwrap_or(0), count(how, 1)?.unwrap_or(1));
    let part = |size: usize| -> Option<(usize, usize)> {
        let size_signed = i64::try_from(size).ok()?;
        let from = if from < 0 { from.checked_add(size_signed)? } else { from };
        Some((usize::try_from(from).ok()?, usize::try_from(length).ok()?))
    };
    if let Value::Array(all) = value {
        let (from, length) = part(all.len()).unwrap_or((0, 0));
        let taken = all.iter().skip(from).take(length);
        taken.clone().try_for_each(|one| budget.charge_copy(one))?;
        return Ok(taken.cloned().collect());
    }
    let text = read(value, budget)?;
    let (from, length) = part(text.chars().count()).unwrap_or((0, 0));
    Ok(Value::from(text.chars().skip(from).take(length).collect::<String>()))
}

pub(super) fn split(value: &Value, by: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let (text, by) = (text(value), word(by, 0, budget)?);
    if text.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    let mut parts = Vec::new();
    let mut add = |part: &str, budget: &mut Budget| {
        budget.charge(part.len())?;
        parts.push(Value::from(part));
        Ok(())
    };
    if by.is_empty() {
        for character in text.chars() {
            add(character.encode_utf8(&mut [0; 4]), budget)?;
        }
    } else {
        text.split(&*by).try_for_each(|part| add(part, budget))?;
    }
    Ok(Value::Array(parts))
}
