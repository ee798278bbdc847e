//! The cost of an open connection: 8 bytes.

use common::event_loop::{Marks, Next, Phase};
use common::metrics::Closed;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A connection: its socket, and its marks: 28 bits of time, two flags, and two bits for its phase.
#[derive(Debug)]
pub struct Slot {
    pub marks: Marks,
    socket: OwnedFd,
}

// An OwnedFd is never -1, so `None` needs no room of its own.
const _: () = assert!(size_of::<Option<Slot>>() == 8);

impl Slot {
    pub fn new(socket: OwnedFd, now: u32) -> Slot {
        Slot { marks: Marks::new(now), socket }
    }

    #[inline]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    #[inline]
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// recv(2), up to the length of the buffer.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::net::recv(self.socket(), &mut *buffer, RecvFlags::empty()))
            .map(|(len, _)| len)
    }

    /// send(2). Returns the bytes that the socket took, which may be none.
    #[inline]
    pub fn send(&self, bytes: &[u8]) -> Result<usize, Next> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match rustix::io::retry_on_intr(|| rustix::net::send(self.socket(), bytes, SendFlags::NOSIGNAL)) {
            Err(Errno::AGAIN) => Ok(0),
            Err(_) => Err(Next::Remove(Closed::Reset)),
            Ok(sent) => Ok(sent),
        }
    }

    #[inline]
    pub fn phase(&self) -> Phase {
        Phase::ALL[self.marks.stage_bits()]
    }

    #[inline]
    pub fn enter(&mut self, phase: Phase) {
        self.marks.set_stage_bits(phase as u8);
    }
}
