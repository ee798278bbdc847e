//! What the peers of a soak test did, to compare with the server's metrics.

use crate::metrics::Metrics;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter of events, some of which the server may not have seen: a reset may overtake data sent before it.
#[derive(Debug, Default)]
pub(super) struct Count {
    certain: AtomicU64,
    possible: AtomicU64,
}

impl Count {
    pub fn add(&self, count: usize) {
        self.certain.fetch_add(count as u64, Relaxed);
    }

    /// Adds events that the server may or may not have counted.
    pub fn add_possible(&self, count: usize) {
        self.possible.fetch_add(count as u64, Relaxed);
    }

    /// The values that the server may report.
    pub fn range(&self) -> RangeInclusive<f64> {
        let [certain, possible] = [&self.certain, &self.possible].map(|count| count.load(Relaxed) as f64);
        certain..=certain + possible
    }
}

/// The counts of all peers together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// WebSocket connections opened.
    pub opened: Count,
    /// Messages echoed.
    pub messages: Count,
    /// Payload bytes of these messages.
    pub bytes: Count,
    /// Connections closed for a protocol violation.
    pub violations: Count,
}

impl Tally {
    /// Compares the counts with a scrape, while `active` connections are open and nothing is in flight.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, metrics: &Metrics, active: usize) -> Result<(), String> {
        let [accepted, now_active, closed] = metrics.connections();
        if (accepted, now_active) != (now_active + closed, active as f64) {
            return Err(format!("accepted {accepted}, active {now_active}, closed {closed}"));
        }
        let violations = metrics.closed_as("protocol");
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
