//! The kernel's memory, for the whole machine: the kernel does not report it per process. [`KernelShare`] estimates a
//! server's share.

mod share;
mod slabs;

pub use share::{KernelShare, Share, ShareSource};
pub use slabs::{Owner, Slab};

use procfs::{FromRead, Meminfo};
use std::fs;
use std::path::Path;

/// The kernel's memory at one moment.
///
/// It is counted for the whole machine, and both ends of a connection on loopback are on this machine. What both ends
/// have alike (the socket, its inode, directory entry and file, an epoll entry, queued segments) is in
/// [`both_ends_bytes`](Self::both_ends_bytes), of which half is the server's. Threads and memory mappings grow with
/// connections at the server alone: [`server_bytes`](Self::server_bytes).
///
/// Not counted: page tables, which /proc/PID/status gives for the process itself, arrays of descriptors (8 bytes for
/// each), and memory that the sockets' queues hold outside the slab caches (none, when idle).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelMemory {
    /// What both ends of a connection have.
    pub both_ends_bytes: u64,
    /// What only the server has.
    pub server_bytes: u64,
    /// Where it was read.
    pub source: Source,
}

/// Where kernel memory was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Objects in use in each slab cache; only root may read them.
    Slabinfo,
    /// The total of all caches, which does not distinguish threads from sockets.
    #[default]
    Meminfo,
}

impl Source {
    /// The name of the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slabinfo => "slabinfo",
            Self::Meminfo => "meminfo",
        }
    }
}

impl KernelMemory {
    /// Reads it now, from the proc file system at `proc`; `None` where that is not there.
    pub fn read(proc: &Path) -> Option<Self> {
        let meminfo = Meminfo::from_file(proc.join("meminfo")).ok()?;
        let stacks = meminfo.kernel_stack.unwrap_or(0);
        Some(match Slab::read_all(proc) {
            Some(slabs) => Self {
                both_ends_bytes: bytes_of(&slabs, Owner::BothEnds),
                server_bytes: bytes_of(&slabs, Owner::Server) + stacks,
                source: Source::Slabinfo,
            },
            None => Self { both_ends_bytes: meminfo.slab, server_bytes: stacks, source: Source::Meminfo },
        })
    }

    /// The server's share of what has come since `before`.
    pub fn servers_share_since(&self, before: &Self) -> i64 {
        let grown = |now: u64, then: u64| now as i64 - then as i64;
        grown(self.both_ends_bytes, before.both_ends_bytes) / 2
            + grown(self.server_bytes, before.server_bytes)
    }
}

/// Bytes in the objects of the caches that are of this kind.
fn bytes_of(slabs: &[Slab], owner: Owner) -> u64 {
    slabs.iter().filter(|slab| slab.owner() == owner).map(Slab::object_bytes_in_use).sum()
}

/// A figure of TCP's line in /proc/net/sockstat, such as `inuse` sockets or `mem` pages; 0 where it is missing.
pub fn tcp_sockstat(proc: &Path, name: &str) -> u64 {
    let sockstat = fs::read_to_string(proc.join("net/sockstat")).unwrap_or_default();
    let line = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|&word| word != name);
    words.nth(1).and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::slabs::tests::SLABINFO;
    use super::*;

    #[test]
    fn sorts_caches_by_whose_they_are() {
        let slabs = Slab::parse_all(SLABINFO).expect("a slabinfo");
        assert_eq!(bytes_of(&slabs, Owner::BothEnds), 20 * 2_368 + 20 * 832);
        assert_eq!(bytes_of(&slabs, Owner::Server), 10 * 9_600);
    }

    #[test]
    fn halves_what_both_ends_have() {
        let before = KernelMemory { both_ends_bytes: 1_000, server_bytes: 100, source: Source::Slabinfo };
        let after = KernelMemory { both_ends_bytes: 9_000, server_bytes: 400, ..before };
        assert_eq!(after.servers_share_since(&before), 4_300);
        assert_eq!(before.servers_share_since(&after), -4_300);
    }

    #[test]
    fn goes_by_meminfo_without_the_privilege() {
        let root = std::env::temp_dir().join(format!("common-kernel-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a directory");
        assert_eq!(KernelMemory::read(&root), None);
        let fields = [
            "MemTotal",
            "MemFree",
            "Buffers",
            "Cached",
            "SwapCached",
            "Active",
            "Inactive",
            "SwapTotal",
            "SwapFree",
            "Dirty",
            "Writeback",
            "Mapped",
            "VmallocTotal",
            "VmallocUsed",
            "VmallocChunk",
            "Committed_AS",
        ];
        let mut meminfo: String = fields.iter().map(|field| format!("{field}: 1 kB\n")).collect();
        meminfo += "Slab: 100 kB\nKernelStack: 20 kB\n";
        fs::write(root.join("meminfo"), meminfo).expect("written");
        let read = KernelMemory::read(&root).expect("read");
        let expected =
            KernelMemory { both_ends_bytes: 102_400, server_bytes: 20_480, source: Source::Meminfo };
        assert_eq!(read, expected);
        fs::write(root.join("slabinfo"), SLABINFO).expect("written");
        let read = KernelMemory::read(&root).expect("read");
        assert_eq!((read.source, read.server_bytes), (Source::Slabinfo, 96_000 + 20_480));
        fs::remove_dir_all(&root).expect("removed");
    }

    #[test]
    fn reads_sockstat() {
        let root = std::env::temp_dir().join(format!("common-sockstat-{}", std::process::id()));
        fs::create_dir_all(root.join("net")).expect("a directory");
        let text = "sockets: used 290\nTCP: inuse 12 orphan 0 tw 3 alloc 40 mem 5\nUDP: inuse 1 mem 0\n";
        fs::write(root.join("net/sockstat"), text).expect("written");
        assert_eq!((tcp_sockstat(&root, "inuse"), tcp_sockstat(&root, "mem")), (12, 5));
        fs::remove_dir_all(&root).expect("removed");
        assert_eq!(tcp_sockstat(&root, "inuse"), 0);
    }
}
