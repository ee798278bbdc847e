//! Scrapes every 100 ms under any load: each must be answered in time, and no counter may decrease.

use super::background::Background;
use crate::metrics::Metrics;
use crate::server::scrape;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(100);

/// The time within which a scrape must be answered. (Prometheus times out after ten seconds by default.)
const MAX_LATENCY: Duration = Duration::from_secs(1);

/// The result of scraping.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    pub count: usize,
    pub slowest: Duration,
}

/// Scrapes this admin address until it is stopped, and passes each scrape to `check`.
///
/// # Panics
/// `stop` and `join` do, if a scrape is late or invalid, a counter decreases, or `check` panics.
pub(super) fn scraper(admin: SocketAddr, check: impl Fn(&Metrics) + Send + 'static) -> Background<Scrapes> {
    Background::start(move |stop| scrape_until(stop, admin, check))
}

fn scrape_until(stop: &AtomicBool, admin: SocketAddr, check: impl Fn(&Metrics)) -> Scrapes {
    let mut scrapes = Scrapes::default();
    let mut before: Option<Metrics> = None;
    while !stop.load(Relaxed) {
        let start = Instant::now();
        let now = scrape(admin);
        let took = start.elapsed();
        assert!(took < MAX_LATENCY, "expected: a scrape within {MAX_LATENCY:?}; got: after {took:?}");
        if let Some(lost) = before.as_ref().and_then(|before| now.lost_since(before)) {
            panic!("expected: counters never decrease; got: {lost}");
        }
        check(&now);
        scrapes = Scrapes { count: scrapes.count + 1, slowest: scrapes.slowest.max(took) };
        before = Some(now);
        thread::sleep(EVERY.saturating_sub(start.elapsed()));
    }
    scrapes
}
