//! Background threads of a case.

use crate::descriptors::own_table;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

/// A thread with a stop flag. Drop sets the flag and joins the thread.
pub(super) struct Background<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts a thread. `work` must poll the flag, and return once it is set.
    pub fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Background<T> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        Background { stop, thread: Some(thread::spawn(move || work(&flag))) }
    }

    /// The same with its own descriptor table, so that its sockets have their own limit.
    pub fn start_isolated(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Background<T> {
        Background::start(|stop| {
            own_table();
            work(stop)
        })
    }

    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sets the stop flag, and returns the thread's result.
    ///
    /// # Panics
    /// If the thread did.
    pub fn stop(self) -> T {
        self.stop.store(true, Relaxed);
        self.join()
    }

    /// Waits until the thread ends by itself, and returns its result.
    ///
    /// # Panics
    /// If the thread did.
    pub fn join(mut self) -> T {
        let thread = self.thread.take().expect("taken only here and in drop");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // The case has already failed, and a panic of this thread is already printed.
            let _ = thread.join();
        }
    }
}
