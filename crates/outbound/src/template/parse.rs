//! Reads a template as a tree. Everything that can be wrong without a message is said here, with its place.

mod chain;

use super::words::{Piece, Placed, Word, cut};
use super::{DEPTH_MAX, PARTS_MAX, Place, TEMPLATE_BYTES_MAX, TemplateError};
use chain::Words;
use serde_json::Value;

pub(super) use chain::{Chain, Condition, Mode, Operand, Step, Test};

/// Parts in order.
pub(super) type Block = Vec<Part>;

/// A part and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) place: Place,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// As it stands.
    Text(String),
    /// A value, escaped.
    Output(Chain, Mode),
    /// The first branch whose condition holds.
    If(Vec<(Condition, Block)>, Block),
    /// The first branch that names the value.
    Case(Operand, Vec<(Vec<Operand>, Block)>, Block),
    /// Every element of a list.
    For(Box<Loop>),
    /// A name for a value.
    Assign(String, Chain),
    /// A name for what a block comes to.
    Capture(String, Block),
    /// Ends the loop.
    Break,
    /// Ends the turn of the loop.
    Continue,
}

#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) name: String,
    pub(super) over: Operand,
    pub(super) limit: Option<Operand>,
    pub(super) offset: Option<Operand>,
    pub(super) is_reversed: bool,
    pub(super) body: Block,
    pub(super) otherwise: Block,
}

/// What Liquid elsewhere has, and what to do instead.
const ABSENT: [(&str, &str); 12] = [
    ("include", "templates do not reach other templates: write it here"),
    ("render", "templates do not reach other templates: write it here"),
    ("layout", "templates do not reach other templates: write it here"),
    ("liquid", "write each tag in its own `{% … %}`"),
    ("echo", "write `{{ … }}`"),
    ("tablerow", "use `for`"),
    ("cycle", "use `forloop.index` with `modulo`"),
    ("increment", "use `forloop.index`, or `assign` with `plus: 1`"),
    ("decrement", "use `forloop.index`, or `assign` with `minus: 1`"),
    ("ifchanged", "keep the former value with `assign` and compare"),
    ("style", "write the element itself"),
    ("form", "write the element itself"),
];
/// The tags that there are.
const TAGS: &str = "if, unless, case, for, break, continue, assign, capture, comment and raw";

/// What ends a block: its words, and where they stand.
struct End {
    name: String,
    words: Words,
}

struct Reader {
    pieces: std::vec::IntoIter<Piece>,
    depth: usize,
    loops: usize,
}

/// Reads a template.
pub(super) fn read(text: &str) -> Result<Block, TemplateError> {
    let first = Place { line: 1, column: 1 };
    if text.len() > TEMPLATE_BYTES_MAX {
        let message =
            format!("the template has {} bytes, and {TEMPLATE_BYTES_MAX} are the limit", text.len());
        return Err(TemplateError { code: "too_long", place: first, message });
    }
    let pieces = cut(text)?;
    if pieces.len() > PARTS_MAX {
        let message = format!("the template has {} parts, and {PARTS_MAX} are the limit", pieces.len());
        return Err(TemplateError { code: "too_many_parts", place: first, message });
    }
    let mut reader = Reader { pieces: pieces.into_iter(), depth: 0, loops: 0 };
    let (block, end) = reader.block(&[])?;
    match end {
        None => Ok(block),
        Some(End { name, words }) => {
            Err(words.wrong("misplaced", format!("`{name}` stands in no block that it belongs to")))
        }
    }
}

