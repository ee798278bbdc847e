//! What a server may take for its own of the kernel's memory.

use super::{Owner, Slab, bytes_of, tcp_sockstat};
use procfs::process::Status;
use procfs::{FromRead, Meminfo};
use std::fs;
use std::path::{Path, PathBuf};

/// Caches of what a TCP connection is made of, and an entry in an epoll instance. Its file and directory entry are in
/// caches that others use as well: one of each goes with an inode.
const OF_SOCKETS: [&str; 6] =
    ["TCP", "TCPv6", "sock_inode_cache", "eventpoll_epi", "eventpoll_pwq", "ep_head"];

/// The kernel's memory for one server: an estimate, unless the server is alone in its control group.
///
/// The kernel accounts for its memory by kind, and by control group, not by process. So there are three sources, and
/// the best that can be read is taken. All of them are cheap: a look takes some 0.3 ms, with a million connections too.
///
/// | source | what it is | who may read it |
/// | --- | --- | --- |
/// | [`Cgroup`](ShareSource::Cgroup) | `kernel` and `sock` of this process's control group (version 2): its own, and all of it. Taken where the process is alone in the group, as in a container or a systemd service | everyone |
/// | [`Slabinfo`](ShareSource::Slabinfo) | what the machine's slab caches hold for TCP sockets, and what is queued in these, divided by their number, times the server's connections; the same for threads; and its page tables | root |
/// | [`Meminfo`](ShareSource::Meminfo) | as above, but what all slab caches have grown by since the server started, divided by the TCP sockets that have come since | everyone |
///
/// Dividing by sockets is what makes it right where the clients are on the same machine, and have sockets there too. The
/// last source counts whatever else grows (files that are looked at leave inodes behind): with few connections it
/// says little.
#[derive(Debug)]
pub struct KernelShare {
    proc: PathBuf,
    sys: PathBuf,
    at_start: Option<Growing>,
    /// What TCP's count of pages may be off by.
    slack_pages: u64,
}

/// What a server has of the kernel's memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Bytes.
    pub bytes: u64,
    /// Where they were read.
    pub source: ShareSource,
}

/// Where a [`Share`] was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareSource {
    /// memory.stat of the control group: the process's own.
    Cgroup,
    /// /proc/slabinfo: by the number of sockets and threads on the machine.
    Slabinfo,
    /// /proc/meminfo: the machine's growth, by the number of sockets.
    Meminfo,
}

impl ShareSource {
    /// In a word, for a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Slabinfo => "slabinfo",
            Self::Meminfo => "meminfo",
        }
    }
}

/// What the last source compares with.
#[derive(Clone, Copy, Debug)]
struct Growing {
    slab_bytes: u64,
    sockets: u64,
}

impl KernelShare {
    /// Call it before the first connection: the last source counts from here.
    pub fn at_start() -> Self {
        Self::under(Path::new("/proc"), Path::new("/sys"))
    }

    /// The same, with other roots than /proc and /sys.
    fn under(proc: &Path, sys: &Path) -> Self {
        let growing = |meminfo: Meminfo| Growing { slab_bytes: meminfo.slab, sockets: sockets(proc) };
        let at_start = Meminfo::from_file(proc.join("meminfo")).ok().map(growing);
        Self { proc: proc.into(), sys: sys.into(), at_start, slack_pages: slack_pages(proc) }
    }

    /// The share now, for a server with `connections` open; `None` if /proc lacks the figures.
    pub fn now(&self, connections: u64) -> Option<Share> {
        if let Some(bytes) = self.of_group() {
            return Some(Share { bytes, source: ShareSource::Cgroup });
        }
        let meminfo = Meminfo::from_file(self.proc.join("meminfo")).ok()?;
        let me = Status::from_file(self.proc.join("self/status")).ok()?;
        let (for_sockets, sockets, thread_caches, source) = match Slab::read_all(&self.proc) {
            Some(slabs) => {
                let queued_pages = tcp_sockstat(&self.proc, "mem").saturating_sub(self.slack_pages);
                let for_sockets = socket_bytes(&slabs) + queued_pages * procfs::page_size();
                let threads = bytes_of(&slabs, Owner::Server);
                (for_sockets, sockets(&self.proc), threads, ShareSource::Slabinfo)
            }
            None => {
                let start = self.at_start?;
                let grown = meminfo.slab.saturating_sub(start.slab_bytes);
                let sockets = sockets(&self.proc).saturating_sub(start.sockets);
                (grown, sockets, 0, ShareSource::Meminfo)
            }
        };
        let for_threads = thread_caches + meminfo.kernel_stack.unwrap_or(0);
        let bytes = part(for_sockets, connections, sockets)
            + part(for_threads, me.threads, self.threads_of_the_machine())
            + me.vmpte.unwrap_or(0) * 1024;
        Some(Share { bytes, source })
    }

