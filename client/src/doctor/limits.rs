//! The limits that stop connections: how much there is, and how much of it each connection takes.

use super::costs::{CLIENT, Cost};
use super::machine::{Conntrack, Machine};
use common::cgroup::Share;
use common::limits::{table_capacity, threads_kept};

/// One limit.
pub struct Limit {
    /// The kernel's name for it.
    pub name: &'static str,
    /// How much there is.
    pub limit: u64,
    /// How much of it is taken, or to be kept free.
    pub taken: u64,
    /// Whether it counts bytes.
    pub in_bytes: bool,
    /// How much a connection takes, at both ends.
    per_connection: fn(&Cost) -> f64,
    /// The command that mends it, given what is needed.
    mend: fn(u64) -> String,
}

impl Limit {
    /// How many connections a server of this cost holds before this limit stops it; `None` if it never does.
    pub fn capacity(&self, cost: &Cost) -> Option<u64> {
        let each = (self.per_connection)(cost);
        (each > 0.0).then(|| (self.limit.saturating_sub(self.taken) as f64 / each) as u64)
    }

    /// What the limit has to be for so many connections.
    pub fn needed(&self, cost: &Cost, connections: u64) -> u64 {
        self.taken.saturating_add((connections as f64 * (self.per_connection)(cost)).ceil() as u64)
    }

    /// Whether connections to a server of this cost take any of it.
    pub fn concerns(&self, cost: &Cost) -> bool {
        (self.per_connection)(cost) > 0.0
    }

    /// The command that mends it.
    pub fn mend(&self, needed: u64) -> String {
        (self.mend)(needed)
    }
}

/// The limit on memory that is not the machine's.
pub const GROUP_MEMORY: &str = "memory of the control group";

/// Memory mappings of a process but for its connections' threads.
const MAPS_KEPT: u64 = 1_000;
/// Files of a server and a client but for their connections.
const FILES_KEPT: u64 = 1_000;
/// Entries of the connection tracking table left for scrapes of `/metrics`, and for everything else on the machine: a
/// full table drops packets in silence.
const TRACKED_KEPT: u64 = 1_000;
/// The most memory that is kept free of a small machine or control group, and the part of it.
const MEMORY_KEPT_BYTES: u64 = 512 << 20;
const MEMORY_KEPT_PART: u64 = 8;
/// The part that is kept free of a large machine's memory.
const MEMORY_KEPT_PART_OF_MUCH: u64 = 33;

/// What to keep free of so many bytes of memory: for both programs, for the pages of their files, for whatever waits in
/// the sockets, and on a machine of its own for everything else.
pub fn memory_kept(total_bytes: u64) -> u64 {
    (total_bytes / MEMORY_KEPT_PART).min(MEMORY_KEPT_BYTES).max(total_bytes / MEMORY_KEPT_PART_OF_MUCH)
}

/// The limits of this machine that stop connections. Those that it does not have are left out.
pub fn all(machine: &Machine) -> Vec<Limit> {
    [descriptors(machine), files(machine), watches(machine), conntrack(machine)]
        .into_iter()
        .chain(threads(machine))
        .chain(memory(machine))
        .flatten()
        .collect()
}

/// One table is all there is for either end, where tables cannot be split.
fn descriptors(machine: &Machine) -> Option<Limit> {
    let hard = machine.nofile.1;
    let held = table_capacity(usize::try_from(hard).unwrap_or(usize::MAX)) as u64;
    (!machine.own_tables).then_some(Limit {
        name: "nofile, one table for all",
        limit: hard,
        taken: hard - held,
        in_bytes: false,
        per_connection: |_| 1.0,
        mend: |needed| {
            format!("ulimit -Hn {needed}    (as root; in limits.conf or the unit's LimitNOFILE to stay)")
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
        per_connection: |_| 2.0,
        mend: |needed| sysctl("fs.file-max", needed),
    })
}

fn watches(machine: &Machine) -> Option<Limit> {
    Some(Limit {
        name: "fs.epoll.max_user_watches",
        limit: machine.epoll_watches?,
        taken: 0,
        in_bytes: false,
        per_connection: |cost| cost.epoll_watches + CLIENT.epoll_watches,
        mend: |needed| sysctl("fs.epoll.max_user_watches", needed),
    })
}

fn conntrack(machine: &Machine) -> Option<Limit> {
    let Conntrack::On(Share { limit, in_use }) = machine.conntrack else { return None };
    Some(Limit {
        name: "net.netfilter.nf_conntrack_max",
        limit,
        taken: in_use + TRACKED_KEPT,
        in_bytes: false,
        per_connection: |_| 1.0,
        mend: |needed| sysctl("net.netfilter.nf_conntrack_max", needed),
    })
}

/// What stops a thread for each connection.
fn threads(machine: &Machine) -> [Option<Limit>; 5] {
    let counted = |name, share: Option<Share>, mend| {
        share.map(|Share { limit, in_use }| Limit {
            name,
            limit,
            taken: in_use + threads_kept(limit),
            in_bytes: false,
            per_connection: |cost: &Cost| cost.threads,
            mend,
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
            mend: |needed| sysctl("vm.max_map_count", needed),
        }),
    ]
}

/// Memory at both ends, for both are on this machine.
fn memory(machine: &Machine) -> [Option<Limit>; 2] {
    let limit = |name, limit, taken, mend| Limit {
        name,
        limit,
        taken,
        in_bytes: true,
        per_connection: |cost: &Cost| {
            cost.user_bytes + cost.kernel_bytes + CLIENT.user_bytes + CLIENT.kernel_bytes
        },
        mend,
    };
    [
        machine.available_bytes.map(|bytes| {
            let kept = memory_kept(machine.memory_bytes);
            limit("available memory", bytes, kept, |_| "more memory, or the client on another machine".into())
        }),
        machine.group_memory.map(|share| {
            limit(GROUP_MEMORY, share.limit, share.in_use + memory_kept(share.limit), |needed| {
                format!("raise memory.max of this control group to {needed} (docker run --memory)")
            })
        }),
    ]
}

/// A setting with some room, rounded up to two digits.
fn sysctl(name: &str, needed: u64) -> String {
    let step = 10u64.pow(needed.max(10).ilog10() - 1);
    format!("sysctl -w {name}={}", needed.div_ceil(step) * step)
}
