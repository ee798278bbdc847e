//! The log, on standard error. No thread blocks on it, and neither does the end of the program.
//!
//! A thread writes what the others log. Where it blocks, because nobody reads, a queue fills, and further lines are lost.
//! Where it cannot write, because the reader is closed or the device is full, each line is lost. Both are counted.

use crate::output;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{mem, thread};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written: a burst's worth, some 100 KB.
const QUEUE_LEN: usize = 1024;

/// How long the end of the program waits for lines that were logged before.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Lines begun, and of those the lines that the thread has handled, written or not.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static DONE: Mutex<u64> = Mutex::new(0);
static DONE_CHANGED: Condvar = Condvar::new();

/// Lines that could not be written.
static FAILED: AtomicU64 = AtomicU64::new(0);
/// Counts lines for which the queue had no room.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts the log. Once, and after [`crate::signals::block`]: it starts a thread.
///
/// # Errors
/// The kernel's, where no thread can be had.
pub(crate) fn start(level: LevelFilter) -> io::Result<()> {
    // What starts the thread below panics where it cannot. Somebody else may take the last one in between.
    let _ = thread::Builder::new().spawn(|| {})?.join();
    let (queue, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE_LEN)
        .thread_name("log")
        .finish(StandardError);
    // Its drop prints with println! where the queue is full. `flush` does what it is for.
    mem::forget(guard);
    let _ = DROPPED.set(queue.error_counter());
    tracing_subscriber::fmt()
        .with_writer(Lines(queue))
        .with_max_level(level)
        .with_target(false)
        .with_ansi(output::has_colour(&io::stderr()))
        // It would report them with eprintln!.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// Lines that were logged and not written.
pub(crate) fn lines_lost() -> u64 {
    FAILED.load(Relaxed) + dropped()
}

/// Waits until all that was logged is written or lost, for a second at most.
pub(crate) fn flush() {
    let begun = BEGUN.load(Relaxed);
    let done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = DONE_CHANGED.wait_timeout_while(done, FLUSH_PATIENCE, |done| *done + dropped() < begun);
}

fn dropped() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Counts the lines that are begun.
struct Lines(NonBlocking);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = NonBlocking;

    fn make_writer(&'a self) -> NonBlocking {
        BEGUN.fetch_add(1, Relaxed);
        self.0.clone()
    }
}

/// What the thread writes to.
struct StandardError;

impl Write for StandardError {
    /// Takes a line, which is all that the thread writes at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if output::write_all(io::stderr(), line, None).is_err() {
            FAILED.fetch_add(1, Relaxed);
        }
        *DONE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        DONE_CHANGED.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
