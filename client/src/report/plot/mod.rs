//! The plots as SVG: a file each, and inline in the page.

mod bars;
mod conclusion;
mod from_results;
mod lines;
mod narrow;
pub(crate) mod scale;
mod svg;

pub use bars::Bar;
pub use conclusion::{Compared, conclude};
pub use from_results::all;
pub use lines::{Axis, Series};
pub use svg::{COLOUR_COUNT, style};

use svg::Svg;

/// A plot with its title and description.
pub struct Plot {
    /// File name without `.svg`; also the id in the page.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What to see in it: a sentence, empty if there is nothing to compare.
    pub conclusion: String,
    /// Its content as text, for screen readers.
    pub description: String,
    /// The drawing.
    pub svg: Svg,
    /// The same for small screens.
    pub narrow: Svg,
}

impl Plot {
    /// Draws lines; `of` are name and title.
    pub fn lines(
        of: (&'static str, &'static str),
        conclusion: String,
        description: String,
        (x, y): (&Axis, &Axis),
        series: &[Series],
    ) -> Plot {
        let (svg, narrow) = (lines::draw(x, y, series), narrow::draw(x, y, series));
        Plot { name: of.0, title: of.1, conclusion, description, svg, narrow }
    }

    /// Draws bars; `of` are name and title, and `axis` is the label of the axis.
    pub fn bars(
        of: (&'static str, &'static str),
        conclusion: String,
        axis: &str,
        bars: &[Bar],
        tick_text: fn(f64) -> String,
    ) -> Plot {
        let parts: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.name, bar.label)).collect();
        let description = format!("{} ({axis}). {}.", of.1, parts.join("; "));
        let draw = |width| bars::draw(axis, bars, tick_text, width);
        let (svg, narrow) = (draw(bars::WIDTH), draw(bars::NARROW));
        Plot { name: of.0, title: of.1, conclusion, description, svg, narrow }
    }

    /// Whether it takes the whole width of a page.
    pub fn is_wide(&self) -> bool {
        self.svg.width > 1_000.0
    }
}
