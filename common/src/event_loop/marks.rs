//! What a loop keeps of every connection, idle or not: four bytes.

/// Set while the connection is in the run queue.
const QUEUED: u32 = 1 << 2;
/// Set while long input is expected.
const LONG: u32 = 1 << 3;
/// Bits below the tick: those two, and two for the stage.
const FLAG_BITS: u32 = 4;
const STAGE_MASK: u32 = 0b11;

/// The tick at which a connection was last seen, and its flags, in one word.
///
/// Ticks have 28 bits, and wrap after 31 days where they are shortest: the longest timeout is 30 days.
#[derive(Debug)]
pub struct Marks(u32);

impl Marks {
    /// Of a connection accepted at tick `now`: long input is expected, and the stage's bits are 0.
    pub fn new(now: u32) -> Marks {
        Marks((now << FLAG_BITS) | LONG)
    }

    /// Bytes were received or acknowledged at tick `now`.
    #[inline]
    pub fn seen(&mut self, now: u32) {
        self.0 = (now << FLAG_BITS) | (self.0 % (1 << FLAG_BITS));
    }

    /// Ticks since bytes were last received or acknowledged (in a handshake: since accept).
    pub fn quiet_ticks(&self, now: u32) -> u32 {
        now.wrapping_sub(self.0 >> FLAG_BITS) % (1 << (u32::BITS - FLAG_BITS))
    }

    /// Whether the connection is in the run queue.
    #[inline]
    pub fn is_queued(&self) -> bool {
        self.0 & QUEUED != 0
    }

    /// The connection was queued, or taken from the queue.
    pub fn set_queued(&mut self, queued: bool) {
        self.set(QUEUED, queued);
    }

    /// Whether its next input is probably long: it is new, or its last input was.
    #[inline]
    pub fn expects_long(&self) -> bool {
        self.0 & LONG != 0
    }

    /// Sets that.
    pub fn expect_long(&mut self, long: bool) {
        self.set(LONG, long);
    }

    fn set(&mut self, flag: u32, on: bool) {
        self.0 = (self.0 & !flag) | if on { flag } else { 0 };
    }

    /// Two bits for what the stage needs.
    #[inline]
    pub fn stage_bits(&self) -> usize {
        (self.0 & STAGE_MASK) as usize
    }

    /// Sets them, to 0..4.
    #[inline]
    pub fn set_stage_bits(&mut self, bits: u8) {
        self.0 = (self.0 & !STAGE_MASK) | (u32::from(bits) & STAGE_MASK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::event_loop::Ticks;
    use std::time::{Duration, Instant};

    #[test]
    fn a_word_stores_time_flags_and_bits() {
        let mut marks = Marks::new(7);
        assert!(!marks.is_queued() && marks.expects_long() && marks.stage_bits() == 0);
        for (bits, flag) in (0..4).flat_map(|bits| [(bits, true), (bits, false)]) {
            marks.set_queued(flag);
            marks.expect_long(!flag);
            marks.set_stage_bits(bits);
            let stored = |marks: &Marks| (marks.is_queued(), marks.expects_long(), marks.stage_bits());
            let expected = (flag, !flag, usize::from(bits));
            assert_eq!((stored(&marks), marks.quiet_ticks(7)), (expected, 0));
            marks.seen(9);
            assert_eq!((stored(&marks), marks.quiet_ticks(12)), (expected, 3));
            marks.seen(u32::MAX >> FLAG_BITS);
            assert_eq!(marks.quiet_ticks(4), 5, "the time wraps");
            marks.seen(7);
        }
    }

    /// The longest timeout with the shortest ticks, on a fake clock over ten years: 28 bits suffice although they wrap.
    #[test]
    fn silence_is_measured_across_wraps() {
        let config = Config::of(&["--handshake-timeout", "10ms", "--idle-timeout", "30days"]);
        let (start, idle) = (Instant::now(), config.idle_timeout);
        let mut ticks = Ticks::new(&config, start);
        let tick = ticks.len();
        let mut marks = Marks::new(0);
        for day in 0..3650 {
            let seen = start + idle / 30 * day;
            let mut quiet_at = |after: Duration| {
                ticks.advance(seen + after);
                if after.is_zero() {
                    marks.seen(ticks.now());
                }
                ticks.duration(marks.quiet_ticks(ticks.now()))
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
