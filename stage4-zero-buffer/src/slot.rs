//! The cost of an open connection: 8 bytes.

use common::event_loop::{Next, Phase};
use common::metrics::Closed;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its request is incomplete.
    Handshake,
    /// Open, at a message boundary, without unsent output.
    Idle,
    /// Open, in the middle of a message or with unsent output.
    Busy,
    /// Half-closed. Input is discarded.
    Lingering,
}

pub const STATES: [State; 4] = [State::Handshake, State::Idle, State::Busy, State::Lingering];
const STATE_MASK: u32 = STATES.len() as u32 - 1;
/// Set while the connection is in the run queue.
const QUEUED: u32 = 1 << 2;
/// Set while long input is expected: on a new connection, and after a long read.
const LONG: u32 = 1 << 3;
pub const FLAG_BITS: u32 = 4;

/// A connection: its socket, and one word for its state, its flags and the tick at which it was last seen.
#[derive(Debug)]
pub struct Slot {
    socket: OwnedFd,
    /// Ticks in the upper 28 bits, then [`LONG`], then [`QUEUED`], then the state.
    last_seen_tick_and_flags: u32,
}

// An OwnedFd is never -1, so `None` needs no room of its own.
const _: () = assert!(size_of::<Option<Slot>>() == 8);

impl Slot {
    pub fn new(socket: OwnedFd, now: u32) -> Slot {
        Slot { socket, last_seen_tick_and_flags: (now << FLAG_BITS) | LONG | State::Handshake as u32 }
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
    pub fn state(&self) -> State {
        STATES[(self.last_seen_tick_and_flags & STATE_MASK) as usize]
    }

    pub fn phase(&self) -> Phase {
        match self.state() {
            State::Handshake => Phase::Handshake,
            State::Idle | State::Busy => Phase::Open,
            State::Lingering => Phase::Lingering,
        }
    }

    /// Whether it is in the run queue.
    #[inline]
    pub fn is_queued(&self) -> bool {
        self.last_seen_tick_and_flags & QUEUED != 0
    }

    pub fn set_queued(&mut self, queued: bool) {
        self.set(QUEUED, queued);
    }

    /// Whether its next message is probably short: the last one was, and is echoed.
    #[inline]
    pub fn can_read_inline(&self) -> bool {
        self.last_seen_tick_and_flags & (LONG | STATE_MASK) == State::Idle as u32
    }

    pub fn expect_long(&mut self, long: bool) {
        self.set(LONG, long);
    }

    fn set(&mut self, flag: u32, on: bool) {
        self.last_seen_tick_and_flags = (self.last_seen_tick_and_flags & !flag) | if on { flag } else { 0 };
    }

    /// Bytes were received or acknowledged at tick `now`.
    #[inline]
    pub fn seen(&mut self, now: u32) {
        self.last_seen_tick_and_flags =
            (now << FLAG_BITS) | (self.last_seen_tick_and_flags % (1 << FLAG_BITS));
    }

    #[inline]
    pub fn enter(&mut self, state: State) {
        self.last_seen_tick_and_flags = (self.last_seen_tick_and_flags & !STATE_MASK) | state as u32;
    }

    /// Ticks since bytes were last received or acknowledged (in a handshake: since accept).
    pub fn quiet_ticks(&self, now: u32) -> u32 {
        now.wrapping_sub(self.last_seen_tick_and_flags >> FLAG_BITS) % (1 << (u32::BITS - FLAG_BITS))
    }
}
