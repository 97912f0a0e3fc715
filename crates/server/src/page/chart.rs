//! Drawings in SVG. Their colours are classes of the style sheet, so they follow light and dark; everything they say
//! also stands in words beside them.

use super::html::Html;

/// The size of a chart, in units of its own; the page scales it.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 96.0;
/// The row of words below the bars, and the one above.
const BELOW: f64 = 14.0;
const ABOVE: f64 = 12.0;
/// The height of a bar that lies.
const LYING_WIDTH: f64 = 1_000.0;

/// One bar or point.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// Nothing was measured where there is none.
    pub(super) value: Option<f64>,
    /// What a pointer on it reads.
    pub(super) label: String,
}

/// A chart over time.
#[derive(Clone, Debug)]
pub(super) struct Chart<'t> {
    /// Unique in the page: names the title for readers of screens.
    pub(super) id: &'static str,
    pub(super) title: &'t str,
    pub(super) about: &'t str,
    /// What the highest point is, in words.
    pub(super) top: &'t str,
    pub(super) from: &'t str,
    pub(super) to: &'t str,
    /// A line with points; else bars.
    pub(super) is_line: bool,
    pub(super) points: &'t [Point],
}

impl Chart<'_> {
    pub(super) fn draw(&self, html: &mut Html) {
        html.raw("<svg class=\"chart\" role=\"img\"")
            .attribute("aria-labelledby", format!("{0}-t {0}-d", self.id));
        html.raw(" viewBox=\"0 0 360 96\"><title");
        html.attribute("id", format!("{}-t", self.id)).raw(">").text(self.title).raw("</title><desc");
        html.attribute("id", format!("{}-d", self.id)).raw(">").text(self.about).raw("</desc>");
        self.words(html);
        let highest = self.points.iter().filter_map(|point| point.value).fold(0.0_f64, f64::max);
        if highest > 0.0 {
            if self.is_line { self.line(html, highest) } else { self.bars(html, highest) }
        }
        html.raw("</svg>");
    }

    fn words(&self, html: &mut Html) {
        let (floor, row) = (HEIGHT - BELOW, HEIGHT - 3.0);
        html.raw("<line class=\"axis\" x1=\"0\" x2=\"360\"").place("y1", floor).place("y2", floor).raw("/>");
        html.raw("<text class=\"tick\" x=\"0\" y=\"9\">").text(self.top).raw("</text>");
        html.raw("<text class=\"tick\" x=\"0\"").place("y", row).raw(">").text(self.from).raw("</text>");
        html.raw("<text class=\"tick end\" x=\"360\"").place("y", row).raw(">").text(self.to).raw("</text>");
    }

    /// Where the points are: the left of each, and how wide each is.
    fn places(&self) -> impl Iterator<Item = (f64, f64, &Point)> {
        let step = WIDTH / (self.points.len().max(1)) as f64;
        self.points.iter().enumerate().map(move |(index, point)| (index as f64 * step, step, point))
    }

    fn bars(&self, html: &mut Html, highest: f64) {
        let room = HEIGHT - BELOW - ABOVE;
        for (left, step, point) in self.places() {
            let Some(value) = point.value.filter(|value| *value > 0.0) else { continue };
            // A value that is there is seen, however small.
            let height = (value / highest * room).max(1.0);
            html.raw("<rect class=\"bar\"").place("x", left + step * 0.1).place("width", step * 0.8);
            html.place("y", HEIGHT - BELOW - height).place("height", height).raw("><title>");
            html.text(&point.label).raw("</title></rect>");
        }
    }

    fn line(&self, html: &mut Html, highest: f64) {
        let room = HEIGHT - BELOW - ABOVE;
        let radius = (WIDTH / self.points.len().max(1) as f64 * 0.3).clamp(1.2, 3.0);
        let mut before: Option<(f64, f64)> = None;
        for (left, step, point) in self.places() {
            // Where nothing was measured the line is broken: nobody knows what was between.
            let Some(value) = point.value else {
                before = None;
                continue;
            };
            let (x, y) = (left + step / 2.0, HEIGHT - BELOW - value / highest * room);
            if let Some((x1, y1)) = before {
                html.raw("<line class=\"trend\"").place("x1", x1).place("y1", y1);
                html.place("x2", x).place("y2", y).raw("/>");
            }
            html.raw("<circle class=\"dot\"").place("cx", x).place("cy", y).place("r", radius);
            html.raw("><title>").text(&point.label).raw("</title></circle>");
            before = Some((x, y));
        }
    }
}

/// A part of a bar that lies: how much, the class that colours it, and what it is.
pub(super) type Part<'t> = (f64, &'static str, &'t str);

/// A bar of parts, as wide as its place where they come to `whole`. It repeats what stands beside it in words, so
/// readers of screens are spared it.
pub(super) fn lying_bar(html: &mut Html, class: &'static str, whole: f64, parts: &[Part]) {
    html.raw("<svg").attribute("class", class);
    html.raw(" aria-hidden=\"true\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\">");
    html.raw("<rect class=\"ground\" x=\"0\" y=\"0\" width=\"1000\" height=\"10\"/>");
    let mut left = 0.0;
    for (amount, class, label) in parts {
        let width =
            if whole > 0.0 { (amount / whole * LYING_WIDTH).clamp(0.0, LYING_WIDTH - left) } else { 0.0 };
        if width > 0.0 {
            html.raw("<rect").attribute("class", class).place("x", left).place("width", width);
            html.raw(" y=\"0\" height=\"10\"><title>").text(label).raw("</title></rect>");
        }
        left += width;
    }
    html.raw("</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every number of an attribute.
    fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
        let opening = format!(" {attribute}=\"");
        svg.split(&opening).skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn everything_is_drawn_inside(
            values in proptest::collection::vec(proptest::option::of(-1.0e9..1.0e12_f64), 0..200),
            is_line in any::<bool>(),
        ) {
            let points: Vec<Point> =
                values.iter().map(|value| Point { value: value.map(|value| value.max(0.0)), label: String::new() }).collect();
            let mut html = Html::default();
            Chart { id: "c", title: "", about: "", top: "", from: "", to: "", is_line, points: &points }.draw(&mut html);
            let svg = html.into_text();
            for (attribute, most) in [("x", WIDTH), ("cx", WIDTH), ("y", HEIGHT), ("cy", HEIGHT), ("x1", WIDTH)] {
                for number in numbers(&svg, attribute) {
                    prop_assert!((-0.1..=most + 0.1).contains(&number), "{} {}", attribute, number);
                }
            }
            let highest = values.iter().flatten().fold(0.0_f64, |a, b| a.max(*b));
            let measured = values.iter().flatten().filter(|value| is_line || **value > 0.0).count();
            let drawn = svg.matches("</circle>").count() + svg.matches("</rect>").count();
            prop_assert_eq!(drawn, if highest > 0.0 { measured } else { 0 });
        }

        #[test]
        fn parts_lie_side_by_side_and_fill_no_more_than_the_bar(
            amounts in proptest::collection::vec(0.0..1.0e12_f64, 0..8), whole in 0.0..1.0e12_f64,
        ) {
            let parts: Vec<Part> = amounts.iter().map(|amount| (*amount, "a", "")).collect();
            let mut html = Html::default();
            lying_bar(&mut html, "b", whole, &parts);
            let svg = html.into_text();
            let widths = numbers(&svg, "width");
            prop_assert!(widths[1..].iter().sum::<f64>() <= LYING_WIDTH + 1.0);
        }
    }
}
