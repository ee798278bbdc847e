//! The plots, as SVG: each stands alone for a README, and inline in the page, where it takes the page's colours.

mod bars;
mod from_results;
pub(crate) mod lines;
pub(crate) mod scale;
mod svg;

pub use from_results::{Plot, all};
pub use svg::{COLOUR_COUNT, style};
