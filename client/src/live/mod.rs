//! The live view on a terminal: what it shows ([`panel`]), of what ([`history`]), and how it gets there ([`screen`]).
//!
//! It is drawn five times per second by the controlling thread, from counts that the shards keep anyway, and never waits
//! for a shard. It takes lines below the cursor and no other screen, and leaves nothing to be put back but the echo of
//! what is typed.

mod history;
mod panel;
mod plot;
mod screen;
pub(crate) mod text;

pub(crate) use history::{Counted, History};
pub(crate) use panel::{Fact, Panel, Scale};
pub(crate) use screen::Screen;
