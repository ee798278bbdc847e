//! The floor: the time the kernel alone takes to set up N TCP connections, and for one echo on each.
//!
//! Both ends of each pair belong to one thread, which calls socket(2), connect(2) and accept(2), later send(2) and
//! recv(2), and nothing else: no handshake, no readiness calls, no wakeups of other threads. One thread per core runs at
//! a time. Each thread has its own descriptor table and listener, so neither descriptors nor ports run out. Compare it
//! with a WebSocket server and client that are measured right after it.

use crate::fleet::connections_per_shard;
use anyhow::{Context, Result};
use common::table::unshare_table;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::sockopt::set_socket_linger;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Connections queued before they are accepted: below the smallest default of `somaxconn`, 128.
const BATCH: u64 = 64;
/// Bytes of a message to a server, and of its echo: 32 of payload with a WebSocket header.
const MESSAGE_LEN: usize = 38;
const ECHO_LEN: usize = 34;
/// Interval of the progress callback.
const TICK: Duration = Duration::from_millis(100);

/// The kernel's times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// Pairs open at the same time.
    pub pairs: u64,
    /// From the first socket(2) to the last accept(2).
    pub setup: Duration,
    /// Time of one message and its echo on every pair.
    pub echoes: Duration,
}

/// The connected and the accepted end.
type Pair = (TcpStream, TcpStream);

/// State shared by the threads.
struct Work<'a> {
    /// One lock per core: a thread works while it holds one.
    slots: Vec<Mutex<()>>,
    opened: AtomicU64,
    stop: &'a AtomicBool,
    /// A descriptor to keep when tables are split; opened before that.
    kept: BorrowedFd<'a>,
}

/// Opens `pairs` TCP connections over loopback, holds them all, echoes one message on each, and closes each with a
/// reset, which leaves none in TIME_WAIT. `on_progress` gets the number of open pairs. Returns early, with fewer, once
/// `stop` is set.
///
/// # Errors
/// If the kernel refuses a descriptor table or a connection.
pub fn floor(pairs: u64, stop: &AtomicBool, mut on_progress: impl FnMut(u64)) -> Result<Floor> {
    // A pair takes two descriptors of the same table.
    let per_table = (connections_per_shard()? / 2).max(1);
    let tables = pairs.div_ceil(per_table);
    let kept = eventfd(0, EventfdFlags::CLOEXEC).context("cannot make an eventfd")?;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let slots = (0..cores).map(|_| Mutex::default()).collect();
    let work = Work { slots, opened: AtomicU64::new(0), stop, kept: kept.as_fd() };
    let (all_open, all_echoed) = (RwLock::new(()), RwLock::new(()));
    let (done, ended) = mpsc::channel();
    let start = Instant::now();
    let floor = thread::scope(|scope| {
        // While these are held, the threads block at the barriers.
        let (not_all_open, not_all_echoed) = (all_open.write(), all_echoed.write());
        for table in 0..tables {
            let share = per_table.min(pairs - table * per_table);
            let (work, all_open, all_echoed, done) = (&work, &all_open, &all_echoed, done.clone());
            scope.spawn(move || {
                let opened = work.in_slot(table, || open(share, work));
                let (mut pairs, result) = match opened {
                    Ok(pairs) => (pairs, Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                let _ = done.send(result);
                drop(all_open.read());
                let _ = done.send(work.in_slot(table, || echo(&mut pairs, work.stop)));
                drop(all_echoed.read());
                pairs.into_iter().for_each(cut_off);
            });
        }
        let mut wait = || wait_for(tables, &ended, || on_progress(work.opened.load(Relaxed)));
        wait()?;
        let (setup, start) = (start.elapsed(), Instant::now());
        drop(not_all_open);
        wait()?;
        let echoes = start.elapsed();
        drop(not_all_echoed);
        Ok(Floor { pairs: work.opened.load(Relaxed), setup, echoes })
    });
    // The client's memory is measured next: do not count the lists of all these threads.
    common::return_freed_memory();
    floor
}

/// Waits until all threads have reported; returns the first error.
fn wait_for(tables: u64, ended: &Receiver<Result<()>>, mut on_tick: impl FnMut()) -> Result<()> {
    let mut left = tables;
    while left > 0 {
        match ended.recv_timeout(TICK) {
            Ok(result) => {
                result?;
                left -= 1;
            }
            Err(RecvTimeoutError::Timeout) => on_tick(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

impl Work<'_> {
    /// Calls `job` once this table's slot is free.
    fn in_slot<T>(&self, table: u64, job: impl FnOnce() -> T) -> T {
        let slot = &self.slots[table as usize % self.slots.len()];
        let _held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        job()
    }
}

/// Opens `share` pairs in a descriptor table for this thread only.
fn open(share: u64, work: &Work<'_>) -> Result<Vec<Pair>> {
    unshare_table(work.kept).context("cannot get a descriptor table for a thread")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on 127.0.0.1")?;
    let server = listener.local_addr()?;
    let mut pairs = Vec::with_capacity(share as usize);
    let mut queued = Vec::with_capacity(BATCH as usize);
    while (pairs.len() as u64) < share && !work.stop.load(Relaxed) {
        let batch = BATCH.min(share - pairs.len() as u64);
        for _ in 0..batch {
            queued.push(TcpStream::connect(server).context("cannot connect over loopback")?);
        }
        for connected in queued.drain(..) {
            let (accepted, _) = listener.accept().context("cannot accept over loopback")?;
            pairs.push((connected, accepted));
        }
        work.opened.fetch_add(batch, Relaxed);
    }
    Ok(pairs)
}

/// Sends a message from each connected end, and an echo back.
fn echo(pairs: &mut [Pair], stop: &AtomicBool) -> Result<()> {
    let mut buffer = [0; MESSAGE_LEN];
    // The batches of setup: both ends of a connection are in the same batch, though perhaps not in the same pair.
    for batch in pairs.chunks_mut(BATCH as usize).take_while(|_| !stop.load(Relaxed)) {
        batch.iter_mut().try_for_each(|(connected, _)| connected.write_all(&buffer))?;
        batch.iter_mut().try_for_each(|(_, accepted)| accepted.read_exact(&mut buffer))?;
        batch.iter_mut().try_for_each(|(_, accepted)| accepted.write_all(&buffer[..ECHO_LEN]))?;
        batch.iter_mut().try_for_each(|(connected, _)| connected.read_exact(&mut buffer[..ECHO_LEN]))?;
    }
    Ok(())
}

fn cut_off((connected, _accepted): Pair) {
    // If this fails, the close is an ordinary one, which leaves a socket in TIME_WAIT.
    let _ = set_socket_linger(&connected, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_all_pairs() {
        let floor = floor(1_000, &AtomicBool::new(false), |_| {}).expect("a floor");
        assert_eq!(floor.pairs, 1_000);
        assert!(floor.setup > Duration::ZERO && floor.echoes > Duration::ZERO);
    }

    #[test]
    fn ends_when_stop_is_set() {
        assert_eq!(floor(1_000_000, &AtomicBool::new(true), |_| {}).expect("a floor").pairs, 0);
    }
}
