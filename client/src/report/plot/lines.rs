//! Line charts: one line per server, labelled at its end.

use super::scale::{Scale, spread};
use super::svg::{Anchor, Svg, width};

/// One line.
pub struct Series {
    /// Index of its colour.
    pub colour: usize,
    /// Label at its end.
    pub name: String,
    /// Second line of the label.
    pub note: String,
    /// Points in the units of the axes.
    pub points: Vec<(f64, f64)>,
    /// What stopped it, if it ends before the others; marked with a cross.
    pub stop: Option<String>,
    /// Whether it is only a reference for the others: drawn thin and without marks.
    pub thin: bool,
}

/// One axis. The first and the last tick are its ends.
pub struct Axis {
    /// Label, with the unit.
    pub name: String,
    /// Value and label.
    pub ticks: Vec<(f64, String)>,
    /// Space above the last tick, in pixels.
    pub headroom: f64,
    /// Whether the scale is logarithmic; otherwise it is linear.
    pub logarithmic: bool,
}

impl Axis {
    fn ends(&self) -> (f64, f64) {
        let value = |tick: Option<&(f64, String)>| tick.map_or(1.0, |tick| tick.0);
        (value(self.ticks.first()), value(self.ticks.last()))
    }

    pub(super) fn scale(&self, pixels: (f64, f64)) -> Scale {
        let (from, to) = self.ends();
        let scale = if self.logarithmic { Scale::logarithmic } else { Scale::linear };
        scale(from, to, pixels)
    }
}

const SIZE: (f64, f64) = (1200.0, 640.0);
const LEFT: f64 = 96.0;
const RIGHT: f64 = SIZE.0 - 340.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = SIZE.1 - 78.0;
/// Least distance between the baselines of two labels, each of two lines.
const LABEL_GAP: f64 = 62.0;

/// Draws axes, lines and labels.
pub fn draw(x: &Axis, y: &Axis, series: &[Series]) -> Svg {
    let mut svg = Svg::new(SIZE.0, SIZE.1);
    let x_scale = x.scale((LEFT + 12.0, RIGHT - 12.0));
    let y_scale = y.scale((BOTTOM, TOP + y.headroom));
    draw_axes(&mut svg, x, y, (x_scale, y_scale));
    let placed = draw_series(&mut svg, x, series, (x_scale, y_scale));
    draw_labels(&mut svg, series, &placed);
    svg
}

/// Draws the lines; returns the places of their points.
pub(super) fn draw_series(
    svg: &mut Svg,
    x: &Axis,
    series: &[Series],
    (x_scale, y_scale): (Scale, Scale),
) -> Vec<Vec<(f64, f64)>> {
    let placed: Vec<Vec<(f64, f64)>> = series
        .iter()
        .map(|one| one.points.iter().map(|&(px, py)| (x_scale.at(px), y_scale.at(py))).collect())
        .collect();
    for (one, points) in series.iter().zip(&placed) {
        svg.path(points, &format!("series s{}{}", one.colour, if one.thin { " thin" } else { "" }));
        let at_tick = |value: f64| x.ticks.iter().any(|(tick, _)| (value / tick - 1.0).abs() < 1e-6);
        for ((value, _), &point) in one.points.iter().zip(points) {
            if at_tick(*value) && !one.thin {
                svg.mark(point, one.colour);
            }
        }
    }
    placed
}

fn draw_axes(svg: &mut Svg, x: &Axis, y: &Axis, (x_scale, y_scale): (Scale, Scale)) {
    for (value, text) in &y.ticks {
        let at = y_scale.at(*value);
        svg.line((LEFT, at), (RIGHT, at), "grid");
        svg.text((LEFT - 12.0, at + 6.5), Anchor::End, "tick", text);
    }
    svg.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "grid baseline");
    for (value, text) in &x.ticks {
        let at = x_scale.at(*value);
        svg.line((at, BOTTOM), (at, BOTTOM + 7.0), "grid baseline");
        svg.text((at, BOTTOM + 30.0), Anchor::Middle, "tick", text);
    }
    svg.text((LEFT - 84.0, 28.0), Anchor::Start, "axis", &y.name);
    svg.text(((LEFT + RIGHT) / 2.0, SIZE.1 - 12.0), Anchor::Middle, "axis", &x.name);
}

