//! Two runs side by side, while they run.

use super::bar::{Lane, Look};
use crate::live::text::{Row, side_by_side};
use crate::live::{History, Panel, Scale, Screen};
use std::sync::PoisonError;
use std::time::Duration;

/// What stands between them.
const BETWEEN: &str = " │ ";
/// Fewer columns than this are too few for two, which then stand one below the other.
const LEAST: usize = 67;

/// What the user sees.
pub struct SideBySide {
    screen: Option<Screen>,
    quiet: bool,
    lanes: Vec<Lane>,
}

impl SideBySide {
    /// How often both are drawn.
    pub const EVERY: Duration = Duration::from_millis(200);

    /// A live view on a terminal, and lines anywhere else.
    pub fn new(quiet: bool) -> SideBySide {
        let screen = if quiet { None } else { Screen::open() };
        SideBySide { screen, quiet, lanes: Vec::new() }
    }

    /// Where the next of the two is to show its progress.
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

    /// Draws both as they stand.
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
    let beside = columns >= LEAST;
    let room =
        if beside { ((columns - BETWEEN.chars().count()) / 2, rows) } else { (columns, (rows / 2).max(1)) };
    let scale = Scale::of(&[&left.1, &right.1], room.0);
    let [left, right] = [left, right].map(|(panel, history)| panel.rows(history, scale, room));
    if beside { side_by_side(left, right, room.0, BETWEEN) } else { left.into_iter().chain(right).collect() }
}
