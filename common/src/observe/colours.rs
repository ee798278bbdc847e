//! The colours of the live page, the client's reports and the slides, which all read one file.

/// A style sheet of custom properties, `--name: #rrggbb;`: the light theme, and behind `@media` the dark one.
///
/// Any two of the stages' colours differ by 16 or more (CIE76) under protanopia, deuteranopia and tritanopia. Each colour
/// of text has a contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) with both backgrounds.
pub const CSS: &str = include_str!("../../assets/colours.css");
