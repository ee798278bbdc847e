//! The open loop in the controlling thread: messages are due by a schedule, whatever happens to earlier ones.

use super::pace::paces;
use super::phase::{Command, Phase};
use super::rate::Rate;
use super::results::{EchoPhase, Progress};
use super::split::drain_from;
use super::start::Handle;
use super::{Fleet, OnTick};
use anyhow::{Result, ensure};
use std::time::Duration;

/// Every shard has received a command after this time.
const DELIVERY_NS: u64 = 10_000_000;

impl Fleet {
    /// Open loop: message *k* is due when the integral of `rate` reaches *k* (at a constant rate: at *k* / `rate`), whether
    /// or not earlier ones have been echoed, on connection *k* mod `active`. Latency counts from the due time.
    ///
    /// # Errors
    /// If the rate is not above zero, or a shard has died.
    pub fn open_loop(
        &mut self,
        active: u64,
        rate: impl Into<Rate>,
        warmup: Duration,
        duration: Duration,
        on_tick: OnTick<'_>,
    ) -> Result<EchoPhase> {
        self.open_loop_until(active, rate, warmup, duration, on_tick, &mut |_| false)
    }

    /// The same, but nothing more becomes due once `is_over` returns true. It is called as often as `on_tick`. Echoes of
    /// what was due are awaited.
    ///
    /// # Errors
    /// If the rate is not above zero, or a shard has died.
    pub fn open_loop_until(
        &mut self,
        active: u64,
        rate: impl Into<Rate>,
        warmup: Duration,
        duration: Duration,
        on_tick: OnTick<'_>,
        is_over: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<EchoPhase> {
        let rate = rate.into();
        ensure!(rate.is_valid(), "the rate must be above zero, not {rate:?}");
        let active = drain_from(&self.live(), active);
        let start_ns = self.now_ns() + DELIVERY_NS;
        let span = self.span(start_ns, warmup, duration);
        self.record_seconds(span.record_ns, span.end_ns);
        let phases = active.iter().zip(paces(start_ns, rate, &active)).map(|(&active, pace)| {
            let active = active as u32;
            pace.map_or(Phase::Closed { active, span }, |pace| Phase::Open { active, pace, span })
        });
        let phases = phases.collect();
        let (base_ns, mut has_ended) = (self.base_ns, false);
        let mut end_early = |shards: &[Handle], progress: &Progress| {
            if !has_ended && is_over(progress) {
                has_ended = true;
                let end_ns = super::clock::now_ns() - base_ns + DELIVERY_NS;
                shards.iter().for_each(|shard| shard.send(Command::EndBy(end_ns)));
            }
        };
        let (outcome, times) = self.run_adapting(phases, on_tick, &mut end_early)?;
        Ok(self.echo_phase(active.iter().sum(), outcome.due, outcome, times))
    }
}
