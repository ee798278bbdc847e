//! Reads the limits of this machine.

use crate::watch::tcp_sockstat;
use common::cgroup::{self, Share};
use procfs::process::{LimitValue, Limits};
use procfs::{FromRead, Meminfo};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::str::FromStr;

/// Where /proc and /sys are; tests have their own.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The proc file system.
    pub proc: PathBuf,
    /// The sys file system.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

impl Roots {
    /// The whitespace-separated values of a file under /proc/sys; empty if it cannot be read.
    fn sysctl<T: FromStr>(&self, name: &str) -> Vec<T> {
        let text = fs::read_to_string(self.proc.join("sys").join(name.replace('.', "/"))).unwrap_or_default();
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// The first value of a file under /proc/sys.
    fn number(&self, name: &str) -> Option<u64> {
        self.sysctl(name).first().copied()
    }
}

/// Whether the kernel tracks connections (nf_conntrack).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conntrack {
    /// The module is not loaded.
    Absent,
    /// The module is loaded, but no rule enables tracking.
    Off,
    /// Every connection takes an entry.
    On(Share),
}

/// The limits on connections. `None`: this kernel or container does not have the limit, or does not show it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Descriptors per table, soft and hard limit; `u64::MAX` for unlimited.
    pub nofile: (u64, u64),
    /// The maximum of the hard limit.
    pub nr_open: Option<u64>,
    /// Open files, system-wide.
    pub files: Option<Share>,
    /// Entries in all epoll sets of a user.
    pub epoll_watches: Option<u64>,
    /// First and last ephemeral port.
    pub port_range: Option<(u64, u64)>,
    /// Maximum length of a listener's accept queue.
    pub somaxconn: Option<u64>,
    /// Maximum of half-open connections per listener.
    pub syn_backlog: Option<u64>,
    /// Pages for the queues of all TCP sockets (`tcp_mem`).
    pub tcp_pages: Option<Share>,
    /// State of connection tracking.
    pub conntrack: Conntrack,
    /// Threads, system-wide.
    pub threads: Option<Share>,
    /// Process and thread ids, which bound the number of threads.
    pub pids: Option<Share>,
    /// Threads per user; root is exempt.
    pub nproc: Option<u64>,
    /// Memory mappings per process.
    pub maps: Option<u64>,
    /// Threads in this control group.
    pub group_pids: Option<Share>,
    /// Memory in this control group.
    pub group_memory: Option<Share>,
    /// Memory available without swapping.
    pub available_bytes: Option<u64>,
    /// Total memory.
    pub memory_bytes: u64,
    /// Whether a thread can have a descriptor table of its own.
    pub own_tables: bool,
}

impl Machine {
    /// This machine. Connection tracking and table splitting are found by trying.
    pub fn here() -> Self {
        let mut machine = Self::read(&Roots::default());
        machine.conntrack = try_conntrack(&Roots::default());
        machine.own_tables = try_own_table();
        if rustix::process::geteuid().is_root() {
            machine.nproc = None;
        }
        machine
    }

    /// Reads the files under `roots`. Assumes that tables can be split, and that tracking is on if it has an entry.
    pub fn read(roots: &Roots) -> Self {
        let limits = Limits::from_file(roots.proc.join("self/limits")).ok();
        let value = |limit: LimitValue| match limit {
            LimitValue::Value(value) => value,
            LimitValue::Unlimited => u64::MAX,
        };
        let nofile = limits.as_ref().map(|limits| &limits.max_open_files);
        let meminfo = Meminfo::from_file(roots.proc.join("meminfo")).ok();
        let running = tasks(roots);
        let share = |name: &str, in_use: u64| roots.number(name).map(|limit| Share { limit, in_use });
        Self {
            nofile: nofile.map_or((0, 0), |limit| (value(limit.soft_limit), value(limit.hard_limit))),
            nr_open: roots.number("fs.nr_open"),
            files: share("fs.file-max", roots.number("fs.file-nr").unwrap_or(0)),
            epoll_watches: roots.number("fs.epoll.max_user_watches"),
            port_range: match roots.sysctl::<u64>("net.ipv4.ip_local_port_range")[..] {
                [first, last] => Some((first, last)),
                _ => None,
            },
            somaxconn: roots.number("net.core.somaxconn"),
            syn_backlog: roots.number("net.ipv4.tcp_max_syn_backlog"),
            tcp_pages: roots
                .sysctl("net.ipv4.tcp_mem")
                .get(2)
                .map(|&limit| Share { limit, in_use: tcp_sockstat(&roots.proc, "mem") }),
            conntrack: conntrack(roots, |count| count > 0),
            threads: share("kernel.threads-max", running),
            pids: share("kernel.pid_max", running),
            nproc: limits.as_ref().map(|limits| value(limits.max_processes.soft_limit)),
            maps: roots.number("vm.max_map_count"),
            group_pids: cgroup::pids(&roots.proc, &roots.sys),
            group_memory: cgroup::memory(&roots.proc, &roots.sys),
            available_bytes: meminfo.as_ref().and_then(|meminfo| meminfo.mem_available),
            memory_bytes: meminfo.map_or(0, |meminfo| meminfo.mem_total),
            own_tables: true,
        }
    }

    /// Ephemeral ports per source address.
    pub fn ports(&self) -> Option<u64> {
        self.port_range.map(|(first, last)| (last + 1).saturating_sub(first))
    }
}

/// Number of processes and threads: the value after the slash in /proc/loadavg.
fn tasks(roots: &Roots) -> u64 {
    let loadavg = fs::read_to_string(roots.proc.join("loadavg")).unwrap_or_default();
    let field = loadavg.split_whitespace().nth(3).and_then(|field| field.split_once('/'));
    field.and_then(|(_, total)| total.parse().ok()).unwrap_or(0)
}

fn conntrack(roots: &Roots, is_on: impl Fn(u64) -> bool) -> Conntrack {
    let number = |name: &str| roots.number(&format!("net.netfilter.{name}"));
    match (number("nf_conntrack_count"), number("nf_conntrack_max")) {
        (Some(in_use), Some(limit)) if is_on(in_use) => Conntrack::On(Share { limit, in_use }),
        (Some(_), Some(_)) => Conntrack::Off,
        _ => Conntrack::Absent,
    }
}

/// A rule enables tracking, and no file shows that: open a connection, and see whether it has an entry.
fn try_conntrack(roots: &Roots) -> Conntrack {
    let listener = TcpListener::bind("127.0.0.1:0");
    let peer =
        listener.as_ref().ok().and_then(|listener| TcpStream::connect(listener.local_addr().ok()?).ok());
    let found = conntrack(roots, |count| count > 0);
    drop((peer, listener));
    found
}

/// Unshares the descriptor table of a new thread, as each shard does.
fn try_own_table() -> bool {
    let split = || {
        let kept = fs::File::open("/dev/null")?;
        common::table::unshare_table(std::os::fd::AsFd::as_fd(&kept))
    };
    std::thread::spawn(split).join().is_ok_and(|result| result.is_ok())
}
