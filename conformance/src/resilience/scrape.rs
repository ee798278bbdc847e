//! A scrape every 100 ms, whatever goes on: each must answer in time, and make sense after the one before.

use super::background::Background;
use crate::metrics::Metrics;
use crate::server::scrape;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(100);

/// Within which a scrape answers: Prometheus gives it ten seconds, and people lose patience earlier.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What scraping came to.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    pub count: usize,
    pub slowest: Duration,
}

/// Scrapes this admin address until it is stopped; `check` looks at each, too.
///
/// # Panics
/// The thread does, and so `stop` and `join`: where a scrape is late, or wrong, or a counter has gone back.
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
        assert!(took < ANSWER_WITHIN, "expected: a scrape within {ANSWER_WITHIN:?}; got: one after {took:?}");
        if let Some(lost) = before.as_ref().and_then(|before| now.lost_since(before)) {
            panic!("expected: counters never go back; got: {lost}");
        }
        check(&now);
        scrapes = Scrapes { count: scrapes.count + 1, slowest: scrapes.slowest.max(took) };
        before = Some(now);
        thread::sleep(EVERY.saturating_sub(start.elapsed()));
    }
    scrapes
}
