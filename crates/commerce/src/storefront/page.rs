//! Pages of lists: `first`, `last`, `after` and `before`, edges, and what is beyond.

use super::names::{Name, Type};
use super::plan::Field;
use super::run::{Run, Stop, Written};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest page.
pub(crate) const MAX_PAGE: usize = 250;
/// The page of a search that does not say how long.
const SEARCH_PAGE: usize = 10;

/// A part of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Its items: place in the list, and number.
    pub(crate) items: Vec<(usize, u64)>,
    /// Whether there are more behind.
    pub(crate) has_next: bool,
    /// Whether there are more before.
    pub(crate) has_previous: bool,
}

/// A list that a page is taken of: numbers in order.
pub(crate) struct List<'l> {
    /// The numbers.
    pub(crate) numbers: &'l [u64],
    /// Whether the last comes first.
    pub(crate) reverse: bool,
}

impl List<'_> {
    fn at(&self, place: usize) -> Option<u64> {
        match self.reverse {
            false => self.numbers.get(place).copied(),
            true => self.numbers.len().checked_sub(place + 1).and_then(|at| self.numbers.get(at)).copied(),
        }
    }

    /// Where an item is now that was at a place. `None` if it is gone.
    fn find(&self, place: usize, number: u64) -> Option<usize> {
        if self.at(place) == Some(number) {
            return Some(place);
        }
        (0..self.numbers.len()).find(|place| self.at(*place) == Some(number))
    }
}

/// What of a list is wanted.
struct Window {
    from: usize,
    until: usize,
    limit: usize,
    backwards: bool,
}

impl<'a> Run<'a> {
    /// The page of a list that a field asks for; only of items that are `shown`.
    pub(crate) fn page(
        &mut self,
        field: &'a Field,
        list: &List<'_>,
        shown: impl Fn(u64) -> bool,
    ) -> Result<Page, Stop> {
        let window = self.window(field, list)?;
        let item =
            |place: usize| list.at(place).filter(|number| shown(*number)).map(|number| (place, number));
        let mut page = Page::default();
        let beyond;
        if window.backwards {
            let mut items = (window.from..window.until).rev().filter_map(item);
            page.items.extend(items.by_ref().take(window.limit));
            page.items.reverse();
            beyond = items.next().is_some();
            page.has_previous = beyond || (0..window.from).any(|place| item(place).is_some());
            page.has_next = (window.until..list.numbers.len()).any(|place| item(place).is_some());
        } else {
            let mut items = (window.from..window.until).filter_map(item);
            page.items.extend(items.by_ref().take(window.limit));
            beyond = items.next().is_some();
            page.has_next = beyond || (window.until..list.numbers.len()).any(|place| item(place).is_some());
            page.has_previous = (0..window.from).any(|place| item(place).is_some());
        }
        Ok(page)
    }

    fn window(&mut self, field: &'a Field, list: &List<'_>) -> Result<Window, Stop> {
        let (first, last) = (self.arg(field, "first").int(), self.arg(field, "last").int());
        let (size, backwards) = match (first, last) {
            (Some(first), None) => (first, false),
            (None, Some(last)) => (last, true),
            (None, None) if field.name == Name::Search => (SEARCH_PAGE as i64, false),
            (None, None) => {
                return Err(self.stop("you must provide one of first or last"));
            }
            (Some(_), Some(_)) => {
                return Err(self.stop("providing both first and last is not supported"));
            }
        };
        let limit = usize::try_from(size).ok().filter(|limit| *limit <= MAX_PAGE);
        let Some(limit) = limit else {
            return Err(self.stop(&format!("first and last are between 0 and {MAX_PAGE}")));
        };
        let (mut from, mut until) = (0, list.numbers.len());
        if let Some(text) = self.arg(field, "after").text() {
            let (place, number) =
                read_cursor(text).ok_or_else(|| self.stop("after is no cursor of this list"))?;
            from = list.find(place, number).map_or(place, |place| place + 1).min(until);
        }
        if let Some(text) = self.arg(field, "before").text() {
            let (place, number) =
                read_cursor(text).ok_or_else(|| self.stop("before is no cursor of this list"))?;
            until = list.find(place, number).unwrap_or(place).min(until);
        }
        Ok(Window { from: from.min(until), until, limit, backwards })
    }

    fn stop(&mut self, message: &str) -> Stop {
        match self.fail("BAD_REQUEST", message) {
            Err(stop) => stop,
            Ok(()) => Stop::Null,
        }
    }

    /// Writes a page. `node` writes one item.
    pub(crate) fn connection(
        &mut self,
        field: &'a Field,
        (of, edge): (Type, Type),
        page: &Page,
        total: usize,
        mut node: impl FnMut(&mut Self, &'a Field, u64) -> Written,
    ) -> Written {
        self.object(of, &field.selected, |run, field| match field.name {
            Name::Nodes => run.list(field, &page.items, |run, (_, number)| node(run, field, *number)),
            Name::Edges => run.list(field, &page.items, |run, (place, number)| {
                run.object(edge, &field.selected, |run, field| match field.name {
                    Name::Cursor => run.text(&cursor(*place, *number)),
                    Name::Node => node(run, field, *number),
                    _ => run.unanswered(edge, field),
                })
            }),
            Name::PageInfo => run.page_info(field, page),
            // The count of collections is text, because it is an unsigned number of 64 bits; that of a search is not.
            Name::TotalCount if of == Type::CollectionConnection => run.text(&total.to_string()),
            Name::TotalCount => run.int(total as i64),
            _ => run.unanswered(of, field),
        })
    }

    /// Writes a page of a list that has nothing.
    pub(crate) fn no_page(&mut self, field: &'a Field, types: (Type, Type)) -> Written {
        let page = self.page(field, &List { numbers: &[], reverse: false }, |_| true)?;
        self.connection(field, types, &page, 0, |run, field, _| run.unanswered(types.1, field))
    }

    fn page_info(&mut self, field: &'a Field, page: &Page) -> Written {
        let end = |item: Option<&(usize, u64)>| item.map(|(place, number)| cursor(*place, *number));
        self.object(Type::PageInfo, &field.selected, |run, field| match field.name {
            Name::HasNextPage => run.bool(page.has_next),
            Name::HasPreviousPage => run.bool(page.has_previous),
            Name::StartCursor => run.text_if(end(page.items.first()).as_deref()),
            Name::EndCursor => run.text_if(end(page.items.last()).as_deref()),
            _ => run.unanswered(Type::PageInfo, field),
        })
    }
}

/// What stands for an item of a list: its number, and where it was.
pub(crate) fn cursor(place: usize, number: u64) -> String {
    let mut bytes = [0_u8; 12];
    let (head, tail) = bytes.split_at_mut(4);
    head.copy_from_slice(&u32::try_from(place).unwrap_or(u32::MAX).to_le_bytes());
    tail.copy_from_slice(&number.to_le_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Option<(usize, u64)> {
    let mut bytes = [0_u8; 12];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let (head, tail) = bytes.split_first_chunk::<4>()?;
    let tail: [u8; 8] = tail.try_into().ok()?;
    (length == 12).then(|| (u32::from_le_bytes(*head) as usize, u64::from_le_bytes(tail)))
}
