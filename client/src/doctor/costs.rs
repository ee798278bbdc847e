//! Measured costs per connection.
//!
//! To repeat the measurement, run `client compare --levels 10000`: its `results.json` has user and kernel memory per
//! connection. Mappings are the lines of `/proc/PID/maps`, tracked connections
//! `/proc/sys/net/netfilter/nf_conntrack_count`, and TCP pages `mem` in `/proc/net/sockstat`, each divided by the
//! connections.

use serde::Serialize;

/// Cost of one connection at one end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Number of the stage; 0 for the client.
    pub stage: u8,
    /// Cargo package.
    pub package: &'static str,
    /// Resident memory.
    pub user_bytes: f64,
    /// Kernel memory: the socket, and for a thread its kernel stack, task and mappings.
    pub kernel_bytes: f64,
    /// OS threads.
    pub threads: f64,
    /// Memory mappings. A thread has four: its stack, its alternate signal stack, and a guard page below each.
    pub maps: f64,
    /// Entries in an epoll set.
    pub epoll_watches: f64,
    /// Open files.
    pub files: f64,
}

impl Cost {
    /// The cost of a stage, of HAProxy with TLS in front of it, and of what TLS adds at the client.
    ///
    /// HAProxy 2.6: docs/questions.md. The client: resident memory of `client run --scenario idle` with 5,000 connections,
    /// `wss://` less `ws://`, over TLS 1.3 with a certificate of 0.4 KB, which the client keeps.
    pub fn behind_tls(&self) -> Cost {
        const HAPROXY_BYTES: f64 = 19_200.0;
        const CLIENT_BYTES: f64 = 4_100.0;
        Cost {
            user_bytes: self.user_bytes + HAPROXY_BYTES + CLIENT_BYTES,
            kernel_bytes: self.kernel_bytes + 2.0 * CLIENT.kernel_bytes,
            epoll_watches: self.epoll_watches + 2.0,
            files: self.files + 2.0,
            ..*self
        }
    }
}

/// The stages in order.
pub static STAGES: [Cost; 4] = [
    Cost {
        stage: 1,
        package: "stage1-thread-per-conn",
        user_bytes: 18_100.0,
        kernel_bytes: 27_700.0,
        threads: 1.0,
        maps: 4.0,
        epoll_watches: 0.0,
        files: 1.0,
    },
    Cost {
        stage: 2,
        package: "stage2-task-per-conn",
        user_bytes: 6_100.0,
        kernel_bytes: 4_080.0,
        threads: 0.0,
        maps: 0.0,
        epoll_watches: 1.0,
        files: 1.0,
    },
    Cost {
        stage: 3,
        package: "stage3-mio-epoll",
        user_bytes: 4_600.0,
        kernel_bytes: 4_080.0,
        threads: 0.0,
        maps: 0.0,
        epoll_watches: 1.0,
        files: 1.0,
    },
    Cost {
        stage: 4,
        package: "stage4-zero-buffer",
        user_bytes: 16.0,
        kernel_bytes: 4_080.0,
        threads: 0.0,
        maps: 0.0,
        epoll_watches: 1.0,
        files: 1.0,
    },
];

/// Cost of one connection at the client.
pub const CLIENT: Cost = Cost {
    stage: 0,
    package: "client",
    user_bytes: 64.0,
    kernel_bytes: 4_080.0,
    threads: 0.0,
    maps: 0.0,
    epoll_watches: 1.0,
    files: 1.0,
};

/// Pages charged to `tcp_mem` per connection with a message in flight, both ends together. Idle connections have none.
pub const TCP_PAGES_BUSY: f64 = 2.0;
