//! Taking one measurement: when a process has come to rest, and what a phase amounts to.

use super::server::Server;
use crate::fleet::{EchoPhase, Failures, Progress};
use crate::report::results::{ClosedLoop, Latency, OpenLoop, PERCENTILES, Process};
use crate::watch::{KernelMemory, Metrics, Reading, Watched, processors_busy};
use anyhow::Result;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::path::Path;
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

/// What a server and its kernel take, once they have come to rest.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// The process.
    pub process: Reading,
    /// The whole machine; `None` where it cannot be read.
    pub kernel: Option<KernelMemory>,
}

impl Rest {
    /// Reads until two readings in a row agree on memory and threads, for two seconds at most: a server that is never
    /// quite still is read as it is.
    pub fn of(watched: &Watched) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut process = watched.read()?;
        loop {
            thread::sleep(Duration::from_millis(30));
            let again = watched.read()?;
            let still = (again.rss_bytes, again.threads) == (process.rss_bytes, process.threads);
            process = again;
            if still || Instant::now() > deadline {
                return Ok(Self { process, kernel: KernelMemory::read(Path::new("/proc")) });
            }
        }
    }

    /// For the results.
    pub fn to_process(self) -> Process {
        Process { rss_bytes: self.process.rss_bytes, threads: self.process.threads }
    }

    /// Resident memory above that of `before`.
    pub fn user_bytes_above(&self, before: &Self) -> i64 {
        self.process.rss_bytes as i64 - before.process.rss_bytes as i64
    }

    /// The kernel's memory for the server above that of `before`, with its page tables, and where it was read.
    pub fn kernel_bytes_above(&self, before: &Self) -> Option<(i64, &'static str)> {
        let (now, then) = (self.kernel?, before.kernel?);
        let tables = self.process.page_table_bytes as i64 - before.process.page_table_bytes as i64;
        Some((now.servers_share_since(&then) + tables, now.source.name()))
    }
}

/// Waits until the server, if it says so, has no connection left; for five seconds at most.
pub fn wait_until_empty(server: &Server) {
    let Some(admin) = server.admin else { return };
    let deadline = Instant::now() + Duration::from_secs(5);
    let is_empty =
        || Metrics::fetch(admin).is_ok_and(|metrics| metrics.value("ws_connections_active") == Some(0.0));
    while !is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Resident memory from which on it matters what a server gives back.
const WORTH_WAITING_FOR_BYTES: u64 = 8 << 20;

/// Waits until a server that has no connection left has given memory back, as ours do in the second calm second at the
/// latest.
pub fn wait_until_given_back(watched: &Watched) -> Result<()> {
    let deadline = Instant::now() + Duration::from_millis(2_500);
    while watched.read()?.rss_bytes >= WORTH_WAITING_FOR_BYTES && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

/// Connections that the server has refused so far, by its reasons; empty where it does not say.
pub fn rejected(server: &Server) -> BTreeMap<String, u64> {
    let metrics = server.admin.and_then(|admin| Metrics::fetch(admin).ok()).unwrap_or_default();
    let counts = metrics.by_label("ws_connections_rejected_total", "reason");
    counts
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .map(|(reason, count)| (reason, count as u64))
        .collect()
}

/// Failures by the names of their classes.
pub fn by_class(failures: &Failures) -> BTreeMap<String, u64> {
    failures.classes().map(|(class, count)| (class.name().to_owned(), count)).collect()
}

/// The distribution in a histogram of nanoseconds.
fn latency(histogram: &Histogram<u64>) -> Latency {
    let samples = histogram.len();
    let value = |percentile: f64| {
        // 99.9 has no exact value, and a hundredth of it is not 0.999: so of hundredths of a percent, which are whole.
        let quantile = (percentile * 100.0).round() / 10_000.0;
        // The histogram's lowest is exact, and not that of its first bucket.
        let ns = if percentile == 0.0 { histogram.min() } else { histogram.value_at_quantile(quantile) };
        (percentile, thousandths(ns as f64 / 1e3))
    };
    Latency {
        samples,
        percentiles_us: if samples == 0 { Vec::new() } else { PERCENTILES.map(value).to_vec() },
    }
}

/// The result of a closed loop; `before` and `after` are the server and the fleet at both ends of it, warm-up included.
pub fn closed_loop(phase: &EchoPhase, before: (Reading, Progress), after: (Reading, Progress)) -> ClosedLoop {
    let echoes = after.1.echoes.saturating_sub(before.1.echoes).max(1) as f64;
    let (now, then) = (after.0, before.0);
    let each = |time: Duration| thousandths(time.as_secs_f64() * 1e6 / echoes);
    let cpu = now.cpu.saturating_sub(then.cpu);
    // The kernel looks a hundred times per second whether it is in user space: fewer than a hundred looks tell nothing.
    let looks = now.ticks.0 + now.ticks.1 - then.ticks.0 - then.ticks.1;
    let user_share = (now.ticks.0 - then.ticks.0) as f64 / looks.max(1) as f64;
    ClosedLoop {
        echoes: phase.echoes,
        echoes_per_s: phase.echoes_per_s.round(),
        latency: latency(&phase.latency),
        cpu_us_per_echo: Some(each(cpu)),
        user_cpu_us_per_echo: (looks >= 100).then(|| each(cpu.mul_f64(user_share))),
        user_instructions_per_echo: None,
        instructions_note: None,
    }
}

/// The result of an open loop at this rate.
pub fn open_loop(phase: &EchoPhase, rate: f64) -> OpenLoop {
    OpenLoop {
        rate,
        echoes_per_s: phase.echoes_per_s.round(),
        late: phase.late,
        latency: latency(&phase.latency),
        failures: by_class(&phase.failures),
    }
}

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

/// Three decimals: finer than any of this is known.
pub fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::histogram_ns;

    #[test]
    fn percentiles_come_from_the_histogram() {
        let mut histogram = histogram_ns();
        (1..=1_000u64).for_each(|us| histogram.record(us * 1_000).expect("in range"));
        let latency = latency(&histogram);
        assert_eq!(latency.samples, 1_000);
        for (percentile, expected) in [(0.0, 1.0), (50.0, 500.0), (99.0, 990.0), (100.0, 1_000.0)] {
            let value = latency.at(percentile).expect("kept");
            assert!((value / expected - 1.0).abs() < 0.002, "p{percentile} is {value}");
        }
        assert!(super::latency(&histogram_ns()).at(50.0).is_none());
    }

    #[test]
    fn exact_percentiles_are_not_one_step_off() {
        for total in [1_000, 10_000, 20_000, 1_000_000] {
            for percentile in PERCENTILES.into_iter().filter(|percentile| (1.0..100.0).contains(percentile)) {
                let short = total * (percentile * 100.0).round() as u64 / 10_000;
                if short * 10_000 != total * (percentile * 100.0).round() as u64 {
                    continue;
                }
                let mut histogram = histogram_ns();
                histogram.record_n(1_000_000, short).expect("in range");
                histogram.record_n(100_000_000, total - short).expect("in range");
                let value = latency(&histogram).at(percentile).expect("kept");
                assert!(value < 1_001.0, "p{percentile} of {total} is {value}");
            }
        }
    }

    #[test]
    fn a_process_that_does_nothing_is_at_rest() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let rest = Rest::of(&Watched::new(sleeper.id())).expect("a reading");
        assert!(rest.process.rss_bytes > 0 && rest.process.threads == 1);
        assert_eq!(rest.user_bytes_above(&rest), 0);
        sleeper.kill().expect("killed");
        sleeper.wait().expect("waited for");
    }
}
