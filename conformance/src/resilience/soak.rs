//! A soak test: mixed load over a long time, to find small leaks.
//!
//! `SOAK_MINUTES=60 cargo test --release -p STAGE --test resilience soak -- --nocapture` runs a stage for an hour. The
//! default is a few seconds. Samples are written to `STAGE.soak.csv` in the directory of the server's binary.
//!
//! Load comes in rounds. Between two rounds only the permanent peers are connected, and the server is quiescent for a
//! moment, so that it can free what the round needed. Then the server's metrics must agree with the peers' own counts,
//! and its descriptors and threads must be back at their level after earlier rounds.

mod hostile;
mod record;
mod slope;
mod tally;
mod traffic;

use super::sized;
use crate::server::{Binary, Server};
use crate::wait;
use crate::wire::Peer;
use record::{Record, Sample};
use std::env;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tally::Tally;
use traffic::Round;

/// `--max-connections`, far above the number of concurrent connections.
const MAX_CONNECTIONS: usize = 1_000;
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

/// Peers that stay connected for the whole run, and send only Pongs.
const PERMANENT: usize = 200;
/// How often they check for a Ping.
const PING_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The least number of rounds, even if a round takes longer than planned.
const MIN_ROUNDS: usize = 3;
/// The pause after a round is one part in this many of the round: three seconds, in a run of an hour.
const PAUSE_PART: u32 = 20;
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// Stops the background threads, also if a round panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Idle connections, closed loop, open loop, churn, bursts, large messages, hostile peers and scrapes, concurrently.
pub(crate) fn mixed_load(binary: &Binary) {
    let length = length();
    let server = binary.serve_many(MAX_CONNECTIONS, &FLAGS);
    let tally = Tally::default();
    let mut permanent = Peer::connect_many(server.addr, PERMANENT);
    tally.opened.add(PERMANENT);
    let record = Record::new(binary);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let _stop = StopOnDrop(&stop);
            while !stop.load(Relaxed) {
                permanent.iter_mut().for_each(Peer::answer_pings);
                thread::sleep(PING_CHECK_INTERVAL);
            }
        });
        scope.spawn(|| {
            let _stop = StopOnDrop(&stop);
            sample_until(&stop, &server, &record, length);
        });
        rounds(&server, &tally, &record, length, &stop);
    });
    permanent.into_iter().for_each(Peer::close_among_pings);
    server.metrics_agree(&[("ws_connections_active", 0)]);
    let summary = record.summary(&tally, length);
    println!("{}: soak of {:.1} minutes\n{summary}", server.ready_line, length.as_secs_f64() / 60.0);
    record.check_memory(length);
}

/// The length of the run.
fn length() -> Duration {
    let minutes = env::var("SOAK_MINUTES").ok();
    let minutes = minutes.map(|minutes| minutes.parse::<f64>().expect("SOAK_MINUTES is a number"));
    minutes
        .map_or(Duration::from_secs(sized(4, 60) as u64), |minutes| Duration::from_secs_f64(minutes * 60.0))
}

/// Rounds of load, with checks after each.
fn rounds(server: &Server, tally: &Tally, record: &Record, length: Duration, stop: &AtomicBool) {
    let end = Instant::now() + length;
    let round = (length / 4).min(Duration::from_secs(60));
    for number in 0.. {
        if stop.load(Relaxed) || number >= MIN_ROUNDS && Instant::now() >= end {
            return;
        }
        Round { server, tally, until: Instant::now() + round }.run();
        thread::sleep(round / PAUSE_PART);
        let limit = record.least_usage();
        let sample = wait::until("the metrics agree while only the permanent peers are connected", || {
            let metrics = server.metrics();
            tally.compare(&metrics, PERMANENT)?;
            let sample = Sample::take(server.pid(), &metrics, true);
            match sample.usage().iter().zip(&limit).all(|(now, least)| now <= least) {
                true => Ok(sample),
                false => Err(format!("{sample:?}, above {limit:?} descriptors and threads before")),
            }
        });
        record.add(sample);
    }
}

/// Takes samples at a constant rate during the rounds.
fn sample_until(stop: &AtomicBool, server: &Server, record: &Record, length: Duration) {
    let period = SAMPLE_INTERVAL.min(length / 16);
    let mut due = Instant::now();
    while !stop.load(Relaxed) {
        if Instant::now() < due {
            thread::sleep(PING_CHECK_INTERVAL.min(period));
            continue;
        }
        record.add(Sample::take(server.pid(), &server.metrics(), false));
        due += period;
    }
}
