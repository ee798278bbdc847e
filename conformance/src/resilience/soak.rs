//! Hours of everything at once: what leaks a little shows in time.
//!
//! `SOAK_MINUTES=60 cargo test --release -p STAGE --test resilience soak -- --nocapture` soaks a stage for an hour; some
//! seconds are the default. Samples are in `STAGE.soak.csv` beside the server's binary.
//!
//! Traffic comes in rounds. Between two of them only the lasting peers are there, and all figures have to agree: what
//! the peers did with what the server counts, and what the server holds with what it held between the rounds before: after
//! a moment of calm, in which a server gives back what the round has needed.

mod hostile;
mod record;
mod slope;
mod traffic;

use super::sized;
use crate::metrics::Metrics;
use crate::server::{Binary, Server};
use crate::wait;
use crate::wire::Peer;
use record::{Record, Sample};
use std::env;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use traffic::Round;

/// Far more than there are at the same time.
const MOST: usize = 1_000;
const FLAGS: [&str; 8] = [
    "--max-message-size",
    "2MiB",
    "--handshake-timeout",
    "2s",
    "--ping-interval",
    "5s",
    "--idle-timeout",
    "60s",
];

/// Peers that stay for all the time, and say nothing but Pong.
const LASTING: usize = 200;
/// How often they look for a Ping.
const LOOK_FOR_PINGS_EVERY: Duration = Duration::from_millis(250);
/// A machine that is slow for a moment must not make one round of it.
const LEAST_ROUNDS: usize = 3;
/// Between two rounds nothing happens for one part of a round in so many: three seconds, in a run of an hour.
const CALM: u32 = 20;
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// What the peers know to have happened, or cannot know: a reset may overtake what was sent before it.
#[derive(Debug, Default)]
struct Count {
    sure: AtomicU64,
    unsure: AtomicU64,
}

impl Count {
    fn add(&self, count: usize) {
        self.sure.fetch_add(count as u64, Relaxed);
    }

    fn add_unsure(&self, count: usize) {
        self.unsure.fetch_add(count as u64, Relaxed);
    }

    /// What the server may say of it.
    fn range(&self) -> RangeInclusive<f64> {
        let [sure, unsure] = [&self.sure, &self.unsure].map(|count| count.load(Relaxed) as f64);
        sure..=sure + unsure
    }
}

/// What all peers did.
#[derive(Debug, Default)]
struct Tally {
    /// WebSockets opened.
    opened: Count,
    /// Messages whose echo came.
    messages: Count,
    /// Their payload.
    bytes: Count,
    /// Connections that ended in a violation of the protocol, and were told so.
    violations: Count,
}

impl Tally {
    /// What is wrong with the server's figures when nothing is under way.
    fn disagreement(&self, metrics: &Metrics) -> Result<(), String> {
        let [accepted, active, closed] = metrics.connections();
        if (accepted, active) != (active + closed, LASTING as f64) {
            return Err(format!("accepted {accepted}, active {active}, closed {closed}"));
        }
        let violations = metrics.sum_where("ws_connections_closed_total", "reason", "protocol");
        for (counted, range, what) in [
            (accepted, self.opened.range(), "connections opened"),
            (metrics.sum("ws_messages_received_total"), self.messages.range(), "messages received"),
            (metrics.sum("ws_messages_sent_total"), self.messages.range(), "messages sent"),
            (metrics.sum("ws_received_bytes_total"), self.bytes.range(), "bytes received"),
            (metrics.sum("ws_sent_bytes_total"), self.bytes.range(), "bytes sent"),
            (violations, self.violations.range(), "violations"),
        ] {
            if !range.contains(&counted) {
                return Err(format!("{what}: the server counted {counted}, the peers {range:?}"));
            }
        }
        Ok(())
    }
}

/// Ends what runs beside the rounds, also where a round fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Idle, closed loop, open loop, churn, bursts, large messages, hostile peers and scrapes, all at once.
pub(crate) fn mixed_load(binary: &Binary) {
    let length = length();
    let server = binary.serve_many(MOST, &FLAGS);
    let tally = Tally::default();
    let mut lasting = Peer::connect_many(server.addr, LASTING);
    tally.opened.add(LASTING);
    let record = Record::new(binary);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let _stop = StopOnDrop(&stop);
            while !stop.load(Relaxed) {
                lasting.iter_mut().for_each(Peer::answer_pings);
                thread::sleep(LOOK_FOR_PINGS_EVERY);
            }
        });
        scope.spawn(|| {
            let _stop = StopOnDrop(&stop);
            sample_beside(&server, &record, length, &stop);
        });
        rounds(&server, &tally, &record, length, &stop);
    });
    lasting.into_iter().for_each(Peer::close_among_pings);
    server.metrics_agree(&[("ws_connections_active", 0)]);
    let summary = record.summary(&tally, length);
    println!("{} soaked for {:.1} minutes\n{summary}", server.ready_line, length.as_secs_f64() / 60.0);
    record.judge_memory(length);
}

/// For how long.
fn length() -> Duration {
    let minutes = env::var("SOAK_MINUTES").ok();
    let minutes = minutes.map(|minutes| minutes.parse::<f64>().expect("SOAK_MINUTES is a number"));
    minutes
        .map_or(Duration::from_secs(sized(4, 60) as u64), |minutes| Duration::from_secs_f64(minutes * 60.0))
}

/// Rounds of traffic, with a look at everything after each of them.
fn rounds(server: &Server, tally: &Tally, record: &Record, length: Duration, stop: &AtomicBool) {
    let end = Instant::now() + length;
    let round = (length / 4).min(Duration::from_secs(60));
    for number in 0.. {
        if stop.load(Relaxed) || number >= LEAST_ROUNDS && Instant::now() >= end {
            return;
        }
        Round { server, tally, until: Instant::now() + round }.run();
        thread::sleep(round / CALM);
        let limit = record.least_held();
        let sample = wait::until("all figures agree while only the lasting peers are there", || {
            let metrics = server.metrics();
            tally.disagreement(&metrics)?;
            let sample = Sample::take(server.pid(), &metrics, true);
            match sample.held().iter().zip(&limit).all(|(now, least)| now <= least) {
                true => Ok(sample),
                false => {
                    Err(format!("{sample:?}, and before no more than {limit:?} descriptors and threads"))
                }
            }
        });
        record.add(sample);
    }
}

/// Samples at a steady pace, whatever goes on.
fn sample_beside(server: &Server, record: &Record, length: Duration, stop: &AtomicBool) {
    let period = SAMPLE_EVERY.min(length / 16);
    let mut due = Instant::now();
    while !stop.load(Relaxed) {
        if Instant::now() < due {
            thread::sleep(LOOK_FOR_PINGS_EVERY.min(period));
            continue;
        }
        record.add(Sample::take(server.pid(), &server.metrics(), false));
        due += period;
    }
}