    /// The kernel memory of this process's control group, if the process is alone in it.
    fn of_group(&self) -> Option<u64> {
        let groups = fs::read_to_string(self.proc.join("self/cgroup")).ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mount = self.sys.join("fs/cgroup");
        // In a container the path may be the host's, and not there: then the mount point is the container's own group.
        let own = Some(mount.join(path)).filter(|group| group.exists()).unwrap_or(mount);
        let members = fs::read_to_string(own.join("cgroup.procs")).ok()?;
        let me = Status::from_file(self.proc.join("self/status")).ok()?;
        if members.trim() != me.pid.to_string() {
            return None;
        }
        let stat = fs::read_to_string(own.join("memory.stat")).ok()?;
        let figure = |name: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            line.parse::<u64>().ok()
        };
        Some(figure("kernel")? + figure("sock")?)
    }

    /// In /proc/loadavg the fourth field is `running/all`.
    fn threads_of_the_machine(&self) -> u64 {
        let loadavg = fs::read_to_string(self.proc.join("loadavg")).unwrap_or_default();
        let all = loadavg.split_whitespace().nth(3).and_then(|field| field.split('/').nth(1));
        all.and_then(|all| all.parse().ok()).unwrap_or(0)
    }
}

/// TCP sockets, of all network namespaces.
fn sockets(proc: &Path) -> u64 {
    tcp_sockstat(proc, "alloc")
}

/// What TCP's count of pages with queued data may be off by: each core keeps up to `net.core.mem_pcpu_rsv` pages of the
/// difference to itself (1 MiB unless changed), so that with nothing queued at all it can be that much a core.
fn slack_pages(proc: &Path) -> u64 {
    let reserve = fs::read_to_string(proc.join("sys/net/core/mem_pcpu_rsv"));
    let reserve =
        reserve.ok().and_then(|pages| pages.trim().parse().ok()).unwrap_or((1 << 20) / procfs::page_size());
    let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
    let cores = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    reserve * cores as u64
}

fn socket_bytes(slabs: &[Slab]) -> u64 {
    let find = |name: &str| slabs.iter().find(|slab| slab.name == name);
    let object_bytes = |name: &str| find(name).map_or(0, |slab| slab.object_bytes);
    let inodes = find("sock_inode_cache").map_or(0, |slab| slab.objects);
    // At most one of each: a cache counts objects that are free again on a core as in use, after a peak many of them.
    let in_use = |slab: &Slab| slab.object_bytes * slab.objects.min(inodes);
    let own: u64 = OF_SOCKETS.iter().filter_map(|name| find(name)).map(in_use).sum();
    own + inodes * (object_bytes("filp") + object_bytes("dentry"))
}

