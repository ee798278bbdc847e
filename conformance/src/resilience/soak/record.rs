//! Samples of a server over time: a CSV file, a check of memory growth, and a summary.

use super::slope::Slope;
use super::tally::Tally;
use crate::metrics::Metrics;
use crate::notice::note;
use crate::process;
use crate::server::Binary;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest run whose memory growth is extrapolated to an hour.
const MIN_TREND_LENGTH: Duration = Duration::from_secs(600);
/// The most growth in a shorter run, as a multiple of the memory after the first round.
const MAX_GROWTH: f64 = 1.0;

const HEADER: &str = "elapsed_s,quiet,resident_bytes,descriptors,open_fds,threads,active,accepted,closed,rejected,\
                      messages_received,messages_sent";

/// The state of a server, as the kernel and its metrics report it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    at: Instant,
    /// Whether only the permanent peers were connected.
    quiet: bool,
    resident_bytes: u64,
    /// Summed over its threads.
    descriptors: usize,
    threads: usize,
    /// `process_open_fds`, summed over its tables.
    open_fds: f64,
    /// Accepted, active, closed.
    connections: [f64; 3],
    rejected: f64,
    received: f64,
    sent: f64,
}

impl Sample {
    pub fn take(pid: u32, metrics: &Metrics, quiet: bool) -> Sample {
        Sample {
            at: Instant::now(),
            quiet,
            resident_bytes: process::resident_bytes(pid),
            descriptors: process::descriptors(pid),
            threads: process::threads(pid),
            open_fds: metrics.sum("process_open_fds"),
            connections: metrics.connections(),
            rejected: metrics.sum("ws_connections_rejected_total"),
            received: metrics.sum("ws_messages_received_total"),
            sent: metrics.sum("ws_messages_sent_total"),
        }
    }

    /// Descriptors and threads.
    pub fn usage(&self) -> [usize; 2] {
        [self.descriptors, self.threads]
    }
}

/// All samples of a run.
pub(super) struct Record {
    start: Instant,
    path: PathBuf,
    samples: Mutex<(Vec<Sample>, Option<File>)>,
}

impl Record {
    /// Creates the CSV file in the directory of the server's binary. If that fails, it prints a notice, and keeps the
    /// samples in memory only.
    pub fn new(binary: &Binary) -> Record {
        let path = PathBuf::from(binary.0).with_extension("soak.csv");
        let file =
            File::create(&path).map_err(|error| note(&format!("cannot create {}: {error}", path.display())));
        let file = file.ok().map(|mut file| {
            writeln!(file, "{HEADER}").expect("write a line");
            file
        });
        Record { start: Instant::now(), path, samples: Mutex::new((vec![], file)) }
    }

    pub fn add(&self, sample: Sample) {
        let (samples, file) = &mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Sample { at, quiet, resident_bytes, descriptors, threads, open_fds, .. } = sample;
        let (at, quiet) = ((at - self.start).as_secs_f64(), u8::from(quiet));
        let [accepted, active, closed] = sample.connections;
        let Sample { rejected, received, sent, .. } = sample;
        let line = format!(
            "{at:.3},{quiet},{resident_bytes},{descriptors},{open_fds},{threads},{active},{accepted},{closed},\
             {rejected},{received},{sent}"
        );
        file.iter_mut().for_each(|file| writeln!(file, "{line}").expect("write a line"));
        samples.push(sample);
    }

    fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn quiet(&self) -> Vec<Sample> {
        self.samples().into_iter().filter(|sample| sample.quiet).collect()
    }

    /// The fewest descriptors and threads after a round, to which later rounds must return.
    pub fn least_usage(&self) -> [usize; 2] {
        let least = |least: [usize; 2], now: [usize; 2]| [least[0].min(now[0]), least[1].min(now[1])];
        self.quiet().iter().map(Sample::usage).fold([usize::MAX; 2], least)
    }

    /// The growth of memory in bytes per hour over the second half of the run, from the samples after each round. In
    /// the first half the allocator reaches its working size.
    fn growth(&self) -> Option<Slope> {
        let samples = self.quiet();
        let middle = samples.last()?.at.duration_since(self.start) / 2;
        let points = samples
            .iter()
            .filter(|sample| sample.at - self.start >= middle)
            .map(|sample| ((sample.at - self.start).as_secs_f64() / 3600.0, sample.resident_bytes as f64));
        Slope::of(&points.collect::<Vec<_>>())
    }

    /// Checks the growth of memory.
    ///
    /// # Panics
    /// If memory grows by more than two standard errors and by more than 1% per hour. In a run shorter than ten
    /// minutes, if it more than doubles.
    pub fn check_memory(&self, length: Duration) {
        let quiet = self.quiet();
        let [first, last] = [quiet.first(), quiet.last()]
            .map(|sample| sample.expect("a sample after each round").resident_bytes as f64);
        if length < MIN_TREND_LENGTH {
            assert!(last - first <= first * MAX_GROWTH, "memory grew from {first} to {last} bytes");
        } else if let Some(growth) = self.growth() {
            let noise = (2.0 * growth.standard_error).max(last / 100.0);
            assert!(
                growth.slope <= noise,
                "memory grows by {} bytes per hour; noise is {noise}",
                growth.slope
            );
        }
    }

    /// A summary of the run for a terminal.
    pub fn summary(&self, tally: &Tally, length: Duration) -> String {
        let quiet = self.quiet();
        let Sample { connections: [accepted, active, closed], rejected, received, sent, .. } =
            quiet.last().expect("a sample after each round");
        let [opened, messages, bytes, violations] =
            [&tally.opened, &tally.messages, &tally.bytes, &tally.violations].map(|count| count.range());
        let range = |field: usize| {
            let values = quiet.iter().map(|sample| sample.usage()[field]);
            format!("{} to {}", values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
        };
        format!(
            "  connections  accepted {accepted} = closed {closed} + active {active}; peers opened {opened:?}; \
             rejected {rejected}\n  \
               messages     received {received}, sent {sent}; peers received {messages:?} echoes, {bytes:?} bytes\n  \
               violations   {violations:?}\n  \
               descriptors  {}, summed over threads, after each of {} rounds\n  \
               threads      {}\n  \
               memory       {}\n  \
               samples      {} in {}\n",
            range(0),
            quiet.len(),
            range(1),
            self.memory(length),
            self.samples().len(),
            self.path.display(),
        )
    }

    /// Resident memory and its growth, in words.
    fn memory(&self, length: Duration) -> String {
        let (samples, quiet) = (self.samples(), self.quiet());
        let mb = |sample: Option<&Sample>| sample.map_or(0.0, |sample| sample.resident_bytes as f64 / 1e6);
        let growth = match self.growth().filter(|_| length >= MIN_TREND_LENGTH) {
            None => "too short a run to measure growth".to_string(),
            Some(Slope { slope, standard_error }) => {
                let (slope, standard_error) = (slope / 1e3, standard_error / 1e3);
                format!(
                    "grows by {slope:+.1} KB per hour, standard error {standard_error:.1}, over the second half"
                )
            }
        };
        format!(
            "{:.2} MB after the first round, {:.2} MB after the last, {:.2} MB at the peak; {growth}",
            mb(quiet.first()),
            mb(quiet.last()),
            mb(samples.iter().max_by_key(|sample| sample.resident_bytes)),
        )
    }
}
