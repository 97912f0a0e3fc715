//! JSON that is opened only as far as somebody looks into it. What stays closed is written as it was spelled.

use crate::json::{JsonError, Reader, write_text};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value: closed, or opened one level.
#[derive(Clone, Debug)]
pub(crate) enum Node<'a> {
    Raw(Cow<'a, str>),
    Object(Vec<(String, Node<'a>)>),
    Array(Vec<Node<'a>>),
}

const NO_OBJECT: &str = "what it should be in is no object";
const NO_MEMBER: &str = "is an element of a list: only members of objects can be taken out";

impl<'a> Node<'a> {
    pub(crate) fn raw(spelled: &'a str) -> Self {
        Self::Raw(Cow::Borrowed(spelled))
    }

    pub(crate) fn owned(spelled: String) -> Self {
        Self::Raw(Cow::Owned(spelled))
    }

    /// Its spelling, if nobody looked into it.
    pub(crate) fn as_raw(&self) -> Option<&str> {
        match self {
            Self::Raw(spelled) => Some(spelled),
            Self::Object(_) | Self::Array(_) => None,
        }
    }

    /// The value at a place; `None` if nothing is there.
    pub(crate) fn find(&mut self, names: &[String]) -> Result<Option<&mut Node<'a>>, &'static str> {
        let Some((first, rest)) = names.split_first() else { return Ok(Some(self)) };
        self.open()?;
        let next = match self {
            Self::Raw(_) => None,
            Self::Object(members) => members.iter_mut().find(|(name, _)| name == first).map(|(_, node)| node),
            Self::Array(elements) => index(first).and_then(|at| elements.get_mut(at)),
        };
        match next {
            Some(next) => next.find(rest),
            None => Ok(None),
        }
    }

    /// Takes a member out of its object; `None` if it is not there.
    pub(crate) fn remove(&mut self, names: &[String]) -> Result<Option<Node<'a>>, &'static str> {
        let Some((last, before)) = names.split_last() else { return Ok(None) };
        let Some(parent) = self.find(before)? else { return Ok(None) };
        parent.open()?;
        match parent {
            Self::Object(members) => {
                let at = members.iter().position(|(name, _)| name == last);
                Ok(at.map(|at| members.remove(at).1))
            }
            Self::Array(elements) if index(last).is_some_and(|at| at < elements.len()) => Err(NO_MEMBER),
            Self::Array(_) | Self::Raw(_) => Ok(None),
        }
    }

    /// Puts a value at a place, whose object or list must be there. One that is there already is only replaced if `over`.
    pub(crate) fn insert(
        &mut self,
        names: &[String],
        node: Node<'a>,
        over: bool,
    ) -> Result<(), &'static str> {
        let Some((last, before)) = names.split_last() else { return Err(NO_OBJECT) };
        let parent = self.find(before)?.ok_or(NO_OBJECT)?;
        parent.open()?;
        match parent {
            Self::Object(members) => match members.iter_mut().find(|(name, _)| name == last) {
                Some(_) if !over => return Err("is there already: remove it first"),
                Some((_, own)) => *own = node,
                None => members.push((last.clone(), node)),
            },
            Self::Array(elements) => {
                let own = index(last).and_then(|at| elements.get_mut(at));
                *own.filter(|_| over).ok_or("lists are not made longer, and nothing is moved into them")? =
                    node;
            }
            Self::Raw(_) => return Err(NO_OBJECT),
        }
        Ok(())
    }

    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Raw(spelled) => out.push_str(spelled),
            Self::Object(members) => {
                out.push('{');
                for (place, (name, member)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    write_text(out, name);
                    out.push(':');
                    member.write(out);
                }
                out.push('}');
            }
            Self::Array(elements) => {
                out.push('[');
                for (place, element) in elements.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
        }
    }

    /// Opens an object or a list one level; anything else stays closed. Of members of one name the last one counts.
    fn open(&mut self) -> Result<(), &'static str> {
        let Self::Raw(spelled) = self else { return Ok(()) };
        let opened = match spelled.trim_start().as_bytes().first() {
            Some(b'{') => object(spelled),
            Some(b'[') => array(spelled),
            _ => return Ok(()),
        };
        *self = opened.map_err(|_| "is no JSON")?;
        Ok(())
    }
}

/// Members own their text where it was made by a step, which lives no longer than the step.
fn part<'a>(whole: &Cow<'a, str>, part: &str) -> Node<'a> {
    match whole {
        Cow::Borrowed(whole) => {
            let at = part.as_ptr() as usize - whole.as_ptr() as usize;
            whole.get(at..at + part.len()).map_or_else(|| Node::owned(part.to_owned()), Node::raw)
        }
        Cow::Owned(_) => Node::owned(part.to_owned()),
    }
}

fn object<'a>(spelled: &Cow<'a, str>) -> Result<Node<'a>, JsonError> {
    let mut members: Vec<(String, Node<'a>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    Reader::new(spelled, u32::MAX).object(|reader, key| {
        let node = part(spelled, reader.skip()?);
        match places.get(key).and_then(|place| members.get_mut(*place)) {
            Some((_, own)) => *own = node,
            None => {
                places.insert(key.to_owned(), members.len());
                members.push((key.to_owned(), node));
            }
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(Node::Object(members))
}

fn array<'a>(spelled: &Cow<'a, str>) -> Result<Node<'a>, JsonError> {
    let mut elements = Vec::new();
    Reader::new(spelled, u32::MAX).array(|reader| {
        elements.push(part(spelled, reader.skip()?));
        Ok::<(), JsonError>(())
    })?;
    Ok(Node::Array(elements))
}

/// Digits without a sign and without zeros before them, as JSON pointers spell indices.
fn index(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    plain.then(|| name.parse().ok()).flatten()
}
