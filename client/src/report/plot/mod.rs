//! The plots as SVG: a file each, and inline in the page.

pub(in crate::report) mod bars;
mod from_results;
pub(crate) mod lines;
pub(crate) mod scale;
mod svg;

pub use from_results::{Plot, all};
pub use svg::{COLOUR_COUNT, style};
