//! The floor: how long the kernel takes to set up as many TCP connections, and to carry one message to and fro on
//! each, with nobody to serve them.
//!
//! Both ends of each pair belong to one thread, which calls socket(2), connect(2) and accept(2), and later send(2) and
//! recv(2), and nothing else: no handshake, no readiness, no other thread to be woken. As many threads as there are
//! cores work at a time. Each has a descriptor table and a listener of its own, so neither descriptors nor ports run
//! out. What a WebSocket server and its client need for the same number, in the same minute, is to be compared with
//! this.

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

/// Connections that wait to be accepted: fewer than the smallest `somaxconn` that a system comes with.
const BATCH: u64 = 64;
/// Bytes of a message to a server, and of its echo: 32 of payload with a WebSocket header.
const MESSAGE_LEN: usize = 38;
const ECHO_LEN: usize = 34;
/// How often the caller is told of the progress.
const TICK: Duration = Duration::from_millis(100);

/// What the kernel alone needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// Pairs that were open, all at the same time.
    pub pairs: u64,
    /// From the first socket(2) to the last accept(2).
    pub setup: Duration,
    /// For one message and its echo on each pair.
    pub echoes: Duration,
}

/// One end that connected, and one that was accepted.
type Pair = (TcpStream, TcpStream);

/// What the threads share.
struct Work<'a> {
    /// As many as there are cores: who holds one, works.
    turns: Vec<Mutex<()>>,
    opened: AtomicU64,
    stop: &'a AtomicBool,
    /// Opened before the tables were split.
    kept: BorrowedFd<'a>,
}

/// Opens `pairs` TCP connections over loopback, holds them all, has a message go to and fro on each, and ends each
/// with a reset, which leaves nothing in TIME_WAIT. `on_progress` is told how many there are. Ends early, with fewer,
/// when `stop` is set.
///
/// # Errors
/// The kernel's, where it gives no descriptor table or no connection.
pub fn floor(pairs: u64, stop: &AtomicBool, mut on_progress: impl FnMut(u64)) -> Result<Floor> {
    // A pair takes two descriptors of the same table.
    let per_table = (connections_per_shard()? / 2).max(1);
    let tables = pairs.div_ceil(per_table);
    let kept = eventfd(0, EventfdFlags::CLOEXEC).context("cannot make an eventfd")?;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let turns = (0..cores).map(|_| Mutex::default()).collect();
    let work = Work { turns, opened: AtomicU64::new(0), stop, kept: kept.as_fd() };
    let (all_open, all_echoed) = (RwLock::new(()), RwLock::new(()));
    let (done, ended) = mpsc::channel();
    let start = Instant::now();
    let floor = thread::scope(|scope| {
        // The threads wait where these are held.
        let (not_all_open, not_all_echoed) = (all_open.write(), all_echoed.write());
        for table in 0..tables {
            let share = per_table.min(pairs - table * per_table);
            let (work, all_open, all_echoed, done) = (&work, &all_open, &all_echoed, done.clone());
            scope.spawn(move || {
                let opened = work.in_turn(table, || open(share, work));
                let (mut pairs, result) = match opened {
                    Ok(pairs) => (pairs, Ok(())),
                    Err(error) => (Vec::new(), Err(error)),
                };
                let _ = done.send(result);
                drop(all_open.read());
                let _ = done.send(work.in_turn(table, || echo(&mut pairs, work.stop)));
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
    // A hundred threads' lists of pairs are not to be taken for what a client needs.
    common::return_freed_memory();
    floor
}

/// Waits until all threads have reported.
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
    /// Calls `job` when one of the cores is free for it.
    fn in_turn<T>(&self, table: u64, job: impl FnOnce() -> T) -> T {
        let turn = &self.turns[table as usize % self.turns.len()];
        let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
        job()
    }
}

/// Opens `share` pairs in a descriptor table of this thread's own.
fn open(share: u64, work: &Work<'_>) -> Result<Vec<Pair>> {
    unshare_table(work.kept).context("cannot get a descriptor table for a thread")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on 127.0.0.1")?;
    let server = listener.local_addr()?;
    let mut pairs = Vec::with_capacity(share as usize);
    let mut waiting = Vec::with_capacity(BATCH as usize);
    while (pairs.len() as u64) < share && !work.stop.load(Relaxed) {
        let batch = BATCH.min(share - pairs.len() as u64);
        for _ in 0..batch {
            waiting.push(TcpStream::connect(server).context("cannot connect over loopback")?);
        }
        for connected in waiting.drain(..) {
            let (accepted, _) = listener.accept().context("cannot accept over loopback")?;
            pairs.push((connected, accepted));
        }
        work.opened.fetch_add(batch, Relaxed);
    }
    Ok(pairs)
}

/// Sends a message from each end that connected, and an echo back.
fn echo(pairs: &mut [Pair], stop: &AtomicBool) -> Result<()> {
    let mut buffer = [0; MESSAGE_LEN];
    // Batches as in setup: who was accepted is in the batch of who connected, though perhaps not in the same place.
    for batch in pairs.chunks_mut(BATCH as usize).take_while(|_| !stop.load(Relaxed)) {
        batch.iter_mut().try_for_each(|(connected, _)| connected.write_all(&buffer))?;
        batch.iter_mut().try_for_each(|(_, accepted)| accepted.read_exact(&mut buffer))?;
        batch.iter_mut().try_for_each(|(_, accepted)| accepted.write_all(&buffer[..ECHO_LEN]))?;
        batch.iter_mut().try_for_each(|(connected, _)| connected.read_exact(&mut buffer[..ECHO_LEN]))?;
    }
    Ok(())
}

fn cut_off((connected, _accepted): Pair) {
    // Where this fails, the close is an ordinary one, which is only slower to be forgotten.
    let _ = set_socket_linger(&connected, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_as_many_as_asked() {
        let floor = floor(1_000, &AtomicBool::new(false), |_| {}).expect("a floor");
        assert_eq!(floor.pairs, 1_000);
        assert!(floor.setup > Duration::ZERO && floor.echoes > Duration::ZERO);
    }

    #[test]
    fn ends_when_it_is_told_to() {
        assert_eq!(floor(1_000_000, &AtomicBool::new(true), |_| {}).expect("a floor").pairs, 0);
    }
}
