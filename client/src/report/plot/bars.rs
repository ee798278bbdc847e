//! Bar charts: one bar per server for the median, one ring per round.

use super::scale::{Scale, round_ticks};
use super::svg::{Anchor, LINE, Svg, apart, wrapped};

/// One bar.
pub struct Bar {
    /// Index of its colour.
    pub colour: usize,
    /// Label above the bar.
    pub name: String,
    /// Its length, the median; `None` if not measured.
    pub value: Option<f64>,
    /// Label at its end.
    pub label: String,
    /// The part drawn in full colour; the rest is pale.
    pub part: Option<f64>,
    /// The value of each round.
    pub rounds: Vec<f64>,
}

/// Half a page.
pub const WIDTH: f64 = 600.0;
/// A small screen.
pub const NARROW: f64 = 400.0;
const LEFT: f64 = 14.0;
/// Space to the right of the axis.
const RIGHT: f64 = 30.0;
const TOP: f64 = 8.0;
/// Height of one server: its name above its bar.
const ROW: f64 = 76.0;
const THICKNESS: f64 = 28.0;
/// Width of the label beyond the longest bar.
const LABEL: f64 = 112.0;

/// Draws the bars over a linear axis from zero; `name` labels the axis and has its unit.
pub fn draw(name: &str, bars: &[Bar], tick_text: fn(f64) -> String, width: f64) -> Svg {
    let bottom = TOP + ROW * bars.len() as f64 + 6.0;
    let axis = wrapped(name, width - LEFT);
    let mut svg = Svg::new(width, bottom + 50.0 + LINE * axis.len() as f64);
    let all = bars.iter().flat_map(|bar| bar.rounds.iter().copied().chain(bar.value));
    let ticks = round_ticks(all.fold(0.0, f64::max));
    let scale = Scale::linear(0.0, ticks[ticks.len() - 1], (LEFT, width - RIGHT - LABEL));
    let labels: Vec<_> = ticks.iter().map(|&tick| (scale.at(tick), tick_text(tick))).collect();
    for (&tick, is_shown) in ticks.iter().zip(apart(&labels)) {
        svg.line((scale.at(tick), TOP), (scale.at(tick), bottom), "grid");
        if !is_shown {
            continue;
        }
        // The first has no room to its left.
        let (anchor, x) = if tick == 0.0 { (Anchor::Start, 2.0) } else { (Anchor::Middle, scale.at(tick)) };
        svg.text((x, bottom + 26.0), anchor, "tick", &tick_text(tick));
    }
    for (index, bar) in bars.iter().enumerate() {
        draw_bar(&mut svg, bar, TOP + ROW * index as f64, scale);
    }
    svg.line((LEFT, TOP), (LEFT, bottom), "grid baseline");
    for (line, text) in axis.iter().enumerate() {
        svg.text((LEFT, bottom + 60.0 + LINE * line as f64), Anchor::Start, "axis", text);
    }
    svg
}

fn draw_bar(svg: &mut Svg, bar: &Bar, top: f64, scale: Scale) {
    let (y, middle) = (top + 34.0, top + 34.0 + THICKNESS / 2.0);
    svg.text((LEFT + 8.0, top + 25.0), Anchor::Start, "bar-name halo", &bar.name);
    let Some(value) = bar.value else {
        return svg.text((LEFT + 8.0, middle + 7.0), Anchor::Start, "note halo", &bar.label);
    };
    let length = |value: f64| scale.at(value.max(0.0)) - LEFT;
    let colour = bar.colour;
    if let Some(part) = bar.part {
        svg.bar((LEFT, y), (length(value), THICKNESS), &format!("part f{colour}"));
        svg.bar((LEFT, y), (length(part), THICKNESS), &format!("f{colour}"));
    } else {
        svg.bar((LEFT, y), (length(value), THICKNESS), &format!("f{colour}"));
    }
    let furthest = bar.rounds.iter().copied().fold(value, f64::max);
    for &round in &bar.rounds {
        svg.ring((LEFT + length(round), middle), 5.5, "round");
    }
    svg.text((LEFT + length(furthest) + 14.0, middle + 7.5), Anchor::Start, "value halo", &bar.label);
}
