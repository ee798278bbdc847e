//! Samples of a server over time, the file they are written to, and what they say in the end.

use super::Tally;
use super::slope::Slope;
use crate::metrics::Metrics;
use crate::notice::note;
use crate::process;
use crate::server::Binary;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A run that is shorter says nothing of an hour.
const JUDGED_FROM: Duration = Duration::from_secs(600);
/// In a shorter run memory may grow by as many times what it was after the first round.
const MOST_GROWTH: f64 = 1.0;

const HEADER: &str = "elapsed_s,quiet,resident_bytes,descriptors,open_fds,threads,active,accepted,closed,rejected,\
                      messages_received,messages_sent";

/// A look at a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    at: Instant,
    /// Whether only the lasting peers were there.
    quiet: bool,
    resident_bytes: u64,
    /// Added up over its threads.
    descriptors: usize,
    threads: usize,
    /// What it says of itself: descriptors over its tables; connections; messages.
    open_fds: f64,
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
    pub fn held(&self) -> [usize; 2] {
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
    /// A file beside the server's binary, written to as samples come; where it cannot be made, the samples are judged
    /// all the same.
    pub fn new(binary: &Binary) -> Record {
        let path = PathBuf::from(binary.0).with_extension("soak.csv");
        let file = File::create(&path).map_err(|error| note(&format!("no {}: {error}", path.display())));
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

    /// The fewest descriptors and threads that were held after a round, which every later one has to come back to.
    pub fn least_held(&self) -> [usize; 2] {
        let least = |least: [usize; 2], now: [usize; 2]| [least[0].min(now[0]), least[1].min(now[1])];
        self.quiet().iter().map(Sample::held).fold([usize::MAX; 2], least)
    }

    /// The growth of memory in bytes an hour, from round to round of the second half: an allocator takes what it needs in
    /// the first.
    fn growth(&self) -> Option<Slope> {
        let samples = self.quiet();
        let middle = samples.last()?.at.duration_since(self.start) / 2;
        let points = samples
            .iter()
            .filter(|sample| sample.at - self.start >= middle)
            .map(|sample| ((sample.at - self.start).as_secs_f64() / 3600.0, sample.resident_bytes as f64));
        Slope::of(&points.collect::<Vec<_>>())
    }

    /// # Panics
    /// If memory grows beyond noise: by more than two standard errors, and by more than a hundredth in an hour.
    pub fn judge_memory(&self, length: Duration) {
        let quiet = self.quiet();
        let [first, last] = [quiet.first(), quiet.last()]
            .map(|sample| sample.expect("a sample after each round").resident_bytes as f64);
        if length < JUDGED_FROM {
            assert!(last - first <= first * MOST_GROWTH, "memory grew from {first} to {last} bytes");
        } else if let Some(growth) = self.growth() {
            let noise = (2.0 * growth.standard_error).max(last / 100.0);
            assert!(
                growth.slope <= noise,
                "memory grows by {} bytes an hour; noise is {noise}",
                growth.slope
            );
        }
    }

    /// One screen.
    pub fn summary(&self, tally: &Tally, length: Duration) -> String {
        let quiet = self.quiet();
        let Sample { connections: [accepted, active, closed], rejected, received, sent, .. } =
            quiet.last().expect("a sample after each round");
        let [opened, messages, bytes, violations] =
            [&tally.opened, &tally.messages, &tally.bytes, &tally.violations].map(|count| count.range());
        let range = |field: usize| {
            let values = quiet.iter().map(|sample| sample.held()[field]);
            format!("{} to {}", values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
        };
        format!(
            "  connections  accepted {accepted} = closed {closed} + active {active}; peers opened {opened:?}; \
             rejected {rejected}\n  \
               messages     received {received}, sent {sent}; peers had echoes of {messages:?}, {bytes:?} bytes\n  \
               violations   {violations:?}\n  \
               descriptors  {}, as its threads see them, after each of {} rounds\n  \
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

    /// What memory was, and how it grew.
    fn memory(&self, length: Duration) -> String {
        let (samples, quiet) = (self.samples(), self.quiet());
        let mb = |sample: Option<&Sample>| sample.map_or(0.0, |sample| sample.resident_bytes as f64 / 1e6);
        let growth = match self.growth().filter(|_| length >= JUDGED_FROM) {
            None => "too short a run to tell its growth".to_string(),
            Some(Slope { slope, standard_error }) => {
                let (slope, standard_error) = (slope / 1e3, standard_error / 1e3);
                format!(
                    "grows by {slope:+.1} KB an hour, standard error {standard_error:.1}, over the second half"
                )
            }
        };
        format!(
            "{:.2} MB after the first round, {:.2} MB after the last, {:.2} MB at most; {growth}",
            mb(quiet.first()),
            mb(quiet.last()),
            mb(samples.iter().max_by_key(|sample| sample.resident_bytes)),
        )
    }
}
