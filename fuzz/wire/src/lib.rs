//! Replaces `rustix` in stage 4 with one socket in memory, whose peer is the fuzzer.
//!
//! It behaves like a non-blocking TCP socket registered edge-triggered (epoll(7)). An event is due when bytes arrive,
//! when the peer half-closes or resets, and when there is room again after a short send.

use rustix::io::Errno;
use std::cell::RefCell;

pub use rustix::io;

/// The socket calls that stage 4 uses.
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

    /// shutdown(2) with SHUT_WR.
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
    /// Everything that the peer sends.
    pub input: Vec<u8>,
    /// Bytes of the input that have arrived.
    pub arrived: usize,
    /// Bytes of the input that the server has received.
    pub received: usize,
    /// The server's output.
    pub sent: Vec<u8>,
    /// Free space in the send buffer, in bytes.
    pub room: usize,
    /// The peer has sent a FIN or a RST.
    pub eof: bool,
    /// The peer has reset the connection.
    pub reset: bool,
    /// The next call fails with EINTR.
    pub interrupt: bool,
    /// The server has half-closed.
    pub shut: bool,
    /// Set by a recv while output is blocked.
    pub read_on: bool,
    /// Set by a short send.
    blocked: bool,
    event: bool,
}

thread_local!(static WIRE: RefCell<Wire> = RefCell::default());

/// Calls `f` with this thread's socket.
pub fn with<T>(f: impl FnOnce(&mut Wire) -> T) -> T {
    WIRE.with_borrow_mut(f)
}

impl Wire {
    /// A socket on which no input has arrived, and without space in its send buffer.
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
        assert!(!self.shut, "sends after its half-close");
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

    /// Up to `len` more bytes arrive.
    pub fn arrive(&mut self, len: usize) {
        let arrived = self.input.len().min(self.arrived.saturating_add(len));
        self.event |= arrived > self.arrived;
        self.arrived = arrived;
    }

    /// The peer reads `len` bytes, which frees as much of the send buffer.
    pub fn read(&mut self, len: usize) {
        self.room = self.room.saturating_add(len);
        self.event |= std::mem::take(&mut self.blocked);
    }

    /// The peer half-closes.
    pub fn end(&mut self) {
        self.eof = true;
        self.event = true;
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) {
        self.reset = true;
        self.end();
    }

    /// Takes the pending event, as epoll_wait(2) does: whether it signals the end of the input.
    pub fn event(&mut self) -> Option<bool> {
        std::mem::take(&mut self.event).then_some(self.eof)
    }
}
