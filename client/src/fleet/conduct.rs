//! Runs one phase on all shards: starts it, reports its progress, and adds up the outcomes.

use super::laps::NEVER;
use super::phase::{Command, Outcome, Phase, Report};
use super::results::{Progress, histogram_ns};
use super::start::Handle;
use super::{Fleet, OnTick};
use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// Interval of progress reports and of checks of the stop flag.
const TICK: Duration = Duration::from_millis(100);

impl Fleet {
    /// Runs each shard's part, and adds up their outcomes.
    pub(super) fn run_phase(
        &mut self,
        phases: Vec<Phase>,
        on_tick: OnTick<'_>,
    ) -> Result<(Outcome, Histogram<u64>)> {
        self.run_adapting(phases, on_tick, &mut |_, _| {})
    }

    /// The same, with a callback to `adapt` the parts at every tick.
    pub(super) fn run_adapting(
        &mut self,
        phases: Vec<Phase>,
        on_tick: OnTick<'_>,
        adapt: &mut dyn FnMut(&[Handle], &Progress),
    ) -> Result<(Outcome, Histogram<u64>)> {
        let began = Instant::now();
        let (mut sum, mut times) = (None::<Outcome>, histogram_ns());
        self.shards.iter().for_each(|shard| shard.counters.idle_ns.store(0, Relaxed));
        let before = self.progress();
        let laps_from_ns = self.laps.as_ref().map_or(NEVER, |laps| laps.from_ns);
        for (shard, &phase) in self.shards.iter().zip(&phases) {
            shard.send(Command::Start(phase, laps_from_ns));
        }
        // The counts before the phase. Displaying them may be slow, so the shards have already started.
        on_tick(&before);
        let (mut waiting, mut stopped, mut next_tick) = (phases.len(), false, began + TICK);
        while waiting > 0 {
            if !stopped && self.is_stopped() {
                stopped = true;
                self.shards.iter().for_each(|shard| shard.send(Command::Stop));
            }
            match self.reports.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(Report::Lap(lap)) => {
                    add_times(&mut times, Some(&lap.times));
                    self.laps.iter_mut().for_each(|laps| laps.add(&lap));
                }
                Ok(Report::Ended(mut outcome)) => {
                    waiting -= 1;
                    if let Some(reconnects) = outcome.reconnects.take() {
                        self.reconnects.merge(&reconnects);
                    }
                    self.unsolicited.merge(&outcome.unsolicited);
                    for (sum, counts) in self.addresses.iter_mut().zip(&outcome.addresses) {
                        sum.opened += counts.opened;
                        sum.failed += counts.failed;
                    }
                    add_times(&mut times, outcome.times.take().as_ref());
                    match &mut sum {
                        Some(sum) => sum.merge(&outcome),
                        None => sum = Some(*outcome),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_tick += TICK;
                    let progress = Progress { phase_elapsed: began.elapsed(), ..self.progress() };
                    adapt(&self.shards, &progress);
                    on_tick(&progress);
                }
                Err(RecvTimeoutError::Disconnected) => bail!("all shards have died"),
            }
            let dead = |shard: &Handle| shard.thread.as_ref().is_none_or(|thread| thread.is_finished());
            if self.shards.iter().any(dead) {
                bail!("a shard has died");
            }
        }
        on_tick(&Progress { phase_elapsed: began.elapsed(), ..self.progress() });
        Ok((sum.expect("there is at least one shard"), times))
    }
}

fn add_times(sum: &mut Histogram<u64>, times: Option<&Histogram<u32>>) {
    for bin in times.into_iter().flat_map(Histogram::iter_recorded) {
        sum.saturating_record_n(bin.value_iterated_to(), bin.count_at_value().into());
    }
}
