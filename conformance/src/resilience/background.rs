//! Threads that go on beside a case.

use crate::descriptors::own_table;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

/// A thread that goes on until it is told to stop, or dropped.
pub(super) struct Background<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts it. `work` looks at the flag now and then, and ends once that is set.
    pub fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Background<T> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        Background { stop, thread: Some(thread::spawn(move || work(&flag))) }
    }

    /// The same with a descriptor table of its own, so that no limit holds for its sockets and others' together.
    pub fn start_apart(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Background<T> {
        Background::start(|stop| {
            own_table();
            work(stop)
        })
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Tells it to stop, and returns what it comes to.
    ///
    /// # Panics
    /// If the thread did.
    pub fn stop(self) -> T {
        self.stop.store(true, Relaxed);
        self.join()
    }

    /// Returns what it comes to when it ends by itself.
    ///
    /// # Panics
    /// If the thread did.
    pub fn join(mut self) -> T {
        let thread = self.thread.take().expect("only taken here and in drop");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // The case has failed already, and this thread has told of itself.
            let _ = thread.join();
        }
    }
}
