//! Line charts for small screens: the labels are below, one after the other.

use super::lines::{Axis, Series, draw_cross, draw_series};
use super::svg::{Anchor, LINE, Svg, apart, width, wrapped};

const WIDTH: f64 = 480.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 12.0;
const HEIGHT: f64 = 360.0;
/// Left edge of a label's text, to the right of its mark.
const TEXT: f64 = 34.0;
/// Space between two labels.
const GAP: f64 = 12.0;

/// Draws axes, lines and labels.
pub fn draw(x: &Axis, y: &Axis, series: &[Series]) -> Svg {
    let notes: Vec<Vec<String>> = series.iter().map(note_lines).collect();
    let names = (wrapped(&x.name, WIDTH), wrapped(&y.name, WIDTH));
    let top = LINE * names.1.len() as f64 + 24.0;
    let below = top + HEIGHT + 30.0 + LINE * names.0.len() as f64 + 16.0;
    let label = |notes: &Vec<String>| LINE * (1 + notes.len()) as f64 + GAP;
    let mut svg = Svg::new(WIDTH, below + notes.iter().map(label).sum::<f64>());
    for (line, text) in names.1.iter().enumerate() {
        svg.text((0.0, 18.0 + LINE * line as f64), Anchor::Start, "axis", text);
    }
    draw_plot(&mut svg, (x, y), series, (top, top + HEIGHT));
    for (line, text) in names.0.iter().enumerate() {
        let baseline = top + HEIGHT + 56.0 + LINE * line as f64;
        svg.text(((LEFT + RIGHT) / 2.0, baseline), Anchor::Middle, "axis", text);
    }
    let mut baseline = below + 20.0;
    for (one, notes) in series.iter().zip(&notes) {
        draw_label(&mut svg, one, notes, baseline);
        baseline += label(notes);
    }
    svg
}

fn draw_plot(svg: &mut Svg, (x, y): (&Axis, &Axis), series: &[Series], (top, bottom): (f64, f64)) {
    let scales = (x.scale((LEFT + 10.0, RIGHT - 10.0)), y.scale((bottom, top)));
    for (value, text) in &y.ticks {
        let at = scales.1.at(*value);
        svg.line((LEFT, at), (RIGHT, at), "grid");
        svg.text((LEFT - 8.0, at + 6.5), Anchor::End, "tick", text);
    }
    svg.line((LEFT, bottom), (RIGHT, bottom), "grid baseline");
    // The last one ends at the edge. A percent sign is wider than a digit.
    let middle = |(value, text): &(f64, String)| scales.0.at(*value).min(WIDTH - width(text) * 0.62);
    let labels: Vec<_> = x.ticks.iter().map(|tick| (middle(tick), tick.1.clone())).collect();
    for ((at, text), is_shown) in labels.iter().zip(apart(&labels)) {
        if is_shown {
            svg.text((*at, bottom + 28.0), Anchor::Middle, "tick", text);
        }
    }
    let placed = draw_series(svg, x, series, scales);
    for (one, points) in series.iter().zip(&placed) {
        if let (Some(_), Some(&end)) = (&one.stop, points.last()) {
            draw_cross(svg, end, one.colour);
        }
    }
}

fn note_lines(one: &Series) -> Vec<String> {
    let notes = [Some(&one.note), one.stop.as_ref()];
    let notes = notes.into_iter().flatten().filter(|text| !text.is_empty());
    notes.flat_map(|text| wrapped(text, WIDTH - TEXT)).collect()
}

fn draw_label(svg: &mut Svg, one: &Series, notes: &[String], baseline: f64) {
    if one.thin {
        let y = baseline - 7.0;
        svg.line((2.0, y), (22.0, y), &format!("series thin s{}", one.colour));
    } else {
        svg.mark((12.0, baseline - 7.0), one.colour);
    }
    svg.text((TEXT, baseline), Anchor::Start, &format!("name f{}", one.colour), &one.name);
    for (line, text) in (1..).zip(notes) {
        svg.text((TEXT, baseline + LINE * f64::from(line)), Anchor::Start, "note", text);
    }
}
