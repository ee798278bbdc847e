//! The phases in the controlling thread: it splits the work among the shards, waits, and adds up the results.

use super::connect::CONNECT_WINDOW;
use super::counters::Watch;
use super::laps::Laps;
use super::messages::Verify;
use super::pace::paces;
use super::phase::{Command, Outcome, Phase, Span};
use super::rate::Rate;
use super::results::{
    AddressCounts, ChurnPhase, ClosePhase, ConnectPhase, EchoPhase, HoldPhase, Progress, Reconnects, Second,
    Unsolicited,
};
use super::split::{drain_from, fill_up};
use super::start::Handle;
use super::{Fleet, OnTick, clock};
use crate::report::format::time;
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Messages in flight over all shards when each connection sends one.
const ECHO_WINDOW: u32 = 1024;
/// Closing handshakes in progress, over all shards.
const CLOSE_WINDOW: u32 = 1024;

impl Fleet {
    /// The current counts. Cheap, and callable at any time.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        self.shards.iter().for_each(|shard| shard.counters.add_to(&mut progress));
        progress
    }

    /// A view of the counts for other threads.
    pub fn watch(&self) -> Watch {
        Watch(self.shards.iter().map(|shard| shard.counters.clone()).collect())
    }

    /// Makes the attempts that bring the fleet to `total` connections if all succeed, at `rate` at most.
    ///
    /// A bounded number of attempts is in progress at a time. A failed attempt is counted and not repeated.
    ///
    /// # Errors
    /// If `total` exceeds [`super::FleetConfig::connections`], or a shard has died.
    pub fn connect_to(
        &mut self,
        total: u64,
        rate: Option<Rate>,
        on_tick: OnTick<'_>,
    ) -> Result<ConnectPhase> {
        ensure!(
            total <= self.config.connections,
            "the fleet was made for {} connections, not {total}",
            self.config.connections
        );
        let live = self.live();
        let missing = total.saturating_sub(live.iter().sum());
        let attempts = fill_up(&live, missing);
        let start_ns = self.now_ns();
        self.record_seconds(start_ns, u64::MAX);
        let paces = match rate {
            Some(rate) => paces(start_ns, rate, &attempts),
            None => vec![None; attempts.len()],
        };
        let window = self.window(CONNECT_WINDOW);
        let phases = attempts.into_iter().zip(paces);
        let phases = phases.map(|(attempts, pace)| Phase::Connect { attempts, pace, window }).collect();
        let (outcome, times) = self.run_phase(phases, on_tick)?;
        let elapsed = outcome.elapsed();
        let ended_early = outcome.stalled.then(|| {
            let first = outcome.failures.first.as_deref().unwrap_or_default();
            format!(
                "stopped at {} of {total} connections because every further attempt failed: {first}",
                outcome.live
            )
        });
        Ok(ConnectPhase {
            requested: total,
            connected: outcome.live,
            opened: outcome.opened,
            elapsed,
            connects_per_s: per_s(outcome.opened, elapsed),
            handshake: times,
            tls: outcome.tls,
            seconds: self.take_seconds(),
            failures: outcome.failures,
            ended_early,
        })
    }

    /// One echo on every connection, with a bounded number in flight.
    ///
    /// # Errors
    /// If a shard has died.
    pub fn echo_once(&mut self, on_tick: OnTick<'_>) -> Result<EchoPhase> {
        let window = self.window(ECHO_WINDOW);
        self.each_once(window, on_tick)
    }

    /// One echo on every connection, all sent at once.
    ///
    /// # Errors
    /// If a shard has died.
    pub fn burst(&mut self, on_tick: OnTick<'_>) -> Result<EchoPhase> {
        self.each_once(u32::MAX, on_tick)
    }

    fn each_once(&mut self, window: u32, on_tick: OnTick<'_>) -> Result<EchoPhase> {
        let live = self.live();
        let phases = live.iter().map(|&live| Phase::Once { active: live as u32, window }).collect();
        let (outcome, times) = self.run_phase(phases, on_tick)?;
        let silent = outcome.stalled && outcome.live > 0;
        let phase = self.echo_phase(live.iter().sum(), outcome.sent, outcome, times);
        let no_echo = || format!("no echo received for {}", time(self.config.message_timeout.as_secs_f64()));
        Ok(EchoPhase { ended_early: silent.then(no_echo).or(phase.ended_early.clone()), ..phase })
    }

    /// Closed loop: each of `active` connections (or of all, if fewer are open) sends a round, which is
    /// [`super::FleetConfig::in_flight`] messages in one call, and the next one when all of them are echoed. Runs for
    /// `warmup`, which is not recorded, and then for `duration`. Latency counts from the sending of the round.
    ///
    /// # Errors
    /// If a shard has died.
    pub fn closed_loop(
        &mut self,
        active: u64,
        warmup: Duration,
        duration: Duration,
        on_tick: OnTick<'_>,
    ) -> Result<EchoPhase> {
        let active = drain_from(&self.live(), active);
        let span = self.span(self.now_ns(), warmup, duration);
        self.record_seconds(span.record_ns, span.end_ns);
        let phases = active.iter().map(|&active| Phase::Closed { active: active as u32, span }).collect();
        let (outcome, times) = self.run_phase(phases, on_tick)?;
        Ok(self.echo_phase(active.iter().sum(), outcome.sent, outcome, times))
    }

    /// Holds the connections idle for `duration`, answers pings, and counts lost connections.
    ///
    /// # Errors
    /// If a shard has died.
    pub fn hold(&mut self, duration: Duration, on_tick: OnTick<'_>) -> Result<HoldPhase> {
        let live = self.live();
        let end_ns = self.now_ns() + duration.as_nanos() as u64;
        let (outcome, _) = self.run_phase(vec![Phase::Hold { end_ns }; live.len()], on_tick)?;
        let all: u64 = live.iter().sum();
        Ok(HoldPhase {
            elapsed: outcome.elapsed(),
            held: outcome.live,
            lost: all.saturating_sub(outcome.live),
            pings: outcome.pings,
            ended_early: (!self.config.reconnect && outcome.live == 0 && all > 0)
                .then(|| outcome.all_lost(all, &self.config.endpoint)),
            failures: outcome.failures,
        })
    }

    /// For `duration`, `rate_per_s` times per second, closes a connection and opens another, which echoes one message.
    ///
    /// # Errors
    /// If the rate is not above zero, or a shard has died.
    pub fn churn(&mut self, rate_per_s: f64, duration: Duration, on_tick: OnTick<'_>) -> Result<ChurnPhase> {
        ensure!(rate_per_s.is_finite() && rate_per_s > 0.0, "the rate must be above zero, not {rate_per_s}");
        let (start_ns, mut live) = (self.now_ns(), self.live());
        let end_ns = start_ns + duration.as_nanos() as u64;
        self.record_seconds(start_ns, end_ns);
        let window = self.window(CONNECT_WINDOW);
        let phases = paces(start_ns, rate_per_s, &live).into_iter();
        let phases = phases.map(|pace| Phase::Churn { pace, window, end_ns }).collect();
        let base_ns = self.base_ns;
        // The others take over the rate of a shard that has lost all its connections.
        let mut share_anew = |shards: &[Handle], _: &Progress| {
            let is_lost = |(shard, live): (&Handle, &u64)| *live > 0 && shard.counters.is_idle();
            if !shards.iter().zip(&live).any(is_lost) {
                return;
            }
            let idle = shards.iter().zip(&mut live).filter(|(shard, _)| shard.counters.is_idle());
            idle.for_each(|(_, live)| *live = 0);
            let paces = paces(clock::now_ns() - base_ns, rate_per_s, &live);
            shards.iter().zip(paces).for_each(|(shard, pace)| shard.send(Command::Pace(pace)));
        };
        let (outcome, times) = self.run_adapting(phases, on_tick, &mut share_anew)?;
        let ended_early = outcome.stalled.then(|| {
            let first = outcome.failures.first.as_deref().unwrap_or_default();
            format!(
                "stopped after {} new connections because every further attempt failed: {first}",
                outcome.opened
            )
        });
        Ok(ChurnPhase {
            closed: outcome.closed,
            opened: outcome.opened,
            echoes: outcome.echoes,
            elapsed: outcome.elapsed(),
            connected: outcome.live,
            handshake: times,
            tls: outcome.tls,
            failures: outcome.failures,
            ended_early,
            seconds: self.take_seconds(),
        })
    }

    /// Closes all connections with the closing handshake (code 1000), and resets those that do not answer in time.
    ///
    /// # Errors
    /// If a shard has died.
    pub fn close_all(&mut self, on_tick: OnTick<'_>) -> Result<ClosePhase> {
        let window = self.window(CLOSE_WINDOW);
        let (outcome, _) = self.run_phase(vec![Phase::Close { window }; self.shards.len()], on_tick)?;
        Ok(ClosePhase {
            closed: outcome.closed,
            forced: outcome.forced,
            elapsed: outcome.elapsed(),
            failures: outcome.failures,
        })
    }

    /// Lost and replaced connections up to the end of the last phase; `None` unless the fleet reconnects.
    pub fn reconnects(&self) -> Option<&Reconnects> {
        self.config.reconnect.then_some(&self.reconnects)
    }

    /// Messages that are no replies, up to the end of the last phase.
    pub fn unsolicited(&self) -> Unsolicited {
        self.unsolicited
    }

    /// The server's addresses, with the counts up to the end of the last phase.
    pub fn addresses(&self) -> impl ExactSizeIterator<Item = (SocketAddr, AddressCounts)> {
        self.config.endpoint.addrs().iter().copied().zip(self.addresses.iter().copied())
    }

    /// Whether [`super::FleetConfig::stop`] is set.
    pub fn is_stopped(&self) -> bool {
        self.config.stop.load(Relaxed)
    }

    /// Has the next phase counted by the second from `from_ns` on, if the fleet does that.
    pub(super) fn record_seconds(&mut self, from_ns: u64, due_ns: u64) {
        self.laps = self.config.by_second.then(|| Laps::new(from_ns, due_ns, self.live()));
    }

    fn take_seconds(&mut self) -> Vec<Second> {
        self.laps.take().map_or_else(Vec::new, Laps::finish)
    }

    /// `due`: the messages due, sent or not.
    pub(super) fn echo_phase(
        &mut self,
        active: u64,
        due: u64,
        outcome: Outcome,
        times: Histogram<u64>,
    ) -> EchoPhase {
        let elapsed = outcome.elapsed();
        let messages = &self.config.messages;
        let is_usual = messages.are_alike() && messages.verify == Verify::Echo;
        let bytes = outcome.echoes * self.config.payload_len as u64;
        let done = if messages.verify == Verify::None { outcome.sent } else { outcome.echoes };
        EchoPhase {
            active,
            sent: outcome.sent,
            echoes: outcome.echoes,
            bytes: if is_usual { bytes } else { outcome.bytes },
            elapsed,
            echoes_per_s: per_s(outcome.in_span, elapsed),
            missing: due.saturating_sub(done + outcome.under_way),
            late: outcome.late,
            blocked: outcome.blocked,
            ended_early: (active > 0 && (outcome.stalled || (outcome.live == 0 && !self.config.reconnect)))
                .then(|| outcome.all_lost(active, &self.config.endpoint)),
            latency: times,
            failures: outcome.failures,
            seconds: self.take_seconds(),
        }
    }

    pub(super) fn span(&self, start_ns: u64, warmup: Duration, duration: Duration) -> Span {
        let record_ns = start_ns + warmup.as_nanos() as u64;
        Span { record_ns, end_ns: record_ns + duration.as_nanos() as u64 }
    }

    pub(super) fn now_ns(&self) -> u64 {
        clock::now_ns() - self.base_ns
    }

    /// Connections per shard: open ones and those being reconnected.
    pub(super) fn live(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.counters.expected()).collect()
    }

    /// A shard's part of a window over all shards.
    fn window(&self, whole: u32) -> u32 {
        (whole / self.shards.len() as u32).max(4)
    }
}

fn per_s(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}
