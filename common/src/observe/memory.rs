//! How much memory there is, and how much is left.

use crate::cgroup;
use procfs::{Current, Meminfo};
use std::path::Path;

/// The memory of this machine, or of this process's control group where that has less, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What can be had without swapping.
    pub available: u64,
}

impl Memory {
    /// As it is now; `None` where /proc does not say.
    pub fn now() -> Option<Memory> {
        let machine = Meminfo::current().ok()?;
        let (total, available) = (machine.mem_total, machine.mem_available?);
        Some(match cgroup::memory(Path::new("/proc"), Path::new("/sys")) {
            Some(group) => Memory {
                total: total.min(group.limit),
                available: available.min(group.limit.saturating_sub(group.in_use)),
            },
            None => Memory { total, available },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        let Memory { total, available } = Memory::now().expect("a /proc");
        assert!((1 << 20..=total).contains(&available) && total < 1 << 50, "{available} of {total}");
    }
}