/// Labels the lines: to the right of those that reach the edge, above the last point of the others.
fn draw_labels(svg: &mut Svg, series: &[Series], placed: &[Vec<(f64, f64)>]) {
    let ends: Vec<(usize, (f64, f64))> =
        placed.iter().enumerate().filter_map(|(index, points)| Some((index, *points.last()?))).collect();
    let (at_edge, stopped): (Vec<_>, Vec<_>) =
        ends.into_iter().partition(|(index, end)| series[*index].stop.is_none() && end.0 > RIGHT - 90.0);
    let wanted: Vec<f64> = at_edge.iter().map(|(_, end)| end.1).collect();
    for ((index, end), y) in at_edge.iter().zip(spread(&wanted, LABEL_GAP, (TOP, BOTTOM - 10.0))) {
        let one = &series[*index];
        let colour = one.colour;
        svg.line((end.0 + 11.0, end.1), (RIGHT + 16.0, y - 2.0), &format!("leader s{colour}"));
        svg.text((RIGHT + 22.0, y), Anchor::Start, &format!("name f{colour}"), &one.name);
        svg.text((RIGHT + 22.0, y + 25.0), Anchor::Start, "note", &one.note);
    }
    // From the lowest label up: each next one moves up, clear of the lines.
    let mut stopped = stopped;
    stopped.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1));
    let mut ceiling = f64::INFINITY;
    for (index, end) in stopped {
        let note = stop_note(&series[index]);
        let (anchor, x) = stop_label(&note, end.0);
        let left = if matches!(anchor, Anchor::End) { x - width(&note) } else { x };
        let span = (left, left + width(&note));
        let others = placed.iter().enumerate().filter(|(other, _)| *other != index);
        let clear = clear_above(others.flat_map(|(_, points)| points), span, end.1);
        let y = (end.1 - 46.0).min(ceiling).min(clear);
        ceiling = y - LABEL_GAP;
        draw_stop(svg, &series[index], end, (anchor, (x, y)), &note);
    }
}

/// The lowest baseline at which a label of two lines is above all points within `span`; infinite if no point there is
/// above `end`.
fn clear_above<'a>(points: impl Iterator<Item = &'a (f64, f64)>, span: (f64, f64), end: f64) -> f64 {
    let within = points.filter(|(x, y)| (span.0..=span.1 + 24.0).contains(x) && *y < end);
    within.map(|(_, y)| y - 42.0).fold(f64::INFINITY, f64::min)
}

fn stop_note(one: &Series) -> String {
    match &one.stop {
        Some(stop) => format!("{}; {stop}", one.note),
        None => one.note.clone(),
    }
}

/// Anchor and position: right-aligned at the line's end, or from the left edge if that is too narrow.
fn stop_label(note: &str, x: f64) -> (Anchor, f64) {
    if x - width(note) < LEFT { (Anchor::Start, LEFT + 18.0) } else { (Anchor::End, x - 6.0) }
}

fn draw_stop(
    svg: &mut Svg,
    one: &Series,
    (x, y): (f64, f64),
    (anchor, (label_x, label_y)): (Anchor, (f64, f64)),
    note: &str,
) {
    if y - label_y > LABEL_GAP {
        svg.line((x, y - 14.0), (x, label_y + 34.0), &format!("leader s{}", one.colour));
    }
    if one.stop.is_some() {
        draw_cross(svg, (x, y), one.colour);
    }
    svg.text((label_x, label_y), anchor, &format!("name halo f{}", one.colour), &one.name);
    svg.text((label_x, label_y + 25.0), anchor, "note halo", note);
}

/// Marks where a line was stopped.
pub(super) fn draw_cross(svg: &mut Svg, (x, y): (f64, f64), colour: usize) {
    let class = format!("stop s{colour}");
    svg.line((x - 10.0, y - 10.0), (x + 10.0, y + 10.0), &class);
    svg.line((x - 10.0, y + 10.0), (x + 10.0, y - 10.0), &class);
}
