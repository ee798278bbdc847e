//! The colours of the live page, the client's reports and the slides, which all read one file.

/// A style sheet of custom properties, `--name: #rrggbb;`: the light theme, and behind `@media` the dark one.
///
/// Any two of the stages' colours differ by 16 or more (CIE76) under protanopia, deuteranopia and tritanopia, and each
/// has a contrast of at least 4.4 to 1 with the surface.
pub const CSS: &str = include_str!("../../assets/colours.css");
