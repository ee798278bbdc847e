//! All that an open connection costs: 8 bytes.

use common::event_loop::{Next, Phase};
use common::metrics::Closed;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its request has not all arrived.
    Handshake,
    /// It is open, at a message boundary, and has no output.
    Idle,
    /// It is open, in the middle of a message or with output that is not sent.
    Busy,
    /// It is half-closed. Input is discarded.
    Lingering,
}

pub const STATES: [State; 4] = [State::Handshake, State::Idle, State::Busy, State::Lingering];
const STATE_MASK: u32 = STATES.len() as u32 - 1;
/// Set while the connection is in the run queue.
const QUEUED: u32 = 1 << 2;
/// Set where what comes next may be long: on a new connection, and on one whose last read was long.
const LONG: u32 = 1 << 3;
pub const FLAG_BITS: u32 = 4;

/// A connection: its socket, and in one word what it does and when it was last seen.
#[derive(Debug)]
pub struct Slot {
    socket: OwnedFd,
    /// Ticks in the upper 28 bits, then [`LONG`], then [`QUEUED`], then the state.
    last_seen_tick_and_flags: u32,
}

// OwnedFd is never -1, which is what tells an empty entry of the table.
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

    /// Receives what there is.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::net::recv(self.socket(), &mut *buffer, RecvFlags::empty()))
            .map(|(len, _)| len)
    }

    /// Sends what the socket takes, which may be nothing.
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

    /// Whether its next message is likely to be short: the last one was, and is answered.
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

    /// Something came, or was taken, at tick `now`.
    #[inline]
    pub fn seen(&mut self, now: u32) {
        self.last_seen_tick_and_flags =
            (now << FLAG_BITS) | (self.last_seen_tick_and_flags % (1 << FLAG_BITS));
    }

    #[inline]
    pub fn enter(&mut self, state: State) {
        self.last_seen_tick_and_flags = (self.last_seen_tick_and_flags & !STATE_MASK) | state as u32;
    }

    /// Ticks from the last time something came or was taken (in a handshake: from accept) to `now`.
    pub fn quiet_ticks(&self, now: u32) -> u32 {
        now.wrapping_sub(self.last_seen_tick_and_flags >> FLAG_BITS) % (1 << (u32::BITS - FLAG_BITS))
    }
}
