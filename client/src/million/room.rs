//! Available memory, and how many more connections fit into it.

use crate::doctor::{GROUP_MEMORY, memory_kept};
use crate::report::format::limit_bytes;
use common::cgroup;
use common::memory::Memory;
use std::path::Path;

/// With fewer connections than this, other programs change available memory more than they do.
const ENOUGH_TO_MEASURE: u64 = 10_000;
/// Kernel memory per connection while a message is queued at one end: a socket buffer's head and data.
const BUSY_BYTES: u64 = 3_000;

/// The available memory of the machine, or of this control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room(Memory);

impl Room {
    /// Reads it; `None` where /proc does not say.
    pub fn now() -> Option<Self> {
        Memory::now().map(Self)
    }

    /// The name of the limit, for where it stops a run.
    pub fn name(&self) -> String {
        let group = cgroup::memory(Path::new("/proc"), Path::new("/sys"));
        match group.filter(|group| group.limit == self.0.total) {
            Some(group) => format!("{GROUP_MEMORY}: {}", limit_bytes(group.limit)),
            None => "available memory".into(),
        }
    }

    /// Available bytes beyond the reserve.
    fn free_bytes(&self) -> u64 {
        self.0.available.saturating_sub(memory_kept(self.0.total))
    }

    /// How many more connections fit, judged by what the `open` ones took since `before`; `None` where there are too few to
    /// judge by.
    pub fn fits(&self, before: &Self, open: u64) -> Option<u64> {
        if self.free_bytes() == 0 {
            return Some(0);
        }
        let taken = before.0.available.saturating_sub(self.0.available);
        let each = (taken as f64 / open as f64).max(1.0);
        (open >= ENOUGH_TO_MEASURE).then(|| (self.free_bytes() as f64 / each) as u64)
    }

    /// Whether memory suffices for a message on every connection at the same time.
    pub fn fits_burst(&self, open: u64) -> bool {
        self.free_bytes() >= open.saturating_mul(BUSY_BYTES)
    }
}

/// Bytes that are available without swapping; `None` where /proc does not say.
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
    fn a_small_machine_or_group_keeps_an_eighth() {
        for mib in [256, 512, 1_024, 2_048] {
            let total = mib << 20;
            let small = Room(Memory { available: total / 8 + 6_000, total });
            assert!(small.fits_burst(2) && !small.fits_burst(3), "{mib} MiB");
        }
        // What the forecast announced can be begun: both keep the same free.
        let idle = Room(Memory { available: 500 << 20, total: 512 << 20 });
        assert_eq!(idle.fits(&idle, 0), None);
    }
}
