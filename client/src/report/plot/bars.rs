//! Bar charts: one bar per server for the median, one ring per round.

use super::scale::{Scale, round_ticks};
use super::svg::{Anchor, Svg};

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

const WIDTH: f64 = 600.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = WIDTH - 30.0;
const TOP: f64 = 8.0;
/// Height of one server: its name above its bar.
const ROW: f64 = 76.0;
const THICKNESS: f64 = 28.0;
/// Width of the label beyond the longest bar.
const LABEL: f64 = 112.0;

/// Draws the bars over a linear axis from zero; `name` labels the axis and has its unit.
pub fn draw(name: &str, bars: &[Bar], tick_text: fn(f64) -> String) -> Svg {
    let bottom = TOP + ROW * bars.len() as f64 + 6.0;
    let mut svg = Svg::new(WIDTH, bottom + 74.0);
    let all = bars.iter().flat_map(|bar| bar.rounds.iter().copied().chain(bar.value));
    let ticks = round_ticks(all.fold(0.0, f64::max));
    let scale = Scale::linear(0.0, ticks[ticks.len() - 1], (LEFT, RIGHT - LABEL));
    for &tick in &ticks {
        svg.line((scale.at(tick), TOP), (scale.at(tick), bottom), "grid");
        // The first has no room to its left.
        let (anchor, x) = if tick == 0.0 { (Anchor::Start, 2.0) } else { (Anchor::Middle, scale.at(tick)) };
        svg.text((x, bottom + 26.0), anchor, "tick", &tick_text(tick));
    }
    for (index, bar) in bars.iter().enumerate() {
        draw_bar(&mut svg, bar, TOP + ROW * index as f64, scale);
    }
    svg.line((LEFT, TOP), (LEFT, bottom), "grid baseline");
    svg.text((LEFT, bottom + 60.0), Anchor::Start, "axis", name);
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
