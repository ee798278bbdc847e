//! SVG output, in the colours of both themes.

use common::colours;
use maud::html;
use std::fmt::Write;

/// Names in [`colours::CSS`]: one colour per stage, the same in every plot and card, then those for other servers.
/// Series also differ in the shape of their marks.
const SERIES: [&str; 8] = ["stage1", "stage2", "stage3", "stage4", "other1", "other2", "other3", "other4"];

/// Number of colours; further series reuse those of [`SERIES`] after the stages.
pub const COLOUR_COUNT: usize = SERIES.len();

/// The part of a text that is at its coordinates.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// The start.
    Start,
    /// The middle.
    Middle,
    /// The end.
    End,
}

/// An SVG under construction.
pub struct Svg {
    /// In user units; the picture scales to the available width.
    pub width: f64,
    /// In user units.
    pub height: f64,
    body: String,
}

impl Svg {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    /// A polyline through all points.
    pub fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut data = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(data, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { " L" });
        }
        let _ = writeln!(self.body, r#"<path class="{class}" d="{data}"/>"#);
    }

    /// A filled rectangle.
    pub fn bar(&mut self, corner: (f64, f64), size: (f64, f64), class: &str) {
        let ((x, y), (width, height)) = (corner, (size.0.max(1.0), size.1));
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        );
    }

    /// A circle, such as the ring of a single round.
    pub fn ring(&mut self, (x, y): (f64, f64), radius: f64, class: &str) {
        let _ = writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#);
    }

    /// The mark of a series: circle, square, triangle or diamond, by the index of its colour.
    pub fn mark(&mut self, (x, y): (f64, f64), colour: usize) {
        let shape = match colour % 4 {
            0 => return self.ring((x, y), 6.5, &format!("mark f{colour}")),
            1 => [(-6.0, -6.0), (6.0, -6.0), (6.0, 6.0), (-6.0, 6.0)].as_slice(),
            2 => [(0.0, -8.0), (8.0, 6.0), (-8.0, 6.0)].as_slice(),
            _ => [(0.0, -8.5), (8.5, 0.0), (0.0, 8.5), (-8.5, 0.0)].as_slice(),
        };
        let points: Vec<String> =
            shape.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
        let _ = writeln!(self.body, r#"<polygon class="mark f{colour}" points="{}"/>"#, points.join(" "));
    }

    /// One line of text, its baseline at `y`.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// The picture for a page that includes [`style`], with this class; `name` keeps its ids unique.
    pub fn inline(&self, name: &str, class: &str, title: &str, description: &str) -> String {
        let attributes = format!(r#"aria-labelledby="{name}-title {name}-desc""#);
        self.document(&attributes, class, name, title, description, "")
    }

    /// The picture as a file.
    pub fn alone(&self, name: &str, title: &str, description: &str) -> String {
        let attributes =
            format!(r#"xmlns="http://www.w3.org/2000/svg" width="{}" height="{}""#, self.width, self.height);
        let style =
            format!("<style>{}</style>\n<rect class=\"surface\" width=\"100%\" height=\"100%\"/>\n", style());
        self.document(&attributes, "wide", name, title, description, &style)
    }

    fn document(
        &self,
        attributes: &str,
        class: &str,
        name: &str,
        title: &str,
        description: &str,
        head: &str,
    ) -> String {
        let (width, height, body) = (self.width, self.height, &self.body);
        let (title, description) = (escape(title), escape(description));
        format!(
            "<svg class=\"plot {class}\" role=\"img\" viewBox=\"0 0 {width} {height}\" {attributes}>\n\
             <title id=\"{name}-title\">{title}</title>\n<desc id=\"{name}-desc\">{description}</desc>\n\
             {head}{body}</svg>\n"
        )
    }
}

/// Height of a line of small text.
pub const LINE: f64 = 25.0;

/// An upper bound of a small text's width, at 9.5 per letter.
pub fn width(text: &str) -> f64 {
    text.chars().count() as f64 * 9.5
}

/// Lines of small text that are at most this wide, unless one word is wider.
pub fn wrapped(text: &str, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + width(" ") + width(word) <= most => *line += &format!(" {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Which labels, each with its middle, to show so that none overlaps another. The last always is.
pub fn apart(labels: &[(f64, String)]) -> Vec<bool> {
    let mut left = f64::INFINITY;
    let mut shown: Vec<bool> = labels
        .iter()
        .rev()
        .map(|(middle, text)| {
            let half = width(text) / 2.0;
            let is_shown = middle + half + 12.0 <= left;
            left = if is_shown { middle - half } else { left };
            is_shown
        })
        .collect();
    shown.reverse();
    shown
}

fn escape(text: &str) -> String {
    html! { (text) }.into_string()
}

/// The rules for all plots in both themes. Colours are literal: not every SVG viewer supports custom properties.
pub fn style() -> String {
    let (light, dark) = colours::CSS.split_once("@media").expect("colours.css has both themes");
    format!("{SHAPES}{}\n@media screen and (prefers-color-scheme: dark) {{\n{}}}", rules(light), rules(dark))
}

const SHAPES: &str = "
.plot { display: block; width: 100%; height: auto; font-family: -apple-system, 'Segoe UI', Roboto, \
'Helvetica Neue', 'Liberation Sans', Arial, sans-serif; font-variant-numeric: tabular-nums; }
.plot .tick { font-size: 19px; } .plot .axis { font-size: 19px; }
.plot .name { font-size: 22px; font-weight: 650; } .plot .note { font-size: 19px; }
.plot .bar-name { font-size: 20px; } .plot .value { font-size: 21px; font-weight: 650; }
.plot .series { fill: none; stroke-width: 4; stroke-linejoin: round; stroke-linecap: round; }
.plot .thin { stroke-width: 1.8; }
.plot .leader { stroke-width: 1.5; opacity: .6; } .plot .part { opacity: .42; }
.plot .grid { stroke-width: 1; } .plot .stop { stroke-width: 4; stroke-linecap: round; }
.plot .halo { paint-order: stroke; stroke-width: 7px; stroke-linejoin: round; }
.plot .mark { stroke-width: 2; } .plot .round { stroke-width: 2.2; }
";

fn rules(theme: &str) -> String {
    let [surface, ink, quiet, grid] = ["surface", "ink", "quiet", "rule"].map(|name| colour(theme, name));
    let mut rules = format!(
        ".plot .surface {{ fill: {surface} }} .plot text {{ fill: {ink} }} .plot .grid {{ stroke: {grid} }}\n\
         .plot .tick, .plot .axis, .plot .note {{ fill: {quiet} }}\n\
         .plot .halo, .plot .mark {{ stroke: {surface} }} .plot .baseline {{ stroke: {quiet} }}\n\
         .plot .round {{ fill: {surface}; stroke: {ink} }}\n"
    );
    for (index, name) in SERIES.iter().enumerate() {
        let colour = colour(theme, name);
        let _ =
            writeln!(rules, ".plot .f{index} {{ fill: {colour} }} .plot .s{index} {{ stroke: {colour} }}");
    }
    rules
}

/// The value of the custom property `--name` in a theme.
fn colour<'a>(theme: &'a str, name: &str) -> &'a str {
    let (_, value) = theme.split_once(&format!("--{name}: ")).expect("colours.css names every colour");
    value.split(';').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 80.0), ["one two", "three"]);
        assert_eq!(wrapped("a-very-long-word b", 80.0), ["a-very-long-word", "b"]);
    }

    #[test]
    fn labels_do_not_overlap() {
        let labels = [0.0, 30.0, 60.0, 90.0].map(|middle| (middle, "1,000".to_owned()));
        assert_eq!(apart(&labels), [false, true, false, true]);
    }
}
