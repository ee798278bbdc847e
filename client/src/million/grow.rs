//! Opening all connections, with memory read on the way.

use super::load::Load;
use super::record::{Point, Setup};
use super::room::{self, Room};
use crate::fleet::ConnectPhase;
use crate::measure::rejected;
use crate::progress::Goal;
use crate::watch::KernelMemory;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// How often memory is read on the way.
const STEPS: u64 = 20;
/// The first reading with connections, if there are many.
const FIRST: u64 = 1_000;

impl Load<'_> {
    /// Opens connections up to the goal, or until a limit stops it.
    pub(super) fn grow(&mut self) -> Result<()> {
        let goal = self.forecast.goal;
        let mut setup = Setup::default();
        let mut elapsed = Duration::ZERO;
        self.add_point(elapsed)?;
        self.bar.begin("connecting", Goal::Connections(goal));
        for level in levels(goal) {
            let (open, fits) = self.fitting(level);
            if fits > open {
                let phase = self.fleet.connect_to(fits, None, &mut |progress| self.bar.tick(progress))?;
                self.keep_first(&phase.failures);
                elapsed += phase.elapsed;
                setup.opened += phase.opened;
                setup.handshake.add(&phase.handshake);
                self.run.held = self.run.held.max(phase.connected);
                self.add_point(elapsed)?;
                if phase.connected < fits {
                    self.run.stopped = self.reason(&phase);
                    break;
                }
            }
            if fits < level {
                self.run.stopped = Room::now().map(|room| room.name());
                break;
            }
        }
        setup.elapsed_s = elapsed.as_secs_f64();
        setup.connects_per_s = setup.opened as f64 / setup.elapsed_s.max(1e-9);
        self.run.setup = Some(setup);
        if self.run.stopped.is_none() && self.forecast.short {
            self.run.stopped = Some(self.forecast.stopped_by.clone());
        }
        self.run.rejected = rejected(self.server.admin);
        self.read_client().map(drop)
    }

    /// Open connections, and how many of `level` memory allows.
    fn fitting(&self, level: u64) -> (u64, u64) {
        let open = self.fleet.progress().connected;
        let fits = match (Room::now(), &self.before.room) {
            (Some(room), Some(before)) => room.fits(before, open),
            _ => None,
        };
        (open, fits.map_or(level, |more| level.min(open + more)))
    }

    /// Reads memory, and adds a point to the curve.
    fn add_point(&mut self, elapsed: Duration) -> Result<()> {
        let connections = self.fleet.progress().connected;
        let process = self.watched.read()?;
        let kernel = KernelMemory::read(Path::new("/proc"));
        let tables = process.page_table_bytes as i64 - self.before.process.page_table_bytes as i64;
        let shares = kernel.zip(self.before.kernel).map(|(now, before)| {
            let grown = |now: u64, before: u64| now as i64 - before as i64;
            let both = grown(now.both_ends_bytes, before.both_ends_bytes)
                + grown(now.server_bytes, before.server_bytes);
            (now.servers_share_since(&before) + tables, both + tables)
        });
        let point = Point {
            connections,
            elapsed_s: elapsed.as_secs_f64(),
            rss_bytes: process.rss_bytes,
            kernel_bytes: shares.map(|(servers, _)| servers),
            client_rss_bytes: self.read_client()?,
            available_bytes: room::available_bytes(),
        };
        self.run.curve.push(point);
        if connections > 0 {
            let memory = &mut self.run.memory;
            let growth = process.rss_bytes as f64 - memory.server_start_bytes as f64;
            memory.server_connected_bytes = Some(process.rss_bytes);
            memory.server_bytes_per_connection = Some(growth / connections as f64);
            memory.kernel_bytes = shares.map(|(servers, _)| servers);
            memory.kernel_both_ends_bytes = shares.map(|(_, both)| both);
        }
        Ok(())
    }

    /// What stopped it before a level: the reason in the server's metrics, and the limit behind it, or else the most frequent
    /// failure.
    fn reason(&self, phase: &ConnectPhase) -> Option<String> {
        let rejected = rejected(self.server.admin);
        let most = rejected.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| reason.as_str());
        // A limit far above the open connections did not stop it.
        let near = phase.connected.saturating_mul(10) > self.forecast.holds.saturating_mul(8);
        match most {
            Some("threads") if near => Some(self.forecast.stopped_by.clone()),
            Some(reason) => Some(reason.replace('_', " ")),
            None => {
                let (class, _) = phase.failures.classes().max_by_key(|(_, count)| *count)?;
                Some(class.name().replace('_', " "))
            }
        }
    }
}

/// Numbers of connections to read memory at: [`STEPS`] of them evenly spaced up to `goal`, and before these 1, 2 and 5 times
/// each power of ten from [`FIRST`] on, so that a stage that stops early has points next to those of all others.
fn levels(goal: u64) -> Vec<u64> {
    let even = (1..=STEPS).map(|step| (goal * step).div_ceil(STEPS));
    let powers = (0..).map(|power| FIRST * 10u64.pow(power)).take_while(|&power| power < goal / STEPS);
    let first = powers.flat_map(|power| [1, 2, 5].map(|times| times * power));
    let mut levels: Vec<u64> = first.filter(|&level| level < goal / STEPS).chain(even).collect();
    levels.dedup();
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_to_the_goal() {
        let of_a_million = levels(1_000_000);
        assert_eq!(of_a_million[..7], [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000]);
        assert_eq!((of_a_million.len(), of_a_million[24]), (25, 1_000_000));
        assert_eq!(levels(30_000)[..3], [1_000, 1_500, 3_000]);
        for goal in [1, 20, 999, 20_000, 20_001, 40_020, 2_500_000] {
            assert!(levels(goal).is_sorted_by(|a, b| a < b), "{:?}", levels(goal));
        }
        assert_eq!(levels(3), [1, 2, 3]);
        assert_eq!(levels(1), [1]);
    }
}
