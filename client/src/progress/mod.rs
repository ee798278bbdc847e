//! Progress of a measurement: a live view on a terminal, lines elsewhere, the same for every subcommand.

mod bar;
mod gate;
mod goal;
mod side_by_side;

pub use bar::{Bar, Look};
pub use gate::Gate;
pub use goal::Goal;
pub use side_by_side::SideBySide;
