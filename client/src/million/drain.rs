//! Waiting until the kernel has done with the sockets of what was measured before.

use crate::watch::tcp_sockstat;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The kernel is given no more time than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// What other programs open meanwhile.
const OTHERS: u64 = 1_000;

/// How many sockets there were before.
pub struct Drain {
    before: u64,
}

impl Drain {
    /// Those of now.
    pub fn before() -> Self {
        Self { before: in_use() }
    }

    /// Waits until there are about as many again, after `opened` have come and gone.
    pub fn wait(&self, opened: u64, stop: &AtomicBool) {
        let enough = self.before + OTHERS + opened / 100;
        let deadline = Instant::now() + PATIENCE;
        while in_use() > enough && Instant::now() < deadline && !stop.load(Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// TCP sockets that are open here.
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
        assert!(began.elapsed() < PATIENCE);
    }
}