/// The part of `bytes` that `own` of `all` have; others may have closed since `own` was counted.
fn part(bytes: u64, own: u64, all: u64) -> u64 {
    if own == 0 { 0 } else { (u128::from(bytes) * u128::from(own) / u128::from(all.max(own))) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    const MIB: u64 = 1 << 20;

    /// A /proc and a /sys with this process's own status, eight threads and 40 KiB of page tables, and no slabinfo.
    fn roots(name: &str) -> (PathBuf, PathBuf) {
        let root = std::env::temp_dir().join(format!("common-share-{name}-{}", process::id()));
        let (proc, sys) = (root.join("proc"), root.join("sys"));
        for directory in [proc.join("self"), proc.join("net"), sys.join("fs/cgroup/one")] {
            fs::create_dir_all(directory).expect("a directory");
        }
        let status = fs::read_to_string("/proc/self/status").expect("a status");
        let line = |line: &str| match line.split(':').next() {
            Some("Threads") => "Threads:\t8\n".into(),
            Some("VmPTE") => "VmPTE:\t40 kB\n".into(),
            _ => format!("{line}\n"),
        };
        fs::write(proc.join("self/status"), status.lines().map(line).collect::<String>()).expect("written");
        fs::write(proc.join("loadavg"), "0.10 0.20 0.30 2/80 1234\n").expect("written");
        (proc, sys)
    }

    /// This machine's meminfo, but for slab caches and kernel stacks.
    fn set(proc: &Path, slab_kib: u64, stacks_kib: u64, sockets: u64) {
        let meminfo = fs::read_to_string("/proc/meminfo").expect("a meminfo");
        let line = |line: &str| match line.split(':').next() {
            Some("Slab") => format!("Slab: {slab_kib} kB\n"),
            Some("KernelStack") => format!("KernelStack: {stacks_kib} kB\n"),
            _ => format!("{line}\n"),
        };
        fs::write(proc.join("meminfo"), meminfo.lines().map(line).collect::<String>()).expect("written");
        let sockstat = format!("TCP: inuse 1 orphan 0 tw 3 alloc {sockets} mem 5\n");
        fs::write(proc.join("net/sockstat"), sockstat).expect("written");
    }

    #[test]
    fn a_share_of_what_the_machine_has_grown_by() {
        let (proc, sys) = roots("meminfo");
        set(&proc, 50 * 1024, 1_000, 10);
        let share = KernelShare::under(&proc, &sys);
        let own = 100 * 1024 + 40 * 1024;
        assert_eq!(share.now(0), Some(Share { bytes: own, source: ShareSource::Meminfo }));
        // Both ends of 1,000 connections are here, so half of it is the server's.
        set(&proc, 58 * 1024, 1_000, 2_010);
        assert_eq!(share.now(1_000).expect("read").bytes, 4 * MIB + own);
        // Fewer sockets, because others have closed theirs: not more than all there is.
        set(&proc, 58 * 1024, 1_000, 500);
        assert_eq!(share.now(1_000).expect("read").bytes, 8 * MIB + own);
        fs::remove_dir_all(proc.parent().expect("a root")).expect("removed");
    }

    #[test]
    fn a_share_of_the_slab_caches() {
        let (proc, sys) = roots("slabinfo");
        set(&proc, 50 * 1024, 1_000, 200);
        let slabinfo = "slabinfo - version: 2.1\n\
            # name <active_objs> <num_objs> <objsize>\n\
            TCP 200 260 2000 13 8\n\
            sock_inode_cache 200 300 800 19 4\n\
            filp 5000 5000 190 21 1\n\
            dentry 90000 90000 180 21 1\n\
            eventpoll_epi 100 100 100 32 1\n\
            task_struct 80 80 9000 3 8\n\
            ext4_inode_cache 90000 90000 1100 3 8\n";
        fs::write(proc.join("slabinfo"), slabinfo).expect("written");
        fs::create_dir_all(proc.join("sys/net/core")).expect("a directory");
        fs::write(proc.join("sys/net/core/mem_pcpu_rsv"), "1\n").expect("written");
        fs::write(proc.join("stat"), "cpu  9 9\ncpu0 5 5\ncpu1 4 4\nintr 7\n").expect("written");
        let of_sockets = 200 * (2_000 + 800 + 190 + 180) + 100 * 100 + 3 * procfs::page_size();
        let own = (80 * 9_000 + 1_000 * 1024) / 10 + 40 * 1024;
        let expected = Share { bytes: of_sockets / 2 + own, source: ShareSource::Slabinfo };
        assert_eq!(KernelShare::under(&proc, &sys).now(100), Some(expected));
        fs::remove_dir_all(proc.parent().expect("a root")).expect("removed");
    }

    #[test]
    fn its_own_where_it_is_alone_in_its_group() {
        let (proc, sys) = roots("cgroup");
        set(&proc, 50 * 1024, 1_000, 10);
        let group = sys.join("fs/cgroup/one");
        fs::write(proc.join("self/cgroup"), "0::/one\n").expect("written");
        fs::write(group.join("memory.stat"), "anon 7\nkernel_stack 5\nkernel 4000\nsock 96\n")
            .expect("written");
        let me = process::id();
        fs::write(group.join("cgroup.procs"), format!("{me}\n")).expect("written");
        let share = KernelShare::under(&proc, &sys);
        assert_eq!(share.now(3), Some(Share { bytes: 4_096, source: ShareSource::Cgroup }));
        fs::write(group.join("cgroup.procs"), format!("{me}\n1\n")).expect("written");
        assert_eq!(share.now(3).expect("read").source, ShareSource::Meminfo);
        fs::remove_dir_all(proc.parent().expect("a root")).expect("removed");
    }

    #[test]
    fn nothing_without_proc() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(KernelShare::under(nowhere, nowhere).now(3), None);
    }

    #[test]
    fn sockets_of_this_machine_show() {
        use std::net::{TcpListener, TcpStream};
        use std::time::{Duration, Instant};
        let share = KernelShare::at_start();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let pairs = (0..200)
            .map(|_| (TcpStream::connect(addr).expect("one end"), listener.accept().expect("the other")));
        let pairs: Vec<_> = pairs.collect();
        let began = Instant::now();
        loop {
            let (with, without) = (share.now(400).expect("read"), share.now(0).expect("read"));
            if with.source != ShareSource::Slabinfo {
                break;
            }
            let each = with.bytes.saturating_sub(without.bytes) / 400;
            // Without what other programs have queued in theirs.
            let proc = Path::new("/proc");
            let pages = tcp_sockstat(proc, "mem").saturating_sub(slack_pages(proc));
            let queued = pages * procfs::page_size() / sockets(proc).max(1);
            if (2_500..8_000).contains(&each.saturating_sub(queued)) {
                break;
            }
            // These may come, go and read between two of the kernel's files.
            let is_late = began.elapsed() > Duration::from_secs(20);
            assert!(!is_late, "{each} bytes per socket, {queued} of them queued");
        }
        drop(pairs);
    }
}
