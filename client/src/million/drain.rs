//! Waiting until the kernel has freed the sockets of the measurement before.

use crate::watch::tcp_sockstat;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Sockets that other programs may open meanwhile.
const OTHERS: u64 = 1_000;

/// The number of TCP sockets before a measurement.
pub struct Drain {
    before: u64,
}

impl Drain {
    /// Counts them now.
    pub fn before() -> Self {
        Self { before: in_use() }
    }

    /// Waits until about as many are left, after `opened` were opened and closed.
    pub fn wait(&self, opened: u64, stop: &AtomicBool) {
        let enough = self.before + OTHERS + opened / 100;
        let deadline = Instant::now() + TIMEOUT;
        while in_use() > enough && Instant::now() < deadline && !stop.load(Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// TCP sockets in use in this network namespace.
fn in_use() -> u64 {
    tcp_sockstat(Path::new("/proc"), "inuse")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_opened_is_nothing_to_wait_for() {
        let began = Instant::now();
        Drain { before: u64::MAX / 2 }.wait(1_000_000, &AtomicBool::new(false));
        assert!(began.elapsed() < TIMEOUT);
    }
}
