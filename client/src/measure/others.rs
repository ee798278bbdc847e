//! How much of the processors' time other programs take.

use super::thousandths;
use crate::watch::{Watched, processors_busy};
use anyhow::Result;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// The processors' time that goes to neither server nor client, counted from one moment on.
pub struct Others {
    began: Instant,
    machine: Option<Duration>,
    ours: Duration,
}

impl Others {
    /// Begins to count.
    pub fn since_now(server: &Watched) -> Result<Self> {
        Ok(Self { began: Instant::now(), machine: processors_busy(Path::new("/proc")), ours: ours(server)? })
    }

    /// Their share of all processors' time, from 0 to 1.
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
