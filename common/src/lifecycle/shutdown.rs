//! The signal to drain, sent once, to all shards.

use crate::pace::DrainPace;
use rustix::event::{EventfdFlags, eventfd};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Becomes readable, and stays so, when the drain begins. Every shard has it in its own poll set.
///
/// It is an eventfd(2), open before any descriptor table is split, so that its number means the same in all of
/// them. Nobody reads it: a read would reset it for the other shards.
#[derive(Clone, Debug)]
pub struct Shutdown {
    event: Arc<OwnedFd>,
    pace: Arc<OnceLock<DrainPace>>,
}

impl Shutdown {
    pub(crate) fn new() -> io::Result<Shutdown> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Shutdown { event: Arc::new(event), pace: Arc::default() })
    }

    pub(crate) fn begin(&self, pace: DrainPace) {
        self.pace.set(pace).expect("a drain begins once");
        rustix::io::write(&*self.event, &1u64.to_ne_bytes())
            .expect("a first write to an eventfd does not block");
    }

    /// Whether the drain has begun.
    pub fn begun(&self) -> bool {
        self.pace().is_some()
    }

    /// When to close which connections, once the drain has begun.
    pub fn pace(&self) -> Option<&DrainPace> {
        self.pace.get()
    }
}

impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl AsRawFd for Shutdown {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// How long a drain serves a connection that has a thread of its own (stage 1).
#[derive(Debug, Default)]
pub struct Slot {
    close_at: Option<Instant>,
    late_reads: u8,
}

/// Reads that may still find input when the connection is to be closed.
const LATE_READS: u8 = 16;

impl Slot {
    /// Until when to wait for input; `None` before the drain. Only an open connection has time left then.
    pub fn until(&mut self, shutdown: &Shutdown, is_open: bool, read_by: Option<Instant>) -> Option<Instant> {
        let pace = shutdown.pace()?;
        let slot = || if is_open { pace.slot() } else { Instant::now() };
        let close_at = *self.close_at.get_or_insert_with(slot);
        Some(read_by.map_or(close_at, |read_by| read_by.min(close_at)))
    }

    /// What the wait for input until then, which returned `waited`, means.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the connection is to be closed, and no input is pending.
    pub fn end(&mut self, waited: io::Result<()>) -> io::Result<()> {
        if self.close_at.is_some_and(|close_at| Instant::now() < close_at) {
            return waited;
        }
        self.late_reads += 1;
        if waited.is_ok() && self.late_reads <= LATE_READS {
            Ok(())
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_open_connection_is_served_until_its_slot_and_a_handshake_is_not() {
        let (shutdown, now) = (Shutdown::new().expect("an eventfd"), Instant::now());
        let [mut first, mut late, mut handshake] = [(); 3].map(|()| Slot::default());
        assert_eq!(first.until(&shutdown, true, Some(now)), None);
        shutdown.begin(DrainPace::new(now, 10_000, 1, Duration::from_secs(24 * 3600)));
        assert_eq!(first.until(&shutdown, true, None), Some(now));
        // An hour later.
        let pace = shutdown.pace().expect("it has begun");
        for _ in 1..3600 {
            pace.slot();
        }
        let at = now + Duration::from_secs(3600);
        assert_eq!(
            [None, Some(at + Duration::from_secs(1)), Some(now)].map(|by| late.until(&shutdown, true, by)),
            [Some(at), Some(at), Some(now)]
        );
        assert!(handshake.until(&shutdown, false, Some(at)) < Some(at));

        let timed_out = || Err(ErrorKind::TimedOut.into());
        let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
        assert_eq!(kind(late.end(timed_out())), Err(ErrorKind::TimedOut));
        assert_eq!(kind(first.end(timed_out())), Err(ErrorKind::WouldBlock));
        let reads = (0..100).take_while(|_| handshake.end(Ok(())).is_ok()).count();
        assert_eq!(reads, usize::from(LATE_READS));
        assert!((0..100).all(|_| late.end(Ok(())).is_ok()));
    }
}
