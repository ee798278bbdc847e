//! All that an open connection costs: 8 octets.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its request has not all arrived.
    Handshake,
    /// It is open, and in the middle of nothing.
    Open,
    /// It is open, and in the middle of something.
    Busy,
    /// Its last octet is sent; what still comes is discarded until it is closed.
    Lingering,
}

const PHASES: [Phase; 4] = [Phase::Handshake, Phase::Open, Phase::Busy, Phase::Lingering];
const PHASE_MASK: u32 = PHASES.len() as u32 - 1;
/// Set while the connection waits for a long turn.
const WAITS: u32 = 1 << 2;
/// Set where what comes next may be long: on a new connection, and on one whose last read was long.
const LONG: u32 = 1 << 3;
const STATE_BITS: u32 = 4;

/// A connection: its socket, and what it does and since when in one word.
#[derive(Debug)]
pub struct Slot {
    socket: OwnedFd,
    /// Ticks in the upper 28 bits, then [`LONG`], then [`WAITS`], then the phase.
    since_and_state: u32,
}

const _: () = assert!(size_of::<Option<Slot>>() == 8);

impl Slot {
    pub fn new(socket: OwnedFd, now: u32) -> Slot {
        Slot { socket, since_and_state: (now << STATE_BITS) | LONG | Phase::Handshake as u32 }
    }

    #[inline]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    #[inline]
    pub fn phase(&self) -> Phase {
        PHASES[(self.since_and_state & PHASE_MASK) as usize]
    }

    /// Whether it waits for a long turn.
    #[inline]
    pub fn waits(&self) -> bool {
        self.since_and_state & WAITS != 0
    }

    /// Whether what comes is likely to be short: from a peer that has sent something short before, and all of it whole.
    #[inline]
    pub fn is_prompt(&self) -> bool {
        self.since_and_state & (LONG | PHASE_MASK) == Phase::Open as u32
    }

    pub fn expect_long(&mut self, long: bool) {
        self.set(LONG, long);
    }

    pub fn set_waits(&mut self, waits: bool) {
        self.set(WAITS, waits);
    }

    fn set(&mut self, bit: u32, on: bool) {
        self.since_and_state = (self.since_and_state & !bit) | if on { bit } else { 0 };
    }

    /// Something came at tick `now`.
    #[inline]
    pub fn heard(&mut self, now: u32) {
        self.since_and_state = (now << STATE_BITS) | (self.since_and_state % (1 << STATE_BITS));
    }

    #[inline]
    pub fn enter(&mut self, phase: Phase) {
        self.since_and_state = (self.since_and_state & !PHASE_MASK) | phase as u32;
    }

    /// Ticks from the last time something came (in a handshake: from accept) to `now`.
    pub fn quiet_ticks(&self, now: u32) -> u32 {
        now.wrapping_sub(self.since_and_state >> STATE_BITS) % (1 << (u32::BITS - STATE_BITS))
    }
}

/// Room for so many is reserved in one piece, which costs nothing until it is used: a table that grows by doubling
/// leaves its former selves behind in the heap.
const RESERVED: usize = 1 << 15;

/// The connections of a shard, by descriptor. The kernel gives the lowest free number, so a table of its own
/// stays dense.
#[derive(Debug, Default)]
pub struct Slots {
    slots: Vec<Option<Slot>>,
    count: usize,
}

impl Slots {
    pub fn insert(&mut self, fd: RawFd, slot: Slot) {
        let index = fd as usize;
        if index >= self.slots.capacity() {
            self.slots.reserve(RESERVED.max(index + 1 - self.slots.len()));
        }
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(slot);
        self.count += 1;
    }

    /// Closes the connection.
    pub fn remove(&mut self, fd: RawFd) {
        if self.slots.get_mut(fd as usize).and_then(Option::take).is_some() {
            self.count -= 1;
        }
    }

    /// The connection, unless it was closed before its turn came.
    #[inline]
    pub fn get_mut(&mut self, fd: RawFd) -> Option<&mut Slot> {
        self.slots.get_mut(fd as usize)?.as_mut()
    }

    /// Connections of any phase.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Frees the memory of the table, if no connection is left that needs it.
    pub fn release(&mut self) {
        if self.count == 0 {
            self.slots = Vec::new();
        }
    }

    /// The descriptors of all connections are below this.
    pub fn end(&self) -> RawFd {
        self.slots.len() as RawFd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use common::config::Config;
    use common::ticks::Ticks;
    use std::fs::File;
    use std::time::{Duration, Instant};

    #[test]
    fn a_table_that_nobody_needs_is_freed() {
        let mut slots = Slots::default();
        slots.insert(40_000, Slot::new(File::open("/dev/null").unwrap().into(), 7));
        slots.release();
        assert_eq!(slots.end(), 40_001, "somebody needs it");
        slots.remove(40_000);
        slots.release();
        assert_eq!((slots.end(), slots.slots.capacity()), (0, 0));
        slots.remove(40_000);
        assert_eq!(slots.count(), 0, "there is nothing to be removed");
    }

    #[test]
    fn only_who_is_known_and_in_the_middle_of_nothing_is_prompt() {
        let mut slot = Slot::new(File::open("/dev/null").unwrap().into(), 7);
        slot.enter(Phase::Open);
        assert!(!slot.is_prompt(), "it has sent its request, and no more");
        slot.expect_long(false);
        assert!(slot.is_prompt() && !slot.waits());
        for phase in PHASES {
            slot.enter(phase);
            assert_eq!(slot.is_prompt(), phase == Phase::Open, "{phase:?}");
        }
    }

    #[test]
    fn a_word_holds_a_phase_and_a_time_and_whether_it_waits() {
        let mut slot = Slot::new(File::open("/dev/null").unwrap().into(), 7);
        assert!(!slot.waits());
        for (phase, waits) in PHASES.into_iter().flat_map(|phase| [(phase, true), (phase, false)]) {
            slot.set_waits(waits);
            slot.enter(phase);
            assert_eq!((slot.phase(), slot.waits(), slot.quiet_ticks(7)), (phase, waits, 0));
            slot.heard(9);
            assert_eq!((slot.phase(), slot.waits(), slot.quiet_ticks(12)), (phase, waits, 3));
            slot.heard(u32::MAX >> STATE_BITS);
            assert_eq!(slot.quiet_ticks(4), 5, "the time wraps");
            slot.heard(7);
        }
    }

    /// The longest time in the shortest ticks, while a fake clock runs for ten years: 28 bits are enough.
    #[test]
    fn a_silent_peer_is_found_in_any_year() {
        let flags = ["test", "--handshake-timeout", "10ms", "--idle-timeout", "30days"];
        let command = Config::augment_args(Command::new("test"));
        let config = Config::from_arg_matches(&command.get_matches_from(flags)).expect("flags");
        let (start, idle) = (Instant::now(), config.idle_timeout);
        let mut ticks = Ticks::new(&config, start);
        let tick = ticks.len();
        let mut slot = Slot::new(File::open("/dev/null").unwrap().into(), 0);
        for day in 0..3650 {
            let heard = start + idle / 30 * day;
            let mut quiet_at = |after: Duration| {
                ticks.advance(heard + after);
                if after.is_zero() {
                    slot.heard(ticks.now());
                }
                ticks.duration(slot.quiet_ticks(ticks.now()))
            };
            assert_eq!(quiet_at(Duration::ZERO), Duration::ZERO);
            for part in 1..=31 {
                let after = idle / 30 * part;
                let quiet = quiet_at(after);
                assert!(after.abs_diff(quiet) <= 2 * tick, "day {day}: {quiet:?} after {after:?}");
            }
        }
    }
}
