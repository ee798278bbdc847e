//! The live page: what a server does now, made to be projected during a talk.
//!
//! Once per second every viewer gets a sample as a server-sent event (HTML, section 9.2). One sampler serves all viewers,
//! and stops when there are none.

mod limits;

use crate::colours;
use crate::latency::{Timing, Took};
use crate::metrics::{Metrics, ShardMetrics};
use crate::process;
use crate::shutdown::Shutdown;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use limits::{Limit, Processors};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

/// The page's files: path, content type, content.
pub(crate) const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("live/page.html")),
    ("/colours.css", "text/css; charset=utf-8", colours::CSS),
    ("/live.css", "text/css; charset=utf-8", include_str!("live/page.css")),
    ("/live.js", "text/javascript; charset=utf-8", include_str!("live/page.js")),
];

/// What the page may do: load its own files, and listen to its own server. No other page may frame it.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                 img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who may look at the same time.
const VIEWERS: usize = 8;

const PERIOD: Duration = Duration::from_secs(1);

/// Resident memory up to which it is measured exactly, once per second. Above it, an error of a few pages is tolerable.
const EXACT_UP_TO_BYTES: u64 = 64 << 20;

/// What the page is made from, and who looks at it.
pub(crate) struct Live {
    pub metrics: Arc<Metrics>,
    pub shutdown: Shutdown,
    started: Instant,
    resident_at_start: OnceLock<u64>,
    latest: watch::Sender<Bytes>,
    places: Arc<Semaphore>,
    sampled: AtomicBool,
}

impl Live {
    /// For a server of which no shard has been started.
    pub fn new(metrics: Arc<Metrics>, shutdown: Shutdown) -> Arc<Live> {
        Arc::new(Live {
            metrics,
            shutdown,
            started: Instant::now(),
            resident_at_start: OnceLock::new(),
            latest: watch::Sender::default(),
            places: Arc::new(Semaphore::new(VIEWERS)),
            sampled: AtomicBool::new(false),
        })
    }

    /// Records the memory of the started server without connections, as the baseline.
    pub fn ready(&self) {
        if let Some(bytes) = process::resident_bytes(u64::MAX) {
            self.resident_at_start.get_or_init(|| bytes);
        }
    }

    /// Adds a viewer and returns its events. `None` if there are too many viewers.
    pub fn look(self: &Arc<Live>) -> Option<Channel<Bytes>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let (sender, events) = Channel::new(1);
        tokio::spawn(send(self.latest.subscribe(), sender, place));
        if !self.sampled.swap(true, Relaxed) {
            tokio::spawn(self.clone().sample_while_watched());
        }
        Some(events)
    }

    async fn sample_while_watched(self: Arc<Live>) {
        let mut sampler = Sampler::new(&self);
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.latest.receiver_count() == 0 {
                break;
            }
            self.latest.send_replace(sampler.event());
        }
        self.latest.send_replace(Bytes::new());
        self.sampled.store(false, Relaxed);
    }
}

/// Sends each sample, but for those that come while the viewer takes none.
async fn send(mut latest: watch::Receiver<Bytes>, mut to: Sender<Bytes>, _place: OwnedSemaphorePermit) {
    latest.mark_changed();
    while latest.changed().await.is_ok() {
        let event = latest.borrow_and_update().clone();
        if !event.is_empty() && to.send_data(event).await.is_err() {
            return;
        }
    }
}

/// What the page shows. Counters are the same as in `/metrics`; the page computes rates.
#[derive(Serialize)]
struct Sample<'a> {
    stage: &'a str,
    version: &'a str,
    uptime_seconds: f64,
    draining: bool,
    connections: u64,
    accepted: u64,
    closed: u64,
    rejected: u64,
    messages: u64,
    latency: Option<Took>,
    resident_bytes: Option<u64>,
    resident_at_start_bytes: Option<u64>,
    kernel_bytes: Option<u64>,
    kernel_source: Option<&'a str>,
    /// Connections and messages of each shard.
    shards: Vec<[u64; 2]>,
    limits: Vec<Limit>,
}

struct Sampler<'a> {
    live: &'a Live,
    timing: Timing,
    processors: Processors,
}

impl Sampler<'_> {
    fn new(live: &Live) -> Sampler<'_> {
        Sampler { live, timing: Timing::start(), processors: Processors::new() }
    }

    fn event(&mut self) -> Bytes {
        let json = serde_json::to_string(&self.sample()).expect("numbers, and names that are text");
        // A page that loses its server looks for it every second.
        Bytes::from(format!("retry: 1000\ndata: {json}\n\n"))
    }

    fn sample(&mut self) -> Sample<'_> {
        let Live { metrics, .. } = self.live;
        let totals = metrics.totals();
        let of_shard = |shard: &ShardMetrics| [shard.active(), shard.messages_sent.load(Relaxed)];
        let shards: Vec<_> = metrics.shards.iter().map(of_shard).collect();
        let fullest = shards.iter().map(|[connections, _]| *connections).max().unwrap_or(0);
        let connections = totals.accepted.saturating_sub(totals.closed);
        let kernel = metrics.kernel.now(connections);
        Sample {
            stage: metrics.stage,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.live.started.elapsed().as_secs_f64(),
            draining: self.live.shutdown.begun(),
            connections,
            accepted: totals.accepted,
            closed: totals.closed,
            rejected: totals.rejected,
            messages: totals.messages,
            latency: self.timing.took(),
            resident_bytes: process::resident_bytes(EXACT_UP_TO_BYTES),
            resident_at_start_bytes: self.live.resident_at_start.get().copied(),
            kernel_bytes: kernel.map(|share| share.bytes),
            kernel_source: kernel.map(|share| share.source.name()),
            limits: limits::all(self.live, connections, fullest, &mut self.processors),
            shards,
        }
    }
}
