//! What a connection costs, measured.
//!
//! To measure again: `client compare --levels 10000` (user and kernel memory per connection at 10,000 connections are
//! in its `results.json`); maps are lines of `/proc/PID/maps` over connections, entries in conntrack
//! `/proc/sys/net/netfilter/nf_conntrack_count`, and pages of TCP `mem` in `/proc/net/sockstat`.

use serde::Serialize;

/// What one connection takes of a server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// The number of the stage.
    pub stage: u8,
    /// Its package.
    pub package: &'static str,
    /// Resident memory.
    pub user_bytes: f64,
    /// The kernel's memory: the socket, and for a thread its stack, its task and its mappings.
    pub kernel_bytes: f64,
    /// OS threads.
    pub threads: f64,
    /// Memory mappings: of a thread, its stack, the stack for handling an overflow of it, and a guard page below each.
    pub maps: f64,
    /// Entries in an epoll set.
    pub epoll_watches: f64,
}

/// The stages, in their order.
pub static STAGES: [Cost; 4] = [
    Cost {
        stage: 1,
        package: "stage1-thread-per-conn",
        user_bytes: 18_100.0,
        kernel_bytes: 27_700.0,
        threads: 1.0,
        maps: 4.0,
        epoll_watches: 0.0,
    },
    Cost {
        stage: 2,
        package: "stage2-task-per-conn",
        user_bytes: 6_100.0,
        kernel_bytes: 4_080.0,
        threads: 0.0,
        maps: 0.0,
        epoll_watches: 1.0,
    },
    Cost {
        stage: 3,
        package: "stage3-mio-epoll",
        user_bytes: 4_400.0,
        kernel_bytes: 4_080.0,
        threads: 0.0,
        maps: 0.0,
        epoll_watches: 1.0,
    },
    Cost {
        stage: 4,
        package: "stage4-zero-buffer",
        user_bytes: 16.0,
        kernel_bytes: 4_080.0,
        threads: 0.0,
        maps: 0.0,
        epoll_watches: 1.0,
    },
];

/// What one connection takes of the client, which is on the same machine.
pub const CLIENT: Cost = Cost {
    stage: 0,
    package: "client",
    user_bytes: 64.0,
    kernel_bytes: 4_080.0,
    threads: 0.0,
    maps: 0.0,
    epoll_watches: 1.0,
};

/// Pages that TCP charges to `tcp_mem` for a connection with a message on its way, both ends together; an idle
/// one has none.
pub const TCP_PAGES_BUSY: f64 = 2.0;
