//! A process's resident memory by kind of mapping.

use anyhow::{Context, Result};
use procfs::FromBufRead;
use procfs::process::{MMPermissions, MMapPath, MemoryMap, MemoryMaps};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The purpose of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The program and its libraries, including their written pages.
    Files,
    /// The allocator's main heap (brk(2)).
    Heap,
    /// Stacks of threads, including signal stacks.
    Stacks,
    /// The allocator's heaps for other threads, and its large allocations.
    Anonymous,
    /// The vdso, and other named mappings.
    Other,
}

impl Kind {
    /// Label in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "program and libraries",
            Self::Heap => "heap",
            Self::Stacks => "stacks",
            Self::Anonymous => "threads' heaps and large buffers",
            Self::Other => "other mappings",
        }
    }
}

/// Resident bytes of each kind of mapping of a process, from /proc/PID/smaps.
///
/// # Errors
/// If the file cannot be read.
pub fn resident_bytes(smaps: &Path) -> Result<BTreeMap<Kind, u64>> {
    let file = File::open(smaps).with_context(|| format!("cannot read {}", smaps.display()))?;
    sorted(BufReader::new(file)).with_context(|| format!("cannot read {}", smaps.display()))
}

fn sorted(smaps: impl BufRead) -> Result<BTreeMap<Kind, u64>> {
    let mut sums = BTreeMap::new();
    let mut below = None;
    for mapping in MemoryMaps::from_buf_read(smaps)? {
        let resident = mapping.extension.map.get("Rss").context("a mapping has no Rss")?;
        *sums.entry(kind(&mapping, below.as_ref())).or_default() += resident;
        below = Some(mapping);
    }
    Ok(sums)
}

fn kind(mapping: &MemoryMap, below: Option<&MemoryMap>) -> Kind {
    match mapping.pathname {
        MMapPath::Path(_) => Kind::Files,
        MMapPath::Heap => Kind::Heap,
        MMapPath::Stack | MMapPath::TStack(_) => Kind::Stacks,
        MMapPath::Anonymous if below.is_some_and(|below| is_guard_of(mapping, below)) => Kind::Stacks,
        MMapPath::Anonymous => Kind::Anonymous,
        _ => Kind::Other,
    }
}

/// Whether `below` is the guard page of `mapping`, which is then a stack: the kernel does not label thread stacks, but
/// the C library puts an inaccessible page below each, so that an overflow faults. The allocator's heaps have such pages
/// only above them.
fn is_guard_of(mapping: &MemoryMap, below: &MemoryMap) -> bool {
    below.perms == MMPermissions::PRIVATE
        && below.pathname == MMapPath::Anonymous
        && below.address.1 == mapping.address.0
        && below.address.1 - below.address.0 == procfs::page_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some mappings of stage 1 with one connection, with only the `Rss` line of each.
    const SMAPS: &str = "\
5651fef72000-5651ff0bb000 r-xp 00056000 fe:00 10101787 /srv/stage1-thread-per-conn
Rss: 1252 kB
5652291ec000-56522920d000 rw-p 00000000 00:00 0 [heap]
Rss: 76 kB
7fdf6c000000-7fdf6c021000 rw-p 00000000 00:00 0\x20
Rss: 4 kB
7fdf6c021000-7fdf70000000 ---p 00000000 00:00 0\x20
Rss: 0 kB
7fdf83842000-7fdf83843000 ---p 00000000 00:00 0\x20
Rss: 0 kB
7fdf83843000-7fdf83846000 rw-p 00000000 00:00 0\x20
Rss: 0 kB
7fdf83846000-7fdf83847000 ---p 00000000 00:00 0\x20
Rss: 0 kB
7fdf83847000-7fdf83857000 rw-p 00000000 00:00 0\x20
Rss: 12 kB
7fdf84067000-7fdf8406a000 rw-p 00000000 00:00 0\x20
Rss: 8 kB
7fdf841e6000-7fdf84239000 r--p 0017c000 fe:00 326279 /usr/lib/x86_64-linux-gnu/libc.so.6
Rss: 168 kB
7fdf8427d000-7fdf8427f000 r-xp 00000000 00:00 0 [vdso]
Rss: 4 kB
7ffd0cad1000-7ffd0caf2000 rw-p 00000000 00:00 0 [stack]
Rss: 32 kB
";

    #[test]
    fn sorts_mappings_by_purpose() {
        let sums = sorted(SMAPS.as_bytes()).expect("smaps");
        let kib: Vec<(Kind, u64)> = sums.into_iter().map(|(kind, bytes)| (kind, bytes / 1024)).collect();
        let expected = [
            (Kind::Files, 1_420),
            (Kind::Heap, 76),
            (Kind::Stacks, 44),
            (Kind::Anonymous, 12),
            (Kind::Other, 4),
        ];
        assert_eq!(kib, expected);
    }

    #[test]
    fn adds_up_to_resident_memory() {
        let parts = resident_bytes(Path::new("/proc/self/smaps")).expect("its own");
        assert!(parts[&Kind::Files] > 0 && parts[&Kind::Stacks] > 0, "{parts:?}");
        let error = resident_bytes(Path::new("/proc/0/smaps")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot read /proc/0/smaps: No such"), "{error:#}");
    }
}
