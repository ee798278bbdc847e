//! The live view on a terminal: a fleet's recent past ([`history`]), its layout ([`panel`]), and drawing ([`screen`]).
//!
//! The controlling thread draws it five times per second, from counters that the shards keep anyway; it never blocks on
//! a shard. The view takes rows below the cursor, not the alternate screen. The only terminal mode it changes is ECHO.
//!
//! It uses no terminal library. ratatui 0.30 has an inline viewport, but of a fixed height; it fails if the terminal does
//! not report the cursor's position, and it clears the whole screen when the terminal becomes narrower. Its widgets
//! alone would save no code here, and add 27 crates.

mod history;
mod panel;
mod plot;
mod screen;
pub(crate) mod text;

pub(crate) use history::{Counted, History};
pub(crate) use panel::{Fact, Panel, Scale};
pub(crate) use screen::Screen;
