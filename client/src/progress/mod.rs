//! How far a measurement has come, for people: one bar for every subcommand, on a terminal or in lines.

mod bar;
mod gate;
mod goal;
mod side_by_side;

pub use bar::{Bar, Look};
pub use gate::Gate;
pub use goal::Goal;
pub use side_by_side::SideBySide;
