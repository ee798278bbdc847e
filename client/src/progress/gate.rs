//! A barrier for several runs: each phase begins in all of them at the same time.

use crate::cli;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting run checks for Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One run's place at the barrier. Dropping it, at the end of the run or after an error, takes the run out.
pub struct Gate(Arc<(Mutex<Waiting>, Condvar)>);

struct Waiting {
    /// Runs that take part, and how many of them wait.
    runs: usize,
    waiting: usize,
    /// How often the barrier has opened.
    opened: u64,
}

impl Gate {
    /// A barrier for two runs.
    pub fn pair() -> [Gate; 2] {
        let shared = Arc::new((Mutex::new(Waiting { runs: 2, waiting: 0, opened: 0 }), Condvar::new()));
        [Gate(shared.clone()), Gate(shared)]
    }

    /// Blocks until all runs wait, or Ctrl-C.
    pub fn wait(&self) {
        let mut state = self.state();
        state.waiting += 1;
        let opened = state.opened;
        self.open_if_all_wait(&mut state);
        while state.opened == opened && !cli::is_stopping() {
            let waited = self.0.1.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.opened == opened {
            state.waiting -= 1;
        }
    }

    fn open_if_all_wait(&self, state: &mut Waiting) {
        if state.waiting >= state.runs {
            state.waiting = 0;
            state.opened += 1;
            self.0.1.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.state();
        state.runs -= 1;
        self.open_if_all_wait(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::thread;

    #[test]
    fn phases_start_together_until_a_run_is_dropped() {
        let [left, right] = Gate::pair();
        let phase = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..100 {
                    phase.store(n, SeqCst);
                    right.wait();
                    right.wait();
                }
                drop(right);
            });
            for n in 0..100 {
                left.wait();
                assert_eq!(phase.load(SeqCst), n);
                left.wait();
            }
            left.wait();
        });
    }
}