impl Reader {
    /// The parts up to one of these ends, or to the end of the text where there is none to wait for.
    fn block(&mut self, ends: &[&str]) -> Result<(Block, Option<End>), TemplateError> {
        let mut block = Block::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text, place) => block.push(Part { place, what: What::Text(text) }),
                Piece::Output(words, place) => {
                    let mut words = Words::new(words, place);
                    let (chain, mode) = words.output()?;
                    block.push(Part { place, what: What::Output(chain, mode) });
                }
                Piece::Tag(words, place) => {
                    let (name, words) = tag(words, place)?;
                    if ends.contains(&name.as_str()) || is_end(&name) {
                        return Ok((block, Some(End { name, words })));
                    }
                    let what = self.tag(&name, words)?;
                    block.push(Part { place, what });
                }
            }
        }
        Ok((block, None))
    }

    /// The parts of a block that `opened` began.
    fn inside(&mut self, opened: (&str, Place), ends: &[&str]) -> Result<(Block, End), TemplateError> {
        if self.depth >= DEPTH_MAX {
            let message = format!("blocks stand {DEPTH_MAX} deep in each other at most");
            return Err(TemplateError { code: "too_deep", place: opened.1, message });
        }
        self.depth += 1;
        let (block, end) = self.block(ends)?;
        self.depth -= 1;
        let (name, place) = opened;
        match end {
            Some(end) if ends.contains(&end.name.as_str()) => Ok((block, end)),
            Some(End { name: found, words }) => {
                let message =
                    format!("`{found}` stands inside of `{name}` of line {}: end that first", place.line);
                Err(words.wrong("misplaced", message))
            }
            None => {
                let message = format!("`{name}` has no end: write `{{% end{name} %}}` behind it");
                Err(TemplateError { code: "unclosed", place, message })
            }
        }
    }

    fn tag(&mut self, name: &str, mut words: Words) -> Result<What, TemplateError> {
        let place = words.place();
        match name {
            "if" | "unless" => self.branches(name, words),
            "case" => self.case(words),
            "for" => self.looped(words),
            "break" | "continue" if self.loops == 0 => {
                Err(words.wrong("misplaced", format!("`{name}` stands in a `for` only")))
            }
            "break" => words.end().map(|()| What::Break),
            "continue" => words.end().map(|()| What::Continue),
            "assign" => {
                let name = words.name("a name to assign to")?;
                words.sign("=", "write `=` behind the name")?;
                Ok(What::Assign(name, words.whole_chain()?))
            }
            "capture" => {
                let name = words.name("a name for what is captured")?;
                words.end()?;
                let (block, end) = self.inside(("capture", place), &["endcapture"])?;
                end.words.end()?;
                Ok(What::Capture(name, block))
            }
            other => {
                let absent = ABSENT.iter().find(|(name, _)| *name == other);
                let advice =
                    absent.map_or_else(|| format!("there are {TAGS}"), |(_, advice)| (*advice).to_owned());
                Err(words.wrong("unknown_tag", format!("there is no tag `{other}` here: {advice}")))
            }
        }
    }

    fn branches(&mut self, name: &str, mut words: Words) -> Result<What, TemplateError> {
        let place = words.place();
        let ended = format!("end{name}");
        let ends = ["elsif", "else", ended.as_str()];
        let mut branches = Vec::new();
        let mut condition = words.condition()?;
        if name == "unless" {
            condition = Condition::Not(Box::new(condition));
        }
        loop {
            let (block, mut end) = self.inside((name, place), &ends)?;
            branches.push((condition, block));
            match end.name.as_str() {
                "elsif" => condition = end.words.condition()?,
                "else" => {
                    end.words.end()?;
                    let (otherwise, end) = self.inside((name, place), &[&ended])?;
                    end.words.end()?;
                    return Ok(What::If(branches, otherwise));
                }
                _ => {
                    end.words.end()?;
                    return Ok(What::If(branches, Block::new()));
                }
            }
        }
    }

    fn case(&mut self, mut words: Words) -> Result<What, TemplateError> {
        let place = words.place();
        let subject = words.operand()?;
        words.end()?;
        // What stands before the first `when` is white space, and says nothing.
        let (before, mut end) = self.inside(("case", place), &["when", "else", "endcase"])?;
        if let Some(part) =
            before.iter().find(|part| !matches!(&part.what, What::Text(text) if text.trim().is_empty()))
        {
            let message = "between `case` and the first `when` nothing is written".to_owned();
            return Err(TemplateError { code: "misplaced", place: part.place, message });
        }
        let (mut branches, mut otherwise) = (Vec::new(), Block::new());
        loop {
            match end.name.as_str() {
                "when" => {
                    let values = end.words.values()?;
                    let block;
                    (block, end) = self.inside(("case", place), &["when", "else", "endcase"])?;
                    branches.push((values, block));
                }
                "else" => {
                    end.words.end()?;
                    (otherwise, end) = self.inside(("case", place), &["endcase"])?;
                }
                _ => {
                    end.words.end()?;
                    return Ok(What::Case(subject, branches, otherwise));
                }
            }
        }
    }

    fn looped(&mut self, mut words: Words) -> Result<What, TemplateError> {
        let place = words.place();
        let name = words.name("a name for each element")?;
        words.keyword("in", "write `in` and a list behind the name")?;
        let over = words.operand()?;
        let (mut limit, mut offset, mut is_reversed) = (None, None, false);
        while let Some((word, place)) = words.next() {
            match &word {
                Word::Name(name) if name == "reversed" => is_reversed = true,
                Word::Name(name) if name == "limit" || name == "offset" => {
                    words.sign(":", "write `:` and a number behind it")?;
                    let value = Some(words.operand()?);
                    *(if name == "limit" { &mut limit } else { &mut offset }) = value;
                }
                Word::Sign(",") => {}
                other => {
                    let message = format!(
                        "{} is not understood here: `limit: N`, `offset: N` and `reversed` are",
                        other.shown()
                    );
                    return Err(TemplateError { code: "bad_loop", place, message });
                }
            }
        }
        self.loops += 1;
        let (body, end) = self.inside(("for", place), &["else", "endfor"])?;
        self.loops -= 1;
        let mut otherwise = Block::new();
        let last = if end.name == "else" {
            end.words.end()?;
            let last;
            (otherwise, last) = self.inside(("for", place), &["endfor"])?;
            last
        } else {
            end
        };
        last.words.end()?;
        Ok(What::For(Box::new(Loop { name, over, limit, offset, is_reversed, body, otherwise })))
    }
}

/// The name of a tag, and the words behind it.
fn tag(mut words: Vec<Placed>, place: Place) -> Result<(String, Words), TemplateError> {
    let rest = words.split_off(words.len().min(1));
    match words.pop() {
        Some((Word::Name(name), place)) => Ok((name, Words::new(rest, place))),
        other => {
            let place = other.map_or(place, |(_, place)| place);
            let message = format!("a tag begins with its name: {TAGS}");
            Err(TemplateError { code: "unknown_tag", place, message })
        }
    }
}

/// Words that mean something inside of a block only.
fn is_end(name: &str) -> bool {
    const ENDS: [&str; 10] = [
        "else",
        "elsif",
        "when",
        "endif",
        "endunless",
        "endcase",
        "endfor",
        "endcapture",
        "endraw",
        "endcomment",
    ];
    ENDS.contains(&name)
}

/// A value that was written into the template.
pub(super) fn literal(value: impl Into<Value>) -> Operand {
    Operand::Literal(value.into())
}
