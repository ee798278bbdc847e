//! The limits that stop connections, and how much of each a connection takes.

use super::costs::{CLIENT, Cost};
use super::machine::{Conntrack, Machine};
use common::cgroup::Share;
use common::limits::{table_capacity, threads_kept};

/// One limit.
pub struct Limit {
    /// The kernel's name of the limit.
    pub name: &'static str,
    /// Its value.
    pub limit: u64,
    /// The part that is in use or reserved.
    pub taken: u64,
    /// Whether it counts bytes.
    pub in_bytes: bool,
    /// What a connection takes, both ends together.
    per_connection: fn(&Cost) -> f64,
    /// The fix, given the needed value.
    fix: fn(u64) -> String,
}

impl Limit {
    /// Connections that fit the limit at this cost; `None` if they take none of it.
    pub fn capacity(&self, cost: &Cost) -> Option<u64> {
        let each = (self.per_connection)(cost);
        (each > 0.0).then(|| (self.limit.saturating_sub(self.taken) as f64 / each) as u64)
    }

    /// The value that `connections` at this cost need.
    pub fn needed(&self, cost: &Cost, connections: u64) -> u64 {
        self.taken.saturating_add((connections as f64 * (self.per_connection)(cost)).ceil() as u64)
    }

    /// Whether connections at this cost take any of it.
    pub fn concerns(&self, cost: &Cost) -> bool {
        (self.per_connection)(cost) > 0.0
    }

    /// What to do to reach the needed value.
    pub fn fix(&self, needed: u64) -> String {
        (self.fix)(needed)
    }
}

/// Name of the memory limit that is the control group's, not the machine's.
pub const GROUP_MEMORY: &str = "memory of the control group";

/// Memory mappings of a server besides those of its connections' threads.
const MAPS_KEPT: u64 = 1_000;
/// Open files of server and client besides their connections.
const FILES_KEPT: u64 = 1_000;
/// Conntrack entries reserved for scrapes of `/metrics` and everything else on the machine: a full table drops packets.
const TRACKED_KEPT: u64 = 1_000;
/// Reserve of a small machine or control group: an eighth of its memory, at most 512 MiB.
const MEMORY_KEPT_BYTES: u64 = 512 << 20;
const MEMORY_KEPT_PART: u64 = 8;
/// Reserve of a large machine: this fraction of its memory.
const MEMORY_KEPT_PART_OF_MUCH: u64 = 33;

/// Bytes to reserve of `total_bytes` of memory: for both programs, their page cache, the sockets' queues, and, outside a
/// control group, everything else on the machine.
pub fn memory_kept(total_bytes: u64) -> u64 {
    (total_bytes / MEMORY_KEPT_PART).min(MEMORY_KEPT_BYTES).max(total_bytes / MEMORY_KEPT_PART_OF_MUCH)
}

/// The limits of this machine that stop connections. Absent ones are omitted.
pub fn all(machine: &Machine) -> Vec<Limit> {
    [descriptors(machine), files(machine), watches(machine), conntrack(machine)]
        .into_iter()
        .chain(threads(machine))
        .chain(memory(machine))
        .flatten()
        .collect()
}

/// Without table splitting, each end has a single table.
fn descriptors(machine: &Machine) -> Option<Limit> {
    let hard = machine.nofile.1;
    let held = table_capacity(usize::try_from(hard).unwrap_or(usize::MAX)) as u64;
    (!machine.own_tables).then_some(Limit {
        name: "nofile, one table for all",
        limit: hard,
        taken: hard - held,
        in_bytes: false,
        per_connection: |_| 1.0,
        fix: |needed| {
            format!("ulimit -Hn {needed}    (as root; permanently in limits.conf or the unit's LimitNOFILE)")
        },
    })
}

fn files(machine: &Machine) -> Option<Limit> {
    let Share { limit, in_use } = machine.files?;
    Some(Limit {
        name: "fs.file-max",
        limit,
        taken: in_use + FILES_KEPT,
        in_bytes: false,
        per_connection: |cost| cost.files + CLIENT.files,
        fix: |needed| sysctl("fs.file-max", needed),
    })
}

fn watches(machine: &Machine) -> Option<Limit> {
    Some(Limit {
        name: "fs.epoll.max_user_watches",
        limit: machine.epoll_watches?,
        taken: 0,
        in_bytes: false,
        per_connection: |cost| cost.epoll_watches + CLIENT.epoll_watches,
        fix: |needed| sysctl("fs.epoll.max_user_watches", needed),
    })
}

fn conntrack(machine: &Machine) -> Option<Limit> {
    let Conntrack::On(Share { limit, in_use }) = machine.conntrack else { return None };
    Some(Limit {
        name: "net.netfilter.nf_conntrack_max",
        limit,
        taken: in_use + TRACKED_KEPT,
        in_bytes: false,
        // Each has two ends.
        per_connection: |cost| (cost.files + CLIENT.files) / 2.0,
        fix: |needed| sysctl("net.netfilter.nf_conntrack_max", needed),
    })
}

/// The limits on threads.
fn threads(machine: &Machine) -> [Option<Limit>; 5] {
    let counted = |name, share: Option<Share>, fix| {
        share.map(|Share { limit, in_use }| Limit {
            name,
            limit,
            taken: in_use + threads_kept(limit),
            in_bytes: false,
            per_connection: |cost: &Cost| cost.threads,
            fix,
        })
    };
    let nproc =
        machine.nproc.map(|limit| Share { limit, in_use: machine.threads.map_or(0, |share| share.in_use) });
    [
        counted("kernel.threads-max", machine.threads, |needed| sysctl("kernel.threads-max", needed)),
        counted("kernel.pid_max", machine.pids, |needed| sysctl("kernel.pid_max", needed)),
        counted("nproc", nproc, |needed| format!("ulimit -u {needed}")),
        counted("pids.max of the control group", machine.group_pids, |needed| {
            format!("raise pids.max of this control group to {needed} (docker run --pids-limit)")
        }),
        machine.maps.map(|limit| Limit {
            name: "vm.max_map_count",
            limit,
            taken: MAPS_KEPT,
            in_bytes: false,
            per_connection: |cost| cost.maps,
            fix: |needed| sysctl("vm.max_map_count", needed),
        }),
    ]
}

/// Memory of both ends: both are on this machine.
fn memory(machine: &Machine) -> [Option<Limit>; 2] {
    let limit = |name, limit, taken, fix| Limit {
        name,
        limit,
        taken,
        in_bytes: true,
        per_connection: |cost: &Cost| {
            cost.user_bytes + cost.kernel_bytes + CLIENT.user_bytes + CLIENT.kernel_bytes
        },
        fix,
    };
    [
        machine.available_bytes.map(|bytes| {
            let kept = memory_kept(machine.memory_bytes);
            limit("available memory", bytes, kept, |_| {
                "add memory, or run the client on another machine".into()
            })
        }),
        machine.group_memory.map(|share| {
            limit(GROUP_MEMORY, share.limit, share.in_use + memory_kept(share.limit), |needed| {
                format!("raise memory.max of this control group to {needed} (docker run --memory)")
            })
        }),
    ]
}

/// The command for a value rounded up to two digits.
fn sysctl(name: &str, needed: u64) -> String {
    let step = 10u64.pow(needed.max(10).ilog10() - 1);
    format!("sysctl -w {name}={}", needed.div_ceil(step) * step)
}
