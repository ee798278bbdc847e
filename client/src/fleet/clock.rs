//! The clock of a fleet.

/// The monotonic clock in nanoseconds. `std::time::Instant` reads the same clock, but its subtraction, needed for every
/// echo, takes twice as long.
#[inline]
pub(super) fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a live timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
