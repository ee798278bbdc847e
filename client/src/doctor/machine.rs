//! The limits of this machine, as they are.

use crate::watch::tcp_sockstat;
use common::cgroup::{self, Share};
use procfs::process::{LimitValue, Limits};
use procfs::{FromRead, Meminfo};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::str::FromStr;

/// Where the kernel's files are: /proc and /sys, but for tests.
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
    /// The words of a file under /proc/sys.
    fn sysctl<T: FromStr>(&self, name: &str) -> Vec<T> {
        let text = fs::read_to_string(self.proc.join("sys").join(name.replace('.', "/"))).unwrap_or_default();
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// The first number of a file under /proc/sys.
    fn number(&self, name: &str) -> Option<u64> {
        self.sysctl(name).first().copied()
    }
}

/// Whether the kernel keeps an entry for every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conntrack {
    /// The module is not loaded.
    Absent,
    /// It is there, and counts no connection: no rule asks for it.
    Off,
    /// It is counting.
    On(Share),
}

/// The limits that connections meet. `None` is for what this kernel, or this container, does not have or show.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Descriptors of one table: the soft and the hard limit; `u64::MAX` is none.
    pub nofile: (u64, u64),
    /// To what the hard limit can be raised.
    pub nr_open: Option<u64>,
    /// Open files in the whole system.
    pub files: Option<Share>,
    /// Entries in all epoll sets of one user.
    pub epoll_watches: Option<u64>,
    /// The first and the last local port that connect(2) chooses.
    pub port_range: Option<(u64, u64)>,
    /// The longest queue of a listener.
    pub somaxconn: Option<u64>,
    /// Half-open connections of a listener.
    pub syn_backlog: Option<u64>,
    /// Pages for the queues of all TCP sockets.
    pub tcp_pages: Option<Share>,
    /// Connection tracking.
    pub conntrack: Conntrack,
    /// Threads in the whole system.
    pub threads: Option<Share>,
    /// The numbers of processes and threads, which bound how many there are.
    pub pids: Option<Share>,
    /// Threads of this user; root is exempt.
    pub nproc: Option<u64>,
    /// Memory mappings of one process.
    pub maps: Option<u64>,
    /// Threads in this control group.
    pub group_pids: Option<Share>,
    /// Memory in this control group.
    pub group_memory: Option<Share>,
    /// Memory that can be had without swapping.
    pub available_bytes: Option<u64>,
    /// Memory in all.
    pub memory_bytes: u64,
    /// Whether a thread can have a descriptor table of its own.
    pub own_tables: bool,
}

impl Machine {
    /// This machine, with a look at what only trying can tell.
    pub fn here() -> Self {
        let mut machine = Self::read(&Roots::default());
        machine.conntrack = try_conntrack(&Roots::default());
        machine.own_tables = try_own_table();
        if rustix::process::geteuid().is_root() {
            machine.nproc = None;
        }
        machine
    }

    /// What the files under `roots` say. Tables are taken to be splittable, and connections to be tracked where there
    /// is an entry.
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

    /// Ports that one address can connect from.
    pub fn ports(&self) -> Option<u64> {
        self.port_range.map(|(first, last)| (last + 1).saturating_sub(first))
    }
}

/// Processes and threads there are: the figure after the slash in /proc/loadavg.
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

/// Tracking hooks in when a rule asks for it, which no file tells: so a connection is made and looked for.
fn try_conntrack(roots: &Roots) -> Conntrack {
    let listener = TcpListener::bind("127.0.0.1:0");
    let peer =
        listener.as_ref().ok().and_then(|listener| TcpStream::connect(listener.local_addr().ok()?).ok());
    let found = conntrack(roots, |count| count > 0);
    drop((peer, listener));
    found
}

/// Splits the descriptor table of a thread of its own, as each shard will do.
fn try_own_table() -> bool {
    let split = || {
        let kept = fs::File::open("/dev/null")?;
        common::table::unshare_table(std::os::fd::AsFd::as_fd(&kept))
    };
    std::thread::spawn(split).join().is_ok_and(|result| result.is_ok())
}
