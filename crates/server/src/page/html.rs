//! HTML that cannot be injected into: only literals of this program are written as they are.

use std::fmt::{Display, Write as _};

/// A piece of HTML. What comes from outside gets in through [`Html::text`] and [`Html::attribute`], which escape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// Markup. Its type keeps everything out that is not written in our own sources.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, whatever it holds.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Control characters are no text in HTML; a line's end is, but nothing of ours needs one.
                control if control.is_control() => self.0.push('\u{FFFD}'),
                other => self.0.push(other),
            }
        }
        self
    }

    /// A name that somebody else chose: isolated, so that it cannot turn the direction of what stands around it.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.raw("<bdi>").text(name).raw("</bdi>")
    }

    /// ` name="value"`, whatever the value holds.
    pub(super) fn attribute(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        self.raw(" ").raw(name).raw("=\"").text(&value.to_string()).raw("\"")
    }

    /// ` name="1.5"`: a length or place in a drawing.
    pub(super) fn place(&mut self, name: &'static str, value: f64) -> &mut Self {
        let value = if value.is_finite() { value } else { 0.0 };
        let _ = write!(self.0, " {name}=\"{value:.1}\"");
        self
    }

    /// A figure: shown to people, and exactly, under a name, to programs.
    pub(super) fn figure(&mut self, name: &str, exact: impl Display, shown: &str) -> &mut Self {
        self.raw("<data").attribute("data-figure", name).attribute("value", exact).raw(">");
        self.text(shown).raw("</data>")
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_comes_from_outside_stays_text() {
        let mut html = Html::default();
        html.raw("<p").attribute("title", "\" onload='x").raw(">").text("<script>&\u{0}").raw("</p>");
        assert_eq!(html.into_text(), "<p title=\"&quot; onload=&#39;x\">&lt;script&gt;&amp;\u{FFFD}</p>");
    }

    #[test]
    fn places_are_numbers() {
        let mut html = Html::default();
        html.place("x", 1.25).place("y", f64::NAN).place("z", f64::INFINITY);
        assert_eq!(html.into_text(), " x=\"1.2\" y=\"0.0\" z=\"0.0\"");
    }

    proptest! {
        /// Nothing that a parser acts on gets through, and resolving the five escapes gives back what was given.
        #[test]
        fn no_text_opens_or_closes_anything(text in "\\PC*|[<>&\"'/=a-z ;#0-9]*") {
            let mut html = Html::default();
            html.text(&text);
            let written = html.into_text();
            prop_assert!(!written.contains(['<', '>', '"', '\'']));
            let back = written
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            prop_assert_eq!(back, text);
        }
    }
}
