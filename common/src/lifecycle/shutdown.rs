//! The signal to drain, sent once, to all shards.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Becomes readable, and stays so, when the drain begins. Every shard has it in its own poll set.
///
/// It is an eventfd(2), open before any descriptor table is split, so that its number means the same in all of
/// them. Nobody reads it: a read would reset it for the other shards.
#[derive(Clone, Debug)]
pub struct Shutdown {
    event: Arc<OwnedFd>,
    begun: Arc<AtomicBool>,
}

impl Shutdown {
    pub(crate) fn new() -> io::Result<Shutdown> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Shutdown { event: Arc::new(event), begun: Arc::new(AtomicBool::new(false)) })
    }

    pub(crate) fn begin(&self) {
        self.begun.store(true, SeqCst);
        rustix::io::write(&*self.event, &1u64.to_ne_bytes())
            .expect("a first write to an eventfd does not block");
    }

    /// Whether the drain has begun.
    pub fn begun(&self) -> bool {
        self.begun.load(SeqCst)
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
