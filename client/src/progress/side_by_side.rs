//! The live view of two runs side by side.

use super::bar::{Lane, Look};
use crate::live::text::{Row, side_by_side};
use crate::live::{History, Panel, Scale, Screen};
use std::sync::PoisonError;
use std::time::Duration;

/// The text between the two.
const BETWEEN: &str = " │ ";
/// On a narrower terminal, the two are shown one below the other.
const LEAST: usize = 67;

/// The view of both: a live view on a terminal, lines elsewhere.
pub struct SideBySide {
    screen: Option<Screen>,
    quiet: bool,
    lanes: Vec<Lane>,
}

impl SideBySide {
    /// How often both are drawn.
    pub const EVERY: Duration = Duration::from_millis(200);

    /// A view without a run yet.
    pub fn new(quiet: bool) -> SideBySide {
        let screen = if quiet { None } else { Screen::open() };
        SideBySide { screen, quiet, lanes: Vec::new() }
    }

    /// Where the next run of this name shows its progress.
    pub fn look(&mut self, name: &str) -> Look {
        match (self.quiet, &self.screen) {
            (true, _) => Look::Quiet,
            (false, None) => Look::Lines(Some(name.into())),
            (false, Some(_)) => {
                self.lanes.push(Lane::default());
                Look::Lane(self.lanes[self.lanes.len() - 1].clone())
            }
        }
    }

    /// Draws the latest panels of both.
    pub fn draw(&mut self) {
        let Some(screen) = &mut self.screen else { return };
        let look = |lane: &Lane| lane.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let [Some(left), Some(right)] = &self.lanes.iter().map(look).collect::<Vec<_>>()[..] {
            screen.draw(&rows(left, right, screen.room()));
        }
    }
}

/// Both, with the same axes.
fn rows(left: &(Panel, History), right: &(Panel, History), (columns, rows): (usize, usize)) -> Vec<Row> {
    let is_wide = columns >= LEAST;
    let room =
        if is_wide { ((columns - BETWEEN.chars().count()) / 2, rows) } else { (columns, (rows / 2).max(1)) };
    let scale = Scale::of(&[&left.1, &right.1], room.0);
    let [left, right] = [left, right].map(|(panel, history)| panel.rows(history, scale, room));
    if is_wide { side_by_side(left, right, room.0, BETWEEN) } else { left.into_iter().chain(right).collect() }
}
