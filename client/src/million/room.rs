//! How much memory is left, and how many more connections fit into it.

use common::memory::Memory;

/// Kept free for everything else, however small the machine is.
const RESERVE_BYTES: u64 = 512 << 20;
/// Kept free of a large machine's memory.
const RESERVE_PART: u64 = 33;
/// With fewer connections than this, what the rest of the machine does weighs more than they do.
const ENOUGH_TO_MEASURE: u64 = 10_000;
/// What a connection takes while a message waits at either end: a buffer of the kernel, its head and its data.
const BUSY_BYTES: u64 = 3_000;

/// What is left of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room(Memory);

impl Room {
    /// As it is now; `None` where /proc does not say.
    pub fn now() -> Option<Self> {
        Memory::now().map(Self)
    }

    /// What is available beyond the reserve.
    fn free_bytes(&self) -> u64 {
        self.0.available.saturating_sub(RESERVE_BYTES.max(self.0.total / RESERVE_PART))
    }

    /// How many more connections fit, given what those that are open have taken since `before`; `None` where there
    /// are too few to tell.
    pub fn fits(&self, before: &Self, open: u64) -> Option<u64> {
        if self.free_bytes() == 0 {
            return Some(0);
        }
        let taken = before.0.available.saturating_sub(self.0.available);
        let each = (taken as f64 / open as f64).max(1.0);
        (open >= ENOUGH_TO_MEASURE).then(|| (self.free_bytes() as f64 / each) as u64)
    }

    /// Whether all connections may have a message on its way at the same time.
    pub fn fits_burst(&self, open: u64) -> bool {
        self.free_bytes() >= open.saturating_mul(BUSY_BYTES)
    }
}

/// What can be had now without swapping.
pub fn available_bytes() -> Option<u64> {
    Memory::now().map(|memory| memory.available)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn room(available_bytes: u64) -> Room {
        Room(Memory { available: available_bytes, total: 33 * GB })
    }

    #[test]
    fn what_fits_follows_from_what_the_others_took() {
        // 10 KB each, 1 GB in reserve.
        assert_eq!(room(11 * GB).fits(&room(12 * GB), 100_000), Some(1_000_000));
        assert_eq!(room(2 * GB).fits(&room(12 * GB), 1_000_000), Some(100_000));
        assert_eq!(room(GB).fits(&room(12 * GB), 1_000_000), Some(0));
        assert!(room(30 * GB).fits(&room(29 * GB), 20_000) > Some(GB), "memory was freed meanwhile");
    }

    #[test]
    fn too_few_tell_nothing_unless_nothing_is_left() {
        assert_eq!(room(11 * GB).fits(&room(12 * GB), 0), None);
        assert_eq!(room(11 * GB).fits(&room(12 * GB), 9_999), None);
        assert_eq!(room(GB).fits(&room(GB), 0), Some(0));
    }

    #[test]
    fn a_small_machine_keeps_half_a_gigabyte() {
        let small = Room(Memory { available: (512 << 20) + 6_000, total: 2 * GB });
        assert!(small.fits_burst(2) && !small.fits_burst(3));
    }
}
