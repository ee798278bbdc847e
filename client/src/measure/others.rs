//! Processor time of other programs, which disturbs a measurement.

use super::thousandths;
use crate::watch::{Watched, processors_busy};
use anyhow::Result;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Processor time that neither server nor client used, from a moment on.
pub struct Others {
    began: Instant,
    machine: Option<Duration>,
    ours: Duration,
}

impl Others {
    /// Counts from now on.
    ///
    /// # Errors
    /// Where the server cannot be read.
    pub fn since_now(server: &Watched) -> Result<Self> {
        Ok(Self { began: Instant::now(), machine: processors_busy(Path::new("/proc")), ours: ours(server)? })
    }

    /// Their share of all processors' time, from 0 to 1; `None` where /proc does not say.
    ///
    /// # Errors
    /// Where the server cannot be read.
    pub fn share(&self, server: &Watched) -> Result<Option<f64>> {
        let cores = available_parallelism().map_or(1, usize::from) as f64;
        let ours = ours(server)?.saturating_sub(self.ours);
        let share = |then: Duration, now: Duration| {
            let others = now.saturating_sub(then).saturating_sub(ours);
            thousandths((others.as_secs_f64() / (self.began.elapsed().as_secs_f64() * cores)).min(1.0))
        };
        Ok(self.machine.zip(processors_busy(Path::new("/proc"))).map(|(then, now)| share(then, now)))
    }
}

fn ours(server: &Watched) -> Result<Duration> {
    Ok(server.read()?.cpu + Watched::new(std::process::id()).read()?.cpu)
}
