//! Replaces `rustix` under stage 4: one socket, whose other end is the fuzzer.
//!
//! It does what the kernel does with a non-blocking TCP socket that is registered edge-triggered (epoll(7)): an event
//! comes when bytes arrive, when the peer half-closes, and when there is room again after a short send.

use rustix::io::Errno;
use std::cell::RefCell;

pub use rustix::io;

/// The socket calls that stage 4 makes.
pub mod net {
    use super::{Errno, with};
    use std::os::fd::BorrowedFd;

    pub use rustix::net::{RecvFlags, SendFlags, Shutdown};

    /// recv(2).
    pub fn recv(_: BorrowedFd<'_>, buffer: &mut [u8], _: RecvFlags) -> Result<(usize, usize), Errno> {
        with(|wire| wire.recv(buffer).map(|len| (len, len)))
    }

    /// send(2).
    pub fn send(_: BorrowedFd<'_>, bytes: &[u8], _: SendFlags) -> Result<usize, Errno> {
        with(|wire| wire.send(bytes))
    }

    /// shutdown(2) of the sending side.
    pub fn shutdown(_: BorrowedFd<'_>, _: Shutdown) -> Result<(), Errno> {
        with(|wire| {
            assert!(!wire.shut, "shut down twice");
            wire.shut = true;
            if wire.reset { Err(Errno::NOTCONN) } else { Ok(()) }
        })
    }
}

/// The socket.
#[derive(Debug, Default)]
pub struct Wire {
    /// All that the peer will ever send.
    pub input: Vec<u8>,
    /// Bytes of it that have arrived.
    pub arrived: usize,
    /// Bytes of it that were received.
    pub received: usize,
    /// What was sent.
    pub sent: Vec<u8>,
    /// Bytes that may still be sent until the peer reads more.
    pub room: usize,
    /// The peer has sent its last byte.
    pub eof: bool,
    /// The peer has reset the connection.
    pub reset: bool,
    /// The next call is interrupted.
    pub interrupt: bool,
    /// Nothing more may be sent.
    pub shut: bool,
    /// Set by a read while output is pending.
    pub read_on: bool,
    /// Set by a send that found too little room.
    blocked: bool,
    event: bool,
}

thread_local!(static WIRE: RefCell<Wire> = RefCell::default());

/// Calls `look` with the socket.
pub fn with<T>(look: impl FnOnce(&mut Wire) -> T) -> T {
    WIRE.with_borrow_mut(look)
}

impl Wire {
    /// Nothing of `input` has arrived, and there is room for nothing.
    pub fn new(input: Vec<u8>) -> Wire {
        Wire { input, ..Wire::default() }
    }

    fn recv(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.read_on |= self.blocked && !self.reset;
        self.fail(Errno::CONNRESET)?;
        let len = buffer.len().min(self.arrived - self.received);
        if len == 0 && !self.eof {
            return Err(Errno::AGAIN);
        }
        buffer[..len].copy_from_slice(&self.input[self.received..self.received + len]);
        self.received += len;
        Ok(len)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        assert!(!self.shut, "sends after its last byte");
        self.fail(Errno::PIPE)?;
        let len = bytes.len().min(self.room);
        self.blocked = len < bytes.len();
        if self.blocked && len == 0 {
            return Err(Errno::AGAIN);
        }
        self.room -= len;
        self.sent.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn fail(&mut self, reset: Errno) -> Result<(), Errno> {
        if std::mem::take(&mut self.interrupt) {
            return Err(Errno::INTR);
        }
        if self.reset { Err(reset) } else { Ok(()) }
    }

    /// Up to `bytes` more bytes arrive.
    pub fn arrive(&mut self, bytes: usize) {
        let arrived = self.input.len().min(self.arrived.saturating_add(bytes));
        self.event |= arrived > self.arrived;
        self.arrived = arrived;
    }

    /// The peer reads: there is room for `bytes` more.
    pub fn read(&mut self, bytes: usize) {
        self.room = self.room.saturating_add(bytes);
        self.event |= std::mem::take(&mut self.blocked);
    }

    /// The peer sends no more.
    pub fn end(&mut self) {
        self.eof = true;
        self.event = true;
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) {
        self.reset = true;
        self.end();
    }

    /// What epoll_wait(2) gives, once: whether the peer has sent its last byte.
    pub fn event(&mut self) -> Option<bool> {
        std::mem::take(&mut self.event).then_some(self.eof)
    }
}
